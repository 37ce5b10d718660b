/** The number of bytes that a socket's connection has read: it tells a frame that arrives slowly from silence. */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Socket from "@effect/platform/Socket"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"

const BytesReadId: unique symbol = Symbol.for("session-init-image/socket/BytesRead")

interface CountingSocket extends Socket.Socket {
  readonly [BytesReadId]: Effect.Effect<number>
}

const isCounting = (socket: Socket.Socket): socket is CountingSocket => Predicate.hasProperty(socket, BytesReadId)

interface Connection {
  readonly bytesRead: number
}

const isConnection = (u: unknown): u is Connection =>
  Predicate.hasProperty(u, "bytesRead") && Predicate.isNumber(u.bytesRead)

/** Adds the counter of the request's connection, if its source is Node's `IncomingMessage`. */
export const withBytesRead = (
  socket: Socket.Socket,
  { source }: Pick<HttpServerRequest.HttpServerRequest, "source">
): Socket.Socket => {
  if (!Predicate.hasProperty(source, "socket") || !isConnection(source.socket)) return socket
  const connection = source.socket
  const counting: CountingSocket = { ...socket, [BytesReadId]: Effect.sync(() => connection.bytesRead) }
  return counting
}

/** The socket's counter, or `undefined` without one. */
export const bytesReadOf = (socket: Socket.Socket): Effect.Effect<number> | undefined =>
  isCounting(socket) ? socket[BytesReadId] : undefined
