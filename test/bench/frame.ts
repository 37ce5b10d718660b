/** The message that carries the image, as a client sends it. */
import { randomFillSync } from "node:crypto"
import { concat, ihdr, jpegParts, pngChunk, pngSignature } from "../utils/images.js"

export const mebibyte = 1024 * 1024

export type Format = "png" | "jpeg"

/** What libpng writes at a time. */
const idatLength = 8192

const chunkOverhead = 12

const random = (length: number) => randomFillSync(new Uint8Array(length))

/** Its pixels are noise, which no decoder is asked to look at; its structure is an encoder's. */
const makePng = (size: number): Uint8Array => {
  const start = concat(pngSignature, ihdr({ width: 4096, height: 2160, colorType: 2 }))
  const end = pngChunk("IEND")
  const parts: Array<Uint8Array> = [start]
  let left = size - start.length - end.length
  while (left > 0) {
    const length = Math.min(idatLength + chunkOverhead, left)
    // No chunk is shorter than its overhead, so what would be is left to the one before.
    const taken = left - length > 0 && left - length < chunkOverhead ? length - chunkOverhead : length
    parts.push(pngChunk("IDAT", random(taken - chunkOverhead)))
    left -= taken
  }
  return concat(...parts, end)
}

/** Noise as entropy-coded data: a 0xff in it is followed by a stuffed zero, as ITU-T T.81 B.1.1.5 has it. */
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

/** The same with any text for data. */
export const wrap = (mime: string, data: string): Buffer =>
  Buffer.from(JSON.stringify({
    type: "session_init_v2",
    prompt: "a paper boat on a quiet river at dawn",
    initial_image: { mime, name: "ref", data },
    num_frames: 81
  }))

/** The frame's bytes, around an image of so many. */
export const makeFrame = (format: Format, size: number): Buffer =>
  wrap(`image/${format}`, Buffer.from(makeImage(format, size).buffer).toString("base64"))

export interface Payload {
  readonly mime: string
  readonly name: string
  readonly data: string
}

/** Where the payload stands in the frame. */
export const at = ["initial_image"] as const

/** The payload as `JSON.parse` gives it, strings on V8's heap: text that was made in another way is decoded at another speed. */
export const parse = (text: string): Payload =>
  // The frame is this benchmark's own.
  (JSON.parse(text) as { readonly initial_image: Payload }).initial_image
