/** The time that a client may take for a message or an image. */

/** The slowest client that is served. */
export interface Rate {
  /** Payload bytes per second. Pings and pongs are no progress. */
  readonly bytesPerSecond: number
  /** The time before the rate applies, and the longest time without any byte, in milliseconds. */
  readonly stall: number
}

/**
 * The time that is left. It passes while the server waits for the client. Each byte adds the time that it may take at the
 * lowest rate, and the sum is never more than the stall timeout: a fast start does not pay for a long pause.
 */
export class Pace {
  readonly #rate: Rate
  #left: number
  #since = 0
  #received: number | undefined

  constructor(rate: Rate) {
    this.#rate = rate
    this.#left = rate.stall
  }

  /** Starts to wait. Times are in milliseconds; `received` counts all payload bytes of the connection. */
  start(now: number, received: number): void {
    this.#since = now
    this.#add(received)
  }

  /** The time that is left, in milliseconds; none if it is not above zero. */
  left(now: number, received: number): number {
    this.#left -= now - this.#since
    this.#since = now
    this.#add(received)
    return this.#left
  }

  #add(received: number): void {
    const { bytesPerSecond, stall } = this.#rate
    const bytes = received - (this.#received ?? received)
    this.#received = received
    if (bytes > 0) this.#left = Math.min(stall, this.#left + bytes / bytesPerSecond * 1000)
  }
}
