/**
 * A client's file name made safe to log and to show.
 *
 * It decides nothing and is never part of a path.
 *
 * @since 0.1.0
 * @module
 */
import type { ImageFormat } from "./ImageFormat.js"

/** Normalising is quadratic on hostile text, so it is given no more than this. UTF-16 code units. */
const maxUnits = 512

/** What most file systems take as one name. UTF-8 bytes. */
const maxUtf8Bytes = 255

/**
 * Runs of what may stay: anything but control, format, line and paragraph separator and (with the `u` flag) lone
 * surrogate characters. Bounded, so that a match costs no more than what is kept of it.
 */
const kept = /[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]{1,512}/gu

const encoder = new TextEncoder()

const lastSegment = (name: string): string => name.slice(Math.max(name.lastIndexOf("/"), name.lastIndexOf("\\")) + 1)

const keepUnits = (text: string): string => {
  let out = ""
  for (const [run] of text.matchAll(kept)) {
    out += run
    if (out.length >= maxUnits) break
  }
  return out.slice(0, maxUnits)
}

/** `encodeInto` writes whole code points only, so that what it has read is where to cut. */
const cutUtf8 = (text: string): string => text.slice(0, encoder.encodeInto(text, new Uint8Array(maxUtf8Bytes)).read)

/**
 * The display name for whatever a client gave as `name`.
 *
 * The last segment after `/` or `\`, without control, format, separator and lone surrogate characters, in Unicode
 * normalisation form C, trimmed, of at most 255 UTF-8 bytes, and never `.` or `..`. Where `name` is not a string, or
 * nothing is left of it, `init` with the format's extension.
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
    ? cutUtf8(keepUnits(lastSegment(name)).normalize("NFC").trim()).trim()
    : ""
  return clean === "" || clean === "." || clean === ".." ? `init${format.extension}` : clean
}
