import * as NodeContext from "@effect/platform-node/NodeContext"
import type { PlatformError } from "@effect/platform/Error"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { readFileSync } from "node:fs"
import { InitImageDialect, InitImageError, InitImageFrame, InitImageLimits, SessionInitImage } from "../../src/index.js"
import { maxBufferBytes } from "../../src/internal/persist/bufferPool.js"
import { dialects, imageOf, messageOf, type Named, names } from "../utils/dialects.js"
import { list, makeDirectory } from "../utils/directory.js"
import { jpeg, png, pngOfSize, webp } from "../utils/images.js"
import { split } from "../utils/split.js"
import { makeNetwork } from "../utils/untouched.js"

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64")

const { aiSdk, any, anthropic, dataUrl, langChain, mcp, openAiChat, payload } = InitImageDialect

/** A dialect, the places of its images, and the shapes of the parts that are put there. */
interface Case {
  readonly name: string
  readonly frame: InitImageFrame.FrameOptions & { readonly dialect: InitImageDialect.InitImageDialect }
  readonly parts: ReadonlyArray<Named["name"]>
  readonly put: (values: ReadonlyArray<unknown>) => unknown
}

const content = (values: ReadonlyArray<unknown>): unknown => ({
  stream: true,
  messages: [
    { role: "system", content: "be kind" },
    { role: "user", content: values.slice(0, 2) },
    { content: values.slice(2), role: "user" }
  ]
})

const cases: ReadonlyArray<Case> = [
  ...dialects.map(({ dialect, name }): Case => ({
    name,
    frame: { dialect },
    parts: [name],
    put: ([first]) => messageOf(name, first)
  })),
  ...(["openAiChat", "anthropic", "langChain", "aiSdk"] as const).map((name): Case => ({
    name: `${name} in content`,
    frame: { dialect: dialects.find((named) => named.name === name)?.dialect ?? payload },
    parts: [name],
    put: content
  })),
  {
    name: "any",
    frame: {
      dialect: any(openAiChat, anthropic, aiSdk, langChain, mcp),
      at: ["messages", InitImageDialect.each, "content", InitImageDialect.each]
    },
    parts: ["openAiChat", "anthropic", "aiSdk", "langChain", "mcp"],
    put: content
  },
  {
    name: "the second item",
    frame: { dialect: any(dataUrl, payload), at: ["a", 1] },
    parts: ["payload", "dataUrl"],
    put: (values) => ({ a: values })
  },
  {
    name: "all items",
    frame: { dialect: any(dataUrl, payload), at: [InitImageDialect.each] },
    parts: ["payload", "dataUrl", "mcp"],
    put: (values) => values
  }
]

const caseOf = (name: string): Case => {
  const found = cases.find((kind) => kind.name === name)
  if (found === undefined) throw new Error(name)
  return found
}

const valid = FastCheck.constantFrom(png({ width: 3 }), jpeg({ width: 5, orientation: 6 }), webp({ width: 7 })).map(
  base64
)

const texts = FastCheck.oneof(
  { weight: 6, arbitrary: valid },
  FastCheck.tuple(
    valid,
    FastCheck.nat(80),
    FastCheck.constantFrom("-", "=", "\n", " ", "é", "😀", "\ud800", "", "AA", "+/-")
  )
    .map(([text, at, unit]) => text.slice(0, at) + unit + text.slice(at)),
  valid.map((text) => text.replace(/=+$/, "")),
  valid.map((text) => text.replaceAll("+", "-").replaceAll("/", "_")),
  valid.map((text) => text.replace(/.{20}/g, "$&\r\n")),
  FastCheck.constantFrom("", "A", "AAAA", "data:image/png;base64,AAAA", "https://example.com/a.png", "a:b", "data:,")
)

const mimes = FastCheck.constantFrom(
  "image/png",
  "image/jpeg",
  "image/webp",
  "image/png",
  "image/gif",
  "",
  "IMAGE/X-PNG"
)

/** URLs that are not inline, or are no URLs, and prefixes that are unusual. */
const urls = FastCheck.constantFrom(
  "https://example.com/a.png",
  " \tHTTP://example.com",
  "file:///a",
  "data:image/png,AAAA",
  "data:image/png;base64",
  "no url",
  "/a/b",
  "é:",
  "  ",
  "",
  `data:image/png;name=${"é".repeat(300)};base64,AAAA`,
  `data:image/png;a=${"b".repeat(1100)};base64,AAAA`,
  `DATA:image/png;name=é😀%20.png ; base64,${base64(png())}`,
  ` da\tta:image/png;base64,${base64(png())}`
)

