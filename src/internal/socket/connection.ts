/** Node's connection under a socket, which tells how a frame arrives; the socket itself knows whole messages only. */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Socket from "@effect/platform/Socket"
import * as Predicate from "effect/Predicate"
import * as Net from "node:net"

const ConnectionId: unique symbol = Symbol.for("session-init-image/socket/Connection")

interface ConnectedSocket extends Socket.Socket {
  readonly [ConnectionId]: Net.Socket
}

const isConnected = (socket: Socket.Socket): socket is ConnectedSocket => Predicate.hasProperty(socket, ConnectionId)

/** Adds the connection of the request, if its source is Node's `IncomingMessage`. */
export const withConnection = (
  socket: Socket.Socket,
  { source }: Pick<HttpServerRequest.HttpServerRequest, "source">
): Socket.Socket => {
  if (!Predicate.hasProperty(source, "socket") || !(source.socket instanceof Net.Socket)) return socket
  const connected: ConnectedSocket = { ...socket, [ConnectionId]: source.socket }
  return connected
}

/** The socket's connection, or `undefined` without one. */
export const connectionOf = (socket: Socket.Socket): Net.Socket | undefined =>
  isConnected(socket) ? socket[ConnectionId] : undefined

/**
 * The object of `ws` that reads the connection. The platform gives it to the handler of a message, and by then a first
 * message of any size is in memory.
 */
export const webSocketOf = (connection: Net.Socket): unknown => {
  const key = Object.getOwnPropertySymbols(connection).find(({ description }) => description === "websocket")
  // A symbol as a key makes the type `any`.
  return key === undefined ? undefined : Reflect.get(connection, key) as unknown
}
