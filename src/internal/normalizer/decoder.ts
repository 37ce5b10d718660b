/** A decoder: sharp in this process, or in children. */
import type * as Effect from "effect/Effect"
import type { Busy } from "../../InitImageError.js"
import type { Restore } from "../admissionQueue.js"
import type { Job, Reply } from "./job.js"

export interface Decoder {
  /**
   * Decodes, within the timeout. Run it in an uninterruptible region: only waits are `restore`d. Calls `onSettled` once,
   * when the native work has ended, which may be after the effect has.
   */
  readonly run: (job: Job, restore: Restore, onSettled: () => void) => Effect.Effect<Reply, "TimedOut" | Busy>
}
