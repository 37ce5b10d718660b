/** Mutates images and texts as an attacker or a broken client would. */
import { Buffer } from "node:buffer"
import { crc32 } from "node:zlib"
import { ascii, concat } from "../../src/testing/internal/bytes.js"
import type { Bytes } from "../../src/testing/internal/bytes.js"
import {
  anmf,
  dqt,
  eoi,
  jpeg,
  png,
  pngChunk,
  riff,
  segment,
  sof,
  soi,
  sos,
  vp8,
  vp8l,
  vp8x,
  webp,
  webpChunk
} from "../utils/images.js"
import { samples } from "../utils/samples.js"
import type { Random } from "./random.js"

const built: ReadonlyArray<Uint8Array> = [
  png(),
  png({ width: 7071, height: 7072 }),
  png({ chunks: [pngChunk("tEXt"), pngChunk("eXIf"), pngChunk("IDAT")] }),
  jpeg(),
  concat(soi, dqt(), sof({ width: 65_535, height: 65_535 }), sos(), eoi),
  jpeg({ segments: [segment(0xfe), segment(0xe1), sof({ marker: 0xc3 })] }),
  ...[4, 5, 100].map((components) => concat(soi, dqt(), sof({ components }), sos({ components }), eoi)),
  webp(),
  webp({ width: 16_384, height: 16_384 }),
  riff(webpChunk("VP8 ", vp8({ width: 4, height: 4 }))),
  riff(vp8x(9, 7, 2), webpChunk("ANIM", new Uint8Array(6)), anmf(9, 7), anmf(2, 2, 4, 4)),
  riff(vp8x(3, 3), webpChunk("VP8L", vp8l(3, 3)), webpChunk("XMP ", new Uint8Array(3)))
]

/** Files of other formats, and fragments. */
const others: ReadonlyArray<Uint8Array> = [
  "",
  "\0",
  "GIF89a\x01\0\x01\0",
  "BM",
  "%PDF-1.7",
  "<svg xmlns='http://www.w3.org/2000/svg'/>",
  "<!-- x --><html>",
  "\0\0\0\x18ftypavif\0\0\0\0mif1",
  "II*\0",
  "RIFF\x04\0\0\0WAVE"
].map(ascii)

const made: ReadonlyArray<Uint8Array> = samples.map(({ all }) => new Uint8Array(all))

/** Small images as often as encoded ones. */
const source = (random: Random): Uint8Array =>
  random.chance(0.04) ? random.pick(others) : random.chance(0.4) ? random.pick(built) : random.pick(made)

const viewOf = (all: Uint8Array): DataView => new DataView(all.buffer, all.byteOffset, all.byteLength)

/** Offsets of chunks or segments, up to the first that is invalid. */
const starts = (all: Uint8Array): ReadonlyArray<number> => {
  const view = viewOf(all)
  const at: Array<number> = []
  const follow = (first: number, least: number, length: (at: number) => number): ReadonlyArray<number> => {
    for (let next = first; next + least <= all.length && at.length < 60; next += length(next)) at.push(next)
    return at
  }
  switch (all[0]) {
    case 0x89:
      return follow(8, 12, (at) => 12 + view.getUint32(at))
    case 0x52:
      return follow(12, 8, (at) => 8 + view.getUint32(at + 4, true) + view.getUint32(at + 4, true) % 2)
    case 0xff:
      return follow(2, 4, (at) => all[at] === 0xff ? 2 + view.getUint16(at + 2) : Infinity)
    default:
      return at
  }
}

const part = (random: Random, all: Uint8Array): readonly [start: number, end: number] => {
  const at = starts(all)
  const i = random.below(at.length)
  return [at[i] ?? 0, at[i + 1] ?? all.length]
}

const remarkable = [0, 1, 2, 3, 7, 8, 13, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0xffffff, 0x7fffffff, 0x80000000]

/** Writes a number into one to four bytes, in either byte order. */
const writeNumber = (random: Random, all: Uint8Array, at: number): void => {
  const length = random.pick([1, 2, 3, 4])
  const value = random.pick([
    random.pick(remarkable),
    random.next(),
    0xffffffff - random.below(16),
    all.length - random.below(16)
  ])
  const little = random.chance(0.5)
  for (let i = 0; i < length && at + i < all.length; i++) {
    all[at + i] = value >>> 8 * (little ? i : length - 1 - i)
  }
}

const replaced = (all: Uint8Array, start: number, end: number, ...by: ReadonlyArray<Uint8Array>): Uint8Array =>
  concat(all.subarray(0, start), ...by, all.subarray(Math.max(start, end)))

type Mutation = (random: Random, all: Uint8Array) => Uint8Array

