/**
 * A reference reader of images, which reads all bytes at once. The probe must agree with it. A read past the end throws,
 * and the image is malformed.
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
  const checked = (at: number, length: number) =>
    view.getUint32(at + 8 + length) === crc32(new Uint8Array(view.buffer, view.byteOffset + at + 4, length + 4))
  const isIndexed = view.getUint8(25) === 3
  const zlib: Array<number> = []
  const types: Array<string> = []
  for (let at = 33;;) {
    const length = view.getUint32(at)
    const type = typeAt(view, at + 4)
    must(length < 2 ** 31 && /^[A-Za-z]{4}$/.test(type) && type !== "IHDR")
    must(type === "IDAT" || types.at(-1) !== "IDAT" || zlib.length === 2)
    if (type === "IEND") {
      must(zlib.length === 2 && length === 0)
      must(view.byteLength < at + 12 || checked(at, 0))
      return size
    }
    if (type === "IDAT") {
      must(!isIndexed || types.includes("PLTE"))
      must(!types.includes("IDAT") || types.at(-1) === "IDAT")
      for (let i = 0; i < length && zlib.length < 2; i++) zlib.push(view.getUint8(at + 8 + i))
      const [method, flags] = zlib
      if (method !== undefined && flags !== undefined) {
        must(method % 16 === 8 && method < 0x80 && (method * 256 + flags) % 31 === 0 && (flags & 32) === 0)
      }
    }
    if (["PLTE", "IDAT", "fdAT"].includes(type)) must(checked(at, length))
    types.push(type)
    at += 12 + length
  }
}

const isTableSegment = (marker: number, segment: DataView): boolean => {
  let at = 0
  if (marker === 0xdd) return segment.byteLength === 2
  while (at < segment.byteLength) {
    const index = segment.getUint8(at)
    if (marker === 0xdb) {
      if (index % 16 > 3) return false
      at += index < 16 ? 65 : 129
    } else {
      let codes = 0
      for (let i = 1; i <= 16; i++) codes += segment.getUint8(at + i)
      if (![0, 1, 2, 3, 16, 17, 18, 19].includes(index) || codes > 256) return false
      at += 17 + codes
    }
  }
  return at === segment.byteLength
}

/** The destinations that a DQT segment defines. */
const destinations = (segment: DataView): ReadonlyArray<number> => {
  const all: Array<number> = []
  for (let at = 0; at < segment.byteLength; at += segment.getUint8(at) < 16 ? 65 : 129) {
    all.push(segment.getUint8(at) % 16)
  }
  return all
}

const readScan = (
  segment: DataView,
  components: ReadonlyArray<readonly [id: number, table: number]>,
  isProgressive: boolean,
  defined: ReadonlySet<number>
): void => {
  const count = segment.getUint8(0)
  must(segment.byteLength === 4 + 2 * count && count >= 1 && count <= 4)
  const slots: Array<number> = []
  for (let i = 0; i < count; i++) {
    const slot = components.findIndex(([id], slot) => id === segment.getUint8(1 + 2 * i) && slots[slot] === undefined)
    must(slot >= 0 && !slots.includes(slot))
    slots.push(slot)
  }
  const start = segment.getUint8(1 + 2 * count)
  const end = segment.getUint8(2 + 2 * count)
  const [high = 0, low = 0] = [segment.getUint8(3 + 2 * count)].flatMap((both) => [both >> 4, both % 16])
  if (isProgressive) {
    must(start === 0 ? end === 0 : end >= start && end < 64 && count === 1)
    must(low < 14 && [0, low + 1].includes(high))
  } else {
    must(start === 0 && end === 63 && high === 0 && low === 0)
  }
  must(slots.every((slot) => defined.has(components[slot]?.[1] ?? -1)))
}

