import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { bytes, concat, exif, exifPrefix, ihdr, png, pngChunk, pngSignature, u32be } from "../../../utils/images.js"
import { image, malformed, probe, trace } from "../../../utils/probing.js"

const probePng = (...parts: ReadonlyArray<Uint8Array>) => probe(ImageFormat.png, concat(...parts))

const header = concat(pngSignature, ihdr())
const idat = pngChunk("IDAT")
const iend = pngChunk("IEND")

/** With a right checksum, so that it is not the checksum that is refused. */
const rawHeader = (type: string, length: number) => concat(pngSignature, pngChunk(type, new Uint8Array(length).fill(1)))

describe("PNG", () => {
  it.prop("takes the colour types and bit depths of the standard's table and no others", [
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
      probePng(pngSignature, ihdr({ colorType, bitDepth }), idat, iend),
      table[colorType]?.includes(bitDepth) === true ? image(1, 1) : malformed("BadHeader")
    )
  }, { fastCheck: { numRuns: 500 } })

  it.prop("reads any size that the standard allows", [
    FastCheck.integer({ min: 1, max: 2 ** 31 - 1 }),
    FastCheck.integer({ min: 1, max: 2 ** 31 - 1 })
  ], ([width, height]) => {
    const all = concat(pngSignature, ihdr({ width, height }), idat, iend)
    assert.deepStrictEqual(probe(ImageFormat.png, all, Infinity), image(width, height))
  })

  it.each([{ width: 2 ** 31 - 1 }, { height: 2 ** 31 - 1 }, { interlace: 1 }])("takes a header with %j", (header) => {
    const { height = 1, width = 1 } = header
    const all = concat(pngSignature, ihdr(header), idat, iend)
    assert.deepStrictEqual(probe(ImageFormat.png, all, Infinity), image(width, height))
  })

  it("takes a chunk whose type is of the alphabet's first and last letters", () => {
    assert.deepStrictEqual(probePng(header, pngChunk("aZzA"), idat, iend), image(1, 1))
  })

  it("takes an animation", () => {
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
    ["as the standard has it", exif({ orientation: 6 }), 6],
    ["after the prefix that JPEG has", concat(exifPrefix, exif({ orientation: 7 })), 7],
    ["as none where the chunk is broken", exif({ orientation: 9 }), 1]
  ])("reads the orientation %s", (_, block, orientation) => {
    assert.deepStrictEqual(probePng(header, pngChunk("eXIf", block), idat, iend), image(1, 1, orientation))
    assert.deepStrictEqual(probePng(header, idat, pngChunk("eXIf", block), iend), image(1, 1, orientation))
  })

  it("keeps the first orientation", () => {
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

  it("does not look at the checksum of any chunk but the header", () => {
    const broken = idat.slice()
    broken.fill(0, -4)
    assert.deepStrictEqual(probePng(header, broken, iend.fill(7, -4)), image(1, 1))
  })

  it.each<[string, Uint8Array, ImageFormat.MalformedReason]>([
    ["another chunk comes first", concat(pngSignature, idat, ihdr(), iend), "MissingHeader"],
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
    ["there is a second header", concat(header, ihdr(), idat, iend), "UnexpectedSegment"],
    ["a chunk's type is not of letters", concat(header, pngChunk("ab[d"), idat, iend), "UnexpectedSegment"],
    ["a chunk's type has a digit", concat(header, pngChunk("ab1d"), idat, iend), "UnexpectedSegment"],
    [
      "a chunk of 2^31 - 1 bytes is cut",
      concat(header, u32be(2 ** 31 - 1), bytes(0x61, 0x62, 0x43, 0x64)),
      "Truncated"
    ],
    ["there is no image data", concat(header, iend), "MissingImageData"],
    ["there are other chunks alone", concat(header, pngChunk("tEXt"), iend), "MissingImageData"],
    ["the last chunk is not empty", concat(header, idat, pngChunk("IEND", bytes(0))), "BadLength"],
    ["the last checksum is cut", concat(header, idat, iend.subarray(0, -1)), "Truncated"]
  ])("is refused where %s", (_, all, reason) => {
    assert.deepStrictEqual(probePng(all), malformed(reason))
  })

  it.prop("is refused where any bit of the header is not that of its checksum", [
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

  it("is refused for its size with the header's last byte, and for a broken header before that", () => {
    const big = ihdr({ width: 64_250, height: 64_250 })
    const { outcome, toldAt } = trace(
      ImageFormat.png,
      Array.from(concat(pngSignature, big, iend), (byte) => bytes(byte))
    )
    assert.deepStrictEqual(outcome, { _tag: "TooManyPixels", width: 64_250, height: 64_250 })
    assert.strictEqual(toldAt, 33)
    assert.deepStrictEqual(probePng(pngSignature, big.fill(0, -4)), malformed("BadChecksum"))
  })

  it("is read in every size that the builder makes", () => {
    assert.deepStrictEqual(probePng(png({ width: 640, height: 480, orientation: 8 })), image(640, 480, 8))
  })
})
