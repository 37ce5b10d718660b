import * as NodeContext from "@effect/platform-node/NodeContext"
import type { PlatformError } from "@effect/platform/Error"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { readFileSync } from "node:fs"
import { extname } from "node:path"
import { InitImageError, InitImageFrame, InitImageLimits, InitImageSpool, SessionInitImage } from "../../src/index.js"
import { headBytes, persistOrAnnounced } from "../../src/internal/json/message.js"
import { bufferBytes } from "../../src/internal/persist/writer.js"
import { list, makeDirectory } from "../utils/directory.js"
import { layerHooked } from "../utils/hookedFileSystem.js"
import { jpeg, jpegOfSize, png, pngOfSize, webp } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { withSpans } from "../utils/tracing.js"
import { countTurns } from "../utils/turns.js"

/** A spool without limits but what it grants. */
const spoolIn = (
  directory: string,
  reserveUpTo: InitImageSpool.Spool["reserveUpTo"] = Effect.succeed
): InitImageSpool.Spool => ({
  directory: Effect.succeed(directory),
  reserve: () => Effect.void,
  reserveUpTo,
  keep: () => Effect.void,
  removed: () => Effect.void
})

const encodeError = Schema.encodeSync(InitImageError.InitImageError)

type Json = string | Uint8Array | Stream.Stream<Uint8Array>

/** The message and the image's file, or the error's encoded form. No `Option`: Chai takes any two to be equal. */
const outcome = <A extends { readonly image: Option.Option<SessionInitImage.SessionInitImage> }, R>(
  effect: Effect.Effect<A, InitImageError.InitImageError | PlatformError, R>
) =>
  effect.pipe(
    Effect.catchTags({ SystemError: Effect.die, BadArgument: Effect.die }),
    Effect.mapBoth({
      onFailure: (error): object => encodeError(error),
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

const notJson = new InitImageError.InvalidPayload({ reason: "NotJson" })

/** What the frame is held equal to: all of the text at once, `JSON.parse`, `persist`. */
const reference = (json: string | Uint8Array, at: ReadonlyArray<string>, options: SessionInitImage.PersistOptions) =>
  Effect.gen(function*() {
    const message = yield* Effect.try({
      try: (): unknown =>
        JSON.parse(
          typeof json === "string" ? json : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json)
        ),
      catch: () => notJson
    })
    const payload = valueAt(message, at)
    const image = yield* SessionInitImage.persist(payload, options)
    if (typeof payload === "object" && payload !== null && Option.isSome(image)) Reflect.deleteProperty(payload, "data")
    return { message, image }
  })

const split = (bytes: Uint8Array, sizes: ReadonlyArray<number>): Stream.Stream<Uint8Array> => {
  const pieces: Array<Uint8Array> = []
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    // A copy each, overwritten once the next one is asked for, as a source with one buffer would.
    pieces.push(bytes.slice(at, at + size))
    at += size
  }
  return Stream.rechunk(Stream.fromIterable(pieces), 3)
}

const images = [
  png({ width: 3, height: 2 }),
  jpeg({ width: 5, height: 4, orientation: 6 }),
  webp({ width: 7, height: 9 })
]

/** The same string written as encoders do: as it is, or with some of it escaped. */
const written = (text: string) =>
  FastCheck.oneof(
    { weight: 3, arbitrary: FastCheck.constant(JSON.stringify(text)) },
    FastCheck.constant(JSON.stringify(text).replaceAll("/", "\\/")),
    FastCheck.constant(JSON.stringify(text).replaceAll("+", "\\u002B").replaceAll("/", "\\u002f")),
    FastCheck.array(FastCheck.boolean(), { minLength: 1, maxLength: 7 }).map((escaped) =>
      `"${
        text.split("").map((unit, at) =>
          escaped[at % escaped.length] === true || unit < " " || unit === "\"" || unit === "\\"
            ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`
            : unit
        ).join("")
      }"`
    )
  )

