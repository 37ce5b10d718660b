import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as ImageFormat from "../../src/ImageFormat.js"
import { readers } from "../../src/internal/format/table.js"
import * as images from "../utils/images.js"
import { assertSameInPieces, image, malformed, piecesOf, probe, trace } from "../utils/probing.js"
import { samples } from "../utils/samples.js"

const { jpeg, png, webp } = ImageFormat

describe("formats", () => {
  it("lists each format once, by name and media types", () => {
    assert.deepStrictEqual(ImageFormat.formats.map(({ name }) => name), [...ImageFormat.Name.literals])
    assert.deepStrictEqual(ImageFormat.formats.map(({ mime }) => mime), [...ImageFormat.Mime.literals])
    assert.deepStrictEqual(ImageFormat.formats.map(({ extension }) => extension), [".png", ".jpg", ".webp"])
    assert.deepStrictEqual(ImageFormat.formats.map(({ aliases }) => aliases), [
      ["image/x-png"],
      ["image/jpg", "image/pjpeg"],
      []
    ])
    for (const format of ImageFormat.formats) {
      assert.strictEqual(ImageFormat.byMime[format.mime], format)
      for (const mime of [format.mime, ...format.aliases]) {
        assert.strictEqual(Option.getOrNull(ImageFormat.fromMime(mime)), format)
      }
    }
  })

  it.prop("fromMime compares without case", [
    FastCheck.constantFrom<[string, ImageFormat.ImageFormat]>(
      ["image/png", png],
      ["image/jpeg", jpeg],
      ["image/jpg", jpeg],
      ["image/pjpeg", jpeg],
      ["image/x-png", png],
      ["image/webp", webp]
    ),
    FastCheck.array(FastCheck.boolean(), { minLength: 11, maxLength: 11 })
  ], ([[mime, format], upper]) => {
    const mixed = mime.replace(/./g, (letter, i: number) => upper[i] === true ? letter.toUpperCase() : letter)
    assert.strictEqual(Option.getOrNull(ImageFormat.fromMime(mixed)), format)
  })

  it.prop(
    "fromMime finds no format for any other text",
    [FastCheck.oneof(FastCheck.string({ unit: "binary" }), FastCheck.webPath())],
    ([mime]) => {
      assert.isTrue(Option.isNone(ImageFormat.fromMime(mime)))
    }
  )

  it.each([
    "",
    "image/",
    "image/gif",
    "png",
    "image/*",
    "image/png,",
    "image /png",
    "image/png\u00a0",
    ";image/png",
    `${" ".repeat(64)}image/png`,
    `image/png${" ".repeat(64)}`,
    "image/svg+xml",
    "\u0131mage/png",
    "\u0130mage/png",
    "image/pn\u0067\u0301",
    "__proto__",
    "constructor"
  ])("fromMime finds no format for %j", (mime) => {
    assert.isTrue(Option.isNone(ImageFormat.fromMime(mime)))
  })

  it.each([
    " image/png",
    "image/png ",
    "image/png\n",
    "image/png; charset=binary",
    "image/png;",
    "\tIMAGE/x-PNG ; a=\"b;c\""
  ])(
    "fromMime ignores what is around the type in %j",
    (mime) => {
      assert.strictEqual(Option.getOrNull(ImageFormat.fromMime(mime)), png)
    }
  )

  it("fromMime looks at the first 64 characters alone, however long the text is", () => {
    const isFound = (mime: string) => Option.isSome(ImageFormat.fromMime(mime))
    assert.isTrue(isFound(" ".repeat(54) + "image/png;" + "x".repeat(10_000_000)))
    assert.isFalse(isFound(" ".repeat(55) + "image/png;"))
    assert.isTrue(isFound("image/png" + " ".repeat(55)))
    assert.isFalse(isFound("image/png" + " ".repeat(56)))
  })

  it("the schemas contain the detected types and the reasons", () => {
    assert.isTrue(Schema.is(ImageFormat.Detected)(ImageFormat.detect(images.png())))
    assert.isTrue(ImageFormat.formats.every(({ name }) => Schema.is(ImageFormat.Detected)(name)))
    assert.isTrue(Schema.is(ImageFormat.MalformedReason)("Truncated"))
    assert.isFalse(Schema.is(ImageFormat.MalformedReason)("Other"))
  })
})