const literals = FastCheck.oneof(
  FastCheck.jsonValue({ maxDepth: 2 }),
  FastCheck.constantFrom(null, 0, "", {}, [], "text")
)

/** Replaces the URL in the shape of an image. */
const withUrl = (value: unknown, url: string): unknown =>
  typeof value === "string"
    ? value.startsWith("data:") ? url : value
    : Predicate.isRecord(value)
    ? Object.fromEntries(Object.entries(value).map(([key, field]) => [key, withUrl(field, url)]))
    : value

const part = (names: ReadonlyArray<Named["name"]>): FastCheck.Arbitrary<unknown> => {
  const image = FastCheck.tuple(FastCheck.constantFrom(...names), mimes, texts).map(([name, mime, data]) =>
    imageOf(name, { mime, data })
  )
  return FastCheck.oneof(
    { weight: 8, arbitrary: image },
    { weight: 2, arbitrary: FastCheck.tuple(image, urls).map(([image, url]) => withUrl(image, url)) },
    {
      weight: 3,
      arbitrary: FastCheck.constantFrom<unknown>(
        { type: "text", text: "hello" },
        { type: "document", source: { type: "base64", media_type: "application/pdf", data: "JVBERi0x" } },
        { source: { type: "text", media_type: "text/plain", data: "plain \"text\" é" }, type: "document" },
        { data: "JVBERi0x", type: "file", mediaType: "application/pdf" },
        { data: "data:application/pdf;base64,JVBERi0x", type: "file", mediaType: "application/pdf" },
        { type: "image_url", image_url: null },
        { type: "image", source: { type: "url", url: "https://example.com" } },
        { type: "image", data: "AAAA", base64: "AAAA", mimeType: "image/png" },
        { url: "data:image/png;base64,AAAA", data: "AAAA", type: "file", mediaType: "image/png" }
      )
    },
    // Other types of the same shape, whose texts are no images.
    FastCheck.tuple(image, FastCheck.constantFrom("text", "audio", 5)).map(([image, type]) =>
      Predicate.isRecord(image) ? { ...image, type } : image
    ),
    FastCheck.tuple(image, literals).map(([image, more]) => Predicate.isRecord(image) ? { more, ...image } : image),
    literals
  )
}