const base64 = FastCheck.oneof(
  { weight: 4, arbitrary: FastCheck.constantFrom(...images).map((bytes) => payloadOf("", bytes).data) },
  FastCheck.tuple(FastCheck.constantFrom(...images), FastCheck.integer({ min: 1, max: 12 })).map(([bytes, cut]) =>
    payloadOf("", bytes.subarray(0, -cut)).data
  ),
  FastCheck.tuple(
    FastCheck.constantFrom(...images),
    FastCheck.nat(100),
    FastCheck.constantFrom("-", "=", "\n", "é", "\u0141", "😀", "\ud800", "\"", "\\", "A", "")
  ).map(([bytes, at, unit]) => {
    const { data } = payloadOf("", bytes)
    return data.slice(0, at) + unit + data.slice(at + 1)
  }),
  FastCheck.constantFrom("", "A", "AAAA", "====", "/+/+", "a/b")
)

const literal = FastCheck.oneof(
  FastCheck.json({ maxDepth: 2 }),
  FastCheck.constantFrom("{}", "[]", "null", "[{\"data\":\"A\"}]")
)

const space = FastCheck.constantFrom("", "", " ", "\n\t")

const member = (key: string, value: FastCheck.Arbitrary<string>) =>
  FastCheck.tuple(space, written(key), space, value, space).map(([a, key, b, value, c]) =>
    `${a}${key}${b}:${value}${c}`
  )

const object = (members: FastCheck.Arbitrary<string>, maxLength: number) =>
  FastCheck.array(members, { maxLength }).map((members) => `{${members.join(",")}}`)

const mimes = FastCheck.constantFrom("image/png", "image/png", "image/jpeg", "image/webp", "IMAGE/JPG", "image/gif")

/** Mostly whole payloads, their keys in any order, some of them twice. */
const payload = FastCheck.oneof(
  {
    weight: 5,
    arbitrary: FastCheck.tuple(
      FastCheck.shuffledSubarray(["mime", "data", "name", "data", "mime"], { minLength: 2 }),
      mimes,
      base64
    ).chain(([keys, mime, data]) =>
      FastCheck.tuple(...keys.map((key, at) =>
        key === "name"
          ? member(key, FastCheck.string().chain(written))
          : key === "mime"
          ? member(key, at % 2 === 0 ? written(mime) : mimes.chain(written))
          : member(key, at % 3 === 0 ? written(data) : base64.chain(written))
      )).map((members) => `{${members.join(",")}}`)
    )
  },
  object(
    FastCheck.oneof(
      member("mime", FastCheck.oneof(mimes.chain(written), literal)),
      member("data", FastCheck.oneof(base64.chain(written), literal)),
      member("more", literal)
    ),
    4
  ),
  literal
)

const paths = FastCheck.constantFrom<ReadonlyArray<string>>(
  [],
  ["initial_image"],
  ["a", "b"],
  ["data"],
  ["data", "data"],
  ["__proto__"],
  ["é😀\"\\"]
)

const document = (at: ReadonlyArray<string>): FastCheck.Arbitrary<string> => {
  const [key, ...rest] = at
  if (key === undefined) return payload
  const inner = document(rest)
  return FastCheck.oneof(
    {
      weight: 5,
      arbitrary: FastCheck.tuple(
        FastCheck.array(member("other", literal), { maxLength: 2 }),
        FastCheck.array(member(key, inner), { minLength: 1, maxLength: 2 }),
        FastCheck.array(FastCheck.oneof(member("data", literal), member("mime", literal)), { maxLength: 2 })
      ).map((members) => `{${members.flat().join(",")}}`)
    },
    inner,
    literal,
    inner.map((text) => `[${text}]`)
  )
}

const frames = paths.chain((at) =>
  FastCheck.tuple(document(at), space, space).map(([text, a, b]) => ({ at, json: a + text + b }))
)

const sizes = FastCheck.array(FastCheck.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })

