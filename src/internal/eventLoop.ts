/**
 * Shares the event loop between images: work runs in bounded portions, few of them in a turn.
 */
import * as Effect from "effect/Effect"

/** Lets the event loop turn: `Effect.yieldNow` gives way to other fibers only. */
export const turn: Effect.Effect<void> = Effect.async<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/**
 * Runs `check` when the event loop has read and written what it can. Called from a timer, which runs before that after a
 * busy turn. On Deno an immediate does so too, hence the second timer.
 */
export const afterTransfers = (check: () => void): void => void setTimeout(() => setImmediate(check))

/**
 * Bytes decoded in one turn by all images together: 3 MiB, about 1 ms. An image that is alone never waits, because its
 * next buffer starts when the last but one is written.
 */
export const bytesPerTurn = 3 * 1024 * 1024

interface Waiter {
  readonly bytes: number
  readonly resume: (effect: Effect.Effect<void>) => void
}

/** Admits decode work first-in, first-out, up to {@link bytesPerTurn} in each turn of the event loop. */
export class DecodePacer {
  readonly #queue = new Set<Waiter>()
  #bytesInTurn = 0
  #isTurnScheduled = false

  /** Waits until `bytes` may be decoded. More than {@link bytesPerTurn} takes a turn by itself. */
  wait(bytes: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#queue.size === 0 && this.#fits(bytes)) {
        this.#take(bytes)
        return Effect.void
      }
      return Effect.async<void>((resume) => {
        const waiter = { bytes, resume }
        this.#queue.add(waiter)
        return Effect.sync(() => this.#queue.delete(waiter))
      })
    })
  }

  #fits(bytes: number): boolean {
    return this.#bytesInTurn === 0 || this.#bytesInTurn + bytes <= bytesPerTurn
  }

  #take(bytes: number): void {
    this.#bytesInTurn += bytes
    this.#scheduleTurn()
  }

  #scheduleTurn(): void {
    if (this.#isTurnScheduled) return
    this.#isTurnScheduled = true
    setImmediate(() => this.#startTurn())
  }

  #startTurn(): void {
    this.#isTurnScheduled = false
    this.#bytesInTurn = 0
    for (const waiter of this.#queue) {
      if (!this.#fits(waiter.bytes)) return
      this.#queue.delete(waiter)
      this.#take(waiter.bytes)
      waiter.resume(Effect.void)
    }
  }
}

/**
 * Portions of work in one turn, each of about 1 ms at most. A turn that reads on from a hundred connections takes so long
 * that a new connection waits for 0.6 s: node accepts one connection a turn.
 */
export const portionsPerTurn = 8

/** Runs portions of work first-in, first-out, up to {@link portionsPerTurn} in each turn of the event loop. */
export class TurnQueue {
  readonly #queue = new Set<() => void>()
  readonly #perTurn: number
  #isTurnScheduled = false

  constructor(perTurn = portionsPerTurn) {
    this.#perTurn = perTurn
  }

  /** Runs `portion` once, in a later turn. */
  add(portion: () => void): void {
    this.#queue.add(portion)
    this.#scheduleTurn()
  }

  /** Waits in the queue. */
  readonly wait: Effect.Effect<void> = Effect.async<void>((resume) => {
    const start = () => resume(Effect.void)
    this.add(start)
    return Effect.sync(() => this.delete(start))
  })

  /** Takes `portion` out of the queue. */
  delete(portion: () => void): void {
    this.#queue.delete(portion)
  }

  #scheduleTurn(): void {
    if (this.#isTurnScheduled) return
    this.#isTurnScheduled = true
    setImmediate(() => this.#startTurn())
  }

  #startTurn(): void {
    this.#isTurnScheduled = false
    const due: Array<() => void> = []
    for (const portion of this.#queue) {
      if (due.push(portion) === this.#perTurn) break
    }
    // A portion may add itself again, for the next turn.
    for (const portion of due) {
      if (this.#queue.delete(portion)) portion()
    }
    if (this.#queue.size > 0) this.#scheduleTurn()
  }
}
