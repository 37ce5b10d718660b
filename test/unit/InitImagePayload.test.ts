import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { inspect } from "node:util"
import { InitImageError, InvalidMime, InvalidPayload } from "../../src/InitImageError.js"
import * as InitImageLimits from "../../src/InitImageLimits.js"
import * as InitImagePayload from "../../src/InitImagePayload.js"

const encodeError = Schema.encodeSync(InitImageError)

/** Encodes the error, because an error raised inside a span is a proxy that deepStrictEqual does not match. */
const decode = (payload: unknown) =>
  Effect.runSync(InitImagePayload.decode(payload).pipe(Effect.mapError((error) => encodeError(error)), Effect.either))

const refused = (error: InitImageError) => Either.left(encodeError(error))

const accepted = ["image/png", "image/jpeg", "image/webp"] as const

describe("InitImagePayload", () => {
  it.each([[null], [undefined], [false], [0], [-0], [""], [{}], [[]]])("decodes %j to None", (payload) => {
    assert.isTrue(Option.isNone(Either.getOrThrow(decode(payload))))
  })

  it.each([["image"], [1], [true], [[1]], [[null]], [Number.NaN], [() => 1], [Symbol("image")], [1n]])(
    "refuses %o because it is not an object",
    (payload) => {
      assert.deepStrictEqual(decode(payload), refused(new InvalidPayload({ reason: "NotAnObject" })))
    }
  )

  it.each([
    [{ data: "AAAA" }],
    [{ data: 5 }],
    [{ mime: [] }],
    [{ mime: ["image/png"], data: "AAAA" }],
    [{ mime: null, data: "AAAA" }],
    [{ mime: { toString: "image/png" }, data: "AAAA" }],
    [{ mime: "", data: "AAAA" }],
    [{ mime: "image/gif", data: "AAAA" }],
    [{ mime: "image/png; charset=utf-8", data: "AAAA" }],
    [{ mime: " image/png", data: "AAAA" }],
    [{ mime: "image/svg+xml", data: "AAAA" }],
    [{ mime: "\u0130mage/png", data: "AAAA" }],
    [{ mime: "image/png".repeat(20), data: "AAAA" }],
    [{ mime: "constructor", data: "AAAA" }]
  ])("refuses the type of %j before it checks the data", (payload) => {
    assert.deepStrictEqual(decode(payload), refused(new InvalidMime({ reason: "NotAccepted", accepted })))
  })

  it.each([[{ mime: "image/png" }], [{ mime: "image/png", data: null }], [{ mime: "image/png", data: ["AAAA"] }]])(
    "refuses %j because its data is not a string",
    (payload) => {
      assert.deepStrictEqual(decode(payload), refused(new InvalidPayload({ reason: "DataNotAString" })))
    }
  )

  it.each([
    ["image/png", "image/png"],
    ["IMAGE/Png", "image/png"],
    ["image/jpg", "image/jpeg"],
    ["Image/JPG", "image/jpeg"],
    ["image/jpeg", "image/jpeg"],
    ["image/WEBP", "image/webp"]
  ])("decodes the type %s to %s", (mime, canonical) => {
    const payload = Option.getOrThrow(Either.getOrThrow(decode({ mime, name: "a", data: "AAAA", more: 1 })))
    assert.strictEqual(payload.mime, canonical)
    assert.strictEqual(payload.name, "a")
    assert.strictEqual(payload.data, "AAAA")
  })

  it.each([[5], [null], [["a"]], [{}]])("ignores the name %j", (name) => {
    const payload = Option.getOrThrow(Either.getOrThrow(decode({ mime: "image/png", name, data: "AAAA" })))
    assert.strictEqual(payload.name, undefined)
  })

  it.effect("accepts only the formats of AcceptedFormats, and lists them in the error", () =>
    Effect.gen(function*() {
      const onlyPng = InitImageLimits.withAcceptedFormats(["image/png"])
      const error = yield* InitImagePayload.decode({ mime: "image/jpeg", data: "AAAA" }).pipe(Effect.flip, onlyPng)
      assert.deepStrictEqual(encodeError(error), {
        _tag: "InvalidMime",
        reason: "NotAccepted",
        accepted: ["image/png"],
        message: error.message
      })
      assert.isTrue(Option.isSome(yield* InitImagePayload.decode({ mime: "image/png", data: "AAAA" }).pipe(onlyPng)))
    }))

  it.prop("decodes any JSON value to a payload, None or a typed error", [
    FastCheck.oneof(
      FastCheck.jsonValue(),
      FastCheck.record({
        mime: FastCheck.oneof(FastCheck.constantFrom(...accepted), FastCheck.jsonValue()),
        name: FastCheck.jsonValue(),
        data: FastCheck.oneof(FastCheck.string(), FastCheck.jsonValue())
      }, { requiredKeys: [] })
    )
  ], ([json]) => {
    const result = decode(json)
    if (Either.isLeft(result)) {
      assert.include(["InvalidPayload", "InvalidMime"], result.left._tag)
    } else if (Option.isSome(result.right)) {
      assert.isTrue(InitImagePayload.isInitImagePayload(result.right.value))
    } else {
      assert.isTrue(!json || Object.keys(json).length === 0)
    }
  }, { fastCheck: { numRuns: 2000 } })

  it("hides data and name when it is printed, logged or stringified", () => {
    const payload = new InitImagePayload.InitImagePayload({ mime: "image/png", name: "private.png", data: "c2VjcmV0" })
    for (const text of [inspect(payload), JSON.stringify(payload), String(payload), `${payload}`]) {
      assert.notInclude(text, "c2VjcmV0")
      assert.notInclude(text, "private")
      assert.include(text, "image/png")
    }
    assert.deepStrictEqual(payload.toJSON(), { _id: "InitImagePayload", mime: "image/png", dataLength: 8 })
  })
})
