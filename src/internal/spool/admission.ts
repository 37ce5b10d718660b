/**
 * Admission by bytes in flight: up to a limit at a time, first-in, first-out.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import { Busy } from "../../InitImageError.js"
import * as metrics from "../metrics.js"

export interface Admission {
  /**
   * Takes the bytes, all at once: two images that each hold a part and wait for more would wait for ever. `bytes` is
   * never above the limit; the caller refuses that. Fails with `Busy` where the spool does not wait. To be run where
   * nothing can be interrupted, for the wait is `restore`d: so the caller never loses bytes that it was given.
   */
  readonly acquire: (bytes: number, restore: Restore) => Effect.Effect<void, Busy>
  /** Gives bytes back, and admits those that wait. */
  readonly giveBack: (bytes: number) => void
}

/** Makes an effect interruptible again, as `Effect.uninterruptibleMask` gives it. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

interface Waiter {
  readonly bytes: number
  readonly admitted: Deferred.Deferred<void>
}

/** Bytes in flight are given back within a second, unless the disk or a client is slow. */
const busy = new Busy({ retryAfter: 1 })

/**
 * `Effect.Semaphore` lets small requests overtake a large one for as long as small ones arrive, so this keeps a queue.
 */
export const make = (limit: number, onFull: "wait" | "fail"): Admission => {
  let inFlight = 0
  const queue = new Set<Waiter>()

  const fits = (bytes: number): boolean => inFlight + bytes <= limit

  const add = (bytes: number): void => {
    inFlight += bytes
    metrics.add(metrics.inFlightBytes, bytes)
  }

  const leaveQueue = (waiter: Waiter): boolean => {
    const left = queue.delete(waiter)
    if (left) metrics.add(metrics.waiting, -1)
    return left
  }

  const admitWaiters = (): void => {
    for (const waiter of queue) {
      if (!fits(waiter.bytes)) return
      leaveQueue(waiter)
      add(waiter.bytes)
      Deferred.unsafeDone(waiter.admitted, Effect.void)
    }
  }

  const giveBack = (bytes: number): void => {
    add(-bytes)
    admitWaiters()
  }

  const wait = (bytes: number, restore: Restore): Effect.Effect<void> =>
    Effect.suspend(() => {
      const waiter: Waiter = { bytes, admitted: Deferred.unsafeMake(FiberId.none) }
      queue.add(waiter)
      metrics.add(metrics.waiting, 1)
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
        if (queue.size > 0 || !fits(bytes)) return onFull === "fail" ? busy : wait(bytes, restore)
        add(bytes)
        return Effect.void
      }),
    giveBack
  }
}

/** Without a limit every image is admitted at once. */
export const unlimited: Admission = { acquire: () => Effect.void, giveBack: () => {} }
