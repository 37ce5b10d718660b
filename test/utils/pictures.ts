/** Encodes pictures with real content, and damages them. */
import sharp, { type Sharp } from "sharp"
import type { Random } from "../endurance/random.js"
import { concat, pngChunk } from "./images.js"

/** RGB pixels of a gradient with noise. */
export const pixels = (width: number, height: number): Buffer => {
  const raw = Buffer.alloc(width * height * 3)
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += 3) {
      const noise = Math.imul(x * 7919 + y * 104_729, 2_654_435_761) >>> 29
      raw[i] = Math.floor(x * 240 / width) + noise
      raw[i + 1] = Math.floor(y * 240 / height) + noise
      raw[i + 2] = Math.floor((x + y) * 240 / (width + height)) + noise
    }
  }
  return raw
}

export const picture = (width: number, height: number): Sharp =>
  sharp(pixels(width, height), { raw: { width, height, channels: 3 } })

/** Bytes from `at` on are replaced, shifted or cut. */
const damageRange = (bytes: Uint8Array, from: number, to: number, random: Random): Uint8Array => {
  const damaged = Uint8Array.from(bytes)
  const at = from + random.below(Math.max(1, to - from))
  switch (random.below(4)) {
    case 0:
      for (let n = 1 + random.below(4); n > 0; n--) {
        const i = from + random.below(Math.max(1, to - from))
        damaged[i] = (damaged[i] ?? 0) ^ 1 << random.below(8)
      }
      return damaged
    case 1:
      return damaged.fill(random.below(256), at, Math.min(to, at + 1 + random.below(200)))
    case 2:
      return concat(bytes.subarray(0, at), bytes.subarray(Math.min(to, at + 1 + random.below(100))))
    default:
      return concat(bytes.subarray(0, at), bytes.subarray(to))
  }
}

interface Chunk {
  readonly type: string
  readonly data: Uint8Array
}

const pngChunks = (bytes: Uint8Array): ReadonlyArray<Chunk> => {
  const data = Buffer.from(bytes)
  const chunks: Array<Chunk> = []
  for (let at = 8; at < data.length;) {
    const length = data.readUInt32BE(at)
    chunks.push({ type: data.toString("latin1", at + 4, at + 8), data: data.subarray(at + 8, at + 8 + length) })
    at += 12 + length
  }
  return chunks
}

/** Damages the image data of a PNG, with correct checksums. */
export const damagePng = (bytes: Uint8Array, random: Random): Uint8Array => {
  const chunks = pngChunks(bytes)
  const compressed = concat(...chunks.flatMap(({ data, type }) => type === "IDAT" ? [data] : []))
  return concat(
    bytes.subarray(0, 8),
    ...chunks.flatMap(({ data, type }) =>
      type === "IHDR" || type === "PLTE" || type === "tRNS" ? [pngChunk(type, data)] : []
    ),
    pngChunk("IDAT", damageRange(compressed, 2, compressed.length, random)),
    pngChunk("IEND")
  )
}

/** The ranges of entropy-coded data, one for each scan. */
const scans = (bytes: Uint8Array): ReadonlyArray<readonly [from: number, to: number]> => {
  const ranges: Array<readonly [number, number]> = []
  for (let at = 2; at + 4 < bytes.length;) {
    const marker = bytes[at + 1]
    at += 2 + (bytes[at + 2] ?? 0) * 256 + (bytes[at + 3] ?? 0)
    if (marker !== 0xda) continue
    const from = at
    while (bytes[at] !== 0xff || bytes[at + 1] === 0) at += 1
    ranges.push([from, at])
  }
  return ranges
}

/** Damages the entropy-coded data of one scan of a JPEG. */
export const damageJpeg = (bytes: Uint8Array, random: Random): Uint8Array => {
  const [from, to] = random.pick(scans(bytes))
  return concat(damageRange(bytes.subarray(0, to), from, to, random), bytes.subarray(to))
}

/** Damages the image data of a simple WebP, and keeps its lengths correct. */
export const damageWebp = (bytes: Uint8Array, random: Random): Uint8Array => {
  const body = damageRange(bytes.subarray(20), 10, bytes.length - 20, random)
  const all = Buffer.from(concat(bytes.subarray(0, 20), body, new Uint8Array(body.length & 1)))
  all.writeUInt32LE(all.length - 8, 4)
  all.writeUInt32LE(body.length, 16)
  return all
}
