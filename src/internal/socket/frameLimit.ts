/** The largest message that an image of the allowed size needs. */
import * as Effect from "effect/Effect"
import * as InitImageLimits from "../../InitImageLimits.js"
import { largestMessage } from "../json/messageSize.js"

/** The frame that the limits in the effect's context need; see `InitImageSocket.requiredFrameBytes`. */
export const maxFrameBytes: Effect.Effect<number> = Effect.gen(function*() {
  return largestMessage(yield* InitImageLimits.MaxBytes, yield* InitImageLimits.MaxMessageBytes)
})
