import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { readFileSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, isAbsolute } from "node:path"
import { inspect } from "node:util"
import { InitImageError, InitImageLimits, InitImagePayload, SessionInitImage } from "../../src/index.js"
import { maxBufferBytes } from "../../src/internal/persist/bufferPool.js"
import { buffers } from "../../src/internal/process.js"
import { list, makeDirectory } from "../utils/directory.js"
import { errorFields } from "../utils/errorFields.js"
import { jpeg, jpegOfSize, png, pngOfSize, webp, webpOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { piecesOf } from "../utils/probing.js"

/** A refusal as its encoded error. A failure of the disk is a defect of the test. */
const refusal = <A, R>(effect: Effect.Effect<A, SessionError, R>) =>
  Effect.either(
    Effect.mapError(
      Effect.catchTags(effect, { SystemError: Effect.die, BadArgument: Effect.die }),
      (error): object => errorFields(error)
    )
  )
type SessionError = InitImageError.InitImageError | Effect.Effect.Error<ReturnType<FileSystem.FileSystem["remove"]>>

const images = [
  ["image/png", png({ width: 3, height: 2 }), ".png", { width: 3, height: 2, orientation: 1 }],
  ["image/jpeg", jpeg({ width: 30, height: 20, orientation: 6 }), ".jpg", { width: 30, height: 20, orientation: 6 }],
  ["image/webp", webp({ width: 5, height: 7, orientation: 8 }), ".webp", { width: 5, height: 7, orientation: 8 }]
] as const

/** Small, around the size of a buffer, and of several buffers. */
const sizes = [200, ...Array.from({ length: 40 }, (_, at) => maxBufferBytes - 30 + at), 2.5 * maxBufferBytes]

/** Refused payloads, in the order of the checks. */
const refusals: ReadonlyArray<readonly [string, unknown, object]> = [
  ["a string", "image", { _tag: "InvalidPayload", reason: "NotAnObject" }],
  ["a number", 7, { _tag: "InvalidPayload", reason: "NotAnObject" }],
  ["a non-empty array", [{}], { _tag: "InvalidPayload", reason: "NotAnObject" }],
  ["a Blob", new Blob([png()], { type: "image/png" }), { _tag: "InvalidPayload", reason: "NotJsonValue" }],
  ["a payload that was not awaited", Promise.resolve(payloadOf("image/png", png())), {
    _tag: "InvalidPayload",
    reason: "NotJsonValue"
  }],
  ["a payload without a type", { data: "AAAA" }, {
    _tag: "InvalidMime",
    reason: "Missing",
    accepted: ["image/png", "image/jpeg", "image/webp"]
  }],
  ["a payload with a neighbour of mime", { media_type: "image/png", data: "AAAA" }, {
    _tag: "InvalidMime",
    reason: "Missing",
    accepted: ["image/png", "image/jpeg", "image/webp"],
    field: "media_type"
  }],
  ["a mime that is a list", { mime: [] }, {
    _tag: "InvalidMime",
    reason: "NotAccepted",
    accepted: ["image/png", "image/jpeg", "image/webp"]
  }],
  ["data that is a number", { mime: "image/png", data: 1 }, { _tag: "InvalidPayload", reason: "DataNotAString" }],
  ["no data", { mime: "image/png", data: "" }, { _tag: "Empty" }],
  ["60 MB of base64 that is not even base64", { mime: "image/png", data: "?".repeat(60_000_001) }, {
    _tag: "TooLarge",
    bytes: 45_000_000,
    limit: 33_554_432
  }],
  ["a length that no base64 has", { mime: "image/png", data: "AAAAA" }, { _tag: "BadBase64", reason: "Length" }],
  ["a line break in the base64", { mime: "image/png", data: "iVBORw0K\nGgoAAAA" }, {
    _tag: "BadBase64",
    reason: "LineBreaks",
    offset: 8
  }],
  ["a line break at the end", { mime: "image/png", data: `${payloadOf("", png()).data}\n` }, {
    _tag: "BadBase64",
    reason: "LineBreaks",
    offset: payloadOf("", png()).data.length
  }],
  ["a data URL", { mime: "image/png", data: `data:image/png;base64,${payloadOf("", png()).data}` }, {
    _tag: "BadBase64",
    reason: "DataUrl",
    offset: 4
  }],
  ["base64 without its padding", { mime: "image/png", data: "iVBORw0KGg" }, {
    _tag: "BadBase64",
    reason: "Unpadded",
    offset: 10
  }],
  ["a space in the base64", { mime: "image/png", data: "iVBO Rw0K" }, {
    _tag: "BadBase64",
    reason: "WhiteSpace",
    offset: 4
  }],
  ["URL-safe base64", { mime: "image/png", data: "iVB-" }, { _tag: "BadBase64", reason: "UrlSafe", offset: 3 }],
  ["padding in the middle", { mime: "image/png", data: "iQ==iVBO" }, {
    _tag: "BadBase64",
    reason: "Padding",
    offset: 2
  }],
  ["unused bits that are set", { mime: "image/png", data: "iR==" }, {
    _tag: "BadBase64",
    reason: "UnusedBits",
    offset: 1
  }],
  ["a GIF named PNG", payloadOf("image/png", Buffer.from("GIF89a\u0001\u0000\u0001\u0000", "latin1")), {
    _tag: "ContentMismatch",
    declared: "png",
    detected: "gif"
  }],
  ["a PNG named WebP", payloadOf("image/webp", png()), {
    _tag: "ContentMismatch",
    declared: "webp",
    detected: "png"
  }],
  ["text", payloadOf("image/jpeg", Buffer.from("hello")), {
    _tag: "ContentMismatch",
    declared: "jpeg",
    detected: "unknown"
  }],
  ["a cut PNG", payloadOf("image/png", png().subarray(0, -5)), {
    _tag: "MalformedImage",
    format: "png",
    reason: "Truncated"
  }],
  ["a cut JPEG", payloadOf("image/jpeg", jpeg().subarray(0, -1)), {
    _tag: "MalformedImage",
    format: "jpeg",
    reason: "Truncated"
  }],
  ["a cut WebP", payloadOf("image/webp", webp().subarray(0, -1)), {
    _tag: "MalformedImage",
    format: "webp",
    reason: "Truncated"
  }],
  ["64250×64250 pixels in a few bytes", payloadOf("image/png", png({ width: 64250, height: 64250 })), {
    _tag: "TooManyPixels",
    width: 64250,
    height: 64250,
    limit: 89_478_485
  }]
]

/** The public steps one after the other, equal to `persist`. */
const bySteps = (json: unknown, options: SessionInitImage.PersistOptions) =>
  Effect.gen(function*() {
    const payload = yield* InitImagePayload.decode(json)
    if (Option.isNone(payload)) return Option.none()
    yield* SessionInitImage.checkSize(payload.value)
    const verified = SessionInitImage.decode(payload.value).pipe(SessionInitImage.verify(payload.value))
    return Option.some(yield* Stream.run(verified, SessionInitImage.sink(payload.value, options)))
  })

const shown = (image: SessionInitImage.SessionInitImage) => ({
  ...image,
  path: readFileSync(image.path).toString("hex")
})

/** Valid images, and the same with a byte changed, an end missing or a character replaced. */
const hostile = FastCheck.record({
  mime: FastCheck.constantFrom("image/png", "image/jpeg", "image/webp"),
  image: FastCheck.constantFrom(
    ...images.map(([, bytes]) => bytes),
    pngOfSize(800_000),
    jpegOfSize(1.5 * maxBufferBytes)
  ),
  cut: FastCheck.oneof({ weight: 3, arbitrary: FastCheck.constant(0) }, FastCheck.integer({ min: 1, max: 60 })),
  flip: FastCheck.option(FastCheck.tuple(FastCheck.double({ min: 0, max: 1, noNaN: true }), FastCheck.nat(255))),
  replace: FastCheck.option(
    FastCheck.tuple(
      FastCheck.oneof(FastCheck.double({ min: 0, max: 1, noNaN: true }), FastCheck.constantFrom(0, 0.00001, 1)),
      FastCheck.constantFrom("=", "-", "\n", "\u0141", "A", "", "==\n")
    )
  )
}).map(({ cut, flip, image, mime, replace }) => {
  const bytes = Uint8Array.from(image.subarray(0, image.length - cut))
  if (flip !== null && bytes.length > 0) bytes[Math.floor(flip[0] * (bytes.length - 1))] = flip[1]
  const payload = payloadOf(mime, bytes)
  if (replace === null) return payload
  const at = Math.floor(replace[0] * (payload.data.length - 1))
  return { ...payload, data: payload.data.slice(0, at) + replace[1] + payload.data.slice(at + 1) }
})

describe("SessionInitImage", () => {
  describe("persist", () => {
    it.live.prop("writes exactly the bytes that were sent, for all bytes after an image's end", {
      image: FastCheck.constantFrom(...images),
      tail: FastCheck.uint8Array({ maxLength: 2000 })
    }, ({ image: [mime, bytes, extension, header], tail }) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const sent = Buffer.concat([bytes, tail])
        const image = Option.getOrThrow(yield* SessionInitImage.persist(payloadOf(mime, sent, "a/b.x"), { directory }))
        assert.deepStrictEqual({ ...image }, {
          path: image.path,
          displayName: "b.x",
          mime,
          bytes: sent.length,
          ...header
        })
        assert.isTrue(readFileSync(image.path).equals(sent))
        assert.deepStrictEqual(list(directory), [basename(image.path)])
        assert.match(basename(image.path), new RegExp(`^session-init-[0-9a-f]{32}\\${extension}$`))
      }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)), { fastCheck: { numRuns: 60 } })

    it.scopedLive.each(sizes)(
      "writes exactly the bytes that were sent, %i of them in chunks",
      (size) =>
        Effect.gen(function*() {
          const directory = yield* makeDirectory
          for (
            const [mime, sent] of [["image/png", pngOfSize(size)], [
              "image/webp",
              webpOfSize(size + (size % 2))
            ]] as const
          ) {
            const image = Option.getOrThrow(yield* SessionInitImage.persist(payloadOf(mime, sent), { directory }))
            assert.strictEqual(image.bytes, sent.length)
            assert.isTrue(readFileSync(image.path).equals(sent))
          }
        }).pipe(Effect.provide(NodeContext.layer))
    )

    it.scopedLive("creates a file for its owner only, in the temporary directory by default", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const image = Option.getOrThrow(yield* SessionInitImage.persist(payloadOf("image/png", png())))
        yield* Effect.addFinalizer(() => Effect.orDie(fs.remove(image.path)))
        assert.strictEqual(dirname(image.path), tmpdir())
        assert.isTrue(isAbsolute(image.path))
        assert.strictEqual(statSync(image.path).mode & 0o777, 0o600)
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("begins the file name with the prefix, and refuses a prefix that leads out of the directory", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const payload = payloadOf("image/png", png())
        const image = yield* SessionInitImage.persist(payload, { directory, prefix: "A-z_0.9" })
        assert.match(basename(Option.getOrThrow(image).path), /^A-z_0\.9[0-9a-f]{32}\.png$/)
        for (const prefix of ["../", "a/b", "a\\b", "a\u0000", "a b", "é", "a\n"]) {
          for (const attempt of [payload, null]) {
            const error = yield* Effect.flip(SessionInitImage.persist(attempt, { directory, prefix }))
            assert.strictEqual(error._tag, "BadArgument")
            assert.notInclude(String(error), directory)
          }
        }
        assert.lengthOf(list(directory), 1)
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("never gives two images the same path", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const payload = payloadOf("image/png", png())
        const persisted = yield* Effect.all(
          Array.from({ length: 50 }, () => SessionInitImage.persist(payload, { directory })),
          { concurrency: 10 }
        )
        assert.strictEqual(new Set(persisted.map((image) => Option.getOrThrow(image).path)).size, 50)
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive.each([[null], [undefined], [false], [0], [""], [{}], [[]]])(
      "answers None for %j",
      ([payload]) =>
        Effect.gen(function*() {
          const directory = yield* makeDirectory
          assert.isTrue(Option.isNone(yield* SessionInitImage.persist(payload, { directory })))
          assert.isTrue(Option.isNone(yield* SessionInitImage.persistScoped(payload, { directory })))
          assert.deepStrictEqual(list(directory), [])
        }).pipe(Effect.provide(NodeContext.layer))
    )

    it.scopedLive.each(refusals)("refuses %s and leaves nothing", ([, payload, expected]) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        assert.deepStrictEqual(
          yield* refusal(SessionInitImage.persist(payload, { directory })),
          Either.left(expected)
        )
        assert.deepStrictEqual(
          yield* refusal(SessionInitImage.persistScoped(payload, { directory })),
          Either.left(expected)
        )
        assert.deepStrictEqual(yield* refusal(bySteps(payload, { directory })), Either.left(expected))
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("accepts an image of exactly the limit, and refuses one byte more", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const persist = (bytes: number) =>
          refusal(SessionInitImage.persist(payloadOf("image/png", pngOfSize(bytes)), { directory }))
        for (const limit of [998, 999, 1000]) {
          const results = yield* Effect.all([persist(limit), persist(limit + 1)]).pipe(
            InitImageLimits.withMaxBytes(limit)
          )
          assert.isTrue(Either.isRight(results[0]))
          assert.deepStrictEqual(results[1], Either.left({ _tag: "TooLarge", bytes: limit + 1, limit }))
        }
        const exit = yield* Effect.exit(persist(100).pipe(InitImageLimits.withMaxBytes(Number.NaN)))
        assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("reports the first error in the order of the bytes, not of the chunks", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const gif = Buffer.concat([Buffer.from("GIF89a"), Buffer.alloc(1_000_000)]).toString("base64")
        const huge =
          payloadOf("image/png", Buffer.concat([png({ width: 64250, height: 64250 }), Buffer.alloc(1_000_000)])).data
        const tag = (mime: string, data: string) =>
          SessionInitImage.persist({ mime, data }, { directory }).pipe(Effect.flip, Effect.map((error) => error._tag))
        assert.strictEqual(yield* tag("image/png", `${gif.slice(0, -4)}????`), "ContentMismatch")
        assert.strictEqual(yield* tag("image/png", `${gif.slice(0, 4)}?${gif.slice(5)}`), "BadBase64")
        assert.strictEqual(yield* tag("image/png", `${huge.slice(0, 100)}?${huge.slice(101)}`), "TooManyPixels")
        assert.strictEqual(yield* tag("image/png", `${huge.slice(0, 20)}?${huge.slice(21)}`), "BadBase64")
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("compares types without parameters, case, white space and aliases", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        for (
          const [mime, bytes, expected] of [
            [" IMAGE/PNG ; charset=utf-8", png(), "image/png"],
            ["image/x-png", png(), "image/png"],
            ["image/pjpeg;q=1", jpeg(), "image/jpeg"]
          ] as const
        ) {
          const image = yield* SessionInitImage.required(
            SessionInitImage.persistScoped(payloadOf(mime, bytes), { directory })
          )
          const streamed = yield* SessionInitImage.persistStreamScoped({ mime }, Stream.make(bytes), { directory })
          assert.deepStrictEqual([image.mime, streamed.mime], [expected, expected])
        }
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("lets the bytes decide where the declared type is optional, among the accepted formats", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        for (const [mime, bytes, extension] of images) {
          for (const declared of [undefined, null, "", "image/gif", "image/jpeg", "image/webp", 7, []]) {
            const payload = { mime: declared, data: payloadOf("", bytes).data }
            for (
              const image of [
                yield* SessionInitImage.persistScoped(payload, { directory }),
                yield* bySteps(payload, { directory })
              ]
            ) {
              assert.strictEqual(Option.getOrThrow(image).mime, mime)
              assert.isTrue(Option.getOrThrow(image).path.endsWith(extension))
            }
          }
        }
        const refused = (bytes: Uint8Array) =>
          refusal(SessionInitImage.persist(payloadOf("image/png", bytes), { directory }))
        const accepted = list(directory).length
        assert.deepStrictEqual(
          yield* refused(jpeg()).pipe(InitImageLimits.withAcceptedFormats(["image/png"])),
          Either.left({ _tag: "ContentMismatch", detected: "jpeg" })
        )
        assert.deepStrictEqual(
          yield* refused(Buffer.from("GIF89a\u0001\u0000\u0001\u0000", "latin1")),
          Either.left({ _tag: "ContentMismatch", detected: "gif" })
        )
        assert.deepStrictEqual(
          yield* refused(webp().subarray(0, -1)),
          Either.left({ _tag: "MalformedImage", format: "webp", reason: "Truncated" })
        )
        assert.lengthOf(list(directory), accepted)
      }).pipe(InitImageLimits.withDeclaredType("optional"), Effect.provide(NodeContext.layer)))

    it.effect("gives the image of an effect, or Empty", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(SessionInitImage.required(SessionInitImage.persist(null)))
        assert.strictEqual(error._tag, "Empty")
      }).pipe(Effect.provide(NodeContext.layer)))

    it.live.prop(
      "is equal to its public steps one after the other, for all payloads",
      { payload: hostile, declaredType: FastCheck.constantFrom("required" as const, "optional" as const) },
      ({ declaredType, payload }) =>
        Effect.gen(function*() {
          const directory = yield* makeDirectory
          const options = { directory }
          const [whole, steps] = yield* Effect.all([
            refusal(SessionInitImage.persist(payload, options)),
            refusal(bySteps(payload, options))
          ])
          if (Either.isRight(whole) && Either.isRight(steps)) {
            const [image, stepped] = [whole.right, steps.right].map((image) =>
              Option.getOrNull(Option.map(image, shown))
            )
            assert.deepStrictEqual(image, stepped)
          } else {
            assert.deepStrictEqual(whole, steps)
            assert.deepStrictEqual(list(directory), [])
          }
        }).pipe(InitImageLimits.withDeclaredType(declaredType), Effect.scoped, Effect.provide(NodeContext.layer)),
      { fastCheck: { numRuns: 150 } }
    )

    it.live.prop("answers every JSON value with a value or a typed error, and never a defect", {
      json: FastCheck.oneof(
        FastCheck.jsonValue(),
        FastCheck.record({
          mime: FastCheck.constantFrom("image/png", "IMAGE/JPG", 5),
          name: FastCheck.jsonValue(),
          data: FastCheck.oneof(FastCheck.base64String(), FastCheck.string(), FastCheck.jsonValue())
        })
      )
    }, ({ json }) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const exit = yield* Effect.exit(refusal(SessionInitImage.persist(json, { directory })))
        assert.isTrue(Exit.isSuccess(exit))
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)), { fastCheck: { numRuns: 300 } })

    it.live.prop("keeps the client's name out of the path and makes it safe to log", {
      name: FastCheck.oneof(FastCheck.string({ unit: "binary" }), FastCheck.constantFrom("../x", "a\n\u001b[31m/b\n"))
    }, ({ name }) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const payload = { ...payloadOf("image/png", png()), name }
        const image = Option.getOrThrow(yield* SessionInitImage.persist(payload, { directory }))
        assert.match(basename(image.path), /^session-init-[0-9a-f]{32}\.png$/)
        assert.strictEqual(dirname(image.path), directory)
        assert.notMatch(image.displayName, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}/\\]/u)
      }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)), { fastCheck: { numRuns: 100 } })
  })

  describe("persistScoped", () => {
    it.scopedLive("keeps the file until the scope closes", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const scope = yield* Scope.make()
        const image = yield* SessionInitImage.persistScoped(payloadOf("image/png", png()), { directory }).pipe(
          Scope.extend(scope)
        )
        assert.deepStrictEqual(list(directory), [basename(Option.getOrThrow(image).path)])
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("closes the scope of a file that was removed already", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const directory = yield* makeDirectory
        const exit = yield* SessionInitImage.persistScoped(payloadOf("image/png", png()), { directory }).pipe(
          Effect.flatMap((image) => fs.remove(Option.getOrThrow(image).path)),
          Effect.scoped,
          Effect.exit
        )
        assert.deepStrictEqual(exit, Exit.void)
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("removes the file at once when a failure is caught inside a scope that stays open", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const cut = payloadOf("image/png", pngOfSize(2.5 * maxBufferBytes).subarray(0, -5))
        const created: Array<number> = []
        const watch = yield* Effect.fork(Effect.forever(
          Effect.zipRight(Effect.sync(() => created.push(list(directory).length)), Effect.yieldNow())
        ))
        yield* SessionInitImage.persistScoped(cut, { directory }).pipe(
          Effect.catchTag("MalformedImage", () => Effect.sync(() => assert.deepStrictEqual(list(directory), [])))
        )
        watch.unsafeInterruptAsFork(watch.id())
        assert.include(created, 1, "the file was there for a while")
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("ends as interrupted, with nothing left, where its scope was closed meanwhile", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const scope = yield* Scope.make()
        yield* Scope.close(scope, Exit.void)
        const exit = yield* SessionInitImage.persistScoped(payloadOf("image/png", png()), { directory }).pipe(
          Scope.extend(scope),
          Effect.exit
        )
        assert.isTrue(Exit.isInterrupted(exit))
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.provide(NodeContext.layer)))
  })

  describe("persistStream", () => {
    const inPieces = (bytes: Uint8Array, size: number) =>
      Stream.fromIterable(
        Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size))
      )

    it.live.prop("writes exactly the bytes of the source, for all cuts", {
      image: FastCheck.constantFrom(...images),
      tail: FastCheck.uint8Array({ maxLength: 300 }),
      size: FastCheck.integer({ min: 1, max: 500 })
    }, ({ image: [mime, bytes, , header], size, tail }) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const sent = Buffer.concat([bytes, tail])
        const image = yield* SessionInitImage.persistStream({ mime, name: "x" }, inPieces(sent, size), { directory })
        assert.deepStrictEqual({ ...image }, {
          path: image.path,
          displayName: "x",
          mime,
          bytes: sent.length,
          ...header
        })
        assert.isTrue(readFileSync(image.path).equals(sent))
      }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)), { fastCheck: { numRuns: 60 } })

    it.scopedLive("lets the bytes decide without a specific type, however they are cut", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        for (const [mime, bytes, extension] of images) {
          for (const type of [undefined, "", "application/octet-stream", "Binary/Octet-Stream; a=b", " image/* "]) {
            for (const size of [1, 7, 10_000]) {
              const stream = inPieces(bytes, size)
              for (
                const image of [
                  yield* SessionInitImage.persistStreamScoped({ mime: type }, stream, { directory }),
                  yield* Stream.run(stream, SessionInitImage.sink({ mime: type }, { directory }))
                ]
              ) {
                assert.strictEqual(image.mime, mime)
                assert.strictEqual(image.displayName, `init${extension}`)
                assert.match(basename(image.path), new RegExp(`^session-init-[0-9a-f]{32}\\${extension}$`))
              }
            }
          }
          const verified = yield* Stream.runCollect(SessionInitImage.verify(inPieces(bytes, 5), {}))
          assert.isTrue(Buffer.concat(Chunk.toReadonlyArray(verified)).equals(bytes))
        }
        const svg = Buffer.from(`<!--${"x".repeat(6000)}--><svg></svg>`)
        for (
          const [bytes, detected] of [[Buffer.from("hello"), "unknown"], [svg, "svg"], [jpeg(), "jpeg"]] as const
        ) {
          const onlyPng = InitImageLimits.withAcceptedFormats(["image/png"])
          for (const size of [1, 4096, 10_000]) {
            assert.deepStrictEqual(
              yield* onlyPng(refusal(SessionInitImage.persistStream({}, inPieces(bytes, size), { directory }))),
              Either.left({ _tag: "ContentMismatch", detected })
            )
          }
        }
        assert.deepStrictEqual(
          yield* refusal(SessionInitImage.persistStream({}, Stream.empty, { directory })),
          Either.left({ _tag: "Empty" })
        )
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("accepts empty chunks", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const pieces = Stream.make(new Uint8Array(), png(), new Uint8Array())
        const image = yield* SessionInitImage.persistStream({ mime: "image/png" }, pieces, { directory })
        assert.strictEqual(image.bytes, png().length)
        assert.strictEqual(image.displayName, "init.png")
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("stops the source at the first byte above the limit", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const sent = pngOfSize(1000)
        let pulled = 0
        let ended = false
        const source = inPieces(sent, 10).pipe(
          Stream.tap((piece) => Effect.sync(() => pulled += piece.length)),
          Stream.rechunk(1),
          Stream.ensuring(Effect.sync(() => ended = true))
        )
        const persist = (limit: number) =>
          refusal(SessionInitImage.persistStreamScoped({ mime: "image/png" }, source, { directory })).pipe(
            InitImageLimits.withMaxBytes(limit)
          )
        assert.deepStrictEqual(yield* persist(500), Either.left({ _tag: "TooLarge", bytes: 501, limit: 500 }))
        assert.strictEqual(pulled, 510)
        assert.isTrue(ended)
        assert.isTrue(Either.isRight(yield* persist(1000)))
        assert.lengthOf(list(directory), 1)
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("fails as the source does, and before it with the error of the bytes", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const then = (bytes: Uint8Array) => Stream.concat(Stream.make(bytes), Stream.fail("cut off" as const))
        const persist = (mime: string, bytes: Uint8Array) =>
          Effect.flip(SessionInitImage.persistStream({ mime }, then(bytes), { directory }))
        assert.strictEqual(yield* persist("image/png", png().subarray(0, 40)), "cut off")
        const mismatch = yield* persist("image/webp", pngOfSize(5000))
        assert.isTrue(InitImageError.isInitImageError(mismatch) && mismatch._tag === "ContentMismatch")
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("refuses a type that is not accepted before it pulls, and no bytes at all", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const persist = (mime: string, bytes: Stream.Stream<Uint8Array>) =>
          refusal(SessionInitImage.persistStream({ mime }, bytes, { directory }))
        assert.deepStrictEqual(
          yield* persist("image/gif", Stream.dieMessage("pulled")),
          Either.left({
            _tag: "InvalidMime",
            reason: "NotAccepted",
            accepted: ["image/png", "image/jpeg", "image/webp"]
          })
        )
        assert.deepStrictEqual(yield* persist("image/png", Stream.empty), Either.left({ _tag: "Empty" }))
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.provide(NodeContext.layer)))
  })

  describe("steps", () => {
    const payload = new InitImagePayload.InitImagePayload(
      payloadOf("image/png", pngOfSize(1_600_000)) as { mime: "image/png"; data: string }
    )

    it.effect("answer the size of a payload without decoding it", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* SessionInitImage.checkSize(payload), 1_600_000)
        for (const [data, bytes] of [["AAAA", 3], ["AAA=", 2], ["AA==", 1], ["====", 1], ["AAAAAA==", 4]] as const) {
          const small = new InitImagePayload.InitImagePayload({ mime: "image/png", data })
          assert.strictEqual(yield* SessionInitImage.checkSize(small), bytes)
        }
      }))

    it.effect("refuse an impossible length before anything is decoded", () =>
      Effect.gen(function*() {
        for (const length of [1, 2, 3, 5, 6, 7]) {
          const bad = new InitImagePayload.InitImagePayload({ mime: "image/png", data: "A".repeat(length) })
          const error = yield* Effect.flip(SessionInitImage.checkSize(bad))
          assert.deepStrictEqual(
            error._tag === "BadBase64" && [error.reason, error.offset],
            length % 4 === 1 ? ["Length", undefined] : ["Unpadded", length]
          )
        }
      }))

    it.effect("take no more memory for a small image than it has bytes", () =>
      Effect.gen(function*() {
        const small = new InitImagePayload.InitImagePayload({ mime: "image/png", data: "AAAA".repeat(100) })
        const chunk = Option.getOrThrow(yield* Stream.runHead(SessionInitImage.decode(small)))
        assert.isBelow(chunk.buffer.byteLength, 2 * 300)
      }))

    it.effect("stop the source at the first error", () =>
      Effect.gen(function*() {
        let read = 0
        const chunks = Stream.range(1, 100).pipe(
          Stream.rechunk(1),
          Stream.map(() => {
            read += 1
            return pngOfSize(2000)
          })
        )
        yield* SessionInitImage.verify(chunks, { mime: "image/webp" }).pipe(Stream.runDrain, Effect.flip)
        assert.strictEqual(read, 1)
      }))

    it.effect("decode to chunks with separate memory, of at most 1.4 MiB", () =>
      Effect.gen(function*() {
        const chunks = Chunk.toReadonlyArray(yield* Stream.runCollect(SessionInitImage.decode(payload)))
        assert.lengthOf(chunks, 2)
        assert.isTrue(chunks.every((chunk) => chunk.length <= maxBufferBytes))
        assert.isTrue(Buffer.concat(chunks).equals(pngOfSize(1_600_000)))
      }))

    it.effect("decode everything before the first invalid character", () =>
      Effect.gen(function*() {
        const bad = new InitImagePayload.InitImagePayload({
          mime: "image/png",
          data: `${payload.data.slice(0, 1_500_002)}?${payload.data.slice(1_500_003)}`
        })
        let bytes = 0
        const error = yield* SessionInitImage.decode(bad).pipe(
          Stream.runForEach((chunk) => Effect.sync(() => bytes += chunk.length)),
          Effect.flip
        )
        assert.strictEqual(bytes, 1_125_000)
        assert.deepStrictEqual({ ...error }, { _tag: "BadBase64", reason: "Character", offset: 1_500_002 })
      }))

    it.effect("decode nothing of a text with an impossible length", () =>
      Effect.gen(function*() {
        const { data } = payload
        const whole = data.slice(0, 1_500_001)
        for (
          const [text, expected] of [
            [`${whole}?`, { reason: "Character", offset: whole.length }],
            [`?${data.slice(0, 6)}`, { reason: "Character", offset: 0 }],
            [`${whole}AA`, { reason: "Unpadded", offset: whole.length + 2 }],
            [whole, { reason: "Length" }]
          ] as const
        ) {
          const bad = new InitImagePayload.InitImagePayload({ mime: "image/png", data: text })
          let chunks = 0
          const error = yield* SessionInitImage.decode(bad).pipe(
            Stream.runForEach(() => Effect.sync(() => chunks += 1)),
            Effect.flip
          )
          assert.strictEqual(chunks, 0)
          assert.deepStrictEqual<unknown>({ ...error }, { _tag: "BadBase64", ...expected })
        }
      }))

    it.effect("verify the same stream twice, and pass no bytes before the signature has matched", () =>
      Effect.gen(function*() {
        const verified = SessionInitImage.decode(payload).pipe(SessionInitImage.verify(payload))
        for (const _ of [1, 2]) {
          assert.strictEqual(yield* Stream.runFold(verified, 0, (sum, chunk) => sum + chunk.length), 1_600_000)
        }
        let passed = 0
        const error = yield* SessionInitImage.verify(Stream.make(png(), png()), { mime: "image/webp" }).pipe(
          Stream.runForEach(() => Effect.sync(() => passed++)),
          Effect.flip
        )
        assert.strictEqual(error._tag, "ContentMismatch")
        assert.strictEqual(passed, 0)
      }))
  })

  describe("sink", () => {
    const image = pngOfSize(1_600_000)
    const meta = { mime: "image/png", name: "a/b.x" }
    const inPieces = (bytes: Uint8Array, size: number) => Stream.fromIterable(piecesOf(bytes, size))

    it.scopedLive("writes a file that belongs to the caller, or to the scope", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const bytes = inPieces(image, 10_000)
        const scope = yield* Scope.make()
        const kept = yield* Stream.run(bytes, SessionInitImage.sink(meta, { directory }))
        const scoped = yield* Stream.run(
          bytes,
          yield* Scope.extend(SessionInitImage.sinkScoped(meta, { directory }), scope)
        )
        for (const { path } of [kept, scoped]) assert.isTrue(readFileSync(path).equals(image))
        assert.deepInclude({ ...kept }, { displayName: "b.x", mime: "image/png", bytes: image.length, width: 1 })
        assert.deepStrictEqual(list(directory), [kept, scoped].map(({ path }) => basename(path)).toSorted())
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(list(directory), [basename(kept.path)])
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("can be run several times, also at once", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const sink = SessionInitImage.sink(meta, { directory })
        const images = yield* Effect.all(
          [image, png(), pngOfSize(3 * maxBufferBytes)].map((bytes) => Stream.run(inPieces(bytes, 100_000), sink)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(images.map(({ bytes }) => bytes), [1_600_000, png().length, 3 * maxBufferBytes])
        assert.lengthOf(list(directory), 3)
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("gives its buffers back, whether it succeeds or not", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const takeAll = () => Array.from({ length: 4 }, () => buffers.take(maxBufferBytes))
        const giveBack = (taken: ReadonlyArray<Buffer>) => taken.forEach((buffer) => buffers.giveBack(buffer))
        const kept = takeAll()
        giveBack(kept)
        const large = pngOfSize(3 * maxBufferBytes)
        for (const bytes of [large, large.subarray(0, -1)]) {
          yield* Effect.exit(Stream.run(inPieces(bytes, 100_000), SessionInitImage.sink(meta, { directory })))
          const after = takeAll()
          giveBack(after)
          assert.isTrue(after.every((buffer) => kept.includes(buffer)))
        }
      }).pipe(Effect.provide(NodeContext.layer)))

    it.live.prop("is equal to persistStream, for all bytes and cuts", {
      payload: hostile,
      size: FastCheck.integer({ min: 1, max: 300_000 })
    }, ({ payload, size }) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const { mime } = payload
        const sent = Buffer.from(payload.data, "base64")
        // Pieces of few bytes for the beginning, and larger ones.
        const bytes = Stream.concat(
          inPieces(sent.subarray(0, 500), Math.min(size, 499)),
          inPieces(sent.subarray(500), Math.max(size, 1000))
        )
        const [whole, sunk] = yield* Effect.all([
          refusal(SessionInitImage.persistStream({ mime }, bytes, { directory })),
          refusal(Stream.run(bytes, SessionInitImage.sink({ mime }, { directory })))
        ])
        assert.deepStrictEqual(Either.map(sunk, shown), Either.map(whole, shown))
        if (Either.isLeft(whole)) assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)), { fastCheck: { numRuns: 100 } })

    it.scopedLive("fails as the source does, and before it with the error of the bytes", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const run = (mime: string, bytes: Uint8Array) =>
          Stream.concat(inPieces(bytes, 100_000), Stream.fail("cut off" as const)).pipe(
            Stream.run(SessionInitImage.sink({ mime }, { directory })),
            Effect.flip
          )
        assert.strictEqual(yield* run("image/png", image.subarray(0, 40)), "cut off")
        assert.strictEqual(yield* run("image/png", pngOfSize(3 * maxBufferBytes)), "cut off")
        assert.deepInclude(yield* run("image/webp", image), { _tag: "ContentMismatch", detected: "png" })
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("refuses a type that is not accepted before it pulls, and no bytes at all", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const run = (mime: string, bytes: Stream.Stream<Uint8Array>) =>
          refusal(Stream.run(bytes, SessionInitImage.sink({ mime }, { directory })))
        assert.deepInclude(yield* run("image/gif", Stream.dieMessage("pulled")), {
          left: { _tag: "InvalidMime", reason: "NotAccepted", accepted: ["image/png", "image/jpeg", "image/webp"] }
        })
        assert.deepStrictEqual(yield* run("image/png", Stream.empty), Either.left({ _tag: "Empty" }))
        assert.deepStrictEqual(
          yield* run("image/png", inPieces(image, 100)).pipe(InitImageLimits.withMaxBytes(500)),
          Either.left({ _tag: "TooLarge", bytes: 501, limit: 500 })
        )
        const prefixed = Stream.run(Stream.make(png()), SessionInitImage.sink(meta, { directory, prefix: "../" }))
        assert.strictEqual((yield* Effect.flip(prefixed))._tag, "BadArgument")
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("ends as interrupted, with nothing left, where the caller's scope was closed meanwhile", () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const scope = yield* Scope.make()
        yield* Scope.close(scope, Exit.void)
        const sink = yield* Scope.extend(SessionInitImage.sinkScoped(meta, { directory }), scope)
        const exit = yield* Effect.exit(Stream.run(Stream.make(png()), sink))
        assert.deepStrictEqual(list(directory), [])
        assert.isTrue(Exit.isInterrupted(exit))
      }).pipe(Effect.provide(NodeContext.layer)))
  })

  it("leaves out the path when it is printed, logged or stringified", () => {
    const image = new SessionInitImage.SessionInitImage({
      path: "/secret/place.png",
      displayName: "ref.png",
      mime: "image/png",
      bytes: 7,
      width: 3,
      height: 2,
      orientation: 1
    })
    for (const text of [inspect(image), JSON.stringify(image), String(image)]) {
      assert.notInclude(text, "secret")
      assert.include(text, "ref.png")
    }
  })
})
