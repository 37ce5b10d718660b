/**
 * Verifies an image as its bytes pass: the probe's failures as the library's errors, and the limits that only the bytes
 * can tell.
 */
import * as ImageFormat from "../../ImageFormat.js"
import { ContentMismatch, Empty, MalformedImage, TooLarge, TooManyPixels } from "../../InitImageError.js"

export type VerifyError = ContentMismatch | MalformedImage | TooManyPixels

/** A verified image. */
export interface Verified {
  readonly format: ImageFormat.ImageFormat
  readonly header: ImageFormat.ImageHeader
}

export const isVerified = <E>(end: Verified | E): end is Verified =>
  typeof end === "object" && end !== null && "header" in end

/**
 * Reads an image as it passes. The answers depend on the bytes and not on where the chunks are cut. Mutable, for one
 * image.
 */
export interface Verifier<out E> {
  /** Whether the bytes are known to start with the declared format's signature. */
  readonly signatureMatched: () => boolean
  /** Reads the next bytes: the error, if there is one by now. */
  readonly push: (bytes: Uint8Array) => E | undefined
  /** Ends the bytes. */
  readonly end: () => Verified | E
}

/** The error of a probe's failure, for an image declared as `declared`. */
export const toError = (
  failure: ImageFormat.ProbeFailure,
  declared: ImageFormat.ImageFormat,
  maxPixels: number
): VerifyError => {
  switch (failure._tag) {
    case "ContentMismatch":
      return new ContentMismatch({ declared: declared.name, detected: failure.detected })
    case "MalformedImage":
      return new MalformedImage({ format: declared.name, reason: failure.reason })
    case "TooManyPixels":
      return new TooManyPixels({ width: failure.width, height: failure.height, limit: maxPixels })
  }
}

/** A verifier of an image declared as `format`, after its size has been checked. */
export const make = (format: ImageFormat.ImageFormat, maxPixels: number): Verifier<VerifyError> => {
  const probe = ImageFormat.makeProbe(format, { maxPixels })
  return {
    signatureMatched: probe.signatureMatched,
    push: (bytes) => {
      const failure = probe.push(bytes)
      return failure === undefined ? undefined : toError(failure, format, maxPixels)
    },
    end: () => {
      const outcome = probe.end()
      return outcome._tag === "Image"
        ? { format, header: { width: outcome.width, height: outcome.height, orientation: outcome.orientation } }
        : toError(outcome, format, maxPixels)
    }
  }
}

const empty = new Empty()

/** {@link make} for bytes whose number is not known beforehand: also refuses an empty image, and one of more than `maxBytes`. */
export const makeCounting = (
  format: ImageFormat.ImageFormat,
  maxPixels: number,
  maxBytes: number
): Verifier<VerifyError | TooLarge | Empty> => {
  const verifier = make(format, maxPixels)
  let bytes = 0
  return {
    signatureMatched: verifier.signatureMatched,
    push: (chunk) => {
      const allowed = maxBytes - bytes
      bytes += chunk.length
      // A failure in the bytes that are allowed comes before the first byte that is not.
      return chunk.length <= allowed
        ? verifier.push(chunk)
        : verifier.push(chunk.subarray(0, allowed)) ??
          new TooLarge({ bytes: Math.floor(maxBytes) + 1, limit: maxBytes })
    },
    end: () => bytes === 0 ? empty : verifier.end()
  }
}
