import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import { Buffer } from "node:buffer"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { BadBase64 } from "../../../../src/InitImageError.js"
import * as verifier from "../../../../src/internal/format/verifier.js"
import { maxBufferBytes } from "../../../../src/internal/persist/bufferPool.js"
import { Done } from "../../../../src/internal/persist/reader.js"
import { TextReader } from "../../../../src/internal/persist/textReader.js"
import { jpegOfSize, png, pngOfSize, webpOfSize } from "../../../utils/images.js"
import { drive } from "../../../utils/readers.js"

const makeReader = (expectedBytes: number, format: ImageFormat.ImageFormat = ImageFormat.png) =>
  new TextReader(verifier.makeDeclared(Option.some(format), [], 1000), expectedBytes)

const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64")

const cutText = (text: string, places: ReadonlyArray<number>): ReadonlyArray<string> => {
  const cuts = [0, ...places.map((place) => place % (text.length + 1)).sort((a, b) => a - b), text.length]
  return cuts.slice(1).map((end, i) => text.slice(cuts[i], end))
}

describe("TextReader", () => {
  it("answers the bytes, the format and the header of an image", () => {
    const image = png({ width: 3, height: 2 })
    const reader = makeReader(image.length)
    assert.strictEqual(reader.extension(), "")
    const { bytes, full, ended: result } = drive(reader, [toBase64(image)])
    assert.strictEqual(reader.extension(), ".png")
    assert.isTrue(bytes.equals(image))
    assert.strictEqual(full, 0)
    assert.deepStrictEqual(
      result,
      new Done({ format: ImageFormat.png, header: { width: 3, height: 2, orientation: 1 as const } })
    )
  })

  it("decodes an image around the size of a buffer without a second write where it fits", () => {
    for (let size = maxBufferBytes - 40; size < maxBufferBytes + 5; size++) {
      const image = pngOfSize(size)
      const { bytes, full, ended: result } = drive(makeReader(size), [toBase64(image)])
      assert.instanceOf(result, Done)
      assert.isTrue(bytes.equals(image))
      assert.isAtMost(full, 1)
      if (size <= maxBufferBytes - 32) assert.strictEqual(full, 0)
    }
  })

  it("reports the first error in the order of the bytes", () => {
    const gif = toBase64(Buffer.concat([Buffer.from("GIF89a"), Buffer.alloc(1_000_000)]))
    const result = (text: string) => drive(makeReader(1_000_000), [text]).ended
    assert.deepInclude(result(`${gif.slice(0, -4)}????`), { _tag: "ContentMismatch", detected: "gif" })
    assert.deepInclude(result(`${gif.slice(0, 4)}?${gif.slice(5)}`), {
      _tag: "BadBase64",
      reason: "Character",
      offset: 4
    })
  })

  it("reports an invalid end before the truncation of the image", () => {
    assert.deepStrictEqual(
      drive(makeReader(100), [`${toBase64(png().subarray(0, 30))}AB==`]).ended,
      new BadBase64({ reason: "UnusedBits", offset: 41 })
    )
    assert.deepInclude(drive(makeReader(100), [toBase64(png().subarray(0, 30))]).ended, {
      _tag: "MalformedImage",
      reason: "Truncated"
    })
  })

  it.prop(
    "gives the same bytes and the same result for all pieces and buffers",
    [
      FastCheck.constantFrom(
        pngOfSize(5000),
        pngOfSize(700_001),
        jpegOfSize(Math.floor(2.2 * maxBufferBytes)),
        webpOfSize(100_000),
        png({ width: 100, height: 100 })
      ),
      FastCheck.constantFrom(...ImageFormat.formats),
      FastCheck.option(
        FastCheck.tuple(
          FastCheck.oneof(FastCheck.double({ min: 0, max: 1, noNaN: true }), FastCheck.constantFrom(0, 0.00001, 1)),
          FastCheck.constantFrom("=", "-", "\n", "\u0141", "A")
        )
      ),
      FastCheck.constantFrom(0, 0, 1, 100),
      FastCheck.constantFrom(Infinity, 100, 65_000, 3_000_000),
      FastCheck.array(FastCheck.oneof(FastCheck.nat(100), FastCheck.nat(5_000_000)), { maxLength: 12 })
    ],
    ([image, format, replace, cut, expectedBytes, cuts]) => {
      const sent = image.subarray(0, image.length - cut)
      const text = toBase64(sent)
      const at = replace === null ? 0 : Math.floor(replace[0] * (text.length - 1))
      const changed = replace === null ? text : text.slice(0, at) + replace[1] + text.slice(at + 1)
      const whole = drive(makeReader(sent.length, format), [changed])
      const inPieces = drive(makeReader(expectedBytes, format), cutText(changed, cuts))
      assert.deepStrictEqual(inPieces.ended, whole.ended)
      const decoded = Buffer.from(changed, "base64")
      if (whole.ended instanceof Done) {
        assert.isTrue(whole.bytes.equals(decoded))
        assert.isTrue(inPieces.bytes.equals(decoded))
      } else {
        assert.isTrue(inPieces.bytes.equals(decoded.subarray(0, inPieces.bytes.length)))
      }
    },
    { fastCheck: { numRuns: 300 } }
  )
})
