import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import {
  anmf,
  ascii,
  bytes,
  concat,
  exif,
  exifPrefix,
  noise,
  riff,
  u32le,
  vp8,
  vp8l,
  vp8x,
  webp,
  webpChunk
} from "../../../utils/images.js"
import { image, malformed, piecesOf, probe, trace } from "../../../utils/probing.js"

const probeWebp = (all: Uint8Array) => probe(ImageFormat.webp, all)

const lossy = (...options: Parameters<typeof vp8>) => webpChunk("VP8 ", vp8(...options))
const lossless = (...options: Parameters<typeof vp8l>) => webpChunk("VP8L", vp8l(...options))
const anim = webpChunk("ANIM", new Uint8Array(6))

/** Adds `more` to the file size in the RIFF header. */
const withFileSize = (all: Uint8Array, more: number) => {
  const view = new DataView(all.buffer)
  view.setUint32(4, view.getUint32(4, true) + more, true)
  return all
}

const dimension = FastCheck.integer({ min: 1, max: 2 ** 14 })

describe("WebP", () => {
  it.prop("accepts any size, lossless and lossy, simple and extended", [dimension, dimension], ([width, height]) => {
    const sizes = { width: Math.min(width, 0x3fff), height: Math.min(height, 0x3fff) }
    const read = (all: Uint8Array) => probe(ImageFormat.webp, all, Infinity)
    assert.deepStrictEqual(read(riff(lossless(width, height))), image(width, height))
    assert.deepStrictEqual(read(riff(vp8x(width, height), lossless(width, height))), image(width, height))
    assert.deepStrictEqual(read(riff(lossy(sizes))), image(sizes.width, sizes.height))
    assert.deepStrictEqual(
      read(riff(vp8x(sizes.width, sizes.height), webpChunk("ALPH", bytes(1, 2, 3)), lossy(sizes))),
      image(sizes.width, sizes.height)
    )
  })

  it("ignores the upscaling bits above a lossy image's size", () => {
    assert.deepStrictEqual(probeWebp(riff(lossy({ width: 0x4000 | 3, height: 0xc000 | 5 }))), image(3, 5))
  })

  it("reads an animation with the size of its canvas", () => {
    assert.deepStrictEqual(probeWebp(riff(vp8x(9, 7, 2), anim, anmf(9, 7), anmf(2, 3, 6, 4))), image(9, 7))
  })

  it.each<[string, Uint8Array, ImageFormat.Orientation]>([
    ["of a TIFF block", riff(vp8x(1, 1, 8), lossless(), webpChunk("EXIF", exif({ orientation: 6 }))), 6],
    ["before the image", riff(vp8x(1, 1, 8), webpChunk("EXIF", exif({ orientation: 6 })), lossless()), 6],
    [
      "after a JPEG prefix",
      riff(vp8x(1, 1, 8), lossless(), webpChunk("EXIF", concat(exifPrefix, exif({ orientation: 4 })))),
      4
    ],
    ["of an animation", riff(vp8x(1, 1, 10), anim, anmf(), webpChunk("EXIF", exif({ orientation: 2 }))), 2],
    [
      "as upright if the header does not announce it, as libwebp does",
      riff(vp8x(), lossless(), webpChunk("EXIF", exif({ orientation: 6 }))),
      1
    ],
    ["as upright if the chunk is malformed", riff(vp8x(1, 1, 8), lossless(), webpChunk("EXIF", noise(31))), 1]
  ])("reads the orientation %s", (_, all, orientation) => {
    assert.deepStrictEqual(probeWebp(all), image(1, 1, orientation))
  })

  it("uses the first orientation", () => {
    const [first, second] = [3, 8].map((orientation) => webpChunk("EXIF", exif({ orientation })))
    assert.deepStrictEqual(
      probeWebp(riff(vp8x(1, 1, 8), lossless(), first ?? bytes(), second ?? bytes())),
      image(1, 1, 3)
    )
  })

  it("accepts unknown chunks and padded odd chunks", () => {
    const unknown = webpChunk("abcd", noise(3))
    assert.deepStrictEqual(probeWebp(riff(vp8x(), unknown, lossless(), unknown)), image(1, 1))
    assert.deepStrictEqual(probeWebp(riff(lossless(), unknown)), image(1, 1))
  })

  it.each<[string, Uint8Array]>([
    ["an empty last chunk", riff(vp8x(), lossless(), webpChunk("abcd"))],
    ["a lossy image of only a header", riff(webpChunk("VP8 ", vp8().subarray(0, 10)))],
    ["a lossless image of only a header", riff(webpChunk("VP8L", vp8l().subarray(0, 5)))],
    ["a lossy image of the last version", riff(lossy({ tag: 0x10 | 1 << 5 | 3 << 1 }))],
    [
      "an orientation in a chunk of another type",
      riff(vp8x(1, 1, 8), webpChunk("abcd", exif({ orientation: 6 })), lossless())
    ]
  ])("accepts %s", (_, all) => {
    assert.deepStrictEqual(probeWebp(all), image(1, 1))
  })

  it("accepts the standard's largest canvas", () => {
    const all = riff(vp8x(65_537, 65_535, 2), anim, anmf())
    assert.deepStrictEqual(probe(ImageFormat.webp, all, Infinity), image(65_537, 65_535))
  })

  it.each<[string, Uint8Array, ImageFormat.MalformedReason]>([
    ["its only chunk is not an image", riff(webpChunk("abcd")), "MissingHeader"],
    [
      "it declares the standard's largest size and ends early",
      concat(ascii("RIFF"), u32le(2 ** 32 - 10), ascii("WEBP")),
      "Truncated"
    ],
    ["an image in an extended file is too short", riff(vp8x(), webpChunk("VP8L", vp8l().subarray(0, 4))), "BadLength"],
    ["a lossy image has another second byte of its start code", riff(lossy({ startCode: 0x2a029d })), "BadHeader"],
    ["a lossy image has another last byte of its start code", riff(lossy({ startCode: 0x2b019d })), "BadHeader"],
    ["it declares a size too small for a chunk", concat(ascii("RIFF"), u32le(11), ascii("WEBP")), "BadLength"],
    [
      "it declares a size above the standard's maximum",
      concat(ascii("RIFF"), u32le(2 ** 32 - 9), ascii("WEBP")),
      "BadLength"
    ],
    ["it is shorter than it declares", withFileSize(riff(lossless()), 8), "Truncated"],
    ["the image extends beyond the declared size", withFileSize(riff(lossless()), -1), "BadLength"],
    [
      "a chunk extends beyond the declared size",
      withFileSize(riff(vp8x(), lossless(), webpChunk("abcd", noise(4))), -2),
      "BadLength"
    ],
    [
      "a chunk's padding extends beyond the declared size",
      withFileSize(riff(vp8x(), lossless(), webpChunk("abcd", noise(3))), -1),
      "BadLength"
    ],
    ["a chunk's header extends beyond the declared size", riff(vp8x(), lossless(), noise(7)), "BadLength"],
    ["its first chunk is not an image", riff(webpChunk("abcd"), lossless()), "MissingHeader"],
    ["a frame has no image", riff(vp8x(1, 1, 2), anim, webpChunk("ANMF", new Uint8Array(24))), "MissingImageData"],
    ["its extended header is too short", riff(webpChunk("VP8X", new Uint8Array(9)), lossless()), "BadLength"],
    ["its canvas exceeds the standard's maximum", riff(vp8x(2 ** 24, 2 ** 24), lossless()), "BadHeader"],
    ["its image is not as wide as its canvas", riff(vp8x(2, 1), lossless(1, 1)), "BadHeader"],
    ["its image is not as high as its canvas", riff(vp8x(1, 2), lossless(1, 1)), "BadHeader"],
    ["it has a second header", riff(vp8x(), vp8x(), lossless()), "UnexpectedSegment"],
    ["it has a second image", riff(vp8x(), lossless(), lossless()), "UnexpectedSegment"],
    ["it has no image", riff(vp8x()), "MissingImageData"],
    ["an animation has no frames", riff(vp8x(1, 1, 2), anim), "MissingImageData"],
    ["an animation holds a bare lossless image", riff(vp8x(1, 1, 2), anim, lossless()), "UnexpectedSegment"],
    ["an animation holds a bare lossy image", riff(vp8x(1, 1, 2), anim, lossy()), "UnexpectedSegment"],
    ["a frame precedes the animation's header", riff(vp8x(1, 1, 2), anmf()), "UnexpectedSegment"],
    [
      "a frame is too short for an image",
      riff(vp8x(1, 1, 2), anim, webpChunk("ANMF", new Uint8Array(23))),
      "BadLength"
    ],
    ["a frame is wider than the canvas", riff(vp8x(9, 7, 2), anim, anmf(8, 7, 2, 0)), "BadHeader"],
    ["a frame is higher than the canvas", riff(vp8x(9, 7, 2), anim, anmf(9, 6, 0, 2)), "BadHeader"],
    ["a lossy image is too short", riff(webpChunk("VP8 ", vp8().subarray(0, 9)), noise(8)), "BadLength"],
    ["a lossless image is too short", riff(webpChunk("VP8L", vp8l().subarray(0, 4)), noise(8)), "BadLength"],
    ["a lossy image in an extended file is malformed", riff(vp8x(), lossy({ startCode: 0 })), "BadHeader"],
    ["a lossy image has no start code", riff(lossy({ startCode: 0x2a019c })), "BadHeader"],
    ["a lossy image does not begin with a key frame", riff(lossy({ tag: 0x31 })), "BadHeader"],
    ["a lossy image has an unknown version", riff(lossy({ tag: 0x38 })), "BadHeader"],
    ["a lossy image is not shown", riff(lossy({ tag: 0x20 })), "BadHeader"],
    ["a lossy image's first partition is longer than the image", riff(lossy({ tag: 0x10 | 12 << 5 })), "BadHeader"],
    ["a lossy image's width is 0", riff(lossy({ width: 0 })), "ZeroDimension"],
    ["a lossy image's height is 0", riff(lossy({ height: 0x4000 })), "ZeroDimension"],
    ["a lossless image has an unknown version", riff(lossless(1, 1, 1)), "BadHeader"],
    ["a lossless image has another signature", riff(webpChunk("VP8L", vp8l().fill(0x2e, 0, 1))), "BadHeader"]
  ])("is refused if %s", (_, all, reason) => {
    assert.deepStrictEqual(probeWebp(all), malformed(reason))
  })

  it.each<[string, Uint8Array, number]>([
    ["lossless", riff(lossless(16_000, 9000)), 25],
    ["lossy", riff(lossy({ width: 16_000, height: 9000 })), 30],
    ["extended", riff(vp8x(16_000, 9000), noise(100)), 30]
  ])("reports TooManyPixels with the byte that completes the size of a %s image", (_, all, reportedAt) => {
    assert.deepStrictEqual(trace(ImageFormat.webp, piecesOf(all, 1)), {
      outcome: { _tag: "TooManyPixels", width: 16_000, height: 9000 },
      reportedAt
    })
  })

  it("ends at its declared size", () => {
    assert.deepStrictEqual(probeWebp(concat(webp({ width: 3 }), noise(1000))), image(3, 1))
  })
})
