/** WebP, as in RFC 9649, for the files that libwebp decodes. Comments cite its sections. */
import type { ByteReader } from "./byteReader.js"
import { malformed, tooManyPixels } from "./byteReader.js"
import { readOrientation } from "./exif.js"
import type { MalformedReason, Orientation, ProbeOutcome } from "./outcome.js"

/** 2.4: "RIFF", the file size, "WEBP"; -1 matches any byte. */
export const webpSignature = [0x52, 0x49, 0x46, 0x46, -1, -1, -1, -1, 0x57, 0x45, 0x42, 0x50] as const

/** 2.4: "The maximum value of this field is 2^32 minus 10 bytes". */
const maximumFileSize = 0xfffffff6
/** 2.3: a chunk's type and length. */
const chunkHeaderLength = 8
/** 2.4: "WEBP" and one chunk's header. */
const minimumFileSize = 4 + chunkHeaderLength
/** RFC 6386, 9.1: frame tag, start code, width and height. */
const lossyHeaderLength = 10
/** 3.4: signature, width, height, alpha and version. */
const losslessHeaderLength = 5
/** 2.7.1: the data of VP8X. */
const extendedHeaderLength = 10
const animationFlag = 0x02
const exifFlag = 0x08
/** 2.7.1: "The product of Canvas Width and Canvas Height MUST be at most 2^32 - 1." */
const maximumCanvas = 0xffffffff
/** 2.7.1.1: an ANMF chunk before its frame data. */
const frameHeaderLength = 16

/** 2.7.1.2: an ALPH chunk has a byte of flags, the compression in its lowest bits, before the data. */
const alphaHeaderLength = 1
const compressionBits = 0x03

const ALPH = 0x414c5048
const VP8 = 0x56503820
const VP8L = 0x5650384c
const VP8X = 0x56503858
const ANIM = 0x414e494d
const ANMF = 0x414e4d46
const EXIF = 0x45584946

interface Size {
  readonly width: number
  readonly height: number
}

/**
 * Walks the chunks up to the RIFF header's length. Image headers, frame sizes and the orientation are read; image data is
 * not decoded. The number of chunks is unlimited: each one advances.
 */
