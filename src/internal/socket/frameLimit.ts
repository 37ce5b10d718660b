/** The largest message that an image of the allowed size needs. */
import * as Effect from "effect/Effect"
import * as InitImageLimits from "../../InitImageLimits.js"

/** See `InitImageSocket.requiredFrameBytes`. */
export const requiredFrameBytes = (maxBytes: number, maxMessageBytes: number): number =>
  Math.ceil(maxBytes / 3) * 4 + maxMessageBytes

/** {@link requiredFrameBytes} of the limits in the effect's context. */
export const maxFrameBytes: Effect.Effect<number> = Effect.gen(function*() {
  return requiredFrameBytes(yield* InitImageLimits.MaxBytes, yield* InitImageLimits.MaxMessageBytes)
})
