import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { readFileSync } from "node:fs"
import { InitImageDialect, InitImageLimits, InitImageSlot, SessionInitImage } from "../../src/index.js"
import { dialects, imageOf } from "../utils/dialects.js"
import { list, makeDirectory } from "../utils/directory.js"
import { jpeg, png, pngOfSize } from "../utils/images.js"
import { makeNetwork, pathsOf } from "../utils/untouched.js"

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64")

/** Bytes whose base64 has both of the characters that the alphabets differ in. */
const telling = pngOfSize(2000)

describe("SessionInitImage with a dialect", () => {
  it.scopedLive.each(dialects)(
    "persists the image in the shape of $name",
    ({ dialect, name }) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const value = imageOf(name, { mime: "image/png", data: base64(telling) })
        const image = Option.getOrThrow(yield* SessionInitImage.persistScoped(value, { dialect, directory }))
        assert.isTrue(readFileSync(image.path).equals(telling))
        const slot = yield* InitImageSlot.make
        assert.isTrue(Option.isSome(yield* slot.set(value, { dialect, directory })))
      }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive.each(dialects)(
    "refuses in the shape of $name what it refuses in a payload",
    ({ dialect, name }) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const refused = (mime: string, data: string) =>
          SessionInitImage.persist(imageOf(name, { mime, data }), { dialect, directory }).pipe(
            Effect.flip,
            Effect.map(({ _tag }) => _tag),
            InitImageLimits.withLimits({ maxBytes: 2100, maxPixels: 100 })
          )
        const data = base64(png())
        // Ollama declares no type, and no image where there is no text.
        const declares = name !== "ollama"
        if (declares) {
          assert.strictEqual(yield* refused("image/gif", data), "InvalidMime")
          assert.strictEqual(yield* refused("image/png", ""), "Empty")
        }
        assert.strictEqual(yield* refused("image/png", base64(pngOfSize(2101))), "TooLarge")
        assert.strictEqual(yield* refused("image/png", `${data.slice(0, 9)}*${data.slice(10)}`), "BadBase64")
        assert.strictEqual(
          yield* refused("image/png", `${data.slice(0, 9)}-${data.slice(10, 20)}+${data.slice(21)}`),
          "BadBase64"
        )
        assert.strictEqual(yield* refused("image/png", `${data}A`), "BadBase64")
        assert.strictEqual(
          yield* refused("image/png", base64(declares ? jpeg() : Buffer.from("GIF89a"))),
          "ContentMismatch"
        )
        assert.strictEqual(yield* refused("image/png", base64(png().subarray(0, -13))), "MalformedImage")
        assert.strictEqual(yield* refused("image/png", base64(png({ width: 101, height: 1 }))), "TooManyPixels")
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.provide(NodeContext.layer))
  )

  const withBlanks = (text: string) => ` ${text.replace(/.{7}/g, "$&\r\n\t \f")}\n`
  const urlSafe = (text: string) => text.replaceAll("+", "-").replaceAll("/", "_")
  const unpadded = (text: string) => text.replace(/=+$/, "")
  const padded = pngOfSize(1999)

  it.scopedLive("accepts white space, the URL-safe alphabet and missing padding in the dialects that allow it only", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      for (const { dialect, name } of dialects) {
        const accepts = (data: string) =>
          SessionInitImage.persistScoped(imageOf(name, { mime: "image/png", data }), { dialect, directory }).pipe(
            Effect.map(Option.match({
              onNone: () => false,
              onSome: ({ path }) => readFileSync(path).equals(padded)
            })),
            Effect.catchTag("BadBase64", () => Effect.succeed(false))
          )
        const text = base64(padded)
        assert.match(text, /\+.*\/.*=$/)
        const accepted = [
          yield* accepts(withBlanks(text)),
          yield* accepts(urlSafe(text)),
          yield* accepts(unpadded(text)),
          yield* accepts(urlSafe(unpadded(text)))
        ]
        const expected = name === "dreamverse"
          ? [true, false, false, false]
          : name === "gemini"
          ? [false, true, true, true]
          : [false, false, false, false]
        assert.deepStrictEqual(accepted, expected, name)
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("measures a text without its white space, and its steps decode it", () =>
    Effect.gen(function*() {
      const data = withBlanks(base64(padded))
      const payload = Option.getOrThrow(
        yield* InitImageDialect.dreamverse.decode(imageOf("dreamverse", { mime: "image/png", data }))
      )
      assert.strictEqual(yield* SessionInitImage.checkSize(payload), padded.length)
      const chunks = yield* Stream.runCollect(SessionInitImage.verify(SessionInitImage.decode(payload), payload))
      assert.isTrue(Buffer.concat([...chunks]).equals(padded))
      const limited = (limit: number) =>
        SessionInitImage.checkSize(payload).pipe(InitImageLimits.withMaxBytes(limit), Effect.either)
      assert.strictEqual((yield* limited(padded.length))._tag, "Right")
      assert.strictEqual((yield* limited(padded.length - 1))._tag, "Left")
    }).pipe(Effect.provide(NodeContext.layer)))

  const outside = [
    "http://127.0.0.1:9/a.png",
    "https://169.254.169.254/latest/meta-data",
    " \tHTTPS://example.com/a.png",
    "file:///etc/passwd",
    "/etc/passwd",
    "\\\\server\\share\\a.png",
    "gs://bucket/a.png",
    "s3://bucket/a.png",
    "ftp://example.com/a.png",
    "file-abc123"
  ]

  it.scopedLive("opens no connection and no file for an image that is not in the message", () =>
    Effect.gen(function*() {
      const uses = yield* makeNetwork
      for (const url of outside) {
        for (
          const [dialect, value] of [
            [InitImageDialect.payload, { mime: "image/png", data: url }],
            [InitImageDialect.dataUrl, url],
            [InitImageDialect.dreamverse, { data_url: url }],
            [InitImageDialect.openAiChat, { type: "image_url", image_url: { url } }],
            [InitImageDialect.openAiResponses, { type: "input_image", image_url: url }],
            [InitImageDialect.openAiResponses, { type: "input_image", file_id: url }],
            [InitImageDialect.openAiVideo, { image_url: url }],
            [InitImageDialect.anthropic, { type: "image", source: { type: "url", url } }],
            [InitImageDialect.anthropic, { type: "image", source: { type: "file", file_id: url } }],
            [InitImageDialect.anthropic, { type: "image", source: { media_type: "image/png", data: url } }],
            [InitImageDialect.gemini, { fileData: { mimeType: "image/png", fileUri: url } }],
            [InitImageDialect.gemini, { gcsUri: url }],
            [InitImageDialect.mcp, { type: "image", data: url, mimeType: "image/png" }],
            [InitImageDialect.aiSdk, { type: "image", image: url }],
            [InitImageDialect.aiSdk, { type: "file", mediaType: "image/png", url }],
            [InitImageDialect.langChain, { type: "image", url, mimeType: "image/png" }],
            [InitImageDialect.langChain, { type: "image", source_type: "id", id: url }],
            [InitImageDialect.ollama, url]
          ] as const
        ) {
          const refused = Effect.flip(SessionInitImage.persist(value, { dialect }))
          const paths = yield* pathsOf(Effect.map(refused, ({ _tag }) => {
            assert.include(["RemoteImage", "InvalidPayload", "BadBase64"], _tag)
          }))
          assert.deepStrictEqual(paths, [])
        }
      }
      assert.deepStrictEqual(uses, [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("notices a connection and a file that are opened", () =>
    Effect.gen(function*() {
      const uses = yield* makeNetwork
      yield* Effect.ignore(Effect.tryPromise(() => fetch("http://127.0.0.1:9/")))
      assert.deepStrictEqual(uses, ["fetch"])
      const paths = yield* pathsOf(SessionInitImage.persistScoped({ mime: "image/png", data: base64(png()) }))
      assert.isAbove(paths.length, 0)
    }).pipe(Effect.provide(NodeContext.layer)))
})