export function* parseWebp(reader: ByteReader, maxPixels: number): Generator<number, ProbeOutcome, void> {
  yield webpSignature.length
  const fileSize = reader.u32le(4)
  if (fileSize < minimumFileSize || fileSize > maximumFileSize) {
    return malformed("BadLength")
  }
  const fileEnd = reader.offset + 8 + fileSize
  reader.at += webpSignature.length

  yield chunkHeaderLength
  const type = reader.u32be(0)
  const length = reader.u32le(4)
  reader.at += chunkHeaderLength
  const next = nextChunk(reader, length)
  if (length > fileEnd - reader.offset) {
    return malformed("BadLength")
  }

  if (type === VP8 || type === VP8L) {
    const size = yield* readImageSize(reader, type, length)
    if (typeof size === "string") {
      return malformed(size)
    }
    const failure = tooManyPixels(size.width, size.height, maxPixels)
    if (failure !== undefined) {
      return failure
    }
    // 2.5 and 2.6 define no other chunk in a simple file. As libwebp does, only the next one is looked at.
    if (next > fileEnd) {
      return malformed("BadLength")
    }
    if (next < fileEnd) {
      if (fileEnd - next < chunkHeaderLength) {
        return malformed("BadLength")
      }
      reader.skipTo(next)
      yield chunkHeaderLength
      const length = reader.u32le(4)
      reader.at += chunkHeaderLength
      if (nextChunk(reader, length) > fileEnd) {
        return malformed("BadLength")
      }
    }
    reader.skipTo(fileEnd)
    yield 0
    return { _tag: "Image", width: size.width, height: size.height, orientation: 1 }
  }

  if (type !== VP8X) {
    return malformed("MissingHeader")
  }
  if (length !== extendedHeaderLength) {
    return malformed("BadLength")
  }
  yield extendedHeaderLength
  const flags = reader.u8(0)
  const canvas = { width: reader.u24le(4) + 1, height: reader.u24le(7) + 1 }
  if (canvas.width * canvas.height > maximumCanvas) {
    return malformed("BadHeader")
  }
  const failure = tooManyPixels(canvas.width, canvas.height, maxPixels)
  if (failure !== undefined) {
    return failure
  }
  reader.skipTo(next)

  const isAnimation = (flags & animationFlag) !== 0
  const hasExif = (flags & exifFlag) !== 0
  let hasAnimation = false
  let hasImageData = false
  let orientation: Orientation | undefined
  while (reader.offset < fileEnd) {
    if (fileEnd - reader.offset < chunkHeaderLength) {
      return malformed("BadLength")
    }
    if (!reader.hasBytes(chunkHeaderLength)) {
      yield chunkHeaderLength
    }
    const type = reader.u32be(0)
    const length = reader.u32le(4)
    const isImage = type === ALPH || type === VP8 || type === VP8L
    const next = nextChunk(reader, length) + chunkHeaderLength
    if (next > fileEnd) {
      return malformed("BadLength")
    }
    if (
      type === VP8X || type === ANMF && !(isAnimation && hasAnimation) || isImage && (isAnimation || hasImageData)
    ) {
      return malformed("UnexpectedSegment")
    }
    if (isImage) {
      const size = yield* readImage(reader, fileEnd)
      if (typeof size === "string") {
        return malformed(size)
      }
      if (size.width !== canvas.width || size.height !== canvas.height) {
        return malformed("BadHeader")
      }
      hasImageData = true
      continue
    }
    reader.at += chunkHeaderLength
    if (type === ANIM) {
      hasAnimation = true
    } else if (type === ANMF) {
      if (length < frameHeaderLength + chunkHeaderLength) {
        return malformed("BadLength")
      }
      const reason = yield* readFrame(reader, canvas, next)
      if (reason !== undefined) {
        return malformed(reason)
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
  return { _tag: "Image", width: canvas.width, height: canvas.height, orientation: orientation ?? 1 }
}

/** 2.3: the end of `length` bytes from the position, and of the byte of padding after an odd number of them. */
const nextChunk = (reader: ByteReader, length: number): number => reader.offset + length + (length & 1)

/**
 * 2.7.1.1: a frame's position in the canvas, its image, and unknown chunks. Its size is that of the image, as in libwebp,
 * which does not read the one beside it.
 */
function* readFrame(
  reader: ByteReader,
  canvas: Size,
  end: number
): Generator<number, MalformedReason | undefined, void> {
  yield frameHeaderLength
  // Offsets are stored divided by 2.
  const x = reader.u24le(0) * 2
  const y = reader.u24le(3) * 2
  reader.at += frameHeaderLength
  yield chunkHeaderLength
  const size = yield* readImage(reader, end)
  if (typeof size === "string") {
    return size
  }
  if (x + size.width > canvas.width || y + size.height > canvas.height) {
    return "BadHeader"
  }
  while (reader.offset < end) {
    if (end - reader.offset < chunkHeaderLength) {
      return "BadLength"
    }
    if (!reader.hasBytes(chunkHeaderLength)) {
      yield chunkHeaderLength
    }
    const type = reader.u32be(0)
    const length = reader.u32le(4)
    if (type === ALPH || type === VP8 || type === VP8L || type === VP8X) {
      return "UnexpectedSegment"
    }
    reader.at += chunkHeaderLength
    const next = nextChunk(reader, length)
    if (next > end) {
      return "BadLength"
    }
    reader.skipTo(next)
  }
  return undefined
}

/**
 * 2.7.1.2 and 2.7.1.3: a `VP8L` chunk, or a `VP8 ` chunk with or without an `ALPH` chunk directly before it. The header of
 * the first is contiguous. Ends behind the last.
 */
function* readImage(reader: ByteReader, end: number): Generator<number, Size | MalformedReason, void> {
  let type = reader.u32be(0)
  let length = reader.u32le(4)
  reader.at += chunkHeaderLength
  let next = nextChunk(reader, length)
  if (next > end) {
    return "BadLength"
  }
  let alphaValues: number | undefined
  if (type === ALPH) {
    if (length <= alphaHeaderLength) {
      return "BadLength"
    }
    yield alphaHeaderLength
    if ((reader.u8(0) & compressionBits) === 0) {
      alphaValues = length - alphaHeaderLength
    }
    reader.skipTo(next)
    if (end - next < chunkHeaderLength) {
      return next === end ? "MissingImageData" : "BadLength"
    }
    yield chunkHeaderLength
    type = reader.u32be(0)
    length = reader.u32le(4)
    reader.at += chunkHeaderLength
    next = nextChunk(reader, length)
    if (type !== VP8) {
      return "UnexpectedSegment"
    }
    if (next > end) {
      return "BadLength"
    }
  } else if (type !== VP8 && type !== VP8L) {
    return "MissingImageData"
  }
  const size = yield* readImageSize(reader, type, length)
  // Uncompressed, there is a byte for each pixel.
  if (typeof size !== "string" && alphaValues !== undefined && alphaValues < size.width * size.height) {
    return "BadLength"
  }
  reader.skipTo(next)
  return size
}

function* readImageSize(
  reader: ByteReader,
  type: typeof VP8 | typeof VP8L,
  length: number
): Generator<number, Size | MalformedReason, void> {
  const lossy = type === VP8
  const headerLength = lossy ? lossyHeaderLength : losslessHeaderLength
  if (length < headerLength) {
    return "BadLength"
  }
  yield headerLength
  return lossy ? lossySize(reader, length) : losslessSize(reader)
}

/** RFC 6386, 9.1: a key frame's header. */
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
  // The upper two bits of each hold an upscaling factor for playback.
  const width = reader.u16le(6) & 0x3fff
  const height = reader.u16le(8) & 0x3fff
  return width === 0 || height === 0 ? "ZeroDimension" : { width, height }
}

/** RFC 9649, 3.4. */
const losslessSize = (reader: ByteReader): Size | MalformedReason => {
  const bits = reader.u32le(1)
  const version = bits >>> 29
  return reader.u8(0) !== 0x2f || version !== 0
    ? "BadHeader"
    : { width: (bits & 0x3fff) + 1, height: (bits >>> 14 & 0x3fff) + 1 }
}
