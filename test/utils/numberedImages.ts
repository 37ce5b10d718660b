/** Images that can be told apart by what is in them. */
import { Buffer } from "node:buffer"
import { concat, noise, u32be } from "./bytes.js"
import { png, pngChunk } from "./images.js"

const smallest = png()
const ihdrEnd = 8 + 25
const head = smallest.subarray(0, ihdrEnd)
const tail = smallest.subarray(ihdrEnd)
/** Of the number's chunk, before and after its data. */
const overhead = 12
const numberAt = ihdrEnd + 8

/** The size of the smallest. */
export const smallestNumbered = smallest.length + overhead + 4

/** A PNG of so many bytes that has a number in it. */
export const numbered = (number: number, size: number): Uint8Array =>
  concat(head, pngChunk("nuMb", concat(u32be(number), noise(size - smallestNumbered))), tail)

/** The number of an image, or of the beginning of one. */
export const numberIn = (image: Uint8Array): number | undefined =>
  image.length < numberAt + 4
    ? undefined
    : Buffer.from(image.buffer, image.byteOffset, image.byteLength).readUInt32BE(numberAt)
