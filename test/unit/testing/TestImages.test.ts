import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Buffer } from "node:buffer"
import sharp from "sharp"
import { InitImageError, SessionInitImage } from "../../../src/index.js"
import { InitImageTest, TestImages } from "../../../src/testing/index.js"

const persist = (payload: unknown) =>
  Effect.exit(Effect.scoped(SessionInitImage.persistScoped(payload))).pipe(Effect.provide(InitImageTest.layer))

const encodeError = Schema.encodeSync(InitImageError.InitImageError)

/** The error as a client gets it. */
const errorOf = (exit: Exit.Exit<unknown, unknown>): unknown => {
  const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
  return InitImageError.isInitImageError(error) ? encodeError(error) : exit
}

const makers = Object.entries({ png: TestImages.png, jpeg: TestImages.jpeg, webp: TestImages.webp })

describe("a picture", () => {
  it.effect.prop(
    "is decoded by sharp in its size, and persisted",
    [TestImages.pictures],
    ([picture]) =>
      Effect.gen(function*() {
        const { height, mime, orientation, width } = picture
        const decoded = yield* Effect.promise(() =>
          sharp(picture.bytes, { failOn: "warning" }).raw().toBuffer({ resolveWithObject: true })
        )
        assert.deepStrictEqual([decoded.info.width, decoded.info.height], [width, height])
        const exit = yield* persist(picture.payload)
        assert(Exit.isSuccess(exit), String(exit))
        const image = Option.getOrThrow(exit.value)
        assert.deepStrictEqual(
          { mime: image.mime, width: image.width, height: image.height, orientation: image.orientation },
          { mime, width, height, orientation }
        )
        assert.strictEqual(image.bytes, picture.bytes.length)
        assert.strictEqual(image.displayName, picture.name)
      }),
    { fastCheck: { numRuns: 60 } }
  )

  it.each(makers)("as %s has the requested number of bytes", (_, make) => {
    const smallest = make().bytes.length
    for (const size of [smallest, smallest + 1, smallest + 4, smallest + 27, 70_000, 140_001]) {
      assert.strictEqual(make({ bytes: size }).bytes.length, size)
    }
    const turned = make({ orientation: 6 }).bytes.length
    for (const size of [turned, turned + 1, turned + 70_000]) {
      assert.strictEqual(make({ bytes: size, orientation: 6 }).bytes.length, size)
    }
    assert.throws(() => make({ bytes: smallest - 1 }), RangeError)
    assert.throws(() => make({ bytes: 1000.5 }), RangeError)
  })

  it.each(makers)("as %s has any width and height that every format allows", (_, make) => {
    const wide = make({ width: 16_384 })
    assert.deepStrictEqual([wide.width, wide.height], [16_384, 1])
    for (const side of [0, 16_385, 1.5, NaN]) {
      assert.throws(() => make({ width: side }), RangeError)
      assert.throws(() => make({ height: side }), RangeError)
    }
  })

  it.live("of many megapixels is complete", () =>
    Effect.gen(function*() {
      for (const [, make] of makers) {
        const { bytes } = make({ width: 4000, height: 3000 })
        const { info } = yield* Effect.promise(() =>
          sharp(bytes, { failOn: "warning" }).raw().toBuffer({ resolveWithObject: true })
        )
        assert.deepStrictEqual([info.width, info.height], [4000, 3000])
      }
    }))

  it("is the same as payload, bytes and base64", () => {
    const { base64, bytes, mime, name, payload } = TestImages.webp({ bytes: 333 })
    assert.deepStrictEqual(payload, { mime, name, data: base64 })
    assert.deepStrictEqual(new Uint8Array(Buffer.from(base64, "base64")), bytes)
  })
})

describe("the refusals", () => {
  it.effect("are refused with their error", () =>
    Effect.gen(function*() {
      for (const [name, { error, payload }] of Object.entries<TestImages.RefusedPayload>(TestImages.refused)) {
        assert.deepStrictEqual(errorOf(yield* persist(payload)), encodeError(error), name)
      }
    }))

  it("of malformed images and base64 have every reason", () => {
    const reasons = Object.values<TestImages.RefusedPayload>(TestImages.refused).flatMap(({ error }) =>
      error._tag === "MalformedImage" || error._tag === "BadBase64" ? [error.reason] : []
    )
    const all = [InitImageError.MalformedImage, InitImageError.BadBase64].flatMap((schema) =>
      schema.fields.reason.literals as ReadonlyArray<string>
    )
    // Only dialects that take the URL-safe alphabet have this one.
    const ofPayloads = all.filter((reason) => reason !== "MixedAlphabets")
    assert.deepStrictEqual([...reasons].sort(), ofPayloads.sort())
  })

  it("have the same bytes as base64 and in their payload", () => {
    for (const sample of Object.values<TestImages.RefusedPayload>(TestImages.refused)) {
      if (!("bytes" in sample)) continue
      const { base64, bytes, payload } = sample as TestImages.RefusedImage
      assert.strictEqual(payload.data, base64)
      assert.isTrue(Buffer.from(base64, "base64").equals(bytes))
    }
  })
})

it.effect.prop("every generated payload has its outcome", [TestImages.outcomes], ([outcome]) =>
  Effect.gen(function*() {
    const exit = yield* persist(outcome.payload)
    if (outcome._tag === "Refused") return assert.deepStrictEqual(errorOf(exit), encodeError(outcome.error))
    assert(Exit.isSuccess(exit), String(exit))
    assert.strictEqual(Option.isSome(exit.value), outcome._tag === "Image")
  }), { fastCheck: { numRuns: 300 } })

it("payloads of every outcome are generated", () => {
  const found = new Set(
    FastCheck.sample(TestImages.outcomes, { numRuns: 2000, seed: 1 }).map((outcome) =>
      outcome._tag === "Refused" ? outcome.error._tag : outcome._tag
    )
  )
  const refusals = Object.values<TestImages.RefusedPayload>(TestImages.refused).map(({ error }) => error._tag)
  assert.deepStrictEqual([...found].sort(), [...new Set(["Image", "None", ...refusals])].sort())
})
