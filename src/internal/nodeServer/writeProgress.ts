/** Whether a client reads what a socket sends. */
import * as Predicate from "effect/Predicate"
import type * as Net from "node:net"

/**
 * The bytes of the running write that the system has not taken yet. Node reports a write only when it has ended, which
 * one of many megabytes does late; its own socket timeout looks at the same figure.
 */
const unsentBytes = (socket: Net.Socket): number =>
  Predicate.hasProperty(socket, "_handle")
    && Predicate.hasProperty(socket._handle, "writeQueueSize")
    && typeof socket._handle.writeQueueSize === "number"
    ? socket._handle.writeQueueSize
    : 0

export class WriteProgress {
  readonly #socket: Net.Socket
  #written = 0
  #unsent = 0
  /** When bytes were last sent or none were waiting; a time of `performance.now`. */
  #since: number

  constructor(socket: Net.Socket, now: number) {
    this.#socket = socket
    this.#since = now
  }

  /** Whether bytes have waited for longer than `timeout`, in milliseconds, and none of them could be sent. */
  isStalled(now: number, timeout: number): boolean {
    const { bytesWritten, writableLength } = this.#socket
    const written = bytesWritten - writableLength
    const unsent = unsentBytes(this.#socket)
    if (writableLength === 0 || written !== this.#written || unsent < this.#unsent) this.#since = now
    this.#written = written
    this.#unsent = unsent
    return now - this.#since > timeout
  }
}
