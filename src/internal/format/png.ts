/** PNG, after the W3C's "Portable Network Graphics (PNG) Specification (Third Edition)"; section numbers are its own. */
import type { ByteReader } from "./byteReader.js"
import { malformed, tooManyPixels } from "./byteReader.js"
import { readOrientation } from "./exif.js"
import type { Orientation, ProbeOutcome } from "./probe.js"

/** 5.2 */
export const pngSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const

/** 7.1: "PNG four-byte unsigned integers are limited to the range 0 to 2^31-1." */
const maxInteger = 0x7fffffff

const IHDR = 0x49484452
const IDAT = 0x49444154
const IEND = 0x49454e44
const eXIf = 0x65584966

const headerLength = 13
const crcLength = 4

/** 11.2.1, table 12: the bit depths that each colour type allows. */
const bitDepths: Readonly<Record<number, ReadonlyArray<number>>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16]
}

export function* parsePng(reader: ByteReader, maxPixels: number): Generator<number, ProbeOutcome, void> {
  yield pngSignature.length
  reader.at += pngSignature.length

  yield 8
  if (reader.u32be(4) !== IHDR) {
    return malformed("MissingHeader")
  }
  if (reader.u32be(0) !== headerLength) {
    return malformed("BadHeader")
  }
  yield 8 + headerLength + crcLength
  const width = reader.u32be(8)
  const height = reader.u32be(12)
  if (width === 0 || height === 0) {
    return malformed("ZeroDimension")
  }
  const compression = reader.u8(18)
  const filter = reader.u8(19)
  const interlace = reader.u8(20)
  if (
    width > maxInteger || height > maxInteger ||
    bitDepths[reader.u8(17)]?.includes(reader.u8(16)) !== true ||
    compression !== 0 || filter !== 0 || interlace > 1
  ) {
    return malformed("BadHeader")
  }
  if (headerCrc(reader) !== reader.u32be(8 + headerLength)) {
    return malformed("BadChecksum")
  }
  const refused = tooManyPixels(width, height, maxPixels)
  if (refused !== undefined) {
    return refused
  }
  reader.at += 8 + headerLength + crcLength

  let orientation: Orientation | undefined
  let hasImageData = false
  for (;;) {
    yield 8
    const length = reader.u32be(0)
    const type = reader.u32be(4)
    if (length > maxInteger) {
      return malformed("BadLength")
    }
    if (type === IHDR || !isChunkType(reader)) {
      return malformed("UnexpectedSegment")
    }
    if (type === IEND) {
      if (!hasImageData) {
        return malformed("MissingImageData")
      }
      if (length !== 0) {
        return malformed("BadLength")
      }
      yield 8 + crcLength
      return { _tag: "Image", width, height, orientation: orientation ?? 1 }
    }
    reader.at += 8
    if (type === eXIf && orientation === undefined) {
      const next = reader.offset + length + crcLength
      orientation = yield* readOrientation(reader, length)
      reader.skipTo(next)
    } else {
      hasImageData ||= type === IDAT
      reader.at += length + crcLength
    }
  }
}

/** 5.3: "four bytes, each of them an uppercase or lowercase letter". */
const isChunkType = (reader: ByteReader): boolean => {
  for (let i = 4; i < 8; i++) {
    const letter = reader.u8(i) | 0x20
    if (letter < 0x61 || letter > 0x7a) {
      return false
    }
  }
  return true
}

/** Annex D, over the header's type and data. Bit by bit: it is 17 bytes per image. */
const headerCrc = (reader: ByteReader): number => {
  let crc = 0xffffffff
  for (let i = 4; i < 8 + headerLength; i++) {
    crc ^= reader.u8(i)
    for (let bit = 0; bit < 8; bit++) {
      crc = crc >>> 1 ^ (crc & 1 ? 0xedb88320 : 0)
    }
  }
  return ~crc >>> 0
}
