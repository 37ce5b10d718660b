/** The results of reading an image's structure, as plain values. `verifier.ts` turns failures into public errors. */

/** The detectable types. Closed, because clients receive them. */
export const detectable = [
  "png",
  "jpeg",
  "webp",
  "gif",
  "heic",
  "avif",
  "bmp",
  "tiff",
  "svg",
  "ico",
  "jxl",
  "jp2",
  "psd",
  "pdf",
  "cr3",
  "mp4",
  "webm",
  "zip",
  "gzip",
  "html",
  "xml",
  "unknown"
] as const

export type Detected = (typeof detectable)[number]

/** An accepted format. `ImageFormat` holds its media type and file extension, `table.ts` its signature and parser. */
export type Name = "png" | "jpeg" | "webp"

/** Why an image's structure is refused. Closed, because clients receive it. */
export const malformedReasons = [
  "Truncated",
  "BadHeader",
  "BadChecksum",
  "BadLength",
  "ZeroDimension",
  "MissingHeader",
  "MissingTable",
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

/** Why bytes are refused: another file type, a broken structure, or too many pixels. */
export type ProbeFailure =
  | { readonly _tag: "ContentMismatch"; readonly detected: Detected }
  | { readonly _tag: "MalformedImage"; readonly reason: MalformedReason }
  | { readonly _tag: "TooManyPixels"; readonly width: number; readonly height: number }

/** The result of a probe at the end of the bytes: the image's header, or the failure. */
export type ProbeOutcome = ({ readonly _tag: "Image" } & ImageHeader) | ProbeFailure

/**
 * Reads an image's structure from chunks of any size.
 *
 * The result depends on the bytes alone, not on the chunk boundaries: the `push` that brings the first byte at which a
 * failure is certain returns that failure.
 */
export interface PushParser {
  /** Reads the next bytes without keeping or changing them. Every call after a failure returns the same failure. */
  readonly push: (bytes: Uint8Array) => ProbeFailure | undefined
  /** Ends the bytes and returns the result. */
  readonly end: () => ProbeOutcome
}
