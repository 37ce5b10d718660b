/**
 * What a format's parser says of an image's bytes, as plain values: the public errors are made from them in one place.
 */
import type { Detected } from "./signature.js"

/** Why an image's structure is refused. Closed: it is encoded to clients. */
export const malformedReasons = [
  "Truncated",
  "BadHeader",
  "BadChecksum",
  "BadLength",
  "ZeroDimension",
  "MissingHeader",
  "MissingImageData",
  "UnexpectedSegment",
  "UnsupportedProcess"
] as const

export type MalformedReason = (typeof malformedReasons)[number]

/** EXIF 2.32, tag 0x0112. 1 is upright. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8

/** `width` and `height` in pixels as stored, before the orientation is applied. */
export interface ImageHeader {
  readonly width: number
  readonly height: number
  readonly orientation: Orientation
}

/** Why bytes are refused: they are of another type, broken, or have too many pixels. */
export type ProbeFailure =
  | { readonly _tag: "ContentMismatch"; readonly detected: Detected }
  | { readonly _tag: "MalformedImage"; readonly reason: MalformedReason }
  | { readonly _tag: "TooManyPixels"; readonly width: number; readonly height: number }

/** What a probe answers at the end: the image, or why it is refused. */
export type ProbeOutcome = ({ readonly _tag: "Image" } & ImageHeader) | ProbeFailure

/**
 * Reads an image's structure as it passes, in chunks of any size.
 *
 * What it answers depends on the bytes and never on where the chunks are cut: a failure is reported by the push that
 * brings the first byte at which it is certain.
 */
export interface ImageParsing {
  /** Reads the next bytes, which it neither keeps nor changes. After a failure it answers that failure for ever. */
  readonly push: (bytes: Uint8Array) => ProbeFailure | undefined
  /** The end of the bytes: what the image is, or why it is refused. */
  readonly end: () => ProbeOutcome
}

/** The same from the image's very first byte: before its structure, whether it is of the declared type at all. */
export interface ImageProbe extends ImageParsing {
  /** Whether the bytes have been found to begin as declared: until then nothing is known of them. */
  readonly begun: () => boolean
}
