import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as InitImageLimits from "../../src/InitImageLimits.js"

const current = Effect.all({
  maxBytes: InitImageLimits.MaxBytes,
  maxPixels: InitImageLimits.MaxPixels,
  maxMessageBytes: InitImageLimits.MaxMessageBytes,
  maxImages: InitImageLimits.MaxImages,
  acceptedFormats: InitImageLimits.AcceptedFormats,
  declaredType: InitImageLimits.DeclaredType
})

const defaults = {
  maxBytes: 33_554_432,
  maxPixels: 89_478_485,
  maxMessageBytes: 65_536,
  maxImages: 1,
  acceptedFormats: ["image/png", "image/jpeg", "image/webp"] as const,
  declaredType: "required"
}

const fromEnvironment = InitImageLimits.layerConfig({
  maxBytes: Config.integer("MAX_BYTES").pipe(Config.withDefault(7)),
  maxPixels: Config.number("MAX_PIXELS")
})

const provider = (entries: Record<string, string>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(entries))))

describe("InitImageLimits", () => {
  it.effect("has the documented defaults without a layer", () =>
    Effect.map(current, (limits) => {
      assert.deepStrictEqual<unknown>(limits, defaults)
    }))

  it.effect("sets one limit for one effect, data-first and data-last", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual<unknown>(yield* current.pipe(InitImageLimits.withMaxBytes(1)), {
        ...defaults,
        maxBytes: 1
      })
      assert.deepStrictEqual<unknown>(yield* InitImageLimits.withMaxPixels(current, 2), { ...defaults, maxPixels: 2 })
      assert.deepStrictEqual<unknown>(yield* InitImageLimits.withMaxMessageBytes(current, 4), {
        ...defaults,
        maxMessageBytes: 4
      })
      assert.deepStrictEqual<unknown>(yield* InitImageLimits.withMaxImages(current, 3), { ...defaults, maxImages: 3 })
      assert.deepStrictEqual<unknown>(yield* InitImageLimits.withAcceptedFormats(current, ["image/png"]), {
        ...defaults,
        acceptedFormats: ["image/png"]
      })
      assert.deepStrictEqual<unknown>(yield* InitImageLimits.withDeclaredType(current, "optional"), {
        ...defaults,
        declaredType: "optional"
      })
      assert.deepStrictEqual<unknown>(yield* current, defaults)
    }))

  it.effect("withLimits sets only the given limits", () =>
    Effect.gen(function*() {
      const limits = yield* current.pipe(
        InitImageLimits.withLimits({ maxPixels: 5, acceptedFormats: undefined }),
        InitImageLimits.withLimits({ maxBytes: 9, maxMessageBytes: 2, maxImages: 6, acceptedFormats: ["image/webp"] }),
        InitImageLimits.withLimits({ declaredType: "optional" })
      )
      assert.deepStrictEqual<unknown>(limits, {
        maxBytes: 9,
        maxPixels: 5,
        maxMessageBytes: 2,
        maxImages: 6,
        acceptedFormats: ["image/webp"],
        declaredType: "optional"
      })
    }))

  const outOfRange: ReadonlyArray<readonly [problem: string, limits: unknown]> = [
    ["maxBytes must be a number that is not negative", { maxBytes: -1 }],
    ["maxBytes must be a number that is not negative", { maxBytes: Number.NaN }],
    ["maxPixels must be a number that is not negative", { maxPixels: -Infinity }],
    ["maxPixels must be a number that is not negative", { maxPixels: Number.NaN }],
    ["maxMessageBytes must be a number that is not negative", { maxMessageBytes: -0.5 }],
    ["maxImages must be a whole number above zero", { maxImages: 0 }],
    ["maxImages must be a whole number above zero", { maxImages: 1.5 }],
    ["maxImages must be a whole number above zero", { maxImages: Infinity }],
    ["acceptedFormats must be one or more of image/png, image/jpeg, image/webp", { acceptedFormats: [] }],
    ["acceptedFormats must be one or more of image/png, image/jpeg, image/webp", { acceptedFormats: ["image/gif"] }],
    ["declaredType must be required or optional", { declaredType: "maybe" }]
  ]

  it.effect.each(outOfRange)(
    "%s: a defect of withX, withLimits and layer, and an error of layerConfig",
    ([problem, bad]) =>
      Effect.gen(function*() {
        // The types refuse some of these: callers of JavaScript and configuration do not.
        const limits = bad as InitImageLimits.Limits
        const single = limits.maxBytes !== undefined
          ? InitImageLimits.withMaxBytes(limits.maxBytes)
          : limits.maxPixels !== undefined
          ? InitImageLimits.withMaxPixels(limits.maxPixels)
          : limits.maxMessageBytes !== undefined
          ? InitImageLimits.withMaxMessageBytes(limits.maxMessageBytes)
          : limits.maxImages !== undefined
          ? InitImageLimits.withMaxImages(limits.maxImages)
          : limits.acceptedFormats !== undefined
          ? InitImageLimits.withAcceptedFormats(limits.acceptedFormats)
          : InitImageLimits.withDeclaredType(limits.declaredType ?? "required")
        const defect = new Cause.IllegalArgumentException(`InitImageLimits: ${problem}`)
        for (
          const effect of [
            single(current),
            InitImageLimits.withLimits(current, limits),
            Effect.provide(current, InitImageLimits.layer(limits))
          ]
        ) {
          const exit = yield* Effect.exit(effect)
          assert.strictEqual(Exit.isFailure(exit) && String(Cause.squash(exit.cause)), String(defect))
          assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
        }
        const config = InitImageLimits.layerConfig(Config.succeed(limits))
        const error = yield* Effect.flip(Effect.provide(current, config))
        assert.strictEqual(String(error), `(Invalid data at : "${problem}")`)
      })
  )

  it.effect("accepts the limits at the ends of their ranges", () =>
    Effect.map(current, (limits) => {
      assert.deepStrictEqual<unknown>([limits.maxBytes, limits.maxPixels], [0, Infinity])
    }).pipe(InitImageLimits.withLimits({ maxBytes: 0, maxPixels: Infinity })))

  it.effect("a layer sets the limits of a program", () =>
    Effect.map(current, (limits) => {
      assert.deepStrictEqual<unknown>(limits, { ...defaults, maxBytes: 3 })
    }).pipe(Effect.provide(InitImageLimits.layer({ maxBytes: 3 }))))

  it.effect("layerConfig reads the configured limits and keeps the other defaults", () =>
    Effect.map(current, (limits) => {
      assert.deepStrictEqual<unknown>(limits, { ...defaults, maxBytes: 7, maxPixels: 11 })
    }).pipe(Effect.provide(fromEnvironment.pipe(Layer.provide(provider({ MAX_PIXELS: "11" }))))))

  it.effect("layerConfig accepts a limit of 0", () =>
    Effect.map(current, (limits) => {
      assert.strictEqual(limits.maxPixels, 0)
    }).pipe(Effect.provide(fromEnvironment.pipe(Layer.provide(provider({ MAX_PIXELS: "0" }))))))

  it("uses the same keys in every copy of the library", () => {
    const { AcceptedFormats, DeclaredType, MaxBytes, MaxMessageBytes, MaxPixels } = InitImageLimits
    assert.deepStrictEqual<ReadonlyArray<string>>(
      [AcceptedFormats, DeclaredType, MaxBytes, MaxMessageBytes, MaxPixels].map(({ key }) => key),
      ["AcceptedFormats", "DeclaredType", "MaxBytes", "MaxMessageBytes", "MaxPixels"].map((name) =>
        `session-init-image/InitImageLimits/${name}`
      )
    )
  })

  it.effect.each(["-1", "NaN", "many"])("layerConfig refuses a limit of %s", (value) =>
    Effect.gen(function*() {
      const layer = fromEnvironment.pipe(Layer.provide(provider({ MAX_PIXELS: value })))
      const error = yield* Effect.flip(Effect.provide(current, layer))
      assert.isTrue(ConfigError.isConfigError(error))
      if (value === "-1") {
        assert.strictEqual(String(error), "(Invalid data at : \"maxPixels must be a number that is not negative\")")
      }
    }))
})
