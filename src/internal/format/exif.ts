/** The orientation in an EXIF block: EXIF 2.32 over TIFF 6.0, section 2. */
import type { ByteReader } from "./byteReader.js"
import type { Orientation } from "./probe.js"

const exifPrefix = [0x45, 0x78, 0x69, 0x66, 0, 0] as const
const headerLength = 8
const entryLength = 12
const littleEndian = 0x4949
const bigEndian = 0x4d4d
const orientationTag = 0x0112
const short = 3

/**
 * Reads the orientation of the block that lies in the next `length` bytes: a TIFF header, with "Exif\0\0" before it or
 * not (PNG and WebP have none, though some encoders write it). Stays inside the block and only goes forward: a
 * directory that overlaps the header is not read. Whatever is wrong with the block, there is then no orientation.
 */
export function* readOrientation(
  reader: ByteReader,
  length: number
): Generator<number, Orientation | undefined, void> {
  const end = reader.offset + length
  if (length < exifPrefix.length + headerLength) {
    return undefined
  }
  yield exifPrefix.length
  if (exifPrefix.every((byte, i) => reader.u8(i) === byte)) {
    reader.at += exifPrefix.length
  }

  const start = reader.offset
  yield headerLength
  const order = reader.u16be(0)
  if (order !== littleEndian && order !== bigEndian) {
    return undefined
  }
  const little = order === littleEndian
  const u16 = (index: number): number => little ? reader.u16le(index) : reader.u16be(index)
  const directory = little ? reader.u32le(4) : reader.u32be(4)
  if (u16(2) !== 42 || directory < headerLength || start + directory + 2 > end) {
    return undefined
  }

  reader.skipTo(start + directory)
  yield 2
  let entries = u16(0)
  reader.at += 2
  for (; entries > 0 && reader.offset + entryLength <= end; entries--) {
    yield entryLength
    if (u16(0) === orientationTag && u16(2) === short && (little ? reader.u32le(4) : reader.u32be(4)) === 1) {
      const value = u16(8)
      if (isOrientation(value)) {
        return value
      }
    }
    reader.at += entryLength
  }
  return undefined
}

const isOrientation = (value: number): value is Orientation => value >= 1 && value <= 8
