/** PNG, as in the W3C's "Portable Network Graphics (PNG) Specification (Third Edition)". Comments cite its sections. */
import type { ByteReader } from "./byteReader.js"
import { malformed, tooManyPixels } from "./byteReader.js"
import { crc32 } from "./crc32.js"
import { readOrientation } from "./exif.js"
import type { Orientation, ProbeOutcome } from "./outcome.js"

/** 5.2. */
export const pngSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const

/** 7.1: "PNG four-byte unsigned integers are limited to the range 0 to 2^31-1." */
const maximumInteger = 0x7fffffff

/** 5.3: the length and type before a chunk's data, and the CRC after it. */
const chunkHeaderLength = 8
const crcLength = 4

/** 11.2.1: the data of IHDR. */
const ihdrLength = 13

/** 10.1, and RFC 1950, 2.2: the first bytes of the compressed image data. */
const zlibHeaderLength = 2

/** 11.2.1: the colour type of an image with a palette. */
const indexedColor = 3

const IHDR = 0x49484452
const PLTE = 0x504c5445
const IDAT = 0x49444154
const fdAT = 0x66644154
const IEND = 0x49454e44
const eXIf = 0x65584966

/** 11.2.1, table 12: the bit depths that each colour type allows. */
const bitDepths: Readonly<Record<number, ReadonlyArray<number>>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16]
}

/**
 * Walks the chunks from IHDR to IEND. IHDR is checked in full; of the other chunks the order, type, length and orientation
 * are read, of the image data its zlib header, and of the chunks that a picture needs the checksum. The compressed data is
 * not inflated. The number of chunks is unlimited: each one advances.
 *
 * Ancillary chunks have no checksum here, as libpng only warns, but for a frame's fdAT. A palette's length is not checked,
 * as some decoders read any.
 */
export function* parsePng(reader: ByteReader, maxPixels: number): Generator<number, ProbeOutcome, void> {
  yield pngSignature.length
  reader.at += pngSignature.length

  yield chunkHeaderLength
  if (reader.u32be(4) !== IHDR) {
    return malformed("MissingHeader")
  }
  if (reader.u32be(0) !== ihdrLength) {
    return malformed("BadHeader")
  }
  yield chunkHeaderLength + ihdrLength + crcLength
  const width = reader.u32be(8)
  const height = reader.u32be(12)
  if (width === 0 || height === 0) {
    return malformed("ZeroDimension")
  }
  const compression = reader.u8(18)
  const filter = reader.u8(19)
  const interlace = reader.u8(20)
  if (
    width > maximumInteger || height > maximumInteger ||
    bitDepths[reader.u8(17)]?.includes(reader.u8(16)) !== true ||
    compression !== 0 || filter !== 0 || interlace > 1
  ) {
    return malformed("BadHeader")
  }
  const colorType = reader.u8(17)
  if (
    crc32(reader.bytes, reader.at + 4, reader.at + chunkHeaderLength + ihdrLength, 0) !==
      reader.u32be(chunkHeaderLength + ihdrLength)
  ) {
    return malformed("BadChecksum")
  }
  const failure = tooManyPixels(width, height, maxPixels)
  if (failure !== undefined) {
    return failure
  }
  reader.at += chunkHeaderLength + ihdrLength + crcLength

  let orientation: Orientation | undefined
  let hasPalette = false
  /** 5.6: the IDAT chunks are side by side. */
  let imageData: "before" | "within" | "after" = "before"
  let zlibHeader = 0
  let zlibHeaderBytes = 0
  for (;;) {
    if (!reader.hasBytes(chunkHeaderLength)) {
      yield chunkHeaderLength
    }
    const length = reader.u32be(0)
    const type = reader.u32be(4)
    if (length > maximumInteger) {
      return malformed("BadLength")
    }
    if (type === IHDR || !isChunkType(reader)) {
      return malformed("UnexpectedSegment")
    }
    if (type === IDAT) {
      if (imageData === "after") {
        return malformed("UnexpectedSegment")
      }
      if (colorType === indexedColor && !hasPalette) {
        return malformed("MissingTable")
      }
      imageData = "within"
      for (let i = 0; i < length && zlibHeaderBytes < zlibHeaderLength; i++, zlibHeaderBytes++) {
        yield chunkHeaderLength + i + 1
        zlibHeader = zlibHeader << 8 | reader.u8(chunkHeaderLength + i)
        if (zlibHeaderBytes === 1 && !isZlibHeader(zlibHeader)) {
          return malformed("BadHeader")
        }
      }
    } else if (imageData === "within") {
      imageData = "after"
      if (zlibHeaderBytes < zlibHeaderLength) {
        return malformed("MissingImageData")
      }
    }
    hasPalette ||= type === PLTE
    const isEnd = type === IEND
    if (isEnd) {
      if (imageData === "before") {
        return malformed("MissingImageData")
      }
      if (length !== 0) {
        return malformed("BadLength")
      }
      // Decoders read a file that lacks only the last checksum.
      reader.resultAtEnd = { _tag: "Image", width, height, orientation: orientation ?? 1 }
    }
    if (type === IDAT || isEnd || type === PLTE || type === fdAT) {
      // The checksum is that of the type and the data.
      reader.at += 4
      let crc = 0
      for (let rest = length + 4; rest > 0;) {
        if (!reader.hasBytes(1)) {
          yield 1
        }
        const taken = Math.min(rest, reader.limit - reader.at)
        crc = crc32(reader.bytes, reader.at, reader.at + taken, crc)
        reader.at += taken
        rest -= taken
      }
      if (!reader.hasBytes(crcLength)) {
        yield crcLength
      }
      if (crc !== reader.u32be(0)) {
        return malformed("BadChecksum")
      }
      if (reader.resultAtEnd !== undefined) {
        return reader.resultAtEnd
      }
      reader.at += crcLength
    } else {
      reader.at += chunkHeaderLength
      const next = reader.offset + length + crcLength
      if (type === eXIf && orientation === undefined) {
        orientation = yield* readOrientation(reader, length)
      }
      reader.skipTo(next)
    }
  }
}

/** 5.3: each byte of a chunk's type is an uppercase or lowercase ASCII letter. */
const isChunkType = (reader: ByteReader): boolean => {
  for (let i = 4; i < 8; i++) {
    const letter = reader.u8(i) | 0x20
    if (letter < 0x61 || letter > 0x7a) {
      return false
    }
  }
  return true
}

/** RFC 1950, 2.2: deflate with a window of up to 32 KiB, the check bits, and (10.1) no preset dictionary. */
const isZlibHeader = (header: number): boolean =>
  (header >> 8 & 0x0f) === 8 && header >> 12 <= 7 && header % 31 === 0 && (header & 0x20) === 0
