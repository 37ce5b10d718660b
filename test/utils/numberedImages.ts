/** Images with a number in their content, by which tests identify them. */
import { Buffer } from "node:buffer"
import { concat, noise, u32be } from "../../src/testing/internal/bytes.js"
import { png, pngChunk } from "./images.js"

const smallest = png()
const ihdrEnd = 8 + 25
const head = smallest.subarray(0, ihdrEnd)
const tail = smallest.subarray(ihdrEnd)
/** Bytes of a PNG chunk besides its data: length, type and CRC. */
const chunkOverhead = 12
const numberAt = ihdrEnd + 8

/** The smallest size of a numbered image, in bytes. */
export const smallestNumbered = smallest.length + chunkOverhead + 4

/** A PNG of `size` bytes that contains `number`. */
export const numbered = (number: number, size: number): Uint8Array =>
  concat(head, pngChunk("nuMb", concat(u32be(number), noise(size - smallestNumbered))), tail)

/** The number in an image, or in its beginning if that is long enough. */
export const numberIn = (image: Uint8Array): number | undefined =>
  image.length < numberAt + 4
    ? undefined
    : Buffer.from(image.buffer, image.byteOffset, image.byteLength).readUInt32BE(numberAt)
