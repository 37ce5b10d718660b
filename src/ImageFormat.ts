/**
 * The image formats that are taken, and what tells them apart: their names, and a probe that reads an image's size and
 * structure from its bytes as they pass.
 *
 * Pure, and without anything that a browser does not have.
 *
 * @since 0.1.0
 * @module
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Parser } from "./internal/format/byteReader.js"
import { run } from "./internal/format/byteReader.js"
import { jpegSignature, parseJpeg } from "./internal/format/jpeg.js"
import { parsePng, pngSignature } from "./internal/format/png.js"
import * as probe from "./internal/format/probe.js"
import * as signature from "./internal/format/signature.js"
import { parseWebp, webpSignature } from "./internal/format/webp.js"

/**
 * A format's name.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Name = Schema.Literal("png", "jpeg", "webp")

/**
 * @since 0.1.0
 * @category models
 */
export type Name = typeof Name.Type

/**
 * A format's media type, in the one spelling that results use.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Mime = Schema.Literal("image/png", "image/jpeg", "image/webp")

/**
 * @since 0.1.0
 * @category models
 */
export type Mime = typeof Mime.Type

/**
 * What is known of a format. There are no others than those of `formats`.
 *
 * @since 0.1.0
 * @category models
 */
export interface ImageFormat {
  readonly name: Name
  readonly mime: Mime
  /** Of a file's name, with its dot. */
  readonly extension: ".png" | ".jpg" | ".webp"
  /** Other media types that clients send for it, in lower case. */
  readonly aliases: ReadonlyArray<string>
  /** @internal */
  readonly signature: signature.Signature
  /** @internal */
  readonly parser: Parser
}

/**
 * PNG and APNG, after the W3C's PNG specification, third edition.
 *
 * @since 0.1.0
 * @category formats
 */
export const png: ImageFormat = {
  name: "png",
  mime: "image/png",
  extension: ".png",
  aliases: [],
  signature: pngSignature,
  parser: parsePng
}

/**
 * JPEG, after ITU-T T.81: baseline, extended and progressive, by Huffman or arithmetic coding.
 *
 * @since 0.1.0
 * @category formats
 */
export const jpeg: ImageFormat = {
  name: "jpeg",
  mime: "image/jpeg",
  extension: ".jpg",
  aliases: ["image/jpg"],
  signature: jpegSignature,
  parser: parseJpeg
}

/**
 * WebP, after RFC 9649: lossy, lossless, extended and animated.
 *
 * @since 0.1.0
 * @category formats
 */
export const webp: ImageFormat = {
  name: "webp",
  mime: "image/webp",
  extension: ".webp",
  aliases: [],
  signature: webpSignature,
  parser: parseWebp
}

/**
 * Every format. Another one is an entry here and its literals above; the compiler then asks for the look-up below.
 *
 * @since 0.1.0
 * @category formats
 */
export const formats = [png, jpeg, webp] as const

/**
 * Each format by its media type, in the spelling that results use; see `fromMime` for any other text.
 *
 * @since 0.1.0
 * @category formats
 */
export const byMime: Readonly<Record<Mime, ImageFormat>> = { "image/png": png, "image/jpeg": jpeg, "image/webp": webp }

const bySpelling: ReadonlyMap<string, Option.Option<ImageFormat>> = new Map(
  formats.flatMap((format) => [format.mime, ...format.aliases].map((mime) => [mime, Option.some(format)] as const))
)

const maxMimeLength = Math.max(...Array.from(bySpelling.keys(), (mime) => mime.length))

/**
 * The format that a media type names, if it is one of `formats`. ASCII letters are compared without case; parameters and
 * white space are not taken off. `image/jpg` is JPEG. A text of any length is answered in constant time.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromMime = (mime: string): Option.Option<ImageFormat> =>
  mime.length > maxMimeLength
    ? Option.none()
    : bySpelling.get(mime.replace(/[A-Z]/g, (letter) => letter.toLowerCase())) ?? Option.none()

/**
 * The types of file that `detect` tells apart. `heic` is all of HEIF but AVIF, `mp4` all other ISO base media files, `zip`
 * also what is built on it, `ico` also cursors, and `tiff` also camera files that begin like one.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Detected = Schema.Literal(...signature.detectable)

/**
 * @since 0.1.0
 * @category models
 */
export type Detected = typeof Detected.Type

/**
 * How many bytes `detect` looks at.
 *
 * @since 0.1.0
 * @category detection
 */
export const detectBytes: number = signature.detectBytes

/**
 * What type of file begins with these bytes: of them, the first `detectBytes` are looked at. Total.
 *
 * @since 0.1.0
 * @category detection
 */
export const detect: (bytes: Uint8Array) => Detected = signature.detect

/**
 * Why an image's structure is refused.
 *
 * @since 0.1.0
 * @category schemas
 */
export const MalformedReason = Schema.Literal(...probe.malformedReasons)

/**
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
   * Reads an image as its bytes pass, in chunks of any size.
   *
   * @since 0.1.0
   * @category models
   */
  ImageProbe,
  /**
   * How an image is to be turned to stand upright, by EXIF 2.32, tag 0x0112.
   *
   * @since 0.1.0
   * @category models
   */
  Orientation,
  /**
   * Why bytes are refused: they are of another type, broken, or have too many pixels.
   *
   * @since 0.1.0
   * @category models
   */
  ProbeFailure,
  /**
   * What a probe answers at the end: the image, or why it is refused.
   *
   * @since 0.1.0
   * @category models
   */
  ProbeOutcome
} from "./internal/format/probe.js"

/**
 * A probe of one image that is said to be of `format`, with at most `maxPixels` pixels (width × height).
 *
 * The bytes go through `push`, and `end` gives the image's header or why it is refused. Time is linear in the bytes,
 * memory a few kilobytes whatever they say, and the answer does not depend on how they are cut into chunks. Data after
 * the image's end is not looked at.
 *
 * @since 0.1.0
 * @category probing
 * @example
 * ```ts
 * import { ImageFormat } from "session-init-image"
 *
 * const probe = ImageFormat.makeProbe(ImageFormat.png, { maxPixels: 50_000_000 })
 * probe.push(new TextEncoder().encode("GIF89a"))
 * console.log(probe.end()) // { _tag: "ContentMismatch", detected: "gif" }
 * ```
 */
export const makeProbe = (
  format: ImageFormat,
  options: { readonly maxPixels: number }
): probe.ImageProbe => {
  const parsing = run(format.parser, options.maxPixels)
  const head = new Uint8Array(detectBytes)
  let length = 0
  let matches = false
  let mismatch: probe.ProbeFailure | undefined

  // Bytes that do not begin as declared are collected until what they are no longer depends on how many have come.
  const pushHead = (bytes: Uint8Array): probe.ProbeFailure | undefined => {
    const taken = bytes.subarray(0, detectBytes - length)
    head.set(taken, length)
    length += taken.length
    const come = head.subarray(0, length)
    matches = signature.startsWith(come, format.signature)
    if (matches) {
      return parsing.push(come) ?? parsing.push(bytes.subarray(taken.length))
    }
    if (length === detectBytes) {
      mismatch = { _tag: "ContentMismatch", detected: detect(head) }
    }
    return mismatch
  }

  return {
    begun: () => matches,
    push: (bytes) => matches ? parsing.push(bytes) : mismatch ?? pushHead(bytes),
    end: () =>
      matches ? parsing.end() : mismatch ??= { _tag: "ContentMismatch", detected: detect(head.subarray(0, length)) }
  }
}
