/** The parts of image formats, and images padded to any size. */
import { bytes, concat, u16be, u16le, u24le } from "../../src/testing/internal/bytes.js"
import type { Bytes } from "../../src/testing/internal/bytes.js"
import { segment, vp8l, webpChunk } from "../../src/testing/internal/images.js"
import * as TestImages from "../../src/testing/TestImages.js"

export * from "../../src/testing/internal/bytes.js"
export * from "../../src/testing/internal/images.js"

/** A restart interval in minimum coded units. */
export const dri = (interval: number): Bytes => segment(0xdd, u16be(interval))

export interface Vp8Options {
  readonly width?: number
  readonly height?: number
  readonly tag?: number
  readonly startCode?: number
}

/** Builds the header of a lossy image, without its partitions. */
export const vp8 = (options: Vp8Options = {}): Bytes =>
  concat(
    u24le(options.tag ?? 0x10 | 1 << 5),
    u24le(options.startCode ?? 0x2a019d),
    u16le(options.width ?? 1),
    u16le(options.height ?? 1),
    new Uint8Array(2)
  )

export const anmf = (width = 1, height = 1, x = 0, y = 0): Bytes =>
  webpChunk(
    "ANMF",
    concat(
      u24le(x / 2),
      u24le(y / 2),
      u24le(width - 1),
      u24le(height - 1),
      u24le(100),
      bytes(0),
      webpChunk("VP8L", vp8l(width, height))
    )
  )

/** The smallest size that each of the following functions can build, in bytes. */
export const smallest = {
  png: TestImages.png().bytes.length,
  jpeg: TestImages.jpeg().bytes.length,
  webp: TestImages.webp().bytes.length
}

/** Builds a 1×1 PNG of `size` bytes. */
export const pngOfSize = (size: number): Bytes => TestImages.png({ bytes: size }).bytes

/** Builds a 1×1 JPEG of `size` bytes. */
export const jpegOfSize = (size: number): Bytes => TestImages.jpeg({ bytes: size }).bytes

/** Builds a 1×1 WebP of `size` bytes. */
export const webpOfSize = (size: number): Bytes => TestImages.webp({ bytes: size }).bytes
