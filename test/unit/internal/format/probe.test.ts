import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import sharp from "sharp"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { scratchBytes } from "../../../../src/internal/format/byteReader.js"
import { makeSniffingProbe } from "../../../../src/internal/format/probe.js"
import { binaryDetectBytes, detectBytes } from "../../../../src/internal/format/signature.js"
import { readers } from "../../../../src/internal/format/table.js"
import * as images from "../../../utils/images.js"
import {
  assertSameInPieces,
  countSteps,
  cutAt,
  cuts,
  image,
  piecesOf,
  probe,
  trace,
  traceSniffing
} from "../../../utils/probing.js"
import { modes, orientations, samples } from "../../../utils/samples.js"

const { jpeg, png, webp } = ImageFormat

describe("makeProbe compared with sharp", () => {
  it.each(modes)("reads $format.name, $mode, with the result of sharp, in any pieces", async ({ format, write }) => {
    const all = await write().toBuffer()
    const metadata = await sharp(all).metadata()
    assert.strictEqual(metadata.format, format.name)
    const orientation = orientations.find((orientation) => orientation === metadata.orientation)
    assert.deepStrictEqual(probe(format, all), image(metadata.width, metadata.height, orientation))
    assertSameInPieces(format, all, [all], piecesOf(all, 2), piecesOf(all, 3), piecesOf(all, scratchBytes + 1))
  })

  it("the test builders make images that sharp decodes", async () => {
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

  it("accepts stray bytes between JPEG segments, as sharp does", async () => {
    const [start, exif, ...parts] = images.jpegParts({ width: 9, height: 3, orientation: 5 })
    const all = images.concat(
      start ?? images.bytes(),
      exif ?? images.bytes(),
      ...parts.flatMap((part) => part[0] === 0xff ? [images.ascii("stray"), part] : [part])
    )
    const { height, orientation, width } = await sharp(all, { failOn: "none" }).metadata()
    assert.deepStrictEqual([width, height, orientation], [9, 3, 5])
    assert.deepStrictEqual(probe(jpeg, all), image(9, 3, 5))
  })
})

const mutation = FastCheck.record({
  kind: FastCheck.constantFrom("flip", "set", "cut", "remove", "insert", "splice"),
  // A fraction of the length; half of the time within the headers.
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

const mutated = FastCheck.tuple(FastCheck.nat(1000), FastCheck.array(mutation, { minLength: 1, maxLength: 4 }))

describe("makeProbe with broken images", () => {
  it.prop(
    "gives the same result in any pieces, in at most one step per byte",
    [mutated, cuts],
    ([[index, mutations], places]) => {
      const { all, format } = samples[index % samples.length] ?? { all: images.png(), format: png }
      const broken = mutations.reduce(mutate, all)
      const pieces = cutAt(broken, places)
      assertSameInPieces(format, broken, [broken], pieces)
      assert.isAtMost(countSteps(readers[format.name].parser, pieces), broken.length + 8)
    },
    { fastCheck: { numRuns: 1500, seed: 20_260_101 }, timeout: 120_000 }
  )

  it.prop("gives the same result for any bytes after a signature, in any pieces", [
    FastCheck.constantFrom(
      { format: png, head: images.png().subarray(0, 33) },
      { format: jpeg, head: images.jpeg().subarray(0, 3) },
      { format: jpeg, head: images.concat(images.soi, images.dqt(), images.sof(), images.sos()) },
      { format: webp, head: images.riff(images.noise(200)).subarray(0, 12) },
      { format: webp, head: images.riff(images.vp8x(), images.noise(200)).subarray(0, 30) }
    ),
    FastCheck.uint8Array({ maxLength: 200 }),
    cuts
  ], ([{ format, head }, junk, places]) => {
    const all = images.concat(head, junk)
    assertSameInPieces(format, all, [all], cutAt(all, places))
  }, { fastCheck: { numRuns: 800 } })

  it("takes at most one step per byte for images with the most steps", () => {
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
        assert.isAtMost(countSteps(readers[format.name].parser, piecesOf(all, length)), all.length)
      }
      assert.strictEqual(probe(format, all)._tag, "Image")
    }
  })
})

describe("makeSniffingProbe", () => {
  const names = ImageFormat.Name.literals

  it("finds the format and gives the result of its own probe, for every cut in two", () => {
    for (const { all, format } of samples) {
      for (let length = 0; length <= Math.min(all.length, 2000); length++) {
        const pieces = [all.subarray(0, length), all.subarray(length)]
        const { outcome, reportedAt } = trace(format, pieces)
        assert.deepStrictEqual(traceSniffing(names, pieces), {
          outcome: outcome._tag === "Image" ? { ...outcome, format: format.name } : outcome,
          reportedAt,
          format: format.name
        })
      }
    }
  })

  it.prop(
    "gives the result of the format's own probe for broken images, in any pieces",
    [mutated, cuts],
    ([[index, mutations], places]) => {
      const { all } = samples[index % samples.length] ?? { all: images.png() }
      const broken = mutations.reduce(mutate, all)
      const format = ImageFormat.formats.find(({ name }) => name === ImageFormat.detect(broken))
      for (const pieces of [[broken], cutAt(broken, places), piecesOf(broken, 1)]) {
        const expected = trace(format ?? png, pieces)
        assert.deepStrictEqual(traceSniffing(names, pieces), {
          outcome: expected.outcome._tag === "Image" && format !== undefined
            ? { ...expected.outcome, format: format.name }
            : expected.outcome,
          reportedAt: expected.reportedAt,
          format: format?.name
        })
      }
    },
    { fastCheck: { numRuns: 1000 } }
  )

  it("has a format from the last byte of the signature", () => {
    for (const { all, format } of samples) {
      const { length } = readers[format.name].signature
      const probe = makeSniffingProbe({ maxPixels: 1, formats: names })
      for (const piece of piecesOf(all.subarray(0, length), 1)) {
        assert.isUndefined(probe.format())
        assert.isUndefined(probe.push(piece))
      }
      assert.strictEqual(probe.format(), format.name)
    }
  })

  it("reports the detected type of an image whose format is not accepted", () => {
    for (const { all, format } of samples) {
      const padded = images.concat(all, new Uint8Array(detectBytes))
      const others = names.filter((name) => name !== format.name)
      for (const formats of [others, []]) {
        for (const pieces of [[padded], piecesOf(padded, 1)]) {
          assert.deepStrictEqual(traceSniffing(formats, pieces), {
            outcome: { _tag: "ContentMismatch", detected: format.name },
            reportedAt: pieces.length === 1 ? padded.length : binaryDetectBytes,
            format: undefined
          })
        }
        assert.deepStrictEqual(traceSniffing(formats, [all.subarray(0, 20)]), {
          outcome: { _tag: "ContentMismatch", detected: format.name },
          reportedAt: Infinity,
          format: undefined
        })
      }
    }
  })

  it("returns its failure again after the failure", () => {
    for (const all of [images.noise(10_000), images.png({ bitDepth: 3 }), images.png({ width: 9000, height: 9000 })]) {
      const probe = makeSniffingProbe({ maxPixels: 50_000_000, formats: names })
      const failure = probe.push(all)
      assert.isDefined(failure)
      assert.strictEqual(probe.push(images.png()), failure)
      assert.strictEqual(probe.end(), failure)
      assert.strictEqual(probe.push(images.png()), failure)
    }
  })
})
