/**
 * Makes a client's file name safe to log and to display.
 *
 * A display name influences no decision and is never part of a path.
 *
 * @since 0.1.0
 * @module
 */
import type { ImageFormat } from "./ImageFormat.js"

/** The most UTF-16 code units that are normalized: normalization is quadratic on hostile text. */
const maximumUnits = 512

/** The most UTF-8 bytes of a display name: the limit of most file systems for a file name. */
const maximumUtf8Bytes = 255

/**
 * Runs of allowed characters: no control, format, line separator, paragraph separator or (with the `u` flag) lone
 * surrogate characters. The length of a run is bounded, so that a match never reads far beyond `maximumUnits`.
 */
const allowedRuns = /[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]{1,512}/gu

const encoder = new TextEncoder()

const lastSegment = (name: string): string => name.slice(Math.max(name.lastIndexOf("/"), name.lastIndexOf("\\")) + 1)

const removeInvisible = (text: string): string => {
  let out = ""
  for (const [run] of text.matchAll(allowedRuns)) {
    out += run
    if (out.length >= maximumUnits) break
  }
  return out.slice(0, maximumUnits)
}

/** Cuts on a code-point boundary: `encodeInto` writes whole code points only and returns the number of units read. */
const cutUtf8 = (text: string): string => text.slice(0, encoder.encodeInto(text, new Uint8Array(maximumUtf8Bytes)).read)

/**
 * Makes a display name from a client's `name`, which may be any value.
 *
 * Takes the last segment after `/` or `\`, removes control, format, separator and lone surrogate characters, normalizes
 * to Unicode NFC, trims, and cuts to 255 UTF-8 bytes. Falls back to `init` with the format's extension if `name` is not a
 * string, or if the result is empty, `.` or `..`.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { DisplayName, ImageFormat } from "session-init-image"
 *
 * DisplayName.fromUnknown("C:\\pictures\\caf\u0065\u0301.png", ImageFormat.png) // "café.png"
 * DisplayName.fromUnknown("../..", ImageFormat.png) // "init.png"
 * DisplayName.fromUnknown(42, ImageFormat.jpeg) // "init.jpg"
 * ```
 */
export const fromUnknown = (name: unknown, format: ImageFormat): string => {
  const clean = typeof name === "string"
    ? cutUtf8(removeInvisible(lastSegment(name)).normalize("NFC").trim()).trim()
    : ""
  return clean === "" || clean === "." || clean === ".." ? `init${format.extension}` : clean
}
