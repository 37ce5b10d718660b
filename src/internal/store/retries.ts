/** Retries of what another attempt may cure, with jittered pauses that double. */
import * as Schedule from "effect/Schedule"
import { StoreError } from "./models.js"

export const retries = {
  schedule: Schedule.jittered(Schedule.exponential("100 millis")),
  times: 4,
  while: (error: unknown): boolean => error instanceof StoreError && error.reason === "Unavailable"
}
