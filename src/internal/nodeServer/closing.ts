/** Closes connections whose client may hold them open. */
import type * as Net from "node:net"
import type { Duplex } from "node:stream"
import type { TurnQueue } from "../eventLoop.js"

/**
 * How long a client may take to close its side of a connection that the server has ended, in milliseconds. Bytes that
 * arrive meanwhile are dropped: closing a socket with unread bytes resets the connection, and a reset can discard a
 * response that the client has not read yet (RFC 9112 section 9.6).
 */
export const lingerTimeout = 2000

/** Drops what arrives on a socket that the server has ended, and destroys it after {@link lingerTimeout}. */
export const linger = (socket: Duplex): void => {
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), lingerTimeout).unref()
  socket.once("close", () => clearTimeout(timer))
}

/**
 * Spreads the `close` events of sockets over turns of the event loop. Each of them ends a handler, which takes about 1 ms
 * of a session, and a client can close thousands of connections at once.
 */
export const spreadClose = (socket: Net.Socket, turns: TurnQueue): void => {
  const emit = socket.emit.bind(socket)
  socket.emit = (event: string | symbol, ...parameters: Array<unknown>): boolean => {
    if (event !== "close") return emit(event, ...parameters)
    turns.add(() => emit(event, ...parameters))
    return true
  }
}

const reasons = {
  400: "Bad Request",
  408: "Request Timeout",
  413: "Payload Too Large",
  431: "Request Header Fields Too Large"
}

/** The statuses of requests that no handler answers. */
export type Status = keyof typeof reasons

/** Answers a request that no handler answers, and closes the connection. */
export const answer = (socket: Net.Socket, status: Status, text: string): void => {
  if (!socket.writable) return void socket.destroy()
  socket.end([
    `HTTP/1.1 ${status} ${reasons[status]}`,
    "Connection: close",
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${text.length}`,
    "",
    text
  ].join("\r\n"))
  linger(socket)
}