/** Writes JSON as encoders do: strings as they are, or with some of them escaped; keys in their order or reversed. */
const write = (value: unknown, escaped: ReadonlyArray<boolean>, isReversed: boolean): string => {
  let count = 0
  const string = (text: string): string =>
    JSON.stringify(text).replace(
      /\\u[0-9a-f]{4}|\\.|[/:;,+a-f]/g,
      (unit) =>
        unit.length === 1 && escaped[count++ % escaped.length] === true
          ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`
          : unit
    )
  const json = (value: unknown): string => {
    if (typeof value === "string") return string(value)
    if (Array.isArray(value)) return `[${value.map(json).join(", ")}]`
    if (!Predicate.isRecord(value)) return JSON.stringify(value)
    const members = Object.entries(value).filter(([, field]) => field !== undefined).map(([key, field]) =>
      `${string(key)}:${json(field)}`
    )
    return `{${(isReversed ? members.toReversed() : members).join(",")}}`
  }
  return json(value)
}

const messages = FastCheck.constantFrom(...cases).chain((kind) =>
  FastCheck.tuple(
    FastCheck.array(part(kind.parts), { maxLength: 4 }),
    FastCheck.array(FastCheck.boolean(), { minLength: 1, maxLength: 5 }),
    FastCheck.boolean()
  ).map(([parts, escaped, isReversed]) => ({
    name: kind.name,
    json: write(kind.put(parts.length === 0 ? [null] : parts), escaped, isReversed)
  }))
)

const shown = (image: SessionInitImage.SessionInitImage): object => ({
  ...image,
  path: base64(readFileSync(image.path))
})

const outcome = <R>(
  effect: Effect.Effect<InitImageFrame.InitImagesFrame, InitImageError.InitImageError | PlatformError, R>
) =>
  effect.pipe(
    Effect.catchTags({ SystemError: Effect.die, BadArgument: Effect.die }),
    Effect.match({
      onFailure: (error): object => Schema.encodeSync(InitImageError.InitImageError)(error),
      onSuccess: ({ images, message }): object => ({ message, images: images.map(shown) })
    })
  )

/** The message without the texts of its images, by recursion over the dialect's places. */
const withoutTexts = (
  message: unknown,
  frame: Case["frame"],
  at: InitImageDialect.Path
): unknown => {
  const strip = (value: unknown, path: InitImageDialect.Path): unknown => {
    const [step, ...rest] = path
    if (step === undefined) {
      const decoded = Effect.runSync(
        Effect.option(InitImageLimits.withDeclaredType(frame.dialect.decode(value), "optional"))
      )
      if (Option.isNone(Option.flatten(decoded))) return value
      if (typeof value === "string") return ""
      for (const { at } of frame.dialect.shapes.flatMap(({ data }) => data)) {
        const parent = at.slice(0, -1).reduce<unknown>(
          (parent, key) => Predicate.isRecord(parent) ? parent[key] : undefined,
          value
        )
        const key = at.at(-1)
        if (key !== undefined && Predicate.isRecord(parent) && typeof parent[key] === "string") delete parent[key]
      }
      return value
    }
    if (Array.isArray(value)) {
      return value.map((item, index) => step === InitImageDialect.each || step === index ? strip(item, rest) : item)
    }
    if (Predicate.isRecord(value) && typeof step === "string" && Object.hasOwn(value, step)) {
      value[step] = strip(value[step], rest)
    }
    return value
  }
  return strip(message, at)
}

const isWellFormed = (text: string): boolean => !/\p{Cs}/u.test(text)

/** `JSON.parse` and `persistAll`. */
const parseAndPersist = (json: string, { frame }: Case, directory: string) =>
  Effect.gen(function*() {
    const images = yield* SessionInitImage.persistAll(JSON.parse(json), { ...frame, directory })
    let message: unknown = JSON.parse(json)
    const paths = frame.at === undefined ? frame.dialect.shapes.map(({ at }) => at) : [frame.at]
    for (const at of new Set(paths)) message = withoutTexts(message, frame, at)
    return { message, images }
  })

/** The requests that `fixtures/capture.mjs` has captured. */
const sdks = Schema.decodeUnknownSync(Schema.parseJson(Schema.Struct({
  data: Schema.String,
  requests: Schema.Record({ key: Schema.String, value: Schema.String })
})))(readFileSync(new URL("fixtures/sdkRequests.json", import.meta.url), "utf8"))

const dialectOf: Readonly<Record<string, InitImageDialect.InitImageDialect>> = {
  openAiChat,
  openAiResponses: InitImageDialect.openAiResponses,
  anthropic,
  gemini: InitImageDialect.gemini,
  aiSdkUi: aiSdk,
  aiSdk,
  aiSdkToOpenAi: openAiChat,
  langChainV0: langChain,
  langChain,
  mcp
}

describe("InitImageFrame with a dialect", () => {
  it.live.prop("is JSON.parse followed by persistAll, whatever the message and however it is cut", {
    message: messages,
    sizes: FastCheck.array(FastCheck.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 }),
    maxImages: FastCheck.integer({ min: 1, max: 3 }),
    declaredType: FastCheck.constantFrom<"required" | "optional">("required", "required", "optional"),
    maxBytes: FastCheck.constantFrom(Infinity, Infinity, 150)
  }, ({ declaredType, maxBytes, maxImages, message: { json, name }, sizes }) =>
    Effect.gen(function*() {
      const kind = caseOf(name)
      const directory = yield* makeDirectory
      const expected = yield* outcome(parseAndPersist(json, kind, directory))
      const before = list(directory).length
      const bytes = Buffer.from(json)
      // Streams are refused as too large before the size is known.
      const streams = maxBytes === Infinity ? [split(bytes, sizes), split(bytes, [1])] : []
      const inputs = [json, ...isWellFormed(json) ? [bytes, ...streams] : []]
      for (const input of inputs) {
        assert.deepStrictEqual(yield* outcome(InitImageFrame.persistAll(input, kind.frame, { directory })), expected)
      }
      assert.strictEqual(list(directory).length - before, before * inputs.length)
    }).pipe(
      InitImageLimits.withLimits({ maxImages, maxBytes, declaredType, maxMessageBytes: Infinity }),
      Effect.scoped,
      Effect.provide(NodeContext.layer)
    ), { fastCheck: { numRuns: 150 } })

  const big = pngOfSize(1.5 * maxBufferBytes)

  it.scopedLive.each(dialects)(
    "persists an image of many buffers in the shape of $name",
    ({ dialect, name }) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const json = JSON.stringify(messageOf(name, imageOf(name, { mime: "image/png", data: base64(big) })))
        const bytes = Buffer.from(json)
        for (const input of [json, bytes, split(bytes, [65_536, 1, 30_000]), json.replaceAll("/", "\\/")]) {
          const { image, message } = yield* InitImageFrame.persistScoped(input, { dialect }, { directory })
          assert.isTrue(readFileSync(Option.getOrThrow(image).path).equals(big))
          assert.isBelow(JSON.stringify(message).length, 1000)
        }
      }).pipe(Effect.provide(NodeContext.layer))
  )

  const parts = (count: number, size: number) =>
    Array.from(
      { length: count },
      (_, at) =>
        imageOf(at % 2 === 0 ? "openAiChat" : "anthropic", { mime: "image/png", data: base64(pngOfSize(size + at)) })
    )

  const both = any(openAiChat, anthropic)

  it.scopedLive("gives several images in order, each in a file of its own", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      for (const size of [100, maxBufferBytes]) {
        const json = JSON.stringify(content(parts(3, size)))
        for (const input of [json, Buffer.from(json), split(Buffer.from(json), [50_000])]) {
          const { images } = yield* InitImageFrame.persistAllScoped(input, { dialect: both }, { directory }).pipe(
            InitImageLimits.withMaxImages(3)
          )
          assert.deepStrictEqual(images.map(({ bytes }) => bytes), [size, size + 1, size + 2])
          for (const [at, { path }] of images.entries()) {
            assert.isTrue(readFileSync(path).equals(pngOfSize(size + at)))
          }
        }
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("refuses one image too many, and leaves no file", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const json = JSON.stringify(content(parts(3, 2 * maxBufferBytes)))
      const refused = (limit: number) => ({
        _tag: "TooManyImages",
        limit,
        message: new InitImageError.TooManyImages({ limit }).message
      })
      for (const input of [json, Buffer.from(json), split(Buffer.from(json), [50_000])]) {
        const persistAll = outcome(InitImageFrame.persistAll(input, { dialect: both }, { directory }))
        assert.deepStrictEqual<object>(yield* persistAll, refused(1))
        assert.deepStrictEqual<object>(yield* InitImageLimits.withMaxImages(persistAll, 2), refused(2))
        // One image is one image, whatever the limit.
        const one = yield* InitImageFrame.persist(input, { dialect: both }, { directory }).pipe(
          InitImageLimits.withMaxImages(3),
          Effect.flip
        )
        assert.strictEqual(one._tag, "TooManyImages")
        assert.deepStrictEqual(list(directory), [])
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("limits the bytes of all images together", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const json = JSON.stringify(content(parts(3, 1000)))
      const run = (input: string | Stream.Stream<Uint8Array>, maxBytes: number) =>
        outcome(InitImageFrame.persistAll(input, { dialect: both }, { directory })).pipe(
          InitImageLimits.withLimits({ maxImages: 3, maxBytes })
        )
      assert.deepInclude(yield* run(json, 3002), { _tag: "TooLarge", bytes: 3003, limit: 3002 })
      assert.deepInclude(yield* run(split(Buffer.from(json), [99]), 3002), { _tag: "TooLarge", limit: 3002 })
      assert.deepStrictEqual(list(directory), [])
      assert.property(yield* run(json, 3003), "images")
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("keeps a text of no image in the message, up to the limit of the message", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const pdf = (length: number) => ({
        type: "document",
        source: { data: "A".repeat(length), media_type: "application/pdf", type: "base64" }
      })
      const run = (value: unknown) => {
        const json = JSON.stringify(value)
        return Effect.forEach(
          [json, Buffer.from(json), split(Buffer.from(json), [777])],
          (input) => outcome(InitImageFrame.persistAll(input, { dialect: both }, { directory }))
        )
      }
      const [image] = parts(1, maxBufferBytes * 2)
      for (const frame of yield* run(content([pdf(40_000), image]))) {
        assert.deepInclude(JSON.stringify(frame), "A".repeat(40_000))
        assert.property(frame, "images")
      }
      for (const frame of yield* run(content([pdf(70_000), image]))) {
        assert.deepInclude(frame, { _tag: "InvalidPayload", reason: "MessageTooLarge" })
      }
      // Valid images in the place of a document, which is written and given up.
      const png = { type: "document", source: { data: base64(big), media_type: "image/png", type: "base64" } }
      const kept = yield* run(content([png, image])).pipe(InitImageLimits.withMaxMessageBytes(Infinity))
      for (const frame of kept) assert.include(JSON.stringify(frame), base64(big))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("refuses a key twice on the way to an image, and among the fields of its dialect", () =>
    Effect.gen(function*() {
      const twice = (text: string, key: string) => text.replace(`"${key}"`, `"${key}":1,"${key}"`)
      for (const name of names) {
        const { dialect } = dialects.find((named) => named.name === name) ?? { dialect: payload }
        const json = JSON.stringify(messageOf(name, imageOf(name, { mime: "image/png", data: base64(png()) })))
        const keys = ["messages", "content", "input", "contents", "parts", "input_reference", "initial_image", "images"]
          .concat(["type", "image_url", "url", "source", "media_type", "data", "mimeType", "data_url", "inlineData"])
        for (const key of keys.filter((key) => json.includes(`"${key}":`))) {
          const isOther = key === "type" && (name === "dreamverse" || name === "payload") ||
            key === "content" && name === "ollama"
          if (isOther) continue
          // The first part of a message is of another kind, and so is its type.
          const text = key === "type" ? json.replace(/"type":"(?:input_)?text",/, "") : json
          const text2 = key === "content" && name !== "mcp" ? text.replace("\"content\":\"be kind\"", "\"c\":1") : text
          const refused = yield* Effect.flip(InitImageFrame.persist(twice(text2, key), { dialect }))
          assert.deepInclude({ ...refused }, { reason: "DuplicateKey" }, `${name} ${key}`)
        }
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("bounds the white space that it drops", () =>
    Effect.gen(function*() {
      const { dreamverse } = InitImageDialect
      const blanks = Stream.concat(
        Stream.make(Buffer.from("{\"initial_image\":{\"data_url\":\"data:image/png;base64,")),
        Stream.repeatValue(Buffer.from(" \\n".repeat(1000)))
      )
      const refused = yield* Effect.flip(InitImageFrame.persist(blanks, { dialect: dreamverse }))
      assert.deepInclude({ ...refused }, { reason: "MessageTooLarge" })
      const wrong = Stream.concat(
        Stream.make(Buffer.from("{\"initial_image\":{\"data_url\":\"data:image/png;base64,*")),
        Stream.repeatValue(Buffer.from(" ".repeat(1000)))
      )
      assert.deepInclude({ ...yield* Effect.flip(InitImageFrame.persist(wrong, { dialect: dreamverse })) }, {
        reason: "MessageTooLarge"
      })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("fetches nothing", () =>
    Effect.gen(function*() {
      const uses = yield* makeNetwork
      for (const url of ["http://127.0.0.1:9/a", "https://example.com/a.png", "file:///etc/passwd", "//example.com"]) {
        const json = JSON.stringify(content([{ type: "image_url", image_url: { url } }]))
        const refused = yield* Effect.flip(InitImageFrame.persist(json, { dialect: openAiChat }))
        assert.include(["RemoteImage", "InvalidPayload"], refused._tag)
        assert.notInclude(JSON.stringify(refused) + String(refused), "example")
      }
      assert.deepStrictEqual(uses, [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("leaves no file where it is interrupted after the first of two images", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const json = Buffer.from(JSON.stringify(content(parts(2, 2 * maxBufferBytes))))
      const stream = Stream.concat(
        split(json.subarray(0, -1_000_000), [65_536]),
        Stream.fromEffect(Effect.as(Effect.interrupt, json))
      )
      const exit = yield* InitImageFrame.persistAll(stream, { dialect: both }, { directory }).pipe(
        InitImageLimits.withMaxImages(2),
        Effect.exit
      )
      assert.strictEqual(exit._tag, "Failure")
      assert.deepStrictEqual(list(directory), [])
      const failed = yield* Effect.either(
        SessionInitImage.persistAll({
          messages: [{ content: [...parts(1, 100), { type: "image_url", image_url: {} }] }]
        }, {
          dialect: both,
          directory
        }).pipe(InitImageLimits.withMaxImages(2))
      )
      assert.isTrue(Either.isLeft(failed))
      assert.deepStrictEqual(list(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive.each(Object.entries(sdks.requests))(
    "reads the request of a provider's SDK: %s",
    ([name, json]) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const dialect = dialectOf[name]
        if (dialect === undefined) return yield* Effect.dieMessage(name)
        const { image, message } = yield* InitImageFrame.persistScoped(Buffer.from(json), { dialect }, { directory })
        assert.strictEqual(base64(readFileSync(Option.getOrThrow(image).path)), sdks.data)
        assert.notInclude(JSON.stringify(message), sdks.data.slice(0, 20))
      }).pipe(Effect.provide(NodeContext.layer))
  )
})
