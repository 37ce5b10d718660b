import * as NodeContext from "@effect/platform-node/NodeContext"
import type { PlatformError } from "@effect/platform/Error"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { readFileSync } from "node:fs"
import { extname } from "node:path"
import { InitImageError, InitImageFrame, InitImageLimits, InitImageSpool, SessionInitImage } from "../../src/index.js"
import { persistOrAnnounced, readShort } from "../../src/InitImageFrame.js"
import { maxBufferBytes } from "../../src/internal/persist/bufferPool.js"
import { warn } from "../../src/internal/persist/removal.js"
import * as quotas from "../../src/internal/spool/quota.js"
import * as rooms from "../../src/internal/spool/room.js"
import { list, makeDirectory } from "../utils/directory.js"
import { errorFields } from "../utils/errorFields.js"
import { layerHooked } from "../utils/hookedFileSystem.js"
import { jpeg, jpegOfSize, png, pngOfSize, webp } from "../utils/images.js"
import { reference as scan } from "../utils/jsonReference.js"
import { damages, frames, images, isWellFormed } from "../utils/messages.js"
import { payloadOf } from "../utils/payloads.js"
import { split } from "../utils/split.js"
import { isIdle } from "../utils/spools.js"
import { withSpans } from "../utils/tracing.js"
import { countTurns } from "../utils/turns.js"

/** A spool in a directory, without limits other than the size of an image. Reports each reservation in bytes. */
const spoolIn = (
  directory: string,
  limit = Infinity,
  onReserve: (bytes: number) => void = () => {}
): InitImageSpool.Spool => {
  const admission = {
    acquire: (bytes: number) => Effect.sync(() => onReserve(bytes)),
    giveBack: () => {}
  }
  const context = { directory: Effect.succeed(directory), limit, admission, quota: quotas.unlimited, onLeft: warn }
  return {
    directory: context.directory,
    makeRoom: (size, options) => rooms.make(context, size, options),
    admit: () => Effect.dieMessage("no frames")
  }
}

type Json = string | Uint8Array | Stream.Stream<Uint8Array>

/** The message and the image's file, or the error's encoded form. No `Option`: Chai takes any two to be equal. */
const outcome = <A extends { readonly image: Option.Option<SessionInitImage.SessionInitImage> }, R>(
  effect: Effect.Effect<A, InitImageError.InitImageError | PlatformError, R>
) =>
  effect.pipe(
    Effect.catchTags({ SystemError: Effect.die, BadArgument: Effect.die }),
    Effect.mapBoth({
      onFailure: (error): object => errorFields(error),
      onSuccess: (frame) => ({
        ...frame,
        image: Option.match(frame.image, {
          onNone: () => null,
          onSome: (image) => ({ ...image, path: readFileSync(image.path).toString("base64") })
        })
      })
    }),
    Effect.either
  )

const valueAt = (message: unknown, at: ReadonlyArray<string>): unknown =>
  at.reduce<unknown>(
    (value, key) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Object.getOwnPropertyDescriptor(value, key)?.value
        : undefined,
    message
  )

const isWithoutImage = (frame: { readonly image: unknown; readonly announced: unknown }): boolean =>
  frame.image === null && frame.announced === undefined

const duplicateKey = Either.left({ _tag: "InvalidPayload", reason: "DuplicateKey" })
const notJson = new InitImageError.InvalidPayload({ reason: "NotJson" })

/** `JSON.parse` of the whole text, and `persist`. */
const parseAndPersist = (
  json: string | Uint8Array,
  at: ReadonlyArray<string>,
  options: SessionInitImage.PersistOptions
) =>
  Effect.gen(function*() {
    const message = yield* Effect.try({
      try: (): unknown =>
        JSON.parse(
          typeof json === "string" ? json : new TextDecoder("utf-8", { fatal: true }).decode(json)
        ),
      catch: () => notJson
    })
    const payload = valueAt(message, at)
    const image = yield* SessionInitImage.persist(payload, options)
    if (typeof payload === "object" && payload !== null && Option.isSome(image)) Reflect.deleteProperty(payload, "data")
    return { message, image }
  })

