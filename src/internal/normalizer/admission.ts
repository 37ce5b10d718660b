/**
 * Admission by the memory and the number of decodes, first-in, first-out. A permit is held until the native work has
 * ended, also after its fiber was interrupted.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import { Busy } from "../../InitImageError.js"
import type { Restore } from "../spool/admission.js"

export interface Limits {
  /** In bytes. */
  readonly maxMemory: number
  readonly concurrency: number
  readonly onFull: "wait" | "fail"
}

export interface Admission {
  /**
   * Takes a permit for `bytes`, which are at most `maxMemory`. Fails with `Busy` where the limits do not wait. Run it
   * in an uninterruptible region: only the wait is `restore`d, so that no permit is lost.
   */
  readonly acquire: (bytes: number, restore: Restore) => Effect.Effect<void, Busy>
  readonly giveBack: (bytes: number) => void
}

interface Waiter {
  readonly bytes: number
  readonly admitted: Deferred.Deferred<void>
}

const busy = new Busy({ retryAfter: 1 })

/** `Effect.Semaphore` lets small requests overtake a large one for as long as small ones arrive. */
export const make = ({ concurrency, maxMemory, onFull }: Limits): Admission => {
  let running = 0
  let memory = 0
  const queue = new Set<Waiter>()

  const fits = (bytes: number): boolean => running < concurrency && memory + bytes <= maxMemory

  const add = (bytes: number): void => {
    running += 1
    memory += bytes
  }

  const admitWaiters = (): void => {
    for (const waiter of queue) {
      if (!fits(waiter.bytes)) return
      queue.delete(waiter)
      add(waiter.bytes)
      Deferred.unsafeDone(waiter.admitted, Effect.void)
    }
  }

  const giveBack = (bytes: number): void => {
    running -= 1
    memory -= bytes
    admitWaiters()
  }

  const wait = (bytes: number, restore: Restore): Effect.Effect<void> =>
    Effect.suspend(() => {
      const waiter: Waiter = { bytes, admitted: Deferred.unsafeMake(FiberId.none) }
      queue.add(waiter)
      return restore(Deferred.await(waiter.admitted)).pipe(
        Effect.onInterrupt(() =>
          Effect.sync(() => {
            // A waiter that was admitted at the moment of its interruption gives its permit back.
            if (queue.delete(waiter)) admitWaiters()
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

/** Runs `use` with a permit, which `use` gives back by calling `onSettled` once. Only waits are interruptible. */
export const withPermit = <A, E, R>(
  admission: Admission,
  bytes: number,
  use: (restore: Restore, onSettled: () => void) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | Busy, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.zipRight(
      admission.acquire(bytes, restore),
      use(restore, () => admission.giveBack(bytes))
    )
  )