const readJpeg = (view: DataView, maxPixels: number): Reading => {
  let size: Size | undefined
  let components: ReadonlyArray<readonly [number, number]> = []
  let isProgressive = false
  let hasScan = false
  let isInScan = false
  let interval = 0
  const defined = new Set<number>()
  for (let at = 2;;) {
    const marker = view.getUint8(at + 1)
    if (view.getUint8(at) !== 0xff || marker === 0xff) {
      at++
      continue
    }
    at += 2
    if (marker <= 1 || (marker >= 0xd0 && marker <= 0xd7)) continue
    if (isInScan && interval > 0 && marker < 0xc0) continue
    isInScan = marker === 0xda
    if (marker === 0xd9) {
      must(hasScan && size !== undefined)
      return size
    }
    must((marker >= 0xc0 && marker <= 0xef && marker !== 0xd8) || marker === 0xfe)
    must(![0xc3, 0xc5, 0xc6, 0xc7, 0xc8, 0xcb, 0xcd, 0xce, 0xcf, 0xde, 0xdf].includes(marker))
    const declared = view.getUint16(at)
    must(declared >= 2 || marker >= 0xe0)
    const length = Math.max(2, declared)
    if ([0xc0, 0xc1, 0xc2, 0xc9, 0xca].includes(marker)) {
      must(size === undefined && length >= 8)
      const count = view.getUint8(at + 7)
      must(length === 8 + 3 * count && count >= 1 && count <= 4)
      const frame = { width: view.getUint16(at + 5), height: view.getUint16(at + 3) }
      must(frame.width > 0 && frame.height > 0 && view.getUint8(at + 2) === 8)
      view.getUint8(at + length - 1)
      for (let i = 0; i < count; i++) {
        must(/^[1-4]{2}$/.test(view.getUint8(at + 9 + 3 * i).toString(16)))
      }
      if (!isAllowed(frame, maxPixels)) return "TooManyPixels"
      size = frame
      isProgressive = marker === 0xc2 || marker === 0xca
      components = Array.from(
        { length: count },
        (_, i) => [view.getUint8(at + 8 + 3 * i), view.getUint8(at + 10 + 3 * i)]
      )
    } else if ([0xda, 0xdb, 0xc4, 0xdd].includes(marker)) {
      const segment = new DataView(view.buffer, view.byteOffset + at + 2, length - 2)
      must(view.byteLength >= at + length)
      if (marker === 0xda) {
        must(size !== undefined)
        readScan(segment, components, isProgressive, defined)
        hasScan = true
      } else {
        must(isTableSegment(marker, segment))
        if (marker === 0xdb) destinations(segment).forEach((table) => defined.add(table))
        if (marker === 0xdd) interval = segment.getUint16(0)
      }
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

interface Chunk {
  readonly type: string
  readonly body: number
  readonly length: number
  readonly next: number
}

const noChunk: Chunk = { type: "", body: 0, length: 0, next: 0 }

/** All chunks of a part, which they fill. */
const chunksOf = (view: DataView, from: number, end: number): ReadonlyArray<Chunk> => {
  const chunks: Array<Chunk> = []
  for (let at = from; at < end;) {
    must(end - at >= 8)
    const length = view.getUint32(at + 4, true)
    const chunk = { type: typeAt(view, at), body: at + 8, length, next: at + 8 + length + length % 2 }
    must(chunk.next <= end)
    chunks.push(chunk)
    at = chunk.next
  }
  return chunks
}

/** An image, with its alpha channel before it. */
const readStill = (view: DataView, [first = noChunk, second = noChunk]: ReadonlyArray<Chunk>): Size => {
  const hasAlpha = first.type === "ALPH"
  const { body, length, type } = hasAlpha ? second : first
  const read = imageChunks[type]
  must(read !== undefined && (!hasAlpha || type === "VP8 " && first.length >= 2))
  const size = read(view, body, length)
  must(!hasAlpha || view.getUint8(first.body) % 4 !== 0 || first.length > size.width * size.height)
  return size
}

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
    const next = 20 + firstLength + firstLength % 2
    must(next === end || next + 8 + view.getUint32(next + 4, true) + view.getUint32(next + 4, true) % 2 <= end)
    return size
  }
  must(first === "VP8X" && firstLength === 10)
  const isAnimation = (view.getUint8(20) & 2) !== 0
  const size = { width: u24(view, 24) + 1, height: u24(view, 27) + 1 }
  must(size.width * size.height < 2 ** 32)
  if (!isAllowed(size, maxPixels)) return "TooManyPixels"
  const fits = ({ height, width }: Size, x = 0, y = 0) =>
    isAnimation ? x + width <= size.width && y + height <= size.height : width === size.width && height === size.height
  let hasAnimation = false
  let hasData = false
  const chunks = chunksOf(view, 30, end)
  for (let i = 0; i < chunks.length; i++) {
    const { body, length, next, type } = chunks[i] ?? noChunk
    must(type !== "VP8X")
    if (type === "ANIM") hasAnimation = true
    if (type === "ANMF") {
      must(isAnimation && hasAnimation && length >= 24)
      view.getUint32(body + 12)
      const inside = chunksOf(view, body + 16, next)
      const rest = inside.slice(inside[0]?.type === "ALPH" ? 2 : 1)
      must(fits(readStill(view, inside), 2 * u24(view, body), 2 * u24(view, body + 3)))
      must(rest.every(({ type }) => !["ALPH", "VP8 ", "VP8L", "VP8X"].includes(type)))
      hasData = true
    } else if (["ALPH", "VP8 ", "VP8L"].includes(type)) {
      must(!isAnimation && !hasData && fits(readStill(view, chunks.slice(i))))
      hasData = true
      if (type === "ALPH") i++
    }
  }
  must(hasData && view.byteLength >= end)
  return size
}

const readers = {
  png: { begins: (head: string) => head.startsWith("\x89PNG\r\n\x1a\n"), read: readPng },
  jpeg: { begins: (head: string) => head.startsWith("\xff\xd8\xff"), read: readJpeg },
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
