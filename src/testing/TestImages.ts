/**
 * Small pictures made in memory, one of each refusal, and arbitraries of both.
 *
 * @since 0.1.0
 * @module
 */
import * as FastCheck from "effect/FastCheck"
import { Buffer } from "node:buffer"
import * as ImageFormat from "../ImageFormat.js"
import {
  BadBase64,
  ContentMismatch,
  Empty,
  type InitImageError,
  InvalidMime,
  InvalidPayload,
  MalformedImage,
  TooLarge,
  TooManyPixels
} from "../InitImageError.js"
import * as InitImageLimits from "../InitImageLimits.js"
import { ascii, type Bytes, bytes, concat, noise } from "./internal/bytes.js"
import * as images from "./internal/images.js"

/**
 * The JSON of an init image, as a client sends it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Payload {
  readonly mime?: string
  readonly name: string
  readonly data: string
}

/**
 * A picture, as a file and as a payload.
 *
 * @since 0.1.0
 * @category models
 */
export interface Picture {
  readonly mime: ImageFormat.Mime
  /** The client's name for the file. */
  readonly name: string
  /** In pixels, as stored. */
  readonly width: number
  /** In pixels, as stored. */
  readonly height: number
  /** The turn that makes the stored picture upright: EXIF 2.32 tag 0x0112. */
  readonly orientation: ImageFormat.Orientation
  /** The whole file. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** The bytes in base64 (RFC 4648 section 4). */
  readonly base64: string
  /** The JSON that a client sends. */
  readonly payload: Payload
}

/**
 * A payload that is refused with `error`, under the default limits.
 *
 * @since 0.1.0
 * @category models
 */
export interface RefusedPayload {
  readonly payload: unknown
  readonly error: InitImageError
}

/**
 * An object of the right form that is refused for its `mime` or its text.
 *
 * @since 0.1.0
 * @category models
 */
export interface RefusedText extends RefusedPayload {
  /** The payload's `data`. */
  readonly base64: string
  readonly payload: Payload
}

/**
 * A file that is refused, also as a request's body or as a form's file of the type `mime`.
 *
 * @since 0.1.0
 * @category models
 */
export interface RefusedImage extends RefusedText {
  readonly mime: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

/**
 * The size of a picture.
 *
 * @since 0.1.0
 * @category models
 */
export interface PictureOptions {
  /** In pixels, from 1 to 16,384; 1 by default. */
  readonly width?: number | undefined
  /** In pixels, from 1 to 16,384; 1 by default. */
  readonly height?: number | undefined
  /** The exact size of the file, in bytes; the smallest that the format allows by default. */
  readonly bytes?: number | undefined
  /** EXIF 2.32 tag 0x0112; absent by default. */
  readonly orientation?: ImageFormat.Orientation | undefined
}

const toBase64 = (all: Uint8Array): string => Buffer.from(all.buffer, all.byteOffset, all.length).toString("base64")

/** Encodes a file when it is first asked for: one that is too large takes 43 MiB of text. */
abstract class File {
  abstract readonly bytes: Bytes
  abstract readonly name: string
  abstract readonly mime: string
  #base64: string | undefined

  get base64(): string {
    return this.#base64 ??= toBase64(this.bytes)
  }

  get payload(): Payload {
    return { mime: this.mime, name: this.name, data: this.base64 }
  }
}

class PictureFile extends File implements Picture {
  readonly name: string
  readonly mime: ImageFormat.Mime
  readonly width: number
  readonly height: number
  readonly orientation: ImageFormat.Orientation
  readonly bytes: Bytes

  constructor(format: ImageFormat.ImageFormat, { height = 1, orientation = 1, width = 1 }: PictureOptions, all: Bytes) {
    super()
    this.mime = format.mime
    this.name = `picture${format.extension}`
    this.width = width
    this.height = height
    this.orientation = orientation
    this.bytes = all
  }
}

class RefusedFile extends File implements RefusedImage {
  readonly name = "refused"
  readonly mime: string
  readonly error: InitImageError
  readonly #make: () => Bytes
  #bytes: Bytes | undefined

  constructor(mime: string, make: () => Bytes, error: InitImageError) {
    super()
    this.mime = mime
    this.#make = make
    this.error = error
  }

