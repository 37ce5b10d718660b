/**
 * Images read from all of their bytes at once, as plainly as the standards allow: what the probe is held equal to. A
 * read behind the end throws, and then the image is malformed.
 */
import { crc32 } from "node:zlib"

export interface Size {
  readonly width: number
  readonly height: number
}

export type Reading = "ContentMismatch" | "MalformedImage" | "TooManyPixels" | Size

class Malformed extends Error {}

const must: (condition: boolean) => asserts condition = (condition) => {
  if (!condition) throw new Malformed()
}

const isAllowed = ({ height, width }: Size, maxPixels: number): boolean => width * height <= maxPixels

const typeAt = (view: DataView, at: number): string =>
  String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)))

const depths: Readonly<Record<number, string>> = { 0: "1 2 4 8 16", 2: "8 16", 3: "1 2 4 8", 4: "8 16", 6: "8 16" }

const readPng = (view: DataView, maxPixels: number): Reading => {
  must(view.getUint32(8) === 13 && typeAt(view, 12) === "IHDR")
  const size = { width: view.getUint32(16), height: view.getUint32(20) }
  must(size.width > 0 && size.height > 0 && size.width < 2 ** 31 && size.height < 2 ** 31)
  must(depths[view.getUint8(25)]?.split(" ").includes(String(view.getUint8(24))) === true)
  must(view.getUint16(26) === 0 && view.getUint8(28) <= 1)
  must(view.getUint32(29) === crc32(new Uint8Array(view.buffer, view.byteOffset + 12, 17)))
  if (!isAllowed(size, maxPixels)) return "TooManyPixels"
  let hasData = false
  for (let at = 33;;) {
    const length = view.getUint32(at)
    const type = typeAt(view, at + 4)
    must(length < 2 ** 31 && /^[A-Za-z]{4}$/.test(type) && type !== "IHDR")
    if (type === "IEND") {
      must(hasData && length === 0)
      view.getUint32(at + 8)
      return size
    }
    hasData ||= type === "IDAT"
    at += 12 + length
  }
}

const readJpeg = (view: DataView, maxPixels: number): Reading => {
  let size: Size | undefined
  let hasScan = false
  for (let at = 2;;) {
    const marker = view.getUint8(at + 1)
    if (view.getUint8(at) !== 0xff || marker === 0xff) {
      at++
      continue
    }
    at += 2
    if (marker <= 1 || (marker >= 0xd0 && marker <= 0xd7)) continue
    if (marker === 0xd9) {
      must(hasScan && size !== undefined)
      return size
    }
    must((marker >= 0xc0 && marker <= 0xef && marker !== 0xd8) || marker === 0xfe)
    must(![0xc3, 0xc5, 0xc6, 0xc7, 0xc8, 0xcb, 0xcd, 0xce, 0xcf, 0xde, 0xdf].includes(marker))
    const length = view.getUint16(at)
    must(length >= 2)
    if ([0xc0, 0xc1, 0xc2, 0xc9, 0xca].includes(marker)) {
      must(size === undefined && length >= 8)
      const components = view.getUint8(at + 7)
      must(length === 8 + 3 * components && components >= 1 && components <= 4)
      const frame = { width: view.getUint16(at + 5), height: view.getUint16(at + 3) }
      must(frame.width > 0 && frame.height > 0 && [8, 12].includes(view.getUint8(at + 2)))
      view.getUint8(at + length - 1)
      for (let i = 0; i < components; i++) {
        must(/^[1-4]{2}$/.test(view.getUint8(at + 9 + 3 * i).toString(16)))
      }
      if (!isAllowed(frame, maxPixels)) return "TooManyPixels"
      size = frame
    } else if (marker === 0xda) {
      const components = view.getUint8(at + 2)
      must(size !== undefined && length === 6 + 2 * components && components >= 1 && components <= 4)
      hasScan = true
    }
    at += length
  }
}

