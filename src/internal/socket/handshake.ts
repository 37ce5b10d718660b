/**
 * The upgrade of a request to a WebSocket (RFC 6455 section 4.2).
 *
 * The platform's server for Node leaves an upgrade to `ws`, which answers an invalid request and drops a disconnected
 * client without telling its caller. The fiber that waits for the upgrade then never ends, cannot be interrupted, and
 * keeps the server from shutting down. Both cases are refused before they reach `ws`.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Socket from "@effect/platform/Socket"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"

const keyPattern = /^[+/0-9A-Za-z]{22}==$/
const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const versionPattern = /^(?:8|13)$/

/** Optional white space (RFC 9110 section 5.6.3). `trim` also removes U+00A0, which `ws` refuses. */
const separatorPattern = /[ \t]*,[ \t]*/

const areProtocols = (header: string): boolean => {
  const protocols = header.split(separatorPattern)
  return protocols.every((protocol) => tokenPattern.test(protocol)) && new Set(protocols).size === protocols.length
}

/** Checks a request by the rules of `ws`. */
export const isAcceptable = (
  { headers, method }: Pick<HttpServerRequest.HttpServerRequest, "headers" | "method">
): boolean =>
  method === "GET"
  && headers["upgrade"]?.toLowerCase() === "websocket"
  && keyPattern.test(headers["sec-websocket-key"] ?? "")
  && versionPattern.test(headers["sec-websocket-version"] ?? "")
  && (headers["sec-websocket-protocol"] === undefined || areProtocols(headers["sec-websocket-protocol"]))

/** Whether a request's connection is open in both directions; `true` if its source is not Node's. */
const isConnected = ({ source }: Pick<HttpServerRequest.HttpServerRequest, "source">): boolean =>
  !Predicate.hasProperty(source, "socket")
  || !Predicate.hasProperty(source.socket, "readable")
  || !Predicate.hasProperty(source.socket, "writable")
  || (source.socket.readable === true && source.socket.writable === true)

/**
 * Makes the socket fail to open once the request's client has disconnected.
 *
 * Yields before the check: the upgrade then starts within the fiber's budget of operations, so that no disconnection
 * is handled between the check and the upgrade.
 */
export const guard = (
  request: Pick<HttpServerRequest.HttpServerRequest, "source">,
  socket: Socket.Socket
): Socket.Socket => {
  const disconnected = Effect.suspend(() =>
    Effect.fail(new Socket.SocketGenericError({ reason: "Open", cause: "the client has disconnected" }))
  )
  const whileConnected = <A, E, R>(run: Effect.Effect<A, E, R>) =>
    Effect.zipRight(
      Effect.yieldNow(),
      Effect.if(Effect.sync(() => isConnected(request)), { onTrue: () => run, onFalse: () => disconnected })
    )
  return Socket.Socket.of({
    ...socket,
    run: (handler, options) => whileConnected(socket.run(handler, options)),
    runRaw: (handler, options) => whileConnected(socket.runRaw(handler, options))
  })
}
