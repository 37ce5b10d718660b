import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Buffer } from "node:buffer"
import { inspect } from "node:util"
import { runInNewContext } from "node:vm"
import { InitImageError, InvalidMime, InvalidPayload } from "../../src/InitImageError.js"
import * as InitImageLimits from "../../src/InitImageLimits.js"
import * as InitImagePayload from "../../src/InitImagePayload.js"
import { mimeNeighbours } from "../../src/internal/errorText.js"

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

  it.each([["image"], [1], [true], [[1]], [[null]]])(
    "refuses %o because it is not an object",
    (payload) => {
      assert.deepStrictEqual(decode(payload), refused(new InvalidPayload({ reason: "NotAnObject" })))
    }
  )

  class Empty {
    read(): string {
      return "AAAA"
    }
  }
  class Payload {
    readonly mime = "image/png"
    readonly data = "AAAA"
  }

  it.each<readonly [string, unknown]>([
    ["a Blob", new Blob(["AAAA"])],
    ["a File", new File([], "a.png", { type: "image/png" })],
    ["an empty Map", new Map()],
    ["a Set", new Set([1])],
    ["a Date", new Date(0)],
    ["a promise", Promise.resolve({ mime: "image/png", data: "AAAA" })],
    ["an error", new Error("x")],
    ["an instance of a class without fields", new Empty()],
    ["an instance of a class", new Payload()],
    ["an object that inherits from another", Object.create({ mime: "image/png", data: "AAAA" })],
    ["an empty typed array", new Uint8Array()],
    ["a typed array", new Uint8Array(3)],
    ["a Buffer", Buffer.from("AAAA")],
    ["an ArrayBuffer", new ArrayBuffer(0)],
    ["a function", () => 1],
    ["a symbol", Symbol("image")],
    ["a bigint", 1n],
    ["NaN", Number.NaN],
    ["Infinity", Infinity]
  ])("refuses %s because it is not a JSON value", (_, payload) => {
    assert.deepStrictEqual(decode(payload), refused(new InvalidPayload({ reason: "NotJsonValue" })))
  })

  it("takes objects without a class from any realm, and decoded payloads", () => {
    const fields = { mime: "image/png", data: "AAAA" } as const
    for (
      const payload of [
        Object.assign(Object.create(null), fields),
        runInNewContext(`(${JSON.stringify(fields)})`),
        new InitImagePayload.InitImagePayload(fields)
      ]
    ) {
      assert.strictEqual(Option.getOrThrow(Either.getOrThrow(decode(payload))).data, "AAAA")
    }
    for (const empty of ["{}", "[]"]) {
      assert.isTrue(Option.isNone(Either.getOrThrow(decode(runInNewContext(`(${empty})`)))))
    }
    assert.isTrue(Option.isNone(Either.getOrThrow(decode(Object.create(null)))))
  })

  it.each([
    [{ data: "AAAA" }],
    [{ data: 5 }],
    [{ mime: null, data: "AAAA" }],
    [{ mime: "", data: "AAAA" }],
    [{ mime: " ; q=1", data: "AAAA" }],
    [{ mime: "application/octet-stream", data: "AAAA" }],
    [{ mime: "Binary/Octet-Stream; charset=binary", data: "AAAA" }],
    [{ mime: "image/*", data: "AAAA" }],
    [{ type: "image", data: "AAAA" }],
    [{ media_type: 5, data: "AAAA" }],
    [{ name: "a.png" }]
  ])("refuses %j because it has no specific type, before it checks the data", (payload) => {
    assert.deepStrictEqual(decode(payload), refused(new InvalidMime({ reason: "Missing", accepted })))
  })

  it("names the field that was probably meant as the type", () => {
    for (const field of mimeNeighbours) {
      for (const value of ["image/png", "Image/JPEG; q=1", "image/gif"]) {
        for (const mime of [{}, { mime: null }, { mime: "image/*" }]) {
          assert.deepStrictEqual(
            decode({ ...mime, data: "AAAA", [field]: value }),
            refused(new InvalidMime({ reason: "Missing", accepted, field }))
          )
        }
      }
      assert.deepStrictEqual(
        decode({ mime: "image/gif", data: "AAAA", [field]: "image/png" }),
        refused(new InvalidMime({ reason: "NotAccepted", accepted }))
      )
    }
    assert.deepStrictEqual(
      decode({ type: "image/png", media_type: "image/png", data: "AAAA" }),
      refused(new InvalidMime({ reason: "Missing", accepted, field: "media_type" }))
    )
  })

  it.effect("ignores the type where it is optional", () =>
    Effect.gen(function*() {
      for (const mime of [undefined, null, "", "image/gif", "image/png", 5, []]) {
        const payload = Option.getOrThrow(yield* InitImagePayload.decode({ mime, data: "AAAA" }))
        assert.isUndefined(payload.mime)
      }
      const error = yield* Effect.flip(InitImagePayload.decode({ mime: "image/png" }))
      assert.strictEqual(error._tag, "InvalidPayload")
    }).pipe(InitImageLimits.withDeclaredType("optional")))

  it.effect("decodeMime takes any spelling of a declared type, and tells a missing one", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* InitImagePayload.decodeMime(" IMAGE/X-PNG;a=b")).mime, "image/png")
      assert.strictEqual((yield* InitImagePayload.decodeMime("image/pjpeg")).mime, "image/jpeg")
      for (
        const [mime, reason] of [
          [undefined, "Missing"],
          ["image/*", "Missing"],
          ["image/gif", "NotAccepted"],
          [5, "NotAccepted"]
        ] as const
      ) {
        const error = yield* Effect.flip(InitImagePayload.decodeMime(mime))
        assert.deepStrictEqual({ ...error }, { ...new InvalidMime({ reason, accepted }) })
      }
    }))

  it.each([
    [{ mime: [] }],
    [{ mime: ["image/png"], data: "AAAA" }],
    [{ mime: { toString: "image/png" }, data: "AAAA" }],
    [{ mime: "image/gif", data: "AAAA" }],
    [{ mime: "text/plain; image/png", data: "AAAA" }],
    [{ mime: "image/png, image/png", data: "AAAA" }],
    [{ mime: "image /png", data: "AAAA" }],
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
    ["image/WEBP", "image/webp"],
    ["image/png; charset=utf-8", "image/png"],
    [" image/x-png\t;", "image/png"],
    ["Image/PJPEG;q=0.5", "image/jpeg"]
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