  get bytes(): Bytes {
    return this.#bytes ??= this.#make()
  }
}

/** The largest width and height of a lossless WebP (RFC 9649 section 3.4), the smallest maximum of the formats. */
const maxSide = 16_384

const checkSide = (name: string, value: number | undefined): void => {
  if (value !== undefined && !(Number.isInteger(value) && value >= 1 && value <= maxSide)) {
    throw new RangeError(`${name} must be a whole number from 1 to ${maxSide}`)
  }
}

/** The size of one extra part of a file besides its padding, and how to build a file with such parts. */
interface Padding {
  readonly overhead: number
  readonly build: (padding: Bytes) => Bytes
}

/** Pads a file to a size; bytes too few for a part follow the end of the image. */
const pad = (smallest: Bytes, size: number | undefined, { build, overhead }: Padding): Bytes => {
  if (size === undefined) return smallest
  if (!Number.isInteger(size) || size < smallest.length) {
    throw new RangeError(`bytes must be a whole number from ${smallest.length} for this picture`)
  }
  const room = size - smallest.length
  const image = room < overhead ? smallest : build(noise(room - overhead))
  return image.length === size ? image : concat(image, new Uint8Array(size - image.length))
}

const make = (
  format: ImageFormat.ImageFormat,
  options: PictureOptions,
  build: (parts: { readonly width: number; readonly height: number; readonly orientation?: number }) => Bytes
): Picture => {
  checkSide("width", options.width)
  checkSide("height", options.height)
  const { height = 1, orientation, width = 1 } = options
  return new PictureFile(format, options, build({ width, height, ...orientation === undefined ? {} : { orientation } }))
}

/**
 * Makes a black PNG. Throws a `RangeError` for a size that no such picture has.
 *
 * @since 0.1.0
 * @category constructors
 */
export const png = (options: PictureOptions = {}): Picture =>
  make(ImageFormat.png, options, (parts) => {
    // One bit a pixel, and a filter byte in each row.
    const data = new Uint8Array((1 + Math.ceil(parts.width / 8)) * parts.height)
    const build = (...chunks: ReadonlyArray<Bytes>) => images.png({ ...parts, bitDepth: 1, data, chunks })
    return pad(build(), options.bytes, { overhead: 12, build: (padding) => build(images.pngChunk("paDd", padding)) })
  })

/** The most bytes of a JPEG segment, with its length and without its marker (ITU-T T.81, B.1.1.4). */
const maxSegment = 0xffff

const comments = (padding: Bytes): ReadonlyArray<Bytes> => {
  const segments: Array<Bytes> = []
  for (let at = 0; at < padding.length;) {
    const length = Math.min(padding.length - at - 2, maxSegment)
    if (length < 2) break
    segments.push(images.segment(0xfe, padding.subarray(at + 4, at + 2 + length)))
    at += 2 + length
  }
  return segments
}

/**
 * Makes a grey JPEG. Throws a `RangeError` for a size that no such picture has.
 *
 * @since 0.1.0
 * @category constructors
 */
export const jpeg = (options: PictureOptions = {}): Picture =>
  make(ImageFormat.jpeg, options, (parts) =>
    pad(images.jpeg(parts), options.bytes, {
      overhead: 0,
      build: (padding) => images.jpeg({ ...parts, segments: comments(padding) })
    }))

/** The extended header that makes room for a further chunk, and the header of that. */
const webpOverhead = 18 + 8

/**
 * Makes a black WebP. Throws a `RangeError` for a size that no such picture has.
 *
 * @since 0.1.0
 * @category constructors
 */
export const webp = (options: PictureOptions = {}): Picture =>
  make(ImageFormat.webp, options, (parts) =>
    pad(images.webp(parts), options.bytes, {
      overhead: parts.orientation === undefined ? webpOverhead : 8,
      // Chunks have an even length.
      build: (padding) =>
        images.webp({ ...parts, chunks: [images.webpChunk("paDd", padding.subarray(0, padding.length & ~1))] })
    }))

const makers = { png, jpeg, webp }

const refuse = (mime: string, error: InitImageError, make: () => Bytes): RefusedImage =>
  new RefusedFile(mime, make, error)

const malformed = (
  format: ImageFormat.ImageFormat,
  reason: MalformedImage["reason"],
  ...parts: ReadonlyArray<Uint8Array>
): RefusedImage => refuse(format.mime, new MalformedImage({ format: format.name, reason }), () => concat(...parts))

const invalid = (reason: InvalidPayload["reason"], payload: unknown): RefusedPayload => ({
  payload,
  error: new InvalidPayload({ reason })
})

const text = (error: InitImageError, payload: Payload): RefusedText => ({ base64: payload.data, payload, error })

const badBase64 = (reason: BadBase64["reason"], data: string, offset?: number): RefusedText =>
  text(new BadBase64({ reason, ...offset === undefined ? {} : { offset } }), {
    mime: "image/png",
    name: "refused",
    data
  })

const accepted = ImageFormat.Mime.literals
const maxBytes = InitImageLimits.MaxBytes.defaultValue()
const maxPixels = InitImageLimits.MaxPixels.defaultValue()
const whole = png()
const unpadded = "iVBORw0KGgo"
const end = images.pngChunk("IEND")
const header = images.ihdr()

/**
 * One of each refusal that a payload or a file can meet under the default limits, named after the error's `reason`, or
 * after its tag where it has none. `error` is the failure of `SessionInitImage.persist`.
 *
 * A picture that is too large for a test's own limit is quick to make: `TestImages.png({ bytes: 1025 })`. `tooLarge` here
 * has 32 MiB, made when it is first asked for.
 *
 * @since 0.1.0
 * @category constructors
 */
export const refused = {
  notAnObject: invalid("NotAnObject", whole.base64),
  notJsonValue: invalid("NotJsonValue", new Blob([whole.bytes], { type: whole.mime })),
  dataNotAString: invalid("DataNotAString", { ...whole.payload, data: Array.from(whole.bytes) }),
  mimeMissing: text(
    new InvalidMime({ reason: "Missing", accepted }),
    { name: "refused", data: whole.base64 }
  ),
  mimeNotAccepted: refuse("image/gif", new InvalidMime({ reason: "NotAccepted", accepted }), () => ascii("GIF89a")),
  empty: refuse("image/png", new Empty(), () => bytes()),
  tooLarge: refuse(
    "image/png",
    new TooLarge({ bytes: maxBytes + 1, limit: maxBytes }),
    () => png({ bytes: maxBytes + 1 }).bytes
  ),
  tooManyPixels: refuse(
    "image/webp",
    new TooManyPixels({ width: maxSide, height: maxSide, limit: maxPixels }),
    () => webp({ width: maxSide, height: maxSide }).bytes
  ),
  base64Length: badBase64("Length", "iVBORw0KGgoA="),
  base64Unpadded: badBase64("Unpadded", unpadded, unpadded.length),
  base64Character: badBase64("Character", "iVBO!w0K", 4),
  base64DataUrl: badBase64("DataUrl", `data:image/png;base64,${whole.base64}`, 4),
  base64LineBreaks: badBase64("LineBreaks", "iVBORw0K\r\nGg", 8),
  base64WhiteSpace: badBase64("WhiteSpace", "iVBO Rw0", 4),
  base64UrlSafe: badBase64("UrlSafe", "iVBO-w0K", 4),
  base64Padding: badBase64("Padding", "iVB=Rw0K", 3),
  base64UnusedBits: badBase64("UnusedBits", "iVBORw0KGgp=", 10),
  contentMismatch: refuse("image/webp", new ContentMismatch({ declared: "webp", detected: "png" }), () => whole.bytes),
  notAnImage: refuse("image/png", new ContentMismatch({ declared: "png", detected: "unknown" }), () => ascii("text")),
  truncated: malformed(ImageFormat.png, "Truncated", whole.bytes.subarray(0, -end.length)),
  badHeader: malformed(ImageFormat.png, "BadHeader", images.png({ bitDepth: 3 })),
  badChecksum: malformed(ImageFormat.png, "BadChecksum", whole.bytes.subarray(0, -1), bytes(0)),
  badLength: malformed(ImageFormat.jpeg, "BadLength", images.soi, bytes(0xff, 0xc0, 0, 7)),
  zeroDimension: malformed(ImageFormat.png, "ZeroDimension", images.png({ width: 0 })),
  missingHeader: malformed(ImageFormat.png, "MissingHeader", images.pngSignature, end),
  missingTable: malformed(
    ImageFormat.jpeg,
    "MissingTable",
    ...images.jpegParts().filter((part) => part[1] !== 0xdb)
  ),
  missingImageData: malformed(ImageFormat.png, "MissingImageData", images.pngSignature, header, end),
  unexpectedSegment: malformed(ImageFormat.png, "UnexpectedSegment", images.pngSignature, header, header),
  unsupportedProcess: malformed(ImageFormat.jpeg, "UnsupportedProcess", images.jpeg({ marker: 0xc3 }))
} satisfies Record<string, RefusedPayload>

const sides = FastCheck.integer({ min: 1, max: 64 })

interface Recipe extends PictureOptions {
  readonly format: ImageFormat.Name
}

const recipes: FastCheck.Arbitrary<Recipe> = FastCheck.record({
  format: FastCheck.constantFrom("png", "jpeg", "webp"),
  width: sides,
  height: sides,
  orientation: FastCheck.constantFrom(undefined, ...[1, 2, 3, 4, 5, 6, 7, 8] as const)
})

const makeBy = ({ format, ...options }: Recipe): Picture => makers[format](options)

/**
 * Generates pictures of every format and orientation, of 1 to 64 pixels a side and at most a few kilobytes.
 *
 * @since 0.1.0
 * @category arbitraries
 */
export const pictures: FastCheck.Arbitrary<Picture> = FastCheck.tuple(
  recipes,
  FastCheck.option(FastCheck.nat(4096))
).map(([recipe, extra]) => {
  const picture = makeBy(recipe)
  return extra === null ? picture : makeBy({ ...recipe, bytes: picture.bytes.length + extra })
})

/**
 * A payload, and its outcome under the default limits: an image, no image, or an error.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome =
  | { readonly _tag: "Image"; readonly payload: Payload; readonly picture: Picture }
  | { readonly _tag: "None"; readonly payload: unknown }
  | { readonly _tag: "Refused"; readonly payload: unknown; readonly error: InitImageError }

const refusedAs = (payload: unknown, error: InitImageError): Outcome => ({ _tag: "Refused", payload, error })

const named = (picture: Picture): FastCheck.Arbitrary<Outcome> =>
  FastCheck.string({ maxLength: 32 }).map((name) => ({ _tag: "Image", payload: { ...picture.payload, name }, picture }))

/** Longer than each format's signature, in bytes. */
const leastKept = 12

/** The checksum of a PNG's last chunk, in bytes: an image that lacks a part of it is accepted. */
const mostSpare = 4

/** Bytes that end before the image does. */
const cut: FastCheck.Arbitrary<Outcome> = recipes.chain((recipe) => {
  const { bytes, mime, payload } = makeBy(recipe)
  return FastCheck.integer({ min: leastKept, max: bytes.length - 1 - mostSpare }).map((length) =>
    refusedAs(
      { ...payload, data: toBase64(bytes.subarray(0, length)) },
      new MalformedImage({ format: ImageFormat.byMime[mime].name, reason: "Truncated" })
    )
  )
})

/** A character outside the alphabet, in place of one before the padding. */
const misspelt: FastCheck.Arbitrary<Outcome> = recipes.chain((recipe) => {
  const { base64, payload } = makeBy(recipe)
  return FastCheck.nat(base64.length - 5).map((offset) =>
    refusedAs(
      { ...payload, data: `${base64.slice(0, offset)}!${base64.slice(offset + 1)}` },
      new BadBase64({ reason: "Character", offset })
    )
  )
})

/** A picture of another format than declared. */
const mismatched: FastCheck.Arbitrary<Outcome> = FastCheck.tuple(
  recipes,
  FastCheck.constantFrom(...ImageFormat.formats)
)
  .filter(([{ format }, declared]) => declared.name !== format)
  .map(([recipe, declared]) =>
    refusedAs(
      { ...makeBy(recipe).payload, mime: declared.mime },
      new ContentMismatch({ declared: declared.name, detected: recipe.format })
    )
  )

/**
 * Generates payloads of every outcome: pictures under any name, the values that mean no image, and every refusal of
 * {@link refused}, among them pictures that are cut, misspelt or declared as another format at any place.
 *
 * @since 0.1.0
 * @category arbitraries
 */
export const outcomes: FastCheck.Arbitrary<Outcome> = FastCheck.oneof(
  { weight: 3, arbitrary: pictures.chain(named) },
  FastCheck.constantFrom(null, undefined, false, 0, "", {}, []).map((payload): Outcome => ({ _tag: "None", payload })),
  cut,
  misspelt,
  mismatched,
  {
    weight: 3,
    arbitrary: FastCheck.constantFrom(...Object.values<RefusedPayload>(refused)).map((sample) =>
      refusedAs(sample.payload, sample.error)
    )
  }
)
