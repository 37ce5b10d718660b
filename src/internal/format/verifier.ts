/**
 * Verifies an image as its bytes pass: the probe's failures as the library's errors, and the limits that only the bytes
 * can tell.
 */
import * as Option from "effect/Option"
import * as ImageFormat from "../../ImageFormat.js"
import { ContentMismatch, Empty, MalformedImage, TooLarge, TooManyPixels } from "../../InitImageError.js"
import { makeSniffingProbe, type SniffingProbe } from "./probe.js"

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
  /** The format of the signature that the bytes begin with; `undefined` until it is known. */
  readonly format: () => ImageFormat.ImageFormat | undefined
  /** Reads the next bytes: the error, if there is one by now. */
  readonly push: (bytes: Uint8Array) => E | undefined
  /** Ends the bytes. */
  readonly end: () => Verified | E
}

/** The error of a probe's failure. `format` is the declared format, or else that of the signature. */
export const toError = (
  failure: ImageFormat.ProbeFailure,
  format: ImageFormat.ImageFormat | undefined,
  maxPixels: number
): VerifyError => {
  if (failure._tag === "TooManyPixels") {
    return new TooManyPixels({ width: failure.width, height: failure.height, limit: maxPixels })
  }
  if (failure._tag === "MalformedImage" && format !== undefined) {
    return new MalformedImage({ format: format.name, reason: failure.reason })
  }
  const detected = failure._tag === "ContentMismatch" ? failure.detected : "unknown"
  return new ContentMismatch(format === undefined ? { detected } : { declared: format.name, detected })
}

/** The format of a name that a probe has found. */
export const formatOf = (name: ImageFormat.Name | undefined): ImageFormat.ImageFormat | undefined =>
  name && ImageFormat.byMime[`image/${name}`]

/** The verified image at the end of a probe, or the error. `declared` is the declared format, if there is one. */
export const endOf = (
  probe: SniffingProbe,
  declared: ImageFormat.ImageFormat | undefined,
  maxPixels: number
): Verified | VerifyError => {
  const outcome = probe.end()
  if (outcome._tag !== "Image") return toError(outcome, declared ?? formatOf(probe.format()), maxPixels)
  const { format, height, orientation, width } = outcome
  return { format: ImageFormat.byMime[`image/${format}`], header: { width, height, orientation } }
}

const make = (
  formats: ReadonlyArray<ImageFormat.Name>,
  declared: ImageFormat.ImageFormat | undefined,
  maxPixels: number
): Verifier<VerifyError> => {
  const probe = makeSniffingProbe({ maxPixels, formats })
  const format = () => formatOf(probe.format())
  return {
    format,
    push: (bytes) => {
      const failure = probe.push(bytes)
      return failure === undefined ? undefined : toError(failure, declared ?? format(), maxPixels)
    },
    end: () => endOf(probe, declared, maxPixels)
  }
}

/**
 * A verifier of an image of the `declared` format or, without one, of any `accepted` format, after its size has been
 * checked.
 */
export const makeDeclared = (
  declared: Option.Option<ImageFormat.ImageFormat>,
  accepted: ReadonlyArray<ImageFormat.Mime>,
  maxPixels: number
): Verifier<VerifyError> =>
  Option.isSome(declared)
    ? make([declared.value.name], declared.value, maxPixels)
    : make(accepted.map((mime) => ImageFormat.byMime[mime].name), undefined, maxPixels)

const empty = new Empty()

/**
 * A verifier of bytes whose number is not known beforehand: also refuses an empty image, and one of more than `maxBytes`.
 */
export const counting = (
  verifier: Verifier<VerifyError>,
  maxBytes: number
): Verifier<VerifyError | TooLarge | Empty> => {
  let bytes = 0
  return {
    format: verifier.format,
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
