import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { Empty, TooLarge } from "../../../../src/InitImageError.js"
import * as verifier from "../../../../src/internal/format/verifier.js"
import { maxBufferBytes } from "../../../../src/internal/persist/bufferPool.js"
import { RawReader } from "../../../../src/internal/persist/rawReader.js"
import { Done } from "../../../../src/internal/persist/reader.js"
import { jpegOfSize, png, pngOfSize, webpOfSize } from "../../../utils/images.js"
import { cutAt, cuts } from "../../../utils/probing.js"
import { drive } from "../../../utils/readers.js"

const maxPixels = 1000

const makeReader = (
  { expectedBytes = Infinity, format = ImageFormat.png, maxBytes = 10_000_000 }: {
    readonly expectedBytes?: number
    readonly format?: ImageFormat.ImageFormat
    readonly maxBytes?: number
  } = {}
) =>
  new RawReader(verifier.counting(verifier.makeDeclared(Option.some(format), [], maxPixels), maxBytes), expectedBytes)

describe("RawReader", () => {
  it("answers the bytes, the format and the header of an image", () => {
    const image = png({ width: 3, height: 2 })
    const reader = makeReader()
    assert.strictEqual(reader.extension(), "")
    const { bytes, full, ended: result } = drive(reader, [image])
    assert.strictEqual(reader.extension(), ".png")
    assert.isTrue(bytes.equals(image))
    assert.strictEqual(full, 0)
    assert.deepStrictEqual(
      result,
      new Done({ format: ImageFormat.png, header: { width: 3, height: 2, orientation: 1 as const } })
    )
  })

  it("refuses no bytes, and the first byte above the limit", () => {
    assert.deepStrictEqual(drive(makeReader(), []).ended, new Empty())
    assert.deepStrictEqual(drive(makeReader(), [new Uint8Array()]).ended, new Empty())
    for (const limit of [500, 500.5]) {
      const reader = makeReader({ maxBytes: limit })
      assert.strictEqual(reader.push(pngOfSize(1000).subarray(0, 500)), "more")
      assert.deepStrictEqual(reader.push(new Uint8Array(1)), new TooLarge({ bytes: 501, limit }))
      reader.buffer.release()
    }
    assert.instanceOf(drive(makeReader({ maxBytes: 1000 }), [pngOfSize(1000)]).ended, Done)
    assert.deepInclude(drive(makeReader({ maxBytes: Number.NaN }), [pngOfSize(1000)]).ended, { _tag: "TooLarge" })
  })

  it("reports a failure in the allowed bytes before the first byte above the limit", () => {
    const { ended: result } = drive(makeReader({ format: ImageFormat.webp, maxBytes: 2000 }), [pngOfSize(5000)])
    assert.deepInclude(result, { _tag: "ContentMismatch", declared: "webp", detected: "png" })
  })

  it("writes nothing of an image that is refused in its first buffer", () => {
    const { bytes, ended: result } = drive(makeReader({ format: ImageFormat.jpeg }), [pngOfSize(1_000_000)])
    assert.deepInclude(result, { _tag: "ContentMismatch" })
    assert.lengthOf(bytes, 0)
  })

  it.prop(
    "gives the same bytes and the same result for all chunks and buffers",
    [
      FastCheck.constantFrom(
        pngOfSize(5000),
        pngOfSize(700_000),
        jpegOfSize(Math.floor(2.2 * maxBufferBytes)),
        webpOfSize(100_000),
        png({ width: 100, height: 100 }),
        new Uint8Array()
      ),
      FastCheck.constantFrom(...ImageFormat.formats),
      FastCheck.option(FastCheck.tuple(FastCheck.double({ min: 0, max: 1, noNaN: true }), FastCheck.nat(255))),
      FastCheck.constantFrom(0, 0, 1, 100),
      FastCheck.constantFrom(10_000_000, 10_000_000, 4000, 2_000_000),
      FastCheck.constantFrom(Infinity, 100, 65_000, 3_000_000),
      cuts
    ],
    ([image, format, flip, cut, maxBytes, expectedBytes, cuts]) => {
      const sent = Uint8Array.from(image.subarray(0, Math.max(0, image.length - cut)))
      if (flip !== null && sent.length > 0) sent[Math.floor(flip[0] * (sent.length - 1))] = flip[1]
      const whole = drive(makeReader({ format, maxBytes, expectedBytes: sent.length }), [sent])
      const inPieces = drive(makeReader({ format, maxBytes, expectedBytes }), cutAt(sent, cuts))
      assert.deepStrictEqual(inPieces.ended, whole.ended)
      if (whole.ended instanceof Done) {
        assert.isTrue(whole.bytes.equals(sent))
        assert.isTrue(inPieces.bytes.equals(sent))
      } else {
        // What was taken of a refused image is its beginning.
        assert.isTrue(inPieces.bytes.equals(sent.subarray(0, inPieces.bytes.length)))
      }
    },
    { fastCheck: { numRuns: 300 } }
  )
})