const sizes = FastCheck.array(FastCheck.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })

/** A message as a string, as its bytes, and as a stream of them. */
const sources = (json: string | Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Json> => {
  const bytes = typeof json === "string" ? Buffer.from(json) : json
  const streams = [bytes, split(bytes, sizes)]
  return typeof json === "string" ? [json, ...streams] : streams
}

/**
 * The outcomes that a message may have: `DuplicateKey`, or that of `JSON.parse` and `persist`. In a text that is not
 * JSON, a duplicate key may also stand behind the first error.
 */
const possible = (json: string | Uint8Array, at: ReadonlyArray<string>, options: SessionInitImage.PersistOptions) => {
  const { end, stops } = scan(typeof json === "string" ? json : new TextDecoder().decode(json), at)
  if (end === Infinity && stops.some(([stop]) => stop === "DuplicateKey")) return Effect.succeed([duplicateKey])
  return Effect.map(
    outcome(parseAndPersist(json, at, options)),
    (expected) => Either.isLeft(expected) && end < Infinity ? [expected, duplicateKey] : [expected]
  )
}

const assertEqual = (json: string | Uint8Array, at: ReadonlyArray<string>, inputs: ReadonlyArray<Json>) =>
  Effect.gen(function*() {
    const directory = yield* makeDirectory
    const expected = yield* possible(json, at, { directory })
    const before = list(directory).length
    let kept = 0
    for (const input of inputs) {
      const actual = yield* outcome(InitImageFrame.persist(input, { at }, { directory }))
      assert.deepInclude(expected, actual)
      if (Either.isRight(actual) && actual.right.image !== null) kept += 1
    }
    assert.lengthOf(list(directory), before + kept)
  }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))

