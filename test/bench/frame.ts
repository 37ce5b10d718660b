/** Builds the message that carries the image, as a client sends it. */
import { randomFillSync } from "node:crypto"
import { concat } from "../../src/testing/internal/bytes.js"
import { ihdr, jpegParts, pngChunk, pngSignature } from "../../src/testing/internal/images.js"

export const mebibyte = 1024 * 1024

export type Format = "png" | "jpeg"

/** The length of an IDAT chunk as libpng writes it. */
const idatLength = 8192

const chunkOverhead = 12

const zlibHeader = [0x78, 0x9c]

const random = (length: number) => randomFillSync(new Uint8Array(length))

/** The structure is that of an encoder; the pixel data is noise, which the benchmark never decodes. */
const makePng = (size: number): Uint8Array => {
  const start = concat(pngSignature, ihdr({ width: 4096, height: 2160, colorType: 2 }))
  const end = pngChunk("IEND")
  const parts: Array<Uint8Array> = [start]
  let left = size - start.length - end.length
  while (left > 0) {
    const length = Math.min(idatLength + chunkOverhead, left)
    // If the rest were shorter than a chunk's overhead, this chunk is shortened to leave room for one more.
    const taken = left - length > 0 && left - length < chunkOverhead ? length - chunkOverhead : length
    const data = random(taken - chunkOverhead)
    if (parts.length === 1) data.set(zlibHeader)
    parts.push(pngChunk("IDAT", data))
    left -= taken
  }
  return concat(...parts, end)
}

/** Entropy-coded data is noise, with a zero byte stuffed after each 0xff (ITU-T T.81 B.1.1.5). */
const makeJpeg = (size: number): Uint8Array => {
  const parts = jpegParts({ width: 4096, height: 2160 })
  const [scan, end] = parts.slice(-2)
  if (scan === undefined || end === undefined) throw new Error("a JPEG has a scan and an end")
  const start = concat(...parts.slice(0, -2))
  const data = random(size - start.length - end.length)
  data[data.length - 1] = 0
  for (let at = data.indexOf(0xff); at !== -1; at = data.indexOf(0xff, at + 1)) data[at + 1] = 0
  return concat(start, data, end)
}

export const makeImage = (format: Format, size: number): Uint8Array => format === "png" ? makePng(size) : makeJpeg(size)

/** Builds a frame with any text as its data. */
export const wrap = (mime: string, data: string): Buffer =>
  Buffer.from(JSON.stringify({
    type: "session_init_v2",
    prompt: "a paper boat on a quiet river at dawn",
    initial_image: { mime, name: "ref", data },
    num_frames: 81
  }))

/** Builds a frame around an image of `size` bytes. */
export const makeFrame = (format: Format, size: number): Buffer =>
  wrap(`image/${format}`, Buffer.from(makeImage(format, size).buffer).toString("base64"))

export interface Payload {
  readonly mime: string
  readonly name: string
  readonly data: string
}

/** The path of the payload in the frame. */
export const at = ["initial_image"] as const

/** Parses a frame. Strings from `JSON.parse` are on V8's heap; external strings are decoded at another speed. */
export const parse = (text: string): Payload =>
  // `wrap` built the frame.
  (JSON.parse(text) as { readonly initial_image: Payload }).initial_image
