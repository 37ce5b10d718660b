/** The time by which more of a request's body must have arrived. */
import { performance } from "node:perf_hooks"

/** The slowest client that is served. */
export interface Rate {
  /** Payload bytes per second, without chunk sizes and other framing. */
  readonly bytesPerSecond: number
  /** The time before the rate applies, in milliseconds. */
  readonly grace: number
  /** The longest time without any byte, in milliseconds: a fast start does not pay for more. */
  readonly stall: number
}

/**
 * A deadline that each byte postpones by the time it may take at the lowest rate, at most to the stall timeout from now.
 *
 * It stands still while the server does not read: while its buffers are full, and before it has asked for a body with
 * `100 Continue`.
 */
export class BodyDeadline {
  readonly #rate: Rate
  #at: number
  /** The time that was left when the deadline was paused. */
  #left: number | undefined

  constructor(rate: Rate) {
    this.#rate = rate
    this.#at = performance.now() + rate.grace
  }

  arrived(bytes: number): void {
    const { bytesPerSecond, stall } = this.#rate
    this.#at = Math.min(performance.now() + stall, this.#at + bytes / bytesPerSecond * 1000)
  }

  pause(): void {
    this.#left ??= this.#at - performance.now()
  }

  resume(): void {
    if (this.#left === undefined) return
    this.#at = performance.now() + this.#left
    this.#left = undefined
  }

  isOver(now: number): boolean {
    return this.#left === undefined && now > this.#at
  }
}
