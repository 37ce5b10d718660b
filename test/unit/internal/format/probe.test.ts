import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import sharp from "sharp"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { scratchBytes } from "../../../../src/internal/format/byteReader.js"
import * as images from "../../../utils/images.js"
import { assertSameInPieces, countSteps, cutAt, cuts, image, piecesOf, probe } from "../../../utils/probing.js"
import { modes, orientations, samples } from "../../../utils/samples.js"

const { jpeg, png, webp } = ImageFormat

describe("the probe, beside sharp", () => {
  it.each(modes)("reads $format.name, $mode, as sharp does, in any pieces", async ({ format, write }) => {
    const all = await write().toBuffer()
    const metadata = await sharp(all).metadata()
    assert.strictEqual(metadata.format, format.name)
    const orientation = orientations.find((orientation) => orientation === metadata.orientation)
    assert.deepStrictEqual(probe(format, all), image(metadata.width, metadata.height, orientation))
    assertSameInPieces(format, all, [all], piecesOf(all, 2), piecesOf(all, 3), piecesOf(all, scratchBytes + 1))
  })

  it("is given valid images by the builders", async () => {
    for (
      const all of [
        images.png({ width: 50, height: 70, orientation: 6 }),
        images.jpeg({ width: 50, height: 70, orientation: 6 }),
        images.webp({ width: 50, height: 70, orientation: 6 })
      ]
    ) {
      const { height, orientation, width } = await sharp(all).metadata()
      assert.deepStrictEqual({ width, height, orientation }, { width: 50, height: 70, orientation: 6 })
    }
    for (
      const [format, build] of [[png, images.pngOfSize], [jpeg, images.jpegOfSize], [webp, images.webpOfSize]] as const
    ) {
      const smallest = images.smallest[format.name]
      assert.throws(() => build(smallest - 1), RangeError)
      for (const size of [...Array.from({ length: 80 }, (_, i) => smallest + i), 65_536, 200_001]) {
        const all = build(size)
        assert.strictEqual(all.length, size)
        assert.deepStrictEqual(probe(format, all), image(1, 1))
        const { info } = await sharp(all, { failOn: "warning" }).raw().toBuffer({ resolveWithObject: true })
        assert.deepStrictEqual([info.width, info.height], [1, 1])
      }
    }
  })

  it("takes what sharp takes, of a JPEG with stray bytes between its segments", async () => {
    const parts = images.jpegParts({ width: 9, height: 3, orientation: 5 })
    const all = images.concat(
      ...parts.flatMap((part) => part[0] === 0xff && part[1] !== 0xd8 ? [images.ascii("stray"), part] : [part])
    )
    const { height, orientation, width } = await sharp(all, { failOn: "none" }).metadata()
    assert.deepStrictEqual([width, height, orientation], [9, 3, 5])
    assert.deepStrictEqual(probe(jpeg, all), image(9, 3, 5))
  })
})

const mutation = FastCheck.record({
  kind: FastCheck.constantFrom("flip", "set", "cut", "remove", "insert", "splice"),
  // A share of the length, as often as not within the headers.
  at: FastCheck.oneof(
    FastCheck.double({ min: 0, max: 1, noNaN: true }),
    FastCheck.double({ min: 0, max: 0.1, noNaN: true })
  ),
  length: FastCheck.nat(40),
  value: FastCheck.constantFrom(0, 1, 2, 0x7f, 0x80, 0xd8, 0xd9, 0xda, 0xfe, 0xff),
  other: FastCheck.nat(1000)
})

const mutate = (
  all: Uint8Array,
  { at, kind, length, other, value }: typeof mutation extends FastCheck.Arbitrary<infer A> ? A : never
): Uint8Array => {
  const start = Math.floor(at * all.length)
  const before = all.subarray(0, start)
  const from = samples[other % samples.length]?.all ?? all
  const changed = images.concat(all)
  switch (kind) {
    case "flip":
      return changed.map((byte, i) => i === start ? byte ^ 1 << (other & 7) : byte)
    case "set":
      return changed.fill(value, start, start + 1 + length % 4)
    case "cut":
      return before
    case "remove":
      return images.concat(before, all.subarray(start + length))
    case "insert":
      return images.concat(before, images.noise(length).fill(value, length >> 1), all.subarray(start))
    default:
      return images.concat(before, from.subarray(Math.floor(at * from.length)))
  }
}

describe("the probe, on broken images", () => {
  const mutated = FastCheck.tuple(FastCheck.nat(1000), FastCheck.array(mutation, { minLength: 1, maxLength: 4 }))

  it.prop(
    "answers, the same in any pieces, in a number of steps within that of the bytes",
    [mutated, cuts],
    ([[index, mutations], places]) => {
      const { all, format } = samples[index % samples.length] ?? { all: images.png(), format: png }
      const broken = mutations.reduce(mutate, all)
      const pieces = cutAt(broken, places)
      assertSameInPieces(format, broken, [broken], pieces)
      assert.isAtMost(countSteps(format.parser, pieces), broken.length + 8)
    },
    { fastCheck: { numRuns: 4000, seed: 20_260_101 }, timeout: 120_000 }
  )

  it.prop("answers on any bytes behind a signature", [
    FastCheck.constantFrom(
      { format: png, head: images.png().subarray(0, 33) },
      { format: jpeg, head: images.jpeg().subarray(0, 2) },
      { format: jpeg, head: images.concat(images.soi, images.sof(), images.sos()) },
      { format: webp, head: images.riff(images.noise(200)).subarray(0, 12) },
      { format: webp, head: images.riff(images.vp8x(), images.noise(200)).subarray(0, 30) }
    ),
    FastCheck.uint8Array({ maxLength: 200 }),
    cuts
  ], ([{ format, head }, junk, places]) => {
    const all = images.concat(head, junk)
    assertSameInPieces(format, all, [all], cutAt(all, places))
  }, { fastCheck: { numRuns: 2000 } })

  it("takes a number of steps within that of the bytes where every one of them asks for something", () => {
    const many = 10_000
    const repeat = (part: Uint8Array) => images.concat(...Array.from({ length: many }, () => part))
    const hostile: ReadonlyArray<[ImageFormat.ImageFormat, Uint8Array]> = [
      [png, images.png({ chunks: [repeat(images.pngChunk("abCd"))] })],
      [png, images.png({ chunks: [repeat(images.pngChunk("eXIf", images.exif({ orientation: 0 })))] })],
      [jpeg, images.jpeg({ segments: [repeat(images.segment(0xfe))] })],
      [jpeg, images.jpeg({ segments: [repeat(Uint8Array.of(0xff))] })],
      [jpeg, images.jpeg({ segments: [repeat(Uint8Array.of(0xff, 0))] })],
      [
        jpeg,
        images.jpeg({
          segments: [repeat(images.segment(0xe1, images.concat(images.exifPrefix, images.exif({ orientation: 0 }))))]
        })
      ],
      [webp, images.webp({ chunks: [repeat(images.webpChunk("abcd"))] })]
    ]
    for (const [format, all] of hostile) {
      for (const length of [1, 7, 1000, all.length]) {
        assert.isAtMost(countSteps(format.parser, piecesOf(all, length)), all.length)
      }
      assert.strictEqual(probe(format, all)._tag, "Image")
    }
  })
})
