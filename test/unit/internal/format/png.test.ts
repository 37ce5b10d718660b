import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { deflateSync } from "node:zlib"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { bytes, concat, exif, exifPrefix, ihdr, png, pngChunk, pngSignature, u32be } from "../../../utils/images.js"
import { image, malformed, piecesOf, probe, trace } from "../../../utils/probing.js"

const probePng = (...parts: ReadonlyArray<Uint8Array>) => probe(ImageFormat.png, concat(...parts))

const header = concat(pngSignature, ihdr())
const idat = pngChunk("IDAT", deflateSync(bytes(0, 0)))
const plte = pngChunk("PLTE", bytes(1, 2, 3))
const iend = pngChunk("IEND")

/** Has a valid checksum, so that the header itself is refused. */
const rawHeader = (type: string, length: number) => concat(pngSignature, pngChunk(type, new Uint8Array(length).fill(1)))

describe("PNG", () => {
  it.prop("accepts only the colour types and bit depths of the standard's table", [
    FastCheck.nat(7),
    FastCheck.nat(17)
  ], ([colorType, bitDepth]) => {
    const table: Record<number, ReadonlyArray<number>> = {
      0: [1, 2, 4, 8, 16],
      2: [8, 16],
      3: [1, 2, 4, 8],
      4: [8, 16],
      6: [8, 16]
    }
    assert.deepStrictEqual(
      probePng(pngSignature, ihdr({ colorType, bitDepth }), plte, idat, iend),
      table[colorType]?.includes(bitDepth) === true ? image(1, 1) : malformed("BadHeader")
    )
  }, { fastCheck: { numRuns: 500 } })

  it.prop("accepts any size within the standard", [
    FastCheck.integer({ min: 1, max: 2 ** 31 - 1 }),
    FastCheck.integer({ min: 1, max: 2 ** 31 - 1 })
  ], ([width, height]) => {
    const all = concat(pngSignature, ihdr({ width, height }), idat, iend)
    assert.deepStrictEqual(probe(ImageFormat.png, all, Infinity), image(width, height))
  })

  it.each([{ width: 2 ** 31 - 1 }, { height: 2 ** 31 - 1 }, { interlace: 1 }])("accepts a header with %j", (header) => {
    const { height = 1, width = 1 } = header
    const all = concat(pngSignature, ihdr(header), idat, iend)
    assert.deepStrictEqual(probe(ImageFormat.png, all, Infinity), image(width, height))
  })

  it("accepts a chunk type of the alphabet's first and last letters", () => {
    assert.deepStrictEqual(probePng(header, pngChunk("aZzA"), idat, iend), image(1, 1))
  })

  it("accepts an animation", () => {
    const frame = new Uint8Array(26)
    assert.deepStrictEqual(
      probePng(
        header,
        pngChunk("acTL", u32be(2)),
        pngChunk("fcTL", frame),
        idat,
        pngChunk("fcTL", frame),
        pngChunk("fdAT", frame),
        iend
      ),
      image(1, 1)
    )
  })

  it.each<[string, Uint8Array, ImageFormat.Orientation]>([
    ["of a TIFF block", exif({ orientation: 6 }), 6],
    ["after a JPEG prefix", concat(exifPrefix, exif({ orientation: 7 })), 7],
    ["as upright if the chunk is malformed", exif({ orientation: 9 }), 1]
  ])("reads the orientation %s", (_, block, orientation) => {
    assert.deepStrictEqual(probePng(header, pngChunk("eXIf", block), idat, iend), image(1, 1, orientation))
    assert.deepStrictEqual(probePng(header, idat, pngChunk("eXIf", block), iend), image(1, 1, orientation))
  })

  it("uses the first orientation", () => {
    assert.deepStrictEqual(
      probePng(
        header,
        pngChunk("eXIf", exif({ orientation: 3 })),
        pngChunk("eXIf", exif({ orientation: 8 })),
        idat,
        iend
      ),
      image(1, 1, 3)
    )
  })

  it("ignores the checksum of ancillary chunks", () => {
    const broken = pngChunk("tEXt", bytes(0x61, 0, 0x62)).fill(0, -4)
    assert.deepStrictEqual(probePng(header, broken, idat, broken, iend), image(1, 1))
  })

  it("accepts an end whose checksum is cut off, and reports a wrong one with its last byte", () => {
    for (let length = iend.length; length >= iend.length - 4; length--) {
      assert.deepStrictEqual(probePng(header, idat, iend.subarray(0, length)), image(1, 1))
    }
    assert.deepStrictEqual(probePng(header, idat, iend.subarray(0, -5)), malformed("Truncated"))
    const all = concat(header, idat, iend.slice().fill(7, -1))
    assert.deepStrictEqual(trace(ImageFormat.png, piecesOf(concat(all, bytes(1)), 1)), {
      outcome: malformed("BadChecksum"),
      reportedAt: all.length
    })
  })

  it.each<[string, Uint8Array, ImageFormat.MalformedReason]>([
    ["another chunk precedes the header", concat(pngSignature, idat, ihdr(), iend), "MissingHeader"],
    ["the header is too short", rawHeader("IHDR", 12), "BadHeader"],
    ["the header is too long", rawHeader("IHDR", 14), "BadHeader"],
    ["the width is 0", concat(pngSignature, ihdr({ width: 0 })), "ZeroDimension"],
    ["the height is 0", concat(pngSignature, ihdr({ height: 0 })), "ZeroDimension"],
    ["the width is above 2^31 - 1", concat(pngSignature, ihdr({ width: 2 ** 31 })), "BadHeader"],
    ["the height is above 2^31 - 1", concat(pngSignature, ihdr({ height: 2 ** 31 })), "BadHeader"],
    ["the compression is unknown", concat(pngSignature, ihdr({ compression: 1 })), "BadHeader"],
    ["the filter is unknown", concat(pngSignature, ihdr({ filter: 1 })), "BadHeader"],
    ["the interlace is unknown", concat(pngSignature, ihdr({ interlace: 2 })), "BadHeader"],
    ["a chunk is longer than 2^31 - 1", concat(header, u32be(2 ** 31), bytes(0x61, 0x62, 0x43, 0x64)), "BadLength"],
    ["it has a second header", concat(header, ihdr(), idat, iend), "UnexpectedSegment"],
    [
      "a chunk's type has a byte that is not a letter",
      concat(header, pngChunk("ab[d"), idat, iend),
      "UnexpectedSegment"
    ],
    ["a chunk's type has a digit", concat(header, pngChunk("ab1d"), idat, iend), "UnexpectedSegment"],
    [
      "a chunk of 2^31 - 1 bytes is cut",
      concat(header, u32be(2 ** 31 - 1), bytes(0x61, 0x62, 0x43, 0x64)),
      "Truncated"
    ],
    ["it has no image data", concat(header, iend), "MissingImageData"],
    ["it has only other chunks", concat(header, pngChunk("tEXt"), iend), "MissingImageData"],
    ["the last chunk is not empty", concat(header, idat, pngChunk("IEND", bytes(0))), "BadLength"],
    ["the image data's checksum is cut", concat(header, idat.subarray(0, -1)), "Truncated"]
  ])("is refused if %s", (_, all, reason) => {
    assert.deepStrictEqual(probePng(all), malformed(reason))
  })

  it.prop("is refused if any bit of the header differs from its checksum", [
    FastCheck.integer({ min: 8 * 16, max: 8 * 33 - 1 })
  ], ([bit]) => {
    const all = concat(header, idat, iend)
    all[bit >> 3] = (all[bit >> 3] ?? 0) ^ 1 << (bit & 7)
    const { _tag } = probe(ImageFormat.png, all, Infinity)
    assert.strictEqual(_tag, "MalformedImage")
    if (bit >= 8 * 29) {
      assert.deepStrictEqual(probePng(all), malformed("BadChecksum"))
    }
  }, { fastCheck: { numRuns: 300 } })

  it("reports TooManyPixels with the header's last byte, after the header is valid", () => {
    const big = ihdr({ width: 64_250, height: 64_250 })
    const { outcome, reportedAt } = trace(
      ImageFormat.png,
      Array.from(concat(pngSignature, big, iend), (byte) => bytes(byte))
    )
    assert.deepStrictEqual(outcome, { _tag: "TooManyPixels", width: 64_250, height: 64_250 })
    assert.strictEqual(reportedAt, 33)
    assert.deepStrictEqual(probePng(pngSignature, big.fill(0, -4)), malformed("BadChecksum"))
  })

  it("accepts an image of the test builder", () => {
    assert.deepStrictEqual(probePng(png({ width: 640, height: 480, orientation: 8 })), image(640, 480, 8))
  })
})
