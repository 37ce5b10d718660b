/** The orientation in an EXIF block, as in EXIF 2.32 and TIFF 6.0, section 2. */
import type { ByteReader } from "./byteReader.js"
import type { Orientation } from "./outcome.js"

/** EXIF 2.32, 4.7.2: "Exif\0\0", before the TIFF header. */
const exifPrefix = [0x45, 0x78, 0x69, 0x66, 0, 0] as const
/** TIFF 6.0, section 2: byte order, 42, and the offset of the first directory. */
const tiffHeaderLength = 8
const littleEndian = 0x4949
const bigEndian = 0x4d4d
const magicNumber = 42
/** TIFF 6.0, section 2: the number of entries before a directory's entries. */
const entryCountLength = 2
/** TIFF 6.0, section 2: tag, type, count, and value or offset. */
const entryLength = 12
const orientationTag = 0x0112
/** TIFF 6.0, section 2: the bytes of each integer type: BYTE, SHORT, LONG, SBYTE, SSHORT and SLONG. */
const integerBytes: Readonly<Record<number, 1 | 2 | 4>> = { 1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4 }
/** TIFF 6.0, section 2: longer values stand at an offset. */
const inlineBytes = 4

/**
 * Reads the orientation from the EXIF block in the next `length` bytes, with or without the prefix: PNG and WebP define
 * none, but some encoders write it. A broken block has no orientation. The position stays within the block and only
 * moves forward, so a directory that overlaps the header is ignored, and so is a value before its entry. The block's
 * length bounds the number of entries.
 *
 * EXIF defines one SHORT. As in libexif, and so in sharp, a value of any integer type counts, and of several the first:
 * cameras and editors write a LONG or a BYTE too.
 */
export function* readOrientation(
  reader: ByteReader,
  length: number
): Generator<number, Orientation | undefined, void> {
  const end = reader.offset + length
  if (length < exifPrefix.length + tiffHeaderLength) {
    return undefined
  }
  yield exifPrefix.length
  if (exifPrefix.every((byte, i) => reader.u8(i) === byte)) {
    reader.at += exifPrefix.length
  }

  const start = reader.offset
  yield tiffHeaderLength
  const order = reader.u16be(0)
  if (order !== littleEndian && order !== bigEndian) {
    return undefined
  }
  const little = order === littleEndian
  const u16 = (index: number): number => little ? reader.u16le(index) : reader.u16be(index)
  const u32 = (index: number): number => little ? reader.u32le(index) : reader.u32be(index)
  const integer = (index: number, bytes: 1 | 2 | 4): number =>
    bytes === 1 ? reader.u8(index) : bytes === 2 ? u16(index) : u32(index)
  const directory = u32(4)
  if (u16(2) !== magicNumber || directory < tiffHeaderLength || start + directory + entryCountLength > end) {
    return undefined
  }

  reader.skipTo(start + directory)
  yield entryCountLength
  let entries = u16(0)
  reader.at += entryCountLength
  for (; entries > 0 && reader.offset + entryLength <= end; entries--) {
    yield entryLength
    const bytes = u16(0) === orientationTag ? integerBytes[u16(2)] : undefined
    const length = (bytes ?? 0) * u32(4)
    const offset = start + u32(8)
    if (bytes !== undefined && length > 0 && length <= inlineBytes) {
      const value = integer(8, bytes)
      if (isOrientation(value)) {
        return value
      }
    }
    if (
      bytes !== undefined && length > inlineBytes && offset >= reader.offset + entryLength && offset + length <= end
    ) {
      reader.skipTo(offset)
      yield bytes
      const value = integer(0, bytes)
      return isOrientation(value) ? value : undefined
    }
    reader.at += entryLength
  }
  return undefined
}

const isOrientation = (value: number): value is Orientation => value >= 1 && value <= 8
