/**
 * Reads from an image's first bytes how it is coded, and with that the memory that a decoder takes. Decides which bytes
 * reach a decoder at all: sharp itself detects formats by content, and reads SVG and TIFF too.
 */
import { latin1, startsWith } from "./bytes.js"
import type { Input } from "./job.js"

/** The most bytes that are read. A JPEG whose frame header follows later is taken for the costliest kind. */
export const headBytes = 256 * 1024

/** The coding of an image. Pixels are counted as stored. */
export interface Header {
  readonly width: number
  readonly height: number
  /** The bytes that a decoder holds of each pixel of the whole image, before its output. */
  readonly heldBytesPerPixel: number
  /** The bytes of a pixel as it leaves the decoder. */
  readonly bytesPerPixel: number
}

/** Reads the header of an image of the format. `undefined` if the bytes do not begin with its signature. */
export const read = (format: Input, head: Uint8Array): Header | undefined => readers[format](head)

const readers: Record<Input, (head: Uint8Array) => Header | undefined> = {
  png: (head) => startsWith(head, pngSignature) && head.length >= 33 ? readPng(head) : undefined,
  jpeg: (head) => startsWith(head, [0xff, 0xd8, 0xff]) ? readJpeg(head) : undefined,
  webp: (head) => latin1(head, 0, 4) === "RIFF" && latin1(head, 8, 15) === "WEBPVP8" ? readWebp(head) : undefined,
  gif: (head) => /^GIF8[79]a/.test(latin1(head, 0, 6)) && head.length >= 13 ? readGif(head) : undefined,
  avif: (head) => readAvif(head)
}

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const pngSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]

/** Channels by colour type. A palette may hold transparency. */
const pngChannels: Readonly<Record<number, number>> = { 0: 2, 2: 4, 3: 4, 4: 2, 6: 4 }

const readPng = (head: Uint8Array): Header => {
  const data = view(head)
  const bytesPerPixel = (pngChannels[data.getUint8(25)] ?? 4) * (data.getUint8(24) === 16 ? 2 : 1)
  return {
    width: data.getUint32(16),
    height: data.getUint32(20),
    // libpng decodes an interlaced image as a whole.
    heldBytesPerPixel: data.getUint8(28) === 0 ? 0 : bytesPerPixel,
    bytesPerPixel
  }
}

/** A progressive image of four components without subsampling. */
const costliestJpeg: Header = { width: 0, height: 0, heldBytesPerPixel: 10, bytesPerPixel: 4 }

const readJpeg = (head: Uint8Array): Header => {
  const data = view(head)
  let at = 2
  while (at + 4 <= head.length) {
    const marker = data.getUint8(at + 1)
    if (data.getUint8(at) !== 0xff || marker === 0xff || marker === 0) {
      // Stray bytes and fill bytes
      at += 1
    } else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return readFrame(data, at)
    } else {
      at += marker === 1 || marker >= 0xd0 && marker <= 0xd8 ? 2 : 2 + Math.max(2, data.getUint16(at + 2))
    }
  }
  return costliestJpeg
}

/** ITU-T T.81 section B.2.2 */
const readFrame = (data: DataView, at: number): Header => {
  const components = at + 10 <= data.byteLength ? data.getUint8(at + 9) : 0
  if (components === 0 || at + 10 + components * 3 > data.byteLength) return costliestJpeg
  const samplings = Array.from({ length: components }, (_, i) => {
    const sampling = data.getUint8(at + 11 + i * 3)
    return (sampling >> 4) * (sampling & 15)
  })
  const marker = data.getUint8(at + 1)
  const isSequential = marker === 0xc0 || marker === 0xc1 || marker === 0xc9
  const scans = isSequential ? sequentialScans(data, at, components) : "many"
  // Two bytes for each coefficient; measured 3.4 bytes for each pixel with 4:2:0, 6.4 with 4:4:4, 9 of CMYK.
  const coefficients = 2 * samplings.reduce((sum, n) => sum + n, 0) / Math.max(1, ...samplings)
  return {
    width: data.getUint16(at + 7),
    height: data.getUint16(at + 5),
    heldBytesPerPixel: scans === "one" ? 0 : coefficients * 1.25,
    bytesPerPixel: 4
  }
}

/** A sequential image in several scans is held as a whole, as a progressive one is. */
const sequentialScans = (data: DataView, frame: number, components: number): "one" | "many" => {
  let at = frame
  while (at + 5 <= data.byteLength) {
    if (data.getUint8(at) !== 0xff) {
      at += 1
    } else if (data.getUint8(at + 1) === 0xda) {
      return data.getUint8(at + 4) === components ? "one" : "many"
    } else {
      at += data.getUint8(at + 1) === 0xff ? 1 : 2 + Math.max(2, data.getUint16(at + 2))
    }
  }
  return "many"
}

const readWebp = (head: Uint8Array): Header | undefined => {
  const data = view(head)
  const kind = latin1(head, 15, 16)
  if (head.length < (kind === "L" ? 25 : 30)) return undefined
  // Measured 4 bytes of a lossless image, and as many again where the canvas is kept.
  const costs = { heldBytesPerPixel: 8, bytesPerPixel: 4 }
  if (kind === "X") {
    const u24 = (at: number) => data.getUint16(at, true) | data.getUint8(at + 2) << 16
    return { ...costs, width: u24(24) + 1, height: u24(27) + 1 }
  }
  if (kind === "L") {
    const bits = data.getUint32(21, true)
    return { ...costs, width: (bits & 0x3fff) + 1, height: (bits >> 14 & 0x3fff) + 1 }
  }
  return { ...costs, width: data.getUint16(26, true) & 0x3fff, height: data.getUint16(28, true) & 0x3fff }
}

/** GIF89a section 18. A decoder that finds a frame beyond the logical screen meets the limit on pixels. */
const readGif = (head: Uint8Array): Header => {
  const data = view(head)
  return { width: data.getUint16(6, true), height: data.getUint16(8, true), heldBytesPerPixel: 12, bytesPerPixel: 4 }
}

const isAvifBrand = (brand: string): boolean => brand === "avif" || brand === "avis"

/** ISO/IEC 14496-12 section 4.3; ISO/IEC 23008-12 section 6.5.3: the largest of the images' spatial extents. */
const readAvif = (head: Uint8Array): Header | undefined => {
  if (head.length < 16 || latin1(head, 4, 8) !== "ftyp" || !isAvifBrand(latin1(head, 8, 12))) return undefined
  const data = view(head)
  const text = latin1(head, 0, head.length)
  let width = 0
  let height = 0
  for (let at = text.indexOf("ispe"); at !== -1; at = text.indexOf("ispe", at + 4)) {
    if (at + 16 > head.length) break
    width = Math.max(width, data.getUint32(at + 8))
    height = Math.max(height, data.getUint32(at + 12))
  }
  if (width === 0 || height === 0) return undefined
  const costs = { heldBytesPerPixel: 20, bytesPerPixel: 4 }
  // ISO/IEC 23008-12 section 6.5.10: quarter turns, which the decoder applies.
  const rotation = text.indexOf("irot")
  return rotation !== -1 && (head[rotation + 4] ?? 0) % 2 === 1
    ? { ...costs, width: height, height: width }
    : { ...costs, width, height }
}
