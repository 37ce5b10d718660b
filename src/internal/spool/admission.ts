/**
 * Admission by bytes in flight: up to a limit at a time, first-in, first-out.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Admission, make as makeQueue } from "../admissionQueue.js"
import * as metrics from "../metrics.js"

export type { Admission } from "../admissionQueue.js"

export const make = (limit: number, maxWait: Duration.Duration): Admission => {
  let inFlight = 0
  const add = (bytes: number): void => {
    inFlight += bytes
    metrics.add(metrics.inFlightBytes, bytes)
  }
  return makeQueue({
    fits: (bytes) => inFlight + bytes <= limit,
    take: add,
    giveBack: (bytes) => add(-bytes),
    onWaiting: (difference) => metrics.add(metrics.waiting, difference)
  }, maxWait)
}

/** Without a limit every image is admitted at once. */
export const unlimited: Admission = { acquire: () => Effect.void, giveBack: () => {} }
