/**
 * The probe's verdict as the library's errors, and the limits that only the bytes can tell.
 */
import * as Effect from "effect/Effect"
import * as ImageFormat from "../../ImageFormat.js"
import { ContentMismatch, Empty, MalformedImage, TooLarge, TooManyPixels } from "../../InitImageError.js"
import * as InitImageLimits from "../../InitImageLimits.js"

export type VerifyError = ContentMismatch | MalformedImage | TooManyPixels

/** What the bytes turned out to be. */
export interface Verified {
  readonly header: ImageFormat.ImageHeader
  readonly bytes: number
}

/**
 * Reads an image as it passes. Depends on the bytes and not on how they are cut; mutable, for one image.
 */
export interface Verifier<out E> {
  /** Whether the bytes have been found to begin as declared. */
  readonly begun: () => boolean
  /** Reads the next bytes: what is wrong with the image so far, if anything. */
  readonly push: (bytes: Uint8Array) => E | undefined
  readonly end: () => Effect.Effect<Verified, E>
}

/** For bytes whose number has been checked already. */
export const make = (format: ImageFormat.ImageFormat): Effect.Effect<Verifier<VerifyError>> =>
  Effect.map(InitImageLimits.MaxPixels, (maxPixels) => {
    const probe = ImageFormat.makeProbe(format, { maxPixels })
    let bytes = 0
    const toError = (failure: ImageFormat.ProbeFailure): VerifyError => {
      switch (failure._tag) {
        case "ContentMismatch":
          return new ContentMismatch({ declared: format.name, detected: failure.detected })
        case "MalformedImage":
          return new MalformedImage({ format: format.name, reason: failure.reason })
        case "TooManyPixels":
          return new TooManyPixels({ width: failure.width, height: failure.height, limit: maxPixels })
      }
    }
    return {
      begun: probe.begun,
      push: (chunk) => {
        bytes += chunk.length
        const failure = probe.push(chunk)
        return failure === undefined ? undefined : toError(failure)
      },
      end: () => {
        const verdict = probe.end()
        return verdict._tag === "Image"
          ? Effect.succeed({
            header: { width: verdict.width, height: verdict.height, orientation: verdict.orientation },
            bytes
          })
          : toError(verdict)
      }
    }
  })

const empty = new Empty()

/** For bytes whose number is not known beforehand: also counts them, up to `limit`. */
export const makeCounting = (
  format: ImageFormat.ImageFormat,
  limit: number
): Effect.Effect<Verifier<VerifyError | TooLarge | Empty>> =>
  Effect.map(make(format), (verifier) => {
    let bytes = 0
    return {
      begun: verifier.begun,
      push: (chunk) => {
        const allowed = limit - bytes
        bytes += chunk.length
        // What is wrong with the bytes that are allowed comes before the first that is not.
        return chunk.length <= allowed
          ? verifier.push(chunk)
          : verifier.push(chunk.subarray(0, allowed)) ?? new TooLarge({ bytes: Math.floor(limit) + 1, limit })
      },
      end: () => bytes === 0 ? empty : verifier.end()
    }
  })