/** Every way to give a message: in place, as its bytes, and as they arrive. */
const sources = (json: string | Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Json> => {
  const bytes = typeof json === "string" ? Buffer.from(json) : json
  const streams = [bytes, split(bytes, sizes)]
  return typeof json === "string" ? [json, ...streams] : streams
}

const assertEqual = (json: string | Uint8Array, at: ReadonlyArray<string>, inputs: ReadonlyArray<Json>) =>
  Effect.gen(function*() {
    const directory = yield* makeDirectory
    const expected = yield* outcome(reference(json, at, { directory }))
    const before = list(directory).length
    for (const input of inputs) {
      const actual = yield* outcome(InitImageFrame.persist(input, { at }, { directory }))
      assert.deepStrictEqual(actual, expected)
    }
    const kept = Either.isRight(expected) && expected.right.image !== null ? inputs.length : 0
    assert.lengthOf(list(directory), before + kept)
  }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))

const isWellFormed = (text: string): boolean => !/\p{Cs}/u.test(text)

describe("InitImageFrame", () => {
  it.live.prop(
    "is JSON.parse followed by persist, whatever the document and however it is cut",
    {
      frame: frames,
      sizes
    },
    ({ frame: { at, json }, sizes }) => assertEqual(json, at, isWellFormed(json) ? sources(json, sizes) : [json]),
    { fastCheck: { numRuns: 700 } }
  )

  it.live.prop("is the same for a document that is not JSON or not UTF-8", {
    frame: frames,
    sizes,
    damage: FastCheck.record({
      cut: FastCheck.option(FastCheck.nat(300)),
      at: FastCheck.double({ min: 0, max: 1, noNaN: true }),
      bytes: FastCheck.option(
        FastCheck.oneof(
          FastCheck.uint8Array({ maxLength: 3 }),
          FastCheck.constantFrom(..."\"\\{}[],:\u0000\n\u007f").map((text) => Buffer.from(text)),
          FastCheck.constantFrom([0xc3], [0xff], [0xed, 0xa0, 0x80], [0xf0, 0x9f], [0xef, 0xbb, 0xbf]).map((bytes) =>
            Uint8Array.from(bytes)
          )
        )
      )
    })
  }, ({ damage, frame: { at, json }, sizes }) => {
    const whole = Buffer.from(json)
    const bytes = damage.cut === null ? whole : whole.subarray(0, damage.cut)
    const place = Math.floor(damage.at * bytes.length)
    const damaged = Buffer.concat([
      bytes.subarray(0, place),
      damage.bytes ?? new Uint8Array(),
      bytes.subarray(damage.bytes === null ? place : place + 1)
    ])
    return assertEqual(damaged, at, sources(damaged, sizes))
  }, { fastCheck: { numRuns: 700 } })

  it.live.prop(
    "is the same for what does not come as a stream under any limit of bytes",
    {
      frame: frames,
      limit: FastCheck.integer({ min: 0, max: 120 })
    },
    ({ frame: { at, json }, limit }) =>
      assertEqual(json, at, isWellFormed(json) ? [json, Buffer.from(json)] : [json]).pipe(
        InitImageLimits.withMaxBytes(limit)
      ),
    { fastCheck: { numRuns: 300 } }
  )

  it.live.prop("refuses a stream as too large only where it is, and then at once", {
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
      const expected = yield* outcome(reference(json, [], { directory }))
      const early = mimeFirst && mime === "image/gif"
        ? expected
        : Either.left({ _tag: "TooLarge", bytes: limit + 1, limit })
      // Where the end had come with it, the end has told. Far below the limit nothing more is asked for: see above.
      const possible = limit < image.length ? [early, expected] : [expected]
      assert.deepInclude(possible, actual)
    }).pipe(InitImageLimits.withMaxBytes(limit), Effect.scoped, Effect.provide(NodeContext.layer)), {
    fastCheck: { numRuns: 300 }
  })

  const big = pngOfSize(1.5 * bufferBytes)
  const bigJson = (data = payloadOf("", big).data) => `{"type":"x","image":{"data":"${data}","mime":"image/png"},"n":1}`

  it.scopedLive.each(
    [
      ["a string", (json: string): Json => json],
      ["its bytes", (json: string): Json => Buffer.from(json)],
      ["a stream", (json: string): Json => split(Buffer.from(json), [65_536, 1, 30_000])],
      ["a stream of small pieces", (json: string): Json => split(Buffer.from(json), [997])]
    ] as const
  )("takes an image of many buffers from %s, with or without escapes", ([, source]) =>
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

  it.scopedLive("refuses what is wrong at the very end of a long image, wherever it is declared", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data } = payloadOf("", jpegOfSize(1.5 * bufferBytes))
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
        const expected = yield* outcome(reference(json, ["image"], { directory }))
        for (const input of inputs) {
          assert.deepStrictEqual(
            yield* outcome(InitImageFrame.persist(input, { at: ["image"] }, { directory })),
            expected
          )
        }
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("takes nesting of 128 and refuses one more, in the order of the text", () =>
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
      assert.deepStrictEqual(yield* persist(`]${"[".repeat(128)}`), Either.left(encodeError(notJson)))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("refuses a message that is too large without its data, in UTF-8 and however it comes", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data } = payloadOf("", png())
      const json = `{"pad":"${"é".repeat(20_000)}","mime":"image/png","data":"${data}"}`
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

  it.scopedLive("fails with what the source fails with, and leaves nothing", () =>
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

  it.scopedLive("leaves nothing where it is interrupted at any piece of a stream", () =>
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
      ["no escape", "AAAA\\xAAAA"],
      ["no UTF-8", "AAAA\xffAAAA"],
      ["half of a character", "AAAA\xc3"]
    ] as const
  )("takes a message whose data has %s in it for no JSON", ([, bytes]) =>
    Effect.gen(function*() {
      const json = Buffer.from(`{"mime":"image/png","data":"${bytes}"}`, "latin1")
      for (const input of sources(json, [7])) {
        assert.deepStrictEqual(
          yield* outcome(InitImageFrame.persist(input, { at: [] })),
          Either.left(encodeError(notJson))
        )
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("takes a byte order mark for no JSON, as JSON.parse does", () =>
    Effect.gen(function*() {
      const json = `\ufeff${JSON.stringify(payloadOf("image/png", png()))}`
      for (const input of sources(json, [7])) {
        assert.deepStrictEqual(
          yield* outcome(InitImageFrame.persist(input, { at: [] })),
          Either.left(encodeError(notJson))
        )
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("is Empty without data, whatever else there is", () =>
    Effect.gen(function*() {
      for (const input of sources(JSON.stringify(payloadOf("image/webp", new Uint8Array())), [7])) {
        assert.deepStrictEqual(
          yield* outcome(InitImageFrame.persist(input, { at: [] })),
          Either.left({ _tag: "Empty" })
        )
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("names the file after what it is", () =>
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

  it.scopedLive("fails as the disk does", () =>
    Effect.gen(function*() {
      const directory = `${yield* makeDirectory}/missing`
      const json = JSON.stringify(payloadOf("image/png", png()))
      const error = yield* Effect.flip(InitImageFrame.persist(json, { at: [] }, { directory }))
      assert.deepInclude(error, { _tag: "SystemError", reason: "NotFound" })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("creates no file for what is of no accepted format, however long it is", () => {
    let opened = 0
    const layer = layerHooked((operation, run) => Effect.suspend(() => (opened += operation === "open" ? 1 : 0, run)))
    return Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data } = payloadOf("", new Uint8Array(2 * bufferBytes))
      const persist = (data: string) => InitImageFrame.persist(bigJson(data), { at: ["image"] }, { directory })
      assert.strictEqual((yield* Effect.flip(persist(data)))._tag, "ContentMismatch")
      assert.strictEqual(opened, 0)
      yield* persist(payloadOf("", big).data)
      assert.strictEqual(opened, 1)
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("keeps no file of data that other data, or anything else, takes the place of", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const good = payloadOf("", big).data
      const small = payloadOf("", png()).data
      const brokenLate = `${good.slice(0, -4)}!AAA`
      const frames = [
        [`{"mime":"image/png","data":"${brokenLate}","data":"${small}"}`, 1],
        [`{"mime":"image/png","data":"${good}","data":"${small}"}`, 1],
        [`{"mime":"image/png","data":"${good}","data":"${good}"}`, 1],
        [`{"a":{"mime":"image/png","data":"${good}"},"a":null}`, 0],
        [`{"a":{"mime":"image/png","data":"${good}"},"a":{}}`, 0]
      ] as const
      for (const [json, files] of frames) {
        const scope = yield* Scope.make()
        const at = files === 0 ? ["a"] : []
        yield* Scope.extend(InitImageFrame.persistScoped(json, { at }, { directory }), scope)
        assert.lengthOf(list(directory), files)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(list(directory), [])
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("makes no file for short data that other data takes the place of, however often", () => {
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
          spoolIn(directory, (bytes) => Effect.sync(() => (done.reserve += 1, bytes)))
        )
      const dataOf = (bytes: Uint8Array) => payloadOf("", bytes).data
      const last = png()
      const payload = (data: string) => `{"mime":"image/png","data":"${data}"}`
      const data = ["", "!", "AAAA", dataOf(jpeg()), dataOf(webp()), dataOf(pngOfSize(headBytes - 32))]
      const members = data.flatMap((data) => Array.from({ length: data.length > 1000 ? 5 : 100 }, () => data))
      const documents: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
        [`{"mime":"image/png",${[...members, dataOf(last)].map((data) => `"data":"${data}"`).join(",")}}`, []],
        [`{${[...members, dataOf(last)].map((data) => `"a":${payload(data)}`).join(",")}}`, ["a"]]
      ]
      for (const [json, at] of documents) {
        for (const input of sources(json, [10, 65_536, 1000])) {
          Object.assign(done, { open: 0, remove: 0, reserve: 0 })
          const { image } = yield* persist(input, at)
          assert.isTrue(readFileSync(Option.getOrThrow(image).path).equals(last))
          assert.deepStrictEqual(done, { open: 1, remove: 0, reserve: 1 })
        }
      }
      // Nothing either where it is not other data that does.
      for (const last of ["null", "{}", "1"]) {
        Object.assign(done, { open: 0, remove: 0, reserve: 0 })
        yield* Effect.exit(persist(`{"a":${payload(dataOf(png()))},"a":${last}}`, ["a"]))
        assert.deepStrictEqual(done, { open: 0, remove: 0, reserve: 1 })
      }
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("removes the file of what is refused before it reads on", () =>
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

  it.scopedLive("goes on behind data in a stream that is a byte over the limit and has ended", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const [tooLarge, small] = [pngOfSize(999), pngOfSize(500)].map((bytes) => payloadOf("", bytes).data)
      const json = `{"mime":"image/png","data":"${tooLarge}","data":"${small}"}`
      const { image } = yield* InitImageFrame.persist(Stream.make(Buffer.from(json)), { at: [] }, { directory })
      assert.strictEqual(Option.getOrThrow(image).bytes, 500)
    }).pipe(InitImageLimits.withMaxBytes(998), Effect.provide(NodeContext.layer)))

  it.scopedLive("takes a message that ends in data which is too large for no JSON, unless it is a stream", () =>
    Effect.gen(function*() {
      const json = `{"mime":"image/png","data":"${payloadOf("", png()).data.repeat(100)}`
      for (const input of [json, Buffer.from(json)]) {
        assert.deepStrictEqual(
          yield* outcome(InitImageFrame.persist(input, { at: [] })),
          Either.left(encodeError(notJson))
        )
      }
      assert.deepStrictEqual(
        yield* outcome(InitImageFrame.persist(Stream.make(Buffer.from(json)), { at: [] })),
        Either.left({ _tag: "TooLarge", bytes: 101, limit: 100 })
      )
    }).pipe(InitImageLimits.withMaxBytes(100), Effect.provide(NodeContext.layer)))

  it.scopedLive("reserves what the message can hold, or all that is allowed where that is less or not known", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const asked: Array<number> = []
      const spool = (granted: number) =>
        spoolIn(directory, (bytes) => Effect.sync(() => (asked.push(bytes), Math.min(bytes, granted))))
      const json = JSON.stringify(payloadOf("image/png", pngOfSize(500)))
      const persist = (input: Json, granted = Infinity) =>
        outcome(InitImageFrame.persist(input, { at: [] })).pipe(
          Effect.provideService(InitImageSpool.InitImageSpool, spool(granted))
        )
      for (const maxBytes of [1_000_000, 500]) {
        for (const input of sources(json, [100])) {
          assert.isTrue(Either.isRight(yield* persist(input).pipe(InitImageLimits.withMaxBytes(maxBytes))))
          assert.deepStrictEqual(asked.splice(0), [
            input instanceof Uint8Array || typeof input === "string" ? Math.min(maxBytes, json.length) : maxBytes
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

  it.scopedLive("writes nothing of what is more than has been reserved, however much has been read by then", () => {
    let opened = 0
    const layer = layerHooked((operation, run) => Effect.suspend(() => (opened += operation === "open" ? 1 : 0, run)))
    return Effect.gen(function*() {
      const directory = yield* makeDirectory
      // Others hold the buffers that are larger than what is allowed.
      let holding = 0
      const begun = Stream.concat(
        Stream.make(Buffer.from(bigJson()).subarray(0, 100_000)),
        Stream.suspend(() => (holding += 1, Stream.never))
      )
      const hold = InitImageFrame.persist(begun, { at: ["image"] }, { directory })
      for (let others = 0; others < 4; others++) yield* Effect.forkScoped(hold)
      while (holding < 4) yield* Effect.yieldNow()
      const limit = headBytes - 1000
      for (const bytes of [limit + 1, headBytes, headBytes + 5000]) {
        const json = JSON.stringify(payloadOf("image/png", pngOfSize(bytes)))
        for (const input of sources(json, [10_000])) {
          const result = yield* outcome(InitImageFrame.persist(input, { at: [] })).pipe(
            Effect.provideService(InitImageSpool.InitImageSpool, spoolIn(directory, () => Effect.succeed(limit)))
          )
          // A stream that has not ended tells no more than that.
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
      ["\"mime\":\"image/gif\",", { _tag: "InvalidMime", accepted: ["image/png", "image/jpeg", "image/webp"] }],
      ["\"mime\":1,", { _tag: "InvalidMime", accepted: ["image/png", "image/jpeg", "image/webp"] }]
    ] as const
  ) {
    it.scopedLive(`says what is wrong with an endless stream that begins with {"a":{${before}`, () =>
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

  it.scopedLive("is announced only where there are bytes and no data", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { data, mime } = payloadOf("image/png", png())
      const read = (image: unknown) =>
        persistOrAnnounced(JSON.stringify({ image }), ["image"]).pipe(
          Effect.provideService(InitImageSpool.InitImageSpool, spoolIn(directory)),
          Effect.either
        )
      for (const announced of [{ bytes: 5 }, { bytes: null, mime, name: "a" }]) {
        assert.deepStrictEqual(yield* read(announced), Either.right({ message: { image: announced }, announced }))
      }
      const both = Either.getOrThrow(yield* read({ mime, bytes: 5, data }))
      assert.isTrue("image" in both && Option.isSome(both.image))
      for (const image of [null, undefined]) {
        const none = Either.getOrThrow(yield* read(image))
        assert.isTrue("image" in none && Option.isNone(none.image))
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

  it.scopedLive("keeps no file of data that an announced image takes the place of", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const json = `{"a":{"mime":"image/png","data":"${payloadOf("", big).data}"},"a":{"mime":"image/png","bytes":5}}`
      const result = yield* persistOrAnnounced(json, ["a"]).pipe(
        Effect.provideService(InitImageSpool.InitImageSpool, spoolIn(directory))
      )
      assert.deepInclude(result, { announced: { mime: "image/png", bytes: 5 } })
      assert.deepStrictEqual(list(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("lets the event loop turn while it looks for the data, and not all the time", () =>
    Effect.gen(function*() {
      const json = `{${" ".repeat(8 * 1024 * 1024)}}`
      for (const input of [json, Buffer.from(json)]) {
        const turns = yield* countTurns(
          InitImageFrame.persist(input, { at: [] }).pipe(InitImageLimits.withMaxMessageBytes(Infinity))
        )
        // Eight Mi characters, of which half a Mi are looked at for each turn.
        assert.isAtLeast(turns, 10)
        assert.isAtMost(turns, 40)
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("has a span that says what became of it", () =>
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
