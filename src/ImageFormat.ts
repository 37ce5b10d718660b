/**
 * The accepted image formats, the detection of file types, and a probe that reads an image's size and structure from
 * chunks of its bytes.
 *
 * Pure. Runs in browsers too.
 *
 * @since 0.1.0
 * @module
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { mediaTypes, nameOf } from "./internal/format/mediaType.js"
import * as outcome from "./internal/format/outcome.js"
import * as probe from "./internal/format/probe.js"
import * as signature from "./internal/format/signature.js"

/**
 * The schema of a format's name.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Name = Schema.Literal("png", "jpeg", "webp")

/**
 * A format's name.
 *
 * @since 0.1.0
 * @category models
 */
export type Name = typeof Name.Type

/**
 * The schema of a format's media type, in its canonical spelling.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Mime = Schema.Literal("image/png", "image/jpeg", "image/webp")

/**
 * A format's media type, in its canonical spelling.
 *
 * @since 0.1.0
 * @category models
 */
export type Mime = typeof Mime.Type

// Not exported, so that no other module can make an `ImageFormat`.
const TypeId: unique symbol = Symbol.for("session-init-image/ImageFormat")

/**
 * An accepted image format. Opaque: `png`, `jpeg` and `webp` are the only values.
 *
 * @since 0.1.0
 * @category models
 */
export interface ImageFormat {
  readonly [TypeId]: typeof TypeId
  readonly name: Name
  readonly mime: Mime
  /** The extension of a file's name, with its dot. */
  readonly extension: ".png" | ".jpg" | ".webp"
  /** Other media types that clients send for the format, in lower case. */
  readonly aliases: ReadonlyArray<string>
}

/**
 * PNG and APNG, as in the W3C's PNG specification, third edition.
 *
 * @since 0.1.0
 * @category formats
 */
export const png: ImageFormat = {
  [TypeId]: TypeId,
  name: "png",
  mime: "image/png",
  extension: ".png",
  aliases: mediaTypes.png.slice(1)
}

/**
 * JPEG, as in ITU-T T.81: baseline, extended and progressive processes of 8 bits, with Huffman or arithmetic coding.
 *
 * @since 0.1.0
 * @category formats
 */
export const jpeg: ImageFormat = {
  [TypeId]: TypeId,
  name: "jpeg",
  mime: "image/jpeg",
  extension: ".jpg",
  aliases: mediaTypes.jpeg.slice(1)
}

/**
 * WebP, as in RFC 9649: lossy, lossless, extended and animated.
 *
 * @since 0.1.0
 * @category formats
 */
export const webp: ImageFormat = {
  [TypeId]: TypeId,
  name: "webp",
  mime: "image/webp",
  extension: ".webp",
  aliases: mediaTypes.webp.slice(1)
}

/**
 * All accepted formats.
 *
 * @since 0.1.0
 * @category formats
 */
export const formats = [png, jpeg, webp] as const

/**
 * All accepted formats by their canonical media type. `fromMime` takes any other spelling.
 *
 * @since 0.1.0
 * @category formats
 */
export const byMime: Readonly<Record<Mime, ImageFormat>> = { "image/png": png, "image/jpeg": jpeg, "image/webp": webp }

const byName: Readonly<Record<Name, Option.Option<ImageFormat>>> = {
  png: Option.some(png),
  jpeg: Option.some(jpeg),
  webp: Option.some(webp)
}

/**
 * Finds the format of a media type, or `None`.
 *
 * Parameters and the white space around the type are ignored (RFC 9110 section 8.3.1), and ASCII letters are compared
 * without case. `image/x-png` is an alias of `image/png`; `image/jpg` and `image/pjpeg` are aliases of `image/jpeg`. Takes
 * constant time for a text of any length.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromMime = (mime: string): Option.Option<ImageFormat> => {
  const name = nameOf(mime)
  return name === undefined ? Option.none() : byName[name]
}

/**
 * The schema of the file types that `detect` returns.
 *
 * `heic` includes all HEIF images but AVIF, `cr3` Canon's raw images, `mp4` all other ISO base media files, `zip` the
 * formats built on ZIP, `ico` cursors, and `tiff` camera files with a TIFF header.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Detected = Schema.Literal(...outcome.detectable)

/**
 * A file type that `detect` returns, or `unknown`.
 *
 * @since 0.1.0
 * @category models
 */
export type Detected = typeof Detected.Type

/**
 * The most bytes that `detect` reads: 8192.
 *
 * @since 0.1.0
 * @category detection
 */
export const detectBytes: number = signature.detectBytes

/**
 * Detects the type of the file that begins with these bytes, as in the WHATWG's MIME Sniffing standard and the formats'
 * own. Reads at most the first `detectBytes` bytes and returns `unknown` for any other content.
 *
 * @function
 * @since 0.1.0
 * @category detection
 */
export const detect: (bytes: Uint8Array) => Detected = signature.detect

/**
 * The schema of the reasons for which an image's structure is refused.
 *
 * @since 0.1.0
 * @category schemas
 */
export const MalformedReason = Schema.Literal(...outcome.malformedReasons)

/**
 * Why an image's structure is refused.
 *
 * @since 0.1.0
 * @category models
 */
export type MalformedReason = typeof MalformedReason.Type

export type {
  /**
   * An image's width and height in pixels, as stored, and its orientation.
   *
   * @since 0.1.0
   * @category models
   */
  ImageHeader,
  /**
   * The rotation and mirroring that show an image upright, as EXIF 2.32, tag 0x0112, numbers them; 1 is upright.
   *
   * @since 0.1.0
   * @category models
   */
  Orientation,
  /**
   * Why bytes are refused: another file type, a broken structure, or too many pixels.
   *
   * @since 0.1.0
   * @category models
   */
  ProbeFailure,
  /**
   * The result of a probe at the end of the bytes: the image's header, or the failure.
   *
   * @since 0.1.0
   * @category models
   */
  ProbeOutcome
} from "./internal/format/outcome.js"

export type {
  /**
   * Reads an image's structure from chunks of any size.
   *
   * @since 0.1.0
   * @category models
   */
  ImageProbe
} from "./internal/format/probe.js"

/**
 * Makes a probe for one image of a declared format with at most `maxPixels` pixels (width × height).
 *
 * `push` reads a chunk and returns a `ProbeFailure` once one is certain; `end` returns the image's header or the failure.
 * The time is linear in the number of bytes, the memory a few kilobytes, and the result does not depend on the chunk
 * boundaries. Bytes after the image's end are ignored, and so is the lack of a PNG's last checksum. The coded pixels are
 * not decoded: an image that passes can still be broken within them.
 *
 * @since 0.1.0
 * @category probing
 * @example
 * ```ts
 * import { ImageFormat } from "session-init-image"
 *
 * const probe = ImageFormat.makeProbe(ImageFormat.png, { maxPixels: 89_478_485 })
 * probe.push(new TextEncoder().encode("GIF89a"))
 * console.log(probe.end()) // { _tag: "ContentMismatch", detected: "gif" }
 * ```
 */
export const makeProbe = (
  format: ImageFormat,
  options: { readonly maxPixels: number }
): probe.ImageProbe => probe.makeProbe(format.name, options)