describe("InitImageFrame", () => {
  it.live.prop(
    "is JSON.parse followed by persist, or DuplicateKey, whatever the message and however it is cut",
    {
      frame: frames,
      sizes
    },
    ({ frame: { at, json }, sizes }) => assertEqual(json, at, isWellFormed(json) ? sources(json, sizes) : [json]),
    { fastCheck: { numRuns: 300 } }
  )

  it.live.prop("is the same for a message that is not JSON or not UTF-8", {
    frame: frames,
    sizes,
    damage: damages
  }, ({ damage, frame: { at, json }, sizes }) => {
    const damaged = damage(json)
    return assertEqual(damaged, at, sources(damaged, sizes))
  }, { fastCheck: { numRuns: 300 } })

  it.live.prop(
    "is the same for a message in memory under any limit of bytes",
    {
      frame: frames,
      limit: FastCheck.integer({ min: 0, max: 120 })
    },
    ({ frame: { at, json }, limit }) =>
      assertEqual(json, at, isWellFormed(json) ? [json, Buffer.from(json)] : [json]).pipe(
        InitImageLimits.withMaxBytes(limit)
      ),
    { fastCheck: { numRuns: 200 } }
  )

  it.live.prop(
    "is read without room as it is with it, where it is short and refused or has no image",
    { frame: frames, damage: FastCheck.option(damages), limit: FastCheck.constantFrom(60, 1000) },
    ({ damage, frame: { at, json }, limit }) =>
      Effect.gen(function*() {
        const text = damage === null ? json : damage(json).toString("latin1")
        const frame = { at }
        const expected = yield* outcome(persistOrAnnounced(text, frame))
        const actual = yield* Effect.either(Effect.mapError(readShort(text, frame), errorFields))
        if (text.length > 1024 || Either.isRight(expected) && !isWithoutImage(expected.right)) {
          return assert.deepStrictEqual(actual, Either.right(undefined))
        }
        assert.deepStrictEqual(actual, Either.map(expected, ({ message }) => message))
      }).pipe(InitImageLimits.withMaxBytes(limit), Effect.scoped, Effect.provide(NodeContext.layer)),
    { fastCheck: { numRuns: 200 } }
  )

  it.live.prop("refuses a stream as too large only if it is, and then at once", {
    image: FastCheck.constantFrom(...images),
    mime: FastCheck.constantFrom("image/png", "image/gif"),
    mimeFirst: FastCheck.boolean(),
    limit: FastCheck.integer({ min: 0, max: 200 }),
    sizes
  }, ({ image, limit, mime, mimeFirst, sizes }) =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data } = payloadOf("", image)
      const json = JSON.stringify(mimeFirst ? { mime, data } : { data, mime })
      const stream = Stream.concat(
        split(Buffer.from(json.slice(0, -20)), sizes),
        limit + 20 < image.length ? Stream.dieMessage("asked for more") : Stream.make(Buffer.from(json.slice(-20)))
      )
      const actual = yield* outcome(InitImageFrame.persist(stream, { at: [] }, { directory }))
      const expected = yield* outcome(parseAndPersist(json, [], { directory }))
      const early = mimeFirst && mime === "image/gif"
        ? expected
        : Either.left({ _tag: "TooLarge", bytes: limit + 1, limit })
      // The end of the message, if it came in the same chunk, tells the whole size.
      const possible = limit < image.length ? [early, expected] : [expected]
      assert.deepInclude(possible, actual)
    }).pipe(InitImageLimits.withMaxBytes(limit), Effect.scoped, Effect.provide(NodeContext.layer)), {
    fastCheck: { numRuns: 300 }
  })

  const big = pngOfSize(1.5 * maxBufferBytes)
  const bigJson = (data = payloadOf("", big).data) => `{"type":"x","image":{"data":"${data}","mime":"image/png"},"n":1}`

  it.scopedLive.each(
    [
      ["a string", (json: string): Json => json],
      ["its bytes", (json: string): Json => Buffer.from(json)],
      ["a stream", (json: string): Json => split(Buffer.from(json), [65_536, 1, 30_000])],
      ["a stream of small pieces", (json: string): Json => split(Buffer.from(json), [997])]
    ] as const
  )("persists an image of many buffers from %s, with or without escapes", ([, source]) =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const texts = [
        bigJson(),
        bigJson(payloadOf("", big).data.replaceAll("/", "\\/")),
        bigJson(payloadOf("", big).data.replaceAll("+", "\\u002B")),
        `"é😀"`.replace(/^"(.*)"$/, `{"unit":"$1",${bigJson().slice(1)}`)
      ]
      for (const json of texts) {
        const { image, message } = yield* InitImageFrame.persist(source(json), { at: ["image"] }, { directory })
        assert.isTrue(readFileSync(Option.getOrThrow(image).path).equals(big))
        assert.deepInclude(message as object, { type: "x", image: { mime: "image/png" }, n: 1 })
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("refuses an error at the very end of a long image, and a duplicate key behind it", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data } = payloadOf("", jpegOfSize(1.5 * maxBufferBytes))
      const jsons = [
        bigJson(),
        bigJson(`${payloadOf("", big).data.slice(0, -1)}-`),
        bigJson(payloadOf("", big.subarray(0, -1)).data),
        bigJson(data),
        bigJson(`${data.slice(0, -1)}\\u0000`),
        `{"image":{"mime":"image/png","data":"${data}","mime":"image/jpeg"}}`,
        bigJson().slice(0, -1),
        bigJson().slice(0, -100),
        `{"image":{"mime":"image/png","data":"${data}"},"image":null}`,
        `{"image":{"mime":"image/png","data":"${data}"},"image":{"mime":"image/png","data":"${
          payloadOf("", big).data
        }"}}`
      ]
      for (const json of jsons) {
        const bytes = Buffer.from(json)
        const inputs = [json, bytes, split(bytes, [100_000])]
        const expected = yield* possible(json, ["image"], { directory })
        for (const input of inputs) {
          assert.deepInclude(
            expected,
            yield* outcome(InitImageFrame.persist(input, { at: ["image"] }, { directory }))
          )
        }
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("accepts nesting of 128 and refuses 129, in the order of the text", () =>
    Effect.gen(function*() {
      const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`
      const persist = (json: string) => outcome(InitImageFrame.persist(json, { at: [] }))
      assert.deepStrictEqual(
        yield* persist(nested(128)),
        Either.left({ _tag: "InvalidPayload", reason: "NotAnObject" })
      )
      for (const json of [nested(129), "[".repeat(1_000_000), "{\"a\":".repeat(129)]) {
        assert.deepStrictEqual(yield* persist(json), Either.left({ _tag: "InvalidPayload", reason: "TooDeep" }))
      }
      assert.deepStrictEqual(yield* persist(`]${"[".repeat(128)}`), Either.left(errorFields(notJson)))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("refuses a message that is too large without its data, counted in bytes of UTF-8", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data } = payloadOf("", png())
      const json = `{"pad":"a${"é".repeat(20_000)}${"😀".repeat(20_000)}","mime":"image/png","data":"${data}"}`
      const size = Buffer.byteLength(json) - data.length
      for (const input of sources(json, [1000])) {
        const persist = (limit: number) =>
          outcome(InitImageFrame.persist(input, { at: [] }, { directory })).pipe(
            InitImageLimits.withMaxMessageBytes(limit)
          )
        assert.isTrue(Either.isRight(yield* persist(size)))
        assert.deepStrictEqual(
          yield* persist(size - 1),
          Either.left({ _tag: "InvalidPayload", reason: "MessageTooLarge" })
        )
      }
      const endless = Stream.forever(Stream.make(Buffer.alloc(65_536, " ")))
      assert.deepStrictEqual(
        yield* outcome(InitImageFrame.persist(endless, { at: [] })),
        Either.left({ _tag: "InvalidPayload", reason: "MessageTooLarge" })
      )
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("fails with the error of its source, and leaves no file", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      for (const at of [10, 60, 1_000_000, 1_999_990]) {
        const stream = Stream.concat(
          split(Buffer.from(bigJson()).subarray(0, at), [65_536]),
          Stream.fail("cut off" as const)
        )
        const error = yield* Effect.flip(InitImageFrame.persist(stream, { at: ["image"] }, { directory }))
        assert.strictEqual(error, "cut off")
        assert.deepStrictEqual(list(directory), [])
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("leaves no file when it is interrupted at any chunk of a stream", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const json = Buffer.from(bigJson())
      const all = Math.ceil(json.length / 65_536)
      for (const pieces of [1, 5, all >> 1, all - 7, all]) {
        let pulled = 0
        const stream = split(json, [65_536]).pipe(
          Stream.rechunk(1),
          Stream.tap(() => ++pulled === pieces ? Effect.interrupt : Effect.void)
        )
        const exit = yield* Effect.exit(InitImageFrame.persistScoped(stream, { at: ["image"] }, { directory }))
        assert.isTrue(Exit.isInterrupted(exit))
        assert.deepStrictEqual(list(directory), [])
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("keeps the file as long as the scope, or gives it to the caller", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const scope = yield* Scope.make()
      const json = JSON.stringify(payloadOf("image/png", png()))
      yield* InitImageFrame.persistScoped(json, { at: [] }, { directory }).pipe(Scope.extend(scope))
      assert.lengthOf(list(directory), 1)
      yield* Scope.close(scope, Exit.void)
      assert.lengthOf(list(directory), 0)
      yield* InitImageFrame.persist(json, { at: [] }, { directory })
      assert.lengthOf(list(directory), 1)
      const error = yield* Effect.flip(InitImageFrame.persist(json, { at: [] }, { directory, prefix: "../" }))
      assert.strictEqual(error._tag, "BadArgument")
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive.each(
    [
      ["a line feed", "AAAA\nAAAA"],
      ["a wrong escape", "AAAA\\xAAAA"],
      ["a byte that is not UTF-8", "AAAA\xffAAAA"],
      ["half of a character", "AAAA\xc3"]
    ] as const
  )("refuses a message as not JSON with %s in its data", ([, bytes]) =>
    Effect.gen(function*() {
      const json = Buffer.from(`{"mime":"image/png","data":"${bytes}"}`, "latin1")
      for (const input of sources(json, [7])) {
        assert.deepStrictEqual(
          yield* outcome(InitImageFrame.persist(input, { at: [] })),
          Either.left(errorFields(notJson))
        )
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("reads a message behind a byte order mark, cut at any byte", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const json = `\ufeff${JSON.stringify(payloadOf("image/png", png()))}`
      for (const size of [1, 2, 3, 7]) {
        for (const input of sources(json, [size])) {
          const { image } = yield* InitImageFrame.persistScoped(input, { at: [] }, { directory })
          assert.isTrue(Option.isSome(image))
        }
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("lets the bytes decide where the declared type is optional", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data } = payloadOf("", png())
      for (const mime of [undefined, null, "image/gif", "image/webp", 5]) {
        for (const input of sources(JSON.stringify({ mime, data }), [7])) {
          const { image } = yield* InitImageFrame.persistScoped(input, { at: [] }, { directory })
          assert.strictEqual(Option.getOrThrow(image).mime, "image/png")
        }
      }
    }).pipe(InitImageLimits.withDeclaredType("optional"), Effect.provide(NodeContext.layer)))

  it.scopedLive("refuses empty data as Empty", () =>
    Effect.gen(function*() {
      for (const input of sources(JSON.stringify(payloadOf("image/webp", new Uint8Array())), [7])) {
        assert.deepStrictEqual(
          yield* outcome(InitImageFrame.persist(input, { at: [] })),
          Either.left({ _tag: "Empty" })
        )
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("gives the file the extension of its format", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const types = ["image/png", "image/jpeg", "image/webp"] as const
      const extensions: Array<string> = []
      for (const [index, type] of types.entries()) {
        const json = JSON.stringify(payloadOf(type, images[index] ?? png()))
        const { image } = yield* InitImageFrame.persist(json, { at: [] }, { directory })
        extensions.push(extname(Option.getOrThrow(image).path))
      }
      assert.deepStrictEqual(extensions, [".png", ".jpg", ".webp"])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("fails with the error of the disk", () =>
    Effect.gen(function*() {
      const directory = `${yield* makeDirectory}/missing`
      const json = JSON.stringify(payloadOf("image/png", png()))
      const error = yield* Effect.flip(InitImageFrame.persist(json, { at: [] }, { directory }))
      assert.deepInclude(error, { _tag: "SystemError", reason: "NotFound" })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("creates no file for data of no accepted format, however long it is", () => {
    let opened = 0
    const layer = layerHooked((operation, run) => Effect.suspend(() => (opened += operation === "open" ? 1 : 0, run)))
    return Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data } = payloadOf("", new Uint8Array(2 * maxBufferBytes))
      const persist = (data: string) => InitImageFrame.persist(bigJson(data), { at: ["image"] }, { directory })
      assert.strictEqual((yield* Effect.flip(persist(data)))._tag, "ContentMismatch")
      assert.strictEqual(opened, 0)
      yield* persist(payloadOf("", big).data)
      assert.strictEqual(opened, 1)
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("leaves no file and no bytes in flight of a message with a duplicate key behind its image", () =>
    Effect.gen(function*() {
      const spool = yield* InitImageSpool.make({ maxBytesInFlight: 100_000_000 })
      const directory = (yield* spool.directory) ?? assert.fail()
      const good = payloadOf("", big).data
      const brokenLate = `${good.slice(0, -4)}!AAA`
      for (
        const [json, at] of [
          [`{"mime":"image/png","data":"${brokenLate}","data":"${good}"}`, []],
          [`{"mime":"image/png","data":"${good}","d\\u0061ta":"${good}"}`, []],
          [`{"mime":"image/png","data":"${good}","mime":"image/png"}`, []],
          [`{"name":1,"mime":"image/png","data":"${good}","name":"a"}`, []],
          [`{"a":{"mime":"image/png","data":"${good}"},"a":null}`, ["a"]],
          [`{"a":{"b":{"mime":"image/png","data":"${good}"},"b":1}}`, ["a", "b"]]
        ] as const
      ) {
        for (const input of sources(json, [65_536])) {
          const result = yield* outcome(
            Effect.provideService(
              InitImageFrame.persistScoped(input, { at }),
              InitImageSpool.InitImageSpool,
              spool
            )
          )
          assert.deepStrictEqual(result, duplicateKey)
          assert.deepStrictEqual(list(directory), ["heartbeat"])
        }
      }
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("leaves no file and no bytes in flight of a message with a second string behind its data", () =>
    Effect.gen(function*() {
      const spool = yield* InitImageSpool.make({ maxBytesInFlight: 100_000_000 })
      const directory = (yield* spool.directory) ?? assert.fail()
      const { data } = payloadOf("", big)
      for (const behind of ["\"AAAA\"", ":\"AAAA\"", "\"\"".repeat(1000)]) {
        for (const input of sources(`{"mime":"image/png","data":"${data}"${behind}}`, [65_536])) {
          const result = yield* outcome(
            Effect.provideService(InitImageFrame.persist(input, { at: [] }), InitImageSpool.InitImageSpool, spool)
          )
          assert.deepStrictEqual(result, Either.left(errorFields(notJson)))
          assert.deepStrictEqual(list(directory), ["heartbeat"])
        }
      }
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("refuses a duplicate key before the rest of the message arrives", () =>
    Effect.gen(function*() {
      for (const key of ["mime", "name", "data", "n\\u0061me"]) {
        const stream = Stream.concat(
          split(Buffer.from(`{"mime":null,"name":null,"data":null,"${key}"`), [3]),
          Stream.dieMessage("asked for more")
        )
        assert.deepStrictEqual(yield* outcome(InitImageFrame.persist(stream, { at: [] })), duplicateKey)
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("reserves once and creates no file where a duplicate key stands behind a small image", () => {
    const done = { open: 0, remove: 0, reserve: 0 }
    const layer = layerHooked((operation, run) =>
      Effect.suspend(() => {
        if (operation === "open" || operation === "remove") done[operation] += 1
        return run
      })
    )
    return Effect.gen(function*() {
      const directory = yield* makeDirectory
      const persist = (json: Json, at: ReadonlyArray<string>) =>
        Effect.provideService(
          InitImageFrame.persist(json, { at }),
          InitImageSpool.InitImageSpool,
          spoolIn(directory, Infinity, () => {
            done.reserve += 1
          })
        )
      const dataOf = (bytes: Uint8Array) => payloadOf("", bytes).data
      for (const data of ["", "!", "AAAA", dataOf(jpeg()), dataOf(webp()), dataOf(pngOfSize(60_000))]) {
        const payload = `{"mime":"image/png","data":"${data}"`
        for (
          const [json, at] of [
            [`${payload},"data":"${dataOf(png())}"}`, []],
            [`{"a":${payload}},"a":${payload}}}`, ["a"]],
            [`{"a":${payload}},"a":null}`, ["a"]]
          ] as const
        ) {
          for (const input of sources(json, [10, 65_536, 1000])) {
            Object.assign(done, { open: 0, remove: 0, reserve: 0 })
            assert.deepStrictEqual(yield* outcome(persist(input, at)), duplicateKey)
            assert.deepStrictEqual(done, { open: 0, remove: 0, reserve: 1 })
          }
        }
      }
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("removes the file of a refused image before it reads on", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data } = payloadOf("", big)
      let left: ReadonlyArray<string> | undefined
      const stream = Stream.concat(
        split(Buffer.from(`{"mime":"image/png","data":"${data.slice(0, -4)}!AAA`), [65_536]),
        Stream.suspend(() => {
          left = list(directory)
          return Stream.make(Buffer.from("AAAA\"}"))
        })
      )
      const error = yield* Effect.flip(InitImageFrame.persist(stream, { at: [] }, { directory }))
      assert.strictEqual(error._tag, "BadBase64")
      assert.deepStrictEqual(left, [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("reads on behind the data of a stream that is a byte over the limit and has ended", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data } = payloadOf("", pngOfSize(999))
      const tooLarge = Either.left({ _tag: "TooLarge", bytes: 999, limit: 998 })
      const wrongMime = Either.left({
        _tag: "InvalidMime",
        reason: "NotAccepted",
        accepted: ["image/png", "image/jpeg", "image/webp"]
      })
      for (
        const [json, expected] of [
          [`{"mime":"image/png","data":"${data}","name":"a"}`, tooLarge],
          [`{"data":"${data}","mime":"image/gif"}`, wrongMime],
          [`{"mime":"image/png","data":"${data}","data":"${data}"}`, duplicateKey],
          [`{"mime":"image/png","data":"${data}",}`, Either.left(errorFields(notJson))]
        ] as const
      ) {
        const stream = Stream.make(Buffer.from(json))
        assert.deepStrictEqual(yield* outcome(InitImageFrame.persist(stream, { at: [] }, { directory })), expected)
      }
      assert.deepStrictEqual(list(directory), [])
    }).pipe(InitImageLimits.withMaxBytes(998), Effect.provide(NodeContext.layer)))

  it.scopedLive("refuses a message that ends in data which is too large as not JSON, unless it is a stream", () =>
    Effect.gen(function*() {
      const json = `{"mime":"image/png","data":"${payloadOf("", png()).data.repeat(100)}`
      for (const input of [json, Buffer.from(json)]) {
        assert.deepStrictEqual(
          yield* outcome(InitImageFrame.persist(input, { at: [] })),
          Either.left(errorFields(notJson))
        )
      }
      assert.deepStrictEqual(
        yield* outcome(InitImageFrame.persist(Stream.make(Buffer.from(json)), { at: [] })),
        Either.left({ _tag: "TooLarge", bytes: 101, limit: 100 })
      )
    }).pipe(InitImageLimits.withMaxBytes(100), Effect.provide(NodeContext.layer)))

  it.scopedLive("reserves the bytes that the message can hold, at most the limit, or the limit for a stream", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const asked: Array<number> = []
      const spool = (limit: number) => spoolIn(directory, limit, (bytes) => asked.push(bytes))
      const json = JSON.stringify(payloadOf("image/png", pngOfSize(500)))
      const persist = (input: Json, limit = Infinity) =>
        outcome(InitImageFrame.persist(input, { at: [] })).pipe(
          Effect.provideService(InitImageSpool.InitImageSpool, spool(limit))
        )
      for (const maxBytes of [1_000_000, 500]) {
        for (const input of sources(json, [100])) {
          assert.isTrue(Either.isRight(yield* persist(input).pipe(InitImageLimits.withMaxBytes(maxBytes))))
          assert.deepStrictEqual(asked.splice(0), [
            input instanceof Uint8Array || typeof input === "string"
              ? Math.min(maxBytes, Math.ceil(json.length / 4) * 3)
              : maxBytes
          ])
        }
      }
      for (const input of sources(json, [10_000])) {
        assert.deepStrictEqual(
          yield* persist(input, 499),
          Either.left({ _tag: "TooLarge", bytes: 500, limit: 499 })
        )
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("creates no file for an image of one buffer that is larger than the spool takes", () => {
    let opened = 0
    const layer = layerHooked((operation, run) => Effect.suspend(() => (opened += operation === "open" ? 1 : 0, run)))
    return Effect.gen(function*() {
      const directory = yield* makeDirectory
      const limit = 60_000
      for (const bytes of [limit + 1, limit + 1000, limit + 100_000]) {
        const json = JSON.stringify(payloadOf("image/png", pngOfSize(bytes)))
        for (const input of sources(json, [10_000])) {
          const result = yield* outcome(InitImageFrame.persist(input, { at: [] })).pipe(
            Effect.provideService(InitImageSpool.InitImageSpool, spoolIn(directory, limit))
          )
          // The size of a stream that has not ended is not known.
          const possible = [bytes, limit + 1].map((bytes) => Either.left({ _tag: "TooLarge", bytes, limit }))
          assert.deepInclude(possible, result)
        }
      }
      assert.strictEqual(opened, 0)
    }).pipe(Effect.provide(layer))
  })

  for (
    const [before, error] of [
      ["", { _tag: "TooLarge", bytes: 101, limit: 100 }],
      ["\"mime\":\"image/png\",", { _tag: "TooLarge", bytes: 101, limit: 100 }],
      ["\"mime\":\"image/gif\",", {
        _tag: "InvalidMime",
        reason: "NotAccepted",
        accepted: ["image/png", "image/jpeg", "image/webp"]
      }],
      ["\"mime\":1,", {
        _tag: "InvalidMime",
        reason: "NotAccepted",
        accepted: ["image/png", "image/jpeg", "image/webp"]
      }]
    ] as const
  ) {
    it.scopedLive(`refuses an endless stream that starts with {"a":{${before}`, () =>
      Effect.gen(function*() {
        const json = Stream.concat(
          Stream.make(Buffer.from(`{"n":1,"a":{${before}"data":"`)),
          Stream.repeatValue(Buffer.from("AAAA".repeat(10)))
        )
        const directory = yield* makeDirectory
        const result = yield* outcome(InitImageFrame.persist(json, { at: ["a"] }, { directory }))
        assert.deepStrictEqual(result, Either.left(error))
        assert.deepStrictEqual(list(directory), [])
      }).pipe(InitImageLimits.withMaxBytes(100), Effect.provide(NodeContext.layer)))
  }

  it.scopedLive("answers an announced image only where the payload has bytes and no data", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data, mime } = payloadOf("image/png", png())
      const read = (image: unknown) =>
        persistOrAnnounced(JSON.stringify({ image }), { at: ["image"] }).pipe(
          Effect.provideService(InitImageSpool.InitImageSpool, spoolIn(directory)),
          Effect.either
        )
      for (const announced of [{ bytes: 5 }, { bytes: null, mime, name: "a" }]) {
        const result = Either.getOrThrow(yield* read(announced))
        assert.deepStrictEqual(result.message, { image: announced })
        assert.deepStrictEqual(result.announced, announced)
        assert.isTrue(Option.isNone(result.image))
      }
      const both = Either.getOrThrow(yield* read({ mime, bytes: 5, data }))
      assert.isTrue(Option.isSome(both.image))
      assert.isUndefined(both.announced)
      for (const image of [null, undefined]) {
        const none = Either.getOrThrow(yield* read(image))
        assert.isTrue(Option.isNone(none.image))
        assert.isUndefined(none.announced)
      }
      for (
        const [image, reason] of [
          [1, "NotAnObject"],
          [["bytes"], "NotAnObject"],
          [{ mime }, "DataNotAString"],
          [{ mime, bytes: 5, data: 1 }, "DataNotAString"]
        ] as const
      ) {
        const error = Option.getOrThrow(Either.getLeft(yield* read(image)))
        assert.deepInclude({ ...error }, { _tag: "InvalidPayload", reason })
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("leaves no file of an image that is followed by an announced one", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const json = `{"a":{"mime":"image/png","data":"${payloadOf("", big).data}"},"a":{"mime":"image/png","bytes":5}}`
      const result = yield* outcome(persistOrAnnounced(json, { at: ["a"] })).pipe(
        Effect.provideService(InitImageSpool.InitImageSpool, spoolIn(directory))
      )
      assert.deepStrictEqual(result, duplicateKey)
      assert.deepStrictEqual(list(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("lets the event loop turn while it looks for the data, and not all the time", () =>
    Effect.gen(function*() {
      const json = `{${" ".repeat(8 * 1024 * 1024)}}`
      for (const input of [json, Buffer.from(json)]) {
        const turns = yield* countTurns(
          InitImageFrame.persist(input, { at: [] }).pipe(InitImageLimits.withMaxMessageBytes(Infinity))
        )
        // Eight Mi characters, half a Mi a turn.
        assert.isAtLeast(turns, 10)
        assert.isAtMost(turns, 40)
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("records its outcome in a span", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const json = JSON.stringify(payloadOf("image/png", png()))
      const { persist, persistScoped } = InitImageFrame
      for (const [name, run] of [["persist", persist], ["persistScoped", persistScoped]] as const) {
        for (const [input, outcome] of [[json, "persisted"], ["null", "none"], ["", "InvalidPayload"]] as const) {
          const spans = yield* withSpans(Effect.exit(run(input, { at: [] }, { directory })))
          const span = spans.find((span) => span.name === `InitImageFrame.${name}`)
          assert.strictEqual(span?.attributes.get("outcome"), outcome)
          assert.strictEqual(span?.attributes.get("bytes"), outcome === "persisted" ? png().length : undefined)
        }
      }
    }).pipe(Effect.provide(NodeContext.layer)))
})