const u24 = (view: DataView, at: number): number => view.getUint16(at, true) + view.getUint8(at + 2) * 0x10000

/** RFC 6386, 9.1. */
const readLossy = (view: DataView, at: number, length: number): Size => {
  must(length >= 10)
  const tag = u24(view, at)
  must(tag % 2 === 0 && (tag >> 1) % 8 <= 3 && (tag >> 4) % 2 === 1 && tag >> 5 < length)
  must(u24(view, at + 3) === 0x2a019d)
  const size = { width: view.getUint16(at + 6, true) % 0x4000, height: view.getUint16(at + 8, true) % 0x4000 }
  must(size.width > 0 && size.height > 0)
  return size
}

const readLossless = (view: DataView, at: number, length: number): Size => {
  must(length >= 5)
  const bits = view.getUint32(at + 1, true)
  must(view.getUint8(at) === 0x2f && bits < 2 ** 29)
  return { width: bits % 0x4000 + 1, height: Math.floor(bits / 0x4000) % 0x4000 + 1 }
}

const imageChunks: Readonly<Record<string, typeof readLossy>> = { "VP8 ": readLossy, "VP8L": readLossless }

const readWebp = (view: DataView, maxPixels: number): Reading => {
  const end = 8 + view.getUint32(4, true)
  must(end >= 20 && end <= 2 ** 32 - 2)
  const first = typeAt(view, 12)
  const firstLength = view.getUint32(16, true)
  must(20 + firstLength <= end)
  const readSimple = imageChunks[first]
  if (readSimple !== undefined) {
    const size = readSimple(view, 20, firstLength)
    if (!isAllowed(size, maxPixels)) return "TooManyPixels"
    must(view.byteLength >= end)
    return size
  }
  must(first === "VP8X" && firstLength >= 10)
  const isAnimation = (view.getUint8(20) & 2) !== 0
  const size = { width: u24(view, 24) + 1, height: u24(view, 27) + 1 }
  must(size.width * size.height < 2 ** 32)
  if (!isAllowed(size, maxPixels)) return "TooManyPixels"
  let hasAnimation = false
  let hasData = false
  for (let at = 20 + firstLength + firstLength % 2; at < end;) {
    must(end - at >= 8)
    const type = typeAt(view, at)
    const length = view.getUint32(at + 4, true)
    const read = imageChunks[type]
    const body = at + 8
    at = body + length + length % 2
    must(at <= end && type !== "VP8X")
    if (type === "ANIM") hasAnimation = true
    if (read !== undefined) {
      must(!isAnimation && !hasData)
      const image = read(view, body, length)
      must(image.width === size.width && image.height === size.height)
      hasData = true
    } else if (type === "ANMF" && isAnimation) {
      must(hasAnimation && length >= 24)
      must(2 * u24(view, body) + u24(view, body + 6) < size.width)
      must(2 * u24(view, body + 3) + u24(view, body + 9) < size.height)
      view.getUint32(body + 12)
      hasData = true
    }
  }
  must(hasData && view.byteLength >= end)
  return size
}

const readers = {
  png: { begins: (head: string) => head.startsWith("\x89PNG\r\n\x1a\n"), read: readPng },
  jpeg: { begins: (head: string) => head.startsWith("\xff\xd8"), read: readJpeg },
  webp: { begins: (head: string) => /^RIFF[^]{4}WEBP/.test(head), read: readWebp }
}

export const readImage = (format: keyof typeof readers, all: Uint8Array, maxPixels: number): Reading => {
  const { begins, read } = readers[format]
  if (!begins(String.fromCharCode(...all.subarray(0, 12)))) return "ContentMismatch"
  try {
    return read(new DataView(all.buffer, all.byteOffset, all.byteLength), maxPixels)
  } catch (error) {
    if (error instanceof Malformed || error instanceof RangeError) return "MalformedImage"
    throw error
  }
}
