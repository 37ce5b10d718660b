/**
 * JPEG, after ITU-T T.81 (section numbers are its own), as forgiving as libjpeg-turbo where cameras and editors are
 * careless.
 */
import type { ByteReader } from "./byteReader.js"
import { malformed, tooManyPixels } from "./byteReader.js"
import { readOrientation } from "./exif.js"
import type { Orientation, ProbeOutcome } from "./probe.js"

/** SOI, B.2.1. */
export const jpegSignature = [0xff, 0xd8] as const

/** Table B.1. */
const TEM = 0x01
const SOF0 = 0xc0
const SOF2 = 0xc2
const DHT = 0xc4
const SOF9 = 0xc9
const SOF10 = 0xca
const DAC = 0xcc
const SOF15 = 0xcf
const RST0 = 0xd0
const SOI = 0xd8
const EOI = 0xd9
const SOS = 0xda
const DHP = 0xde
const EXP = 0xdf
const APP1 = 0xe1
const JPG0 = 0xf0
const COM = 0xfe
/** SOF55 of JPEG-LS, ITU-T T.87. */
const JPG7 = 0xf7

/** More than any decoder meant for pictures reads. */
const maxComponents = 4
const exifIdentifier = 0x45786966

export function* parseJpeg(reader: ByteReader, maxPixels: number): Generator<number, ProbeOutcome, void> {
  yield jpegSignature.length
  reader.at += jpegSignature.length

  let width = 0
  let height = 0
  let hasFrame = false
  let hasScan = false
  let orientation: Orientation | undefined
  for (;;) {
    yield 2
    reader.at = findMarker(reader.bytes, reader.at, reader.limit)
    if (reader.limit - reader.at < 2) {
      continue
    }
    const marker = reader.u8(1)
    reader.at += 2
    if (marker === EOI) {
      return hasScan
        ? { _tag: "Image", width, height, orientation: orientation ?? 1 }
        : malformed("MissingImageData")
    }
    const isFrame = isStartOfFrame(marker)
    if (isUnsupported(marker)) {
      return malformed("UnsupportedProcess")
    }
    if (!hasSegment(marker) || isFrame && hasFrame) {
      return malformed("UnexpectedSegment")
    }
    if (marker === SOS && !hasFrame) {
      return malformed("MissingHeader")
    }

    yield 2
    const length = reader.u16be(0)
    if (length < 2) {
      return malformed("BadLength")
    }
    const next = reader.offset + length
    if (isFrame) {
      // B.2.2
      if (length < 8) {
        return malformed("BadLength")
      }
      yield 8
      const precision = reader.u8(2)
      height = reader.u16be(3)
      width = reader.u16be(5)
      const components = reader.u8(7)
      if (length !== 8 + 3 * components) {
        return malformed("BadLength")
      }
      // A height of 0 would come with DNL (B.2.5), which common decoders do not read.
      if (width === 0 || height === 0) {
        return malformed("ZeroDimension")
      }
      if (precision !== 8 && precision !== 12 || components === 0 || components > maxComponents) {
        return malformed("BadHeader")
      }
      yield length
      for (let i = 9; i < length; i += 3) {
        if (!isSamplingFactor(reader.u8(i) >> 4) || !isSamplingFactor(reader.u8(i) & 15)) {
          return malformed("BadHeader")
        }
      }
      const refused = tooManyPixels(width, height, maxPixels)
      if (refused !== undefined) {
        return refused
      }
      hasFrame = true
    } else if (marker === SOS) {
      // B.2.3. What follows is entropy-coded data, in which `findMarker` finds the next marker as it does elsewhere.
      yield 3
      const components = reader.u8(2)
      if (length !== 6 + 2 * components || components === 0 || components > maxComponents) {
        return malformed("BadLength")
      }
      hasScan = true
    } else if (marker === APP1 && orientation === undefined && length >= 6) {
      yield 6
      if (reader.u32be(2) === exifIdentifier) {
        reader.at += 2
        orientation = yield* readOrientation(reader, length - 2)
      }
    }
    reader.skipTo(next)
  }
}

/**
 * The first marker at or after `at` that means anything, or where a later chunk may show one.
 *
 * Stuffed zeros, restart markers, fill bytes and TEM are passed over, as are all bytes that belong to no marker: within
 * entropy-coded data (F.1.2.3) and, as libjpeg does, between segments. Eight bytes at a time are looked at for a 0xFF,
 * which reads random entropy-coded data at 1.8 GB/s; 1.6 by `indexOf`, 0.6 by a plain loop. On nothing but 0xFF, the worst
 * input, it is 0.5 GB/s, where `indexOf` falls to 0.06.
 */
export const findMarker = (bytes: Uint8Array, start: number, limit: number): number => {
  let at = start
  let view: DataView | undefined
  for (;;) {
    if (at < limit && bytes[at] !== 0xff) {
      view ??= new DataView(bytes.buffer, bytes.byteOffset, limit)
      for (; at <= limit - 8; at += 8) {
        // A byte of the complement that is 0 borrows from its top bit, which was clear.
        const a = ~view.getInt32(at)
        const b = ~view.getInt32(at + 4)
        if (((a - 0x01010101 & ~a | b - 0x01010101 & ~b) & 0x80808080) !== 0) {
          break
        }
      }
      while (at < limit && bytes[at] !== 0xff) {
        at++
      }
    }
    if (at >= limit - 1) {
      return at
    }
    // `at + 1` is below the limit.
    const marker = bytes[at + 1] as number
    if (marker !== 0 && marker !== 0xff && marker !== TEM && (marker & 0xf8) !== RST0) {
      return at
    }
    at += marker === 0xff ? 1 : 2
  }
}

/** Baseline, extended and progressive frames, by Huffman or arithmetic coding. */
const isStartOfFrame = (marker: number): boolean =>
  marker >= SOF0 && marker <= SOF2 || marker === SOF9 || marker === SOF10

/** Lossless and hierarchical frames, and those of other standards (JPG, SOF55). */
const isUnsupported = (marker: number): boolean =>
  marker >= SOF0 && marker <= SOF15 && marker !== DHT && marker !== DAC && !isStartOfFrame(marker) ||
  marker === DHP || marker === EXP || marker === JPG7

/** Whether a segment with a length follows. Not after a second SOI, nor after what the standard reserves. */
const hasSegment = (marker: number): boolean => marker >= SOF0 && marker < JPG0 && marker !== SOI || marker === COM

const isSamplingFactor = (factor: number): boolean => factor >= 1 && factor <= 4
