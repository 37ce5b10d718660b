/** Admission first-in, first-out: a queue in front of a budget, which decides what fits. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import { Busy } from "../InitImageError.js"

export interface Admission {
  /**
   * Takes the bytes, all at once: two images that each hold a part and wait for more would wait for ever. `bytes` is
   * never above the limit; the caller refuses that. Fails with `Busy` where the budget does not wait. To be run where
   * nothing can be interrupted, for the wait is `restore`d: so the caller never loses bytes that it was given.
   */
  readonly acquire: (bytes: number, restore: Restore) => Effect.Effect<void, Busy>
  /** Gives bytes back, and admits those that wait. */
  readonly giveBack: (bytes: number) => void
}

/** Makes an effect interruptible again, as `Effect.uninterruptibleMask` gives it. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** The budget behind a queue. */
export interface Budget {
  readonly fits: (bytes: number) => boolean
  readonly take: (bytes: number) => void
  readonly giveBack: (bytes: number) => void
  /** Called with the change of the number of waiters. */
  readonly onWaiting?: (difference: 1 | -1) => void
}

interface Waiter {
  readonly bytes: number
  readonly admitted: Deferred.Deferred<void>
}

/** Work in flight ends within a second, unless the disk or a client is slow. */
const busy = new Busy({ retryAfter: 1 })

/**
 * `Effect.Semaphore` lets small requests overtake a large one for as long as small ones arrive, so this keeps a queue.
 */
export const make = (budget: Budget, onFull: "wait" | "fail"): Admission => {
  const queue = new Set<Waiter>()

  const leaveQueue = (waiter: Waiter): boolean => {
    const left = queue.delete(waiter)
    if (left) budget.onWaiting?.(-1)
    return left
  }

  const admitWaiters = (): void => {
    for (const waiter of queue) {
      if (!budget.fits(waiter.bytes)) return
      leaveQueue(waiter)
      budget.take(waiter.bytes)
      Deferred.unsafeDone(waiter.admitted, Effect.void)
    }
  }

  const giveBack = (bytes: number): void => {
    budget.giveBack(bytes)
    admitWaiters()
  }

  const wait = (bytes: number, restore: Restore): Effect.Effect<void> =>
    Effect.suspend(() => {
      const waiter: Waiter = { bytes, admitted: Deferred.unsafeMake(FiberId.none) }
      queue.add(waiter)
      budget.onWaiting?.(1)
      return restore(Deferred.await(waiter.admitted)).pipe(
        Effect.onInterrupt(() =>
          Effect.sync(() => {
            // A waiter that was admitted at the moment of its interruption gives its bytes back.
            if (leaveQueue(waiter)) admitWaiters()
            else giveBack(bytes)
          })
        )
      )
    })

  return {
    acquire: (bytes, restore) =>
      Effect.suspend(() => {
        if (queue.size > 0 || !budget.fits(bytes)) return onFull === "fail" ? busy : wait(bytes, restore)
        budget.take(bytes)
        return Effect.void
      }),
    giveBack
  }
}