describe("makeProbe", () => {
  it("refuses an image cut at any byte but those of a PNG's last checksum", () => {
    for (const { all, format } of samples) {
      for (let length = 0; length < all.length; length++) {
        const outcome = probe(format, all.subarray(0, length))
        if (length < readers[format.name].signature.length) {
          assert.strictEqual(outcome._tag, "ContentMismatch")
        } else {
          // A PNG's last four bytes are the checksum of its end, which decoders do not miss.
          const expected = format === png && length >= all.length - 4 ? probe(format, all) : malformed("Truncated")
          assert.deepStrictEqual(outcome, expected)
        }
      }
      assert.strictEqual(probe(format, all)._tag, "Image")
    }
  })

  it("ignores bytes after the image's end", () => {
    for (const { all, format } of samples) {
      const behind = images.concat(all, images.noise(5000))
      assert.deepStrictEqual(probe(format, behind), probe(format, all))
      assertSameInPieces(format, behind, [all, images.noise(5000)], piecesOf(behind, 1000))
    }
  })

  it("signatureMatched is true from the last byte of the signature", () => {
    for (const { all, format } of samples) {
      const probe = ImageFormat.makeProbe(format, { maxPixels: 1 })
      const { length } = readers[format.name].signature
      for (let i = 0; i < length; i++) {
        assert.isFalse(probe.signatureMatched())
        probe.push(all.subarray(i, i + 1))
      }
      assert.isTrue(probe.signatureMatched())
    }
  })

  it("reports another type after detectBytes bytes, in any pieces", () => {
    const comment = "<!-- ".padEnd(5000) + "-->"
    const others: ReadonlyArray<[ImageFormat.Detected, Uint8Array]> = [
      ["gif", images.ascii("GIF89a")],
      ["unknown", new Uint8Array(0)],
      ["unknown", images.ascii("RIFF")],
      ["svg", images.ascii(`${comment}<svg>`)],
      ["gif", images.concat(images.ascii("GIF89a"), images.noise(10_000))],
      ["unknown", new Uint8Array(10_000)]
    ]
    for (const format of ImageFormat.formats) {
      for (const [detected, all] of others) {
        const { outcome, reportedAt } = trace(format, [all])
        assert.deepStrictEqual(outcome, { _tag: "ContentMismatch", detected })
        assert.strictEqual(reportedAt, all.length < ImageFormat.detectBytes ? Infinity : all.length)
        assertSameInPieces(format, all, [all], piecesOf(all, 3), piecesOf(all, 1000))
      }
      for (const sample of samples.filter((sample) => sample.format !== format)) {
        assert.deepStrictEqual(probe(format, sample.all), { _tag: "ContentMismatch", detected: sample.format.name })
      }
    }
  })

  it("does not trust a format that is forced past the types", () => {
    const forced = (name: string) =>
      // The types refuse it; a program in JavaScript can still pass it.
      ({ name, mime: "image/png", extension: ".png", aliases: [] }) as unknown as ImageFormat.ImageFormat
    assert.deepStrictEqual(probe(forced("png"), images.png()), image(1, 1))
    for (const name of ["gif", "constructor", "__proto__"]) {
      assert.deepStrictEqual(probe(forced(name), images.png()), { _tag: "ContentMismatch", detected: "png" })
    }
  })

  it("returns its failure again after the failure", () => {
    const failures: ReadonlyArray<[ImageFormat.ImageFormat, Uint8Array]> = [
      [png, images.noise(10_000)],
      [png, images.png({ bitDepth: 3 })],
      [png, images.png({ width: 9000, height: 9000 })]
    ]
    for (const [format, all] of failures) {
      const probe = ImageFormat.makeProbe(format, { maxPixels: 50_000_000 })
      const failure = probe.push(all)
      assert.isDefined(failure)
      assert.strictEqual(probe.push(images.png()), failure)
      assert.strictEqual(probe.end(), failure)
      assert.strictEqual(probe.push(images.png()), failure)
      assert.strictEqual(probe.end(), failure)
    }
  })

  it("allows at most maxPixels pixels, and none for NaN", () => {
    const size = { width: 30, height: 20 }
    for (
      const [format, all] of [[png, images.png(size)], [jpeg, images.jpeg(size)], [webp, images.webp(size)]] as const
    ) {
      const refused = { _tag: "TooManyPixels", width: 30, height: 20 } as const
      assert.deepStrictEqual(probe(format, all, 600), image(30, 20))
      assert.deepStrictEqual(probe(format, all, Infinity), image(30, 20))
      for (const limit of [599, 599.5, 0, -1, NaN]) {
        assert.deepStrictEqual(probe(format, all, limit), refused)
      }
    }
  })

  it("does not change the bytes", () => {
    for (const { all, format } of samples) {
      const copy = all.slice()
      trace(format, piecesOf(all, 5))
      assert.deepStrictEqual(all, copy)
    }
  })

  it("does not read a chunk after its push", () => {
    for (const { all, format } of samples) {
      const probe = ImageFormat.makeProbe(format, { maxPixels: 50_000_000 })
      const reused = new Uint8Array(5)
      for (const piece of piecesOf(all, 5)) {
        reused.set(piece)
        probe.push(reused.subarray(0, piece.length))
        reused.fill(0xff)
      }
      assert.strictEqual(probe.end()._tag, "Image")
    }
  })
})
