/**
 * The upgrade of a request to a WebSocket (RFC 6455 section 4.2), for a server that must come to an end.
 *
 * `ws`, which the platform's server for Node has, answers an upgrade that it refuses by itself, and drops one whose
 * client has left, and says neither: the fiber that asked for it then waits for ever, cannot be interrupted, and is
 * waited for by the server. So neither must reach it.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Socket from "@effect/platform/Socket"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"

const keyPattern = /^[+/0-9A-Za-z]{22}==$/
const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const versionPattern = /^(?:8|13)$/

const areProtocols = (header: string): boolean => {
  const protocols = header.split(",").map((protocol) => protocol.trim())
  return protocols.every((protocol) => tokenPattern.test(protocol)) && new Set(protocols).size === protocols.length
}

/** Whether the request is an upgrade that `ws` accepts. */
export const isAcceptable = (
  { headers, method }: Pick<HttpServerRequest.HttpServerRequest, "headers" | "method">
): boolean =>
  method === "GET"
  && headers["upgrade"]?.toLowerCase() === "websocket"
  && keyPattern.test(headers["sec-websocket-key"] ?? "")
  && versionPattern.test(headers["sec-websocket-version"] ?? "")
  && (headers["sec-websocket-protocol"] === undefined || areProtocols(headers["sec-websocket-protocol"]))

/** Of a request of Node, whether its client can still be talked to; of others that is not known. */
const isConnected = ({ source }: Pick<HttpServerRequest.HttpServerRequest, "source">): boolean =>
  !Predicate.hasProperty(source, "socket")
  || !Predicate.hasProperty(source.socket, "readable")
  || !Predicate.hasProperty(source.socket, "writable")
  || (source.socket.readable === true && source.socket.writable === true)

/**
 * The socket, which fails to open when the request's client has left by then. It yields first: what then comes between
 * the check and the upgrade is not long enough for its fiber to yield again, so that nobody can leave in between.
 */
export const guard = (
  request: Pick<HttpServerRequest.HttpServerRequest, "source">,
  socket: Socket.Socket
): Socket.Socket => {
  const left = Effect.suspend(() =>
    Effect.fail(new Socket.SocketGenericError({ reason: "Open", cause: "the client has left" }))
  )
  const whileConnected = <A, E, R>(run: Effect.Effect<A, E, R>) =>
    Effect.zipRight(
      Effect.yieldNow(),
      Effect.if(Effect.sync(() => isConnected(request)), { onTrue: () => run, onFalse: () => left })
    )
  return Socket.Socket.of({
    ...socket,
    run: (handler, options) => whileConnected(socket.run(handler, options)),
    runRaw: (handler, options) => whileConnected(socket.runRaw(handler, options))
  })
}
