/** Decodes in this process, on the threads of libuv. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { decode, type Sharp } from "./decode.js"
import type { Decoder } from "./decoder.js"

/** sharp cannot cancel a decode: an interrupted fiber leaves it running, and `onSettled` is called at its end. */
export const make = (sharp: Sharp, timeout: Duration.DurationInput): Decoder => ({
  run: (job, restore, onSettled) =>
    Effect.suspend(() => {
      const work = decode(sharp, job).finally(onSettled)
      // An interrupted fiber no longer observes a rejection.
      work.catch(() => {})
      return restore(Effect.promise(() => work)).pipe(
        Effect.timeoutFail({ duration: timeout, onTimeout: () => "TimedOut" as const })
      )
    })
})
