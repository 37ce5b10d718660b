/** WebP, after RFC 9649 (section numbers are its own), for what libwebp decodes. */
import type { ByteReader } from "./byteReader.js"
import { malformed, tooManyPixels } from "./byteReader.js"
import { readOrientation } from "./exif.js"
import type { MalformedReason, Orientation, ProbeOutcome } from "./probe.js"

/** 2.4: "RIFF", a length, "WEBP"; -1 for any byte. */
export const webpSignature = [0x52, 0x49, 0x46, 0x46, -1, -1, -1, -1, 0x57, 0x45, 0x42, 0x50] as const

const VP8 = 0x56503820
const VP8L = 0x5650384c
const VP8X = 0x56503858
const ANIM = 0x414e494d
const ANMF = 0x414e4d46
const EXIF = 0x45584946

/** 2.7.1 */
const animationFlag = 0x02
const exifFlag = 0x08
const extendedLength = 10
/** 2.7.1: "The product of Canvas Width and Canvas Height MUST be at most 2^32 - 1." */
const maxCanvas = 0xffffffff

const chunkHeaderLength = 8
/** 2.7.1.1 */
const frameHeaderLength = 16
/** 2.4: "The maximum value of this field is 2^32 minus 10 bytes". */
const maxFileSize = 0xfffffff6
/** "WEBP" and one chunk's header. */
const minFileSize = 4 + chunkHeaderLength

interface Size {
  readonly width: number
  readonly height: number
}

export function* parseWebp(reader: ByteReader, maxPixels: number): Generator<number, ProbeOutcome, void> {
  yield webpSignature.length
  const fileSize = reader.u32le(4)
  if (fileSize < minFileSize || fileSize > maxFileSize) {
    return malformed("BadLength")
  }
  const fileEnd = reader.offset + 8 + fileSize
  reader.at += webpSignature.length

  yield chunkHeaderLength
  const type = reader.u32be(0)
  const length = reader.u32le(4)
  reader.at += chunkHeaderLength
  if (length > fileEnd - reader.offset) {
    return malformed("BadLength")
  }

  if (type === VP8 || type === VP8L) {
    const size = yield* readImageSize(reader, type, length)
    if (typeof size === "string") {
      return malformed(size)
    }
    const refused = tooManyPixels(size.width, size.height, maxPixels)
    if (refused !== undefined) {
      return refused
    }
    // What else a simple file holds is not looked at: 2.5 and 2.6 know no other chunk in it.
    reader.skipTo(fileEnd)
    yield 0
    return { _tag: "Image", width: size.width, height: size.height, orientation: 1 }
  }

  if (type !== VP8X) {
    return malformed("MissingHeader")
  }
  if (length < extendedLength) {
    return malformed("BadLength")
  }
  yield extendedLength
  const flags = reader.u8(0)
  const width = reader.u24le(4) + 1
  const height = reader.u24le(7) + 1
  if (width * height > maxCanvas) {
    return malformed("BadHeader")
  }
  const refused = tooManyPixels(width, height, maxPixels)
  if (refused !== undefined) {
    return refused
  }
  reader.at += length + (length & 1)

  const isAnimation = (flags & animationFlag) !== 0
  const hasExif = (flags & exifFlag) !== 0
  let hasAnimation = false
  let hasImageData = false
  let orientation: Orientation | undefined
  while (reader.offset < fileEnd) {
    if (fileEnd - reader.offset < chunkHeaderLength) {
      return malformed("BadLength")
    }
    yield chunkHeaderLength
    const type = reader.u32be(0)
    const length = reader.u32le(4)
    reader.at += chunkHeaderLength
    // 2.3: an odd chunk is followed by one byte of padding.
    const next = reader.offset + length + (length & 1)
    if (next > fileEnd) {
      return malformed("BadLength")
    }
    if (type === VP8X || isAnimation && (type === VP8 || type === VP8L || type === ANMF && !hasAnimation)) {
      return malformed("UnexpectedSegment")
    }
    if (type === ANIM) {
      hasAnimation = true
    } else if (type === ANMF && isAnimation) {
      if (length < frameHeaderLength + chunkHeaderLength) {
        return malformed("BadLength")
      }
      yield frameHeaderLength
      // Offsets are stored by halves, sizes less one.
      if (
        reader.u24le(0) * 2 + reader.u24le(6) + 1 > width ||
        reader.u24le(3) * 2 + reader.u24le(9) + 1 > height
      ) {
        return malformed("BadHeader")
      }
      hasImageData = true
    } else if (type === VP8 || type === VP8L) {
      if (hasImageData) {
        return malformed("UnexpectedSegment")
      }
      const size = yield* readImageSize(reader, type, length)
      if (typeof size === "string") {
        return malformed(size)
      }
      if (size.width !== width || size.height !== height) {
        return malformed("BadHeader")
      }
      hasImageData = true
    } else if (type === EXIF && hasExif && orientation === undefined) {
      orientation = yield* readOrientation(reader, length)
    }
    reader.skipTo(next)
  }
  if (!hasImageData) {
    return malformed("MissingImageData")
  }
  yield 0
  return { _tag: "Image", width, height, orientation: orientation ?? 1 }
}

function* readImageSize(
  reader: ByteReader,
  type: typeof VP8 | typeof VP8L,
  length: number
): Generator<number, Size | MalformedReason, void> {
  const lossy = type === VP8
  const headerLength = lossy ? 10 : 5
  if (length < headerLength) {
    return "BadLength"
  }
  yield headerLength
  return lossy ? lossySize(reader, length) : losslessSize(reader)
}

/** RFC 6386, 9.1. */
const lossySize = (reader: ByteReader, length: number): Size | MalformedReason => {
  const tag = reader.u24le(0)
  const isKeyFrame = (tag & 1) === 0
  const version = tag >> 1 & 7
  const isShown = (tag >> 4 & 1) === 1
  const firstPartition = tag >> 5
  if (
    !isKeyFrame || version > 3 || !isShown || firstPartition >= length ||
    reader.u8(3) !== 0x9d || reader.u8(4) !== 0x01 || reader.u8(5) !== 0x2a
  ) {
    return "BadHeader"
  }
  // The two bits above each are a scale for the player.
  const width = reader.u16le(6) & 0x3fff
  const height = reader.u16le(8) & 0x3fff
  return width === 0 || height === 0 ? "ZeroDimension" : { width, height }
}

/** 3.4. */
const losslessSize = (reader: ByteReader): Size | MalformedReason => {
  const bits = reader.u32le(1)
  const version = bits >>> 29
  return reader.u8(0) !== 0x2f || version !== 0
    ? "BadHeader"
    : { width: (bits & 0x3fff) + 1, height: (bits >>> 14 & 0x3fff) + 1 }
}
