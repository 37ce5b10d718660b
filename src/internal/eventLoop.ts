/**
 * How much is decoded in a turn of the event loop, by all images together: however many are at hand at once, nobody
 * else waits for all of them.
 */
import * as Effect from "effect/Effect"

/** Lets the event loop turn: `Effect.yieldNow` gives way to other fibers only. */
export const turn: Effect.Effect<void> = Effect.async<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** 3 MiB: about a millisecond's. One image alone never waits: its next buffer comes when the last but one is written. */
export const bytesPerTurn = 3 * 1024 * 1024

interface Waiter {
  readonly bytes: number
  readonly resume: (effect: Effect.Effect<void>) => void
}

/** In order; nobody passes the first. */
const queue = new Set<Waiter>()
let taken = 0
let immediate: NodeJS.Immediate | undefined

/** Whatever is larger than a turn has one of its own. */
const fits = (bytes: number): boolean => taken === 0 || taken + bytes <= bytesPerTurn

const take = (bytes: number): void => {
  taken += bytes
  immediate ??= setImmediate(nextTurn)
}

const nextTurn = (): void => {
  immediate = undefined
  taken = 0
  for (const waiter of queue) {
    if (!fits(waiter.bytes)) return
    queue.delete(waiter)
    take(waiter.bytes)
    waiter.resume(Effect.void)
  }
}

/** Waits until so many bytes may be decoded. */
export const turnFor = (bytes: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (queue.size === 0 && fits(bytes)) {
      take(bytes)
      return Effect.void
    }
    return Effect.async<void>((resume) => {
      const waiter = { bytes, resume }
      queue.add(waiter)
      return Effect.sync(() => queue.delete(waiter))
    })
  })
