/**
 * Admission by the memory and the number of decodes, first-in, first-out. A permit is held until the native work has
 * ended, also after its fiber was interrupted.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Busy } from "../../InitImageError.js"
import { type Admission, make as makeQueue, type Restore } from "../admissionQueue.js"

export type { Admission } from "../admissionQueue.js"

export interface Limits {
  /** In bytes. */
  readonly maxMemory: number
  readonly concurrency: number
  readonly onFull: "wait" | "fail"
}

export const make = ({ concurrency, maxMemory, onFull }: Limits): Admission => {
  let running = 0
  let memory = 0
  return makeQueue({
    fits: (bytes) => running < concurrency && memory + bytes <= maxMemory,
    take: (bytes) => {
      running += 1
      memory += bytes
    },
    giveBack: (bytes) => {
      running -= 1
      memory -= bytes
    }
  }, onFull === "fail" ? Duration.zero : Duration.infinity)
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
