/**
 * Bytes in flight: at most so many at a time, in the order in which they were asked for.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import { Busy } from "../../InitImageError.js"
import * as metrics from "./metrics.js"

export interface Admission {
  /**
   * Holds the bytes until the scope closes. `bytes` is never above the limit: that is the caller's to refuse.
   *
   * All at once, and once only within a scope: whoever held a part and waited for more could wait for another that does
   * the same.
   */
  readonly reserve: (bytes: number) => Effect.Effect<void, Busy, Scope.Scope>
}

interface Waiter {
  readonly bytes: number
  readonly granted: Deferred.Deferred<void>
}

/** In seconds. What is in flight is gone in much less, unless the disk or a client is slow. */
const busy = new Busy({ retryAfter: 1 })

/**
 * `Effect.Semaphore` would let a small request overtake a large one for as long as small ones come, so this keeps its
 * own queue, in which nobody passes the first.
 */
export const make = (limit: number, onFull: "wait" | "fail"): Admission => {
  let inFlight = 0
  const queue = new Set<Waiter>()

  const fits = (bytes: number): boolean => inFlight + bytes <= limit

  const take = (bytes: number): void => {
    inFlight += bytes
    metrics.add(metrics.inFlightBytes, bytes)
  }

  const grant = (): void => {
    for (const waiter of queue) {
      if (!fits(waiter.bytes)) return
      leave(waiter)
      take(waiter.bytes)
      Deferred.unsafeDone(waiter.granted, Effect.void)
    }
  }

  const giveBack = (bytes: number): void => {
    take(-bytes)
    grant()
  }

  const leave = (waiter: Waiter): boolean => {
    const left = queue.delete(waiter)
    if (left) metrics.add(metrics.waiting, -1)
    return left
  }

  const wait = (bytes: number, restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) =>
    Effect.suspend(() => {
      const waiter: Waiter = { bytes, granted: Deferred.unsafeMake(FiberId.none) }
      queue.add(waiter)
      metrics.add(metrics.waiting, 1)
      return restore(Deferred.await(waiter.granted)).pipe(
        Effect.onInterrupt(() =>
          Effect.sync(() => {
            // Its turn may have come at the very moment at which it was interrupted.
            if (leave(waiter)) grant()
            else giveBack(bytes)
          })
        )
      )
    })

  return {
    reserve: (bytes) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.suspend(() => {
          if (queue.size === 0 && fits(bytes)) return Effect.sync(() => take(bytes))
          return onFull === "fail" ? busy : wait(bytes, restore)
        }).pipe(
          Effect.zipRight(Effect.addFinalizer(() => Effect.sync(() => giveBack(bytes))))
        )
      )
  }
}
