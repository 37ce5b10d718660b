/** Admission first-in, first-out: a queue in front of a budget, which decides whether an image fits. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import { Busy } from "../InitImageError.js"

export interface Admission {
  /**
   * Takes the bytes, all at once: two images that each hold a part and wait for more would wait for ever. `bytes` is
   * never above the limit; the caller refuses that. Fails with `Busy` after the longest wait. To be run where
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
  readonly admitted: Deferred.Deferred<void, Busy>
}

/** Work in flight ends within a second, unless the disk or a client is slow. */
const busy = new Busy({ retryAfter: 1 })

/**
 * `Effect.Semaphore` lets small requests overtake a large one for as long as small ones arrive, so this keeps a queue.
 * `maxWait` is the longest wait: zero fails at once.
 */
export const make = (budget: Budget, maxWait: Duration.Duration): Admission => {
  const queue = new Set<Waiter>()
  const isImpatient = Duration.equals(maxWait, Duration.zero)

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

  const refuse = (waiter: Waiter): void => {
    if (!leaveQueue(waiter)) return
    Deferred.unsafeDone(waiter.admitted, busy)
    admitWaiters()
  }

  // Not `Effect.timeout`: it waits for the end of a wait that cannot be interrupted.
  const refuseLater = (waiter: Waiter) =>
    Duration.isFinite(maxWait)
      ? Effect.forkDaemon(Effect.interruptible(Effect.delay(Effect.sync(() => refuse(waiter)), maxWait)))
      : Effect.succeed(undefined)

  const wait = (bytes: number, restore: Restore): Effect.Effect<void, Busy> =>
    Effect.suspend(() => {
      const waiter: Waiter = { bytes, admitted: Deferred.unsafeMake(FiberId.none) }
      queue.add(waiter)
      budget.onWaiting?.(1)
      return Effect.flatMap(refuseLater(waiter), (timer) =>
        restore(Deferred.await(waiter.admitted)).pipe(
          Effect.onInterrupt(() =>
            Effect.sync(() => {
              // A waiter that was admitted at the moment of its interruption gives its bytes back.
              if (leaveQueue(waiter)) admitWaiters()
              else giveBack(bytes)
            })
          ),
          Effect.ensuring(Effect.sync(() => timer?.unsafeInterruptAsFork(FiberId.none)))
        ))
    })

  return {
    acquire: (bytes, restore) =>
      Effect.suspend(() => {
        if (queue.size > 0 || !budget.fits(bytes)) return isImpatient ? busy : wait(bytes, restore)
        budget.take(bytes)
        return Effect.void
      }),
    giveBack
  }
}