const mutations: ReadonlyArray<Mutation> = [
  // A bit
  (random, all) => {
    const at = random.below(random.chance(0.5) ? Math.min(64, all.length) : all.length)
    all[at] = (all[at] ?? 0) ^ 1 << random.below(8)
    return all
  },
  // A number anywhere, or in the head of a chunk
  (random, all) => {
    writeNumber(random, all, random.below(all.length))
    return all
  },
  (random, all) => {
    writeNumber(random, all, part(random, all)[0] + random.below(18))
    return all
  },
  // Cuts: at the end, at the start, from the middle
  (random, all) => all.subarray(0, random.below(all.length)),
  (random, all) => all.subarray(0, all.length - random.below(16)),
  (random, all) => all.subarray(random.below(16)),
  (random, all) => {
    const start = random.below(all.length)
    return replaced(all, start, start + random.below(32))
  },
  // Inserted bytes, among them markers and zeros
  (random, all) => {
    const at = random.below(all.length)
    const value = random.pick([0, 0xff, random.below(256)])
    return replaced(all, at, at, new Uint8Array(random.below(40)).fill(value))
  },
  (random, all) => {
    const at = random.below(all.length)
    return replaced(all, at, at + 2, Uint8Array.of(0xff, 0xc0 + random.below(64)))
  },
  // Another image, or its chunk, in the middle of this one
  (random, all) => {
    const other = source(random)
    return replaced(all, random.below(all.length), all.length, other.subarray(random.below(other.length)))
  },
  (random, all) => {
    const other = source(random)
    const [at] = part(random, all)
    return replaced(all, at, random.chance(0.5) ? at : part(random, all)[1], other.subarray(...part(random, other)))
  },
  // A chunk repeated, moved or removed
  (random, all) => {
    const [start, end] = part(random, all)
    const times = Math.min(1 + random.below(random.chance(0.1) ? 500 : 4), Math.floor(20_000 / (end - start + 1)))
    return replaced(all, start, start, ...Array.from({ length: times }, () => all.slice(start, end)))
  },
  (random, all) => {
    const chunk = all.slice(...part(random, all))
    const [at] = part(random, all)
    return replaced(all, at, at, chunk)
  },
  (random, all) => replaced(all, ...part(random, all)),
  // Bytes after the image
  (random, all) => concat(all, random.pick([eoi, new Uint8Array(random.below(99)), source(random)]))
]

/** Repairs checksums and sizes, so that a mutation passes the first check. */
const repair = (all: Bytes): Bytes => {
  if (all[0] === 0x89 && all.length >= 33) viewOf(all).setUint32(29, crc32(all.subarray(12, 29)))
  if (all[0] === 0x52 && all.length >= 12) viewOf(all).setUint32(4, all.length - 8, true)
  return all
}

/** Restores the signature of the original. */
const signed = (all: Bytes, original: Uint8Array): Bytes => {
  if (all.length >= 12) {
    all.set(original.subarray(0, original[0] === 0x89 ? 8 : original[0] === 0xff ? 2 : 4))
    if (original[0] === 0x52) all.set(original.subarray(8, 12), 8)
  }
  return all
}

const maxBytes = 60_000

/** An image after zero or more mutations. */
export const image = (random: Random): Uint8Array => {
  const original = source(random)
  let all: Bytes = new Uint8Array(original)
  for (let left = random.pick([0, 1, 1, 1, 2, 2, 3, 5]); left > 0; left--) {
    all = new Uint8Array(random.pick(mutations)(random, all).subarray(0, maxBytes))
    if (random.chance(0.8)) all = signed(all, original)
    if (random.chance(0.5)) all = repair(all)
  }
  return all
}

const units = [
  "-",
  "_",
  "=",
  "==",
  "====",
  "\n",
  "\r\n",
  " ",
  "\0",
  "é",
  "Ł",
  "ＡＢ",
  "😀",
  "\ud800",
  "A",
  "/",
  "+",
  ""
]

/** Base64 after mutations that make it invalid. */
export const text = (random: Random, whole: string): string => {
  let text = whole
  for (let left = random.pick([0, 1, 1, 1, 2, 3]); left > 0; left--) {
    const at = random.chance(0.3) ? text.length - random.below(Math.min(5, text.length + 1)) : random.below(text.length)
    const unit = random.chance(0.2) ? String.fromCharCode(random.below(0x10000)) : random.pick(units)
    switch (random.below(6)) {
      case 0:
      case 1:
        text = text.slice(0, at) + unit + text.slice(at + unit.length)
        break
      case 2:
        text = text.slice(0, at) + unit + text.slice(at)
        break
      case 3:
        text = text.slice(0, at)
        break
      case 4:
        text = text.slice(0, at) + text.slice(at + 1 + random.below(8))
        break
      default:
        text = text.slice(0, at) + text.slice(random.below(text.length))
    }
  }
  return text
}

export const base64 = (all: Uint8Array): string =>
  Buffer.from(all.buffer, all.byteOffset, all.byteLength).toString("base64")

const structure = ["\"", "\\", "{", "}", "[", "]", ",", ":", "\\u", "\\/", "\0", "\u007f", "null", "\"data\":", "1e9"]
const notUtf8 = [[0xc3], [0xff], [0xed, 0xa0, 0x80], [0xf0, 0x9f], [0xef, 0xbb, 0xbf]].map((all) =>
  Uint8Array.from(all)
)

/** A JSON text after mutations. */
export const json = (random: Random, whole: Uint8Array, other: () => Uint8Array): Uint8Array => {
  let all = whole
  for (let left = random.pick([0, 0, 1, 1, 2, 3]); left > 0; left--) {
    const at = random.below(all.length)
    const end = at + random.below(random.chance(0.5) ? 4 : 60)
    switch (random.below(8)) {
      case 0:
        all = all.subarray(0, at)
        break
      case 1:
        all = replaced(all, at, end)
        break
      case 2:
        all = replaced(all, end, end, all.subarray(at, end))
        break
      case 3:
        all = replaced(all, at, end, other().subarray(random.below(200)))
        break
      case 4:
        all = replaced(all, at, at + random.below(2), random.pick(notUtf8))
        break
      case 5:
        all = replaced(all, at, at, Buffer.from(random.pick(["[", "{\"a\":"]).repeat(random.pick([1, 126, 131]))))
        break
      default:
        all = replaced(all, at, at + random.below(2), Buffer.from(random.pick(structure)))
    }
  }
  return all
}
