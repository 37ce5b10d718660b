/**
 * Whether `ws` will accept an upgrade (RFC 6455 section 4.2.1).
 *
 * It answers one that it refuses by itself and never says so, and the fiber that asked for it then waits for ever and
 * cannot be interrupted. So what it would refuse must not reach it.
 */
import type * as Http from "node:http"

const keyPattern = /^[+/0-9A-Za-z]{22}==$/
const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const versionPattern = /^(?:8|13)$/

const areProtocols = (header: string): boolean => {
  const protocols = header.split(",").map((protocol) => protocol.trim())
  return protocols.every((protocol) => tokenPattern.test(protocol)) && new Set(protocols).size === protocols.length
}

/** Whether the request is an upgrade to a WebSocket that can be made. */
export const isAcceptable = ({ headers, method, socket }: Http.IncomingMessage): boolean =>
  method === "GET"
  && headers.upgrade?.toLowerCase() === "websocket"
  && keyPattern.test(headers["sec-websocket-key"] ?? "")
  && versionPattern.test(headers["sec-websocket-version"] ?? "")
  && (headers["sec-websocket-protocol"] === undefined || areProtocols(headers["sec-websocket-protocol"]))
  && socket.readable
  && socket.writable
