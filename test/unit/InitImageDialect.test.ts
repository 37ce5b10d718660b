import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import { InitImageDialect, type InitImageError, InitImageLimits } from "../../src/index.js"
import { dialects, imageOf, type Named } from "../utils/dialects.js"

/** The decoded payload's fields, `null` for none, or the error's fields. */
const decode = (dialect: InitImageDialect.InitImageDialect, value: unknown) =>
  dialect.decode(value).pipe(
    Effect.mapBoth({
      onFailure: ({ ...error }: InitImageDialect.DecodeError): unknown => error,
      onSuccess: Option.match({
        onNone: () => null,
        onSome: ({ data, mime, name }): unknown => ({ mime, name, data })
      })
    }),
    Effect.merge,
    Effect.runSync
  )

const invalid = (reason: InitImageError.InvalidPayload["reason"]) => ({ _tag: "InvalidPayload", reason })
const remote = (scheme: InitImageError.RemoteImage["scheme"]) => ({ _tag: "RemoteImage", scheme })
const accepted = ["image/png", "image/jpeg", "image/webp"]
const notAccepted = { _tag: "InvalidMime", reason: "NotAccepted", accepted }
const missing = { _tag: "InvalidMime", reason: "Missing", accepted }

const { aiSdk, anthropic, dataUrl, dreamverse, gemini, langChain, mcp, ollama, openAiChat, openAiResponses } =
  InitImageDialect
const { openAiVideo, payload } = InitImageDialect

const png = (name?: string) => ({ mime: "image/png", name, data: "AAAA" })
const url = "data:image/png;base64,AAAA"

describe("InitImageDialect", () => {
  it.each<[string, InitImageDialect.InitImageDialect, unknown, unknown]>([
    ["payload", payload, { mime: "image/png", name: "a.png", data: "AAAA" }, png("a.png")],
    ["dreamverse", dreamverse, { mime_type: "image/png", data_url: url, name: "a.png" }, png("a.png")],
    ["dreamverse without a type of its own", dreamverse, { data_url: url }, png()],
    ["dreamverse without an image", dreamverse, { mime_type: "image/png", data_url: "" }, null],
    ["dreamverse without a text", dreamverse, { mime_type: "image/png" }, invalid("DataNotAString")],
    ["dreamverse with two types", dreamverse, { mime_type: "image/webp", data_url: url }, invalid("MimeConflict")],
    ["dreamverse with two names of one type", dreamverse, { mime_type: "IMAGE/X-PNG; a=b", data_url: url }, png()],
    [
      "dreamverse with two unknown types",
      dreamverse,
      { mime_type: "image/gif", data_url: url },
      invalid("MimeConflict")
    ],
    ["dreamverse with a general type", dreamverse, { mime_type: "image/*", data_url: url }, png()],
    ["dreamverse with a type that is no string", dreamverse, { mime_type: 5, data_url: url }, notAccepted],
    ["dataUrl", dataUrl, url, png()],
    ["dataUrl with parameters", dataUrl, "DATA:image/png;charset=utf-8;name=a%20b.png;BASE64,AAAA", png("a b.png")],
    ["dataUrl with a name that is not encoded", dataUrl, "data:image/png;name=100%.png;base64,AAAA", png("100%.png")],
    ["dataUrl behind blanks", dataUrl, " \u0000\n da\tta:image/png;base64,AAAA", png()],
    ["dataUrl without base64", dataUrl, "data:image/png,AAAA", invalid("BadDataUrl")],
    ["dataUrl with base64 in the wrong place", dataUrl, "data:image/png;base64;a=b,AAAA", invalid("BadDataUrl")],
    ["dataUrl without a comma", dataUrl, "data:image/png;base64", invalid("BadDataUrl")],
    ["dataUrl with a long prefix", dataUrl, `data:image/png;a=${"b".repeat(1024)};base64,AAAA`, invalid("BadDataUrl")],
    ["dataUrl with a prefix of 1024", dataUrl, `data:image/png;a=${"b".repeat(999)};base64,AAAA`, png()],
    ["dataUrl without a type", dataUrl, "data:;base64,AAAA", missing],
    ["dataUrl of a type that is not accepted", dataUrl, "data:image/gif;base64,AAAA", notAccepted],
    ["dataUrl that is base64", dataUrl, "AAAA", invalid("BadDataUrl")],
    ["dataUrl that is not a string", dataUrl, { url }, invalid("NotAString")],
    ["openAiChat", openAiChat, { type: "image_url", image_url: { url, detail: "low" } }, png()],
    ["openAiChat with a text", openAiChat, { type: "text", text: "hello" }, null],
    ["openAiChat with a string", openAiChat, { type: "image_url", image_url: url }, invalid("DataNotAString")],
    ["openAiResponses", openAiResponses, { type: "input_image", image_url: url }, png()],
    ["openAiResponses with an id", openAiResponses, { type: "input_image", file_id: "file-1" }, remote("id")],
    ["openAiVideo", openAiVideo, { image_url: url }, png()],
    ["openAiVideo with an id", openAiVideo, { file_id: "file-1" }, remote("id")],
    [
      "anthropic",
      anthropic,
      { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } },
      png()
    ],
    [
      "anthropic with a URL",
      anthropic,
      { type: "image", source: { type: "url", url: "https://example.com/a.png" } },
      remote("http")
    ],
    ["anthropic with an id", anthropic, { type: "image", source: { type: "file", file_id: "file_1" } }, remote("id")],
    ["anthropic without a source", anthropic, { type: "image" }, missing],
    [
      "anthropic with a document",
      anthropic,
      { type: "document", source: { type: "base64", media_type: "application/pdf", data: "AAAA" } },
      null
    ],
    ["gemini", gemini, { inlineData: { mimeType: "image/png", data: "AAAA", displayName: "a.png" } }, png("a.png")],
    ["gemini in snake case", gemini, { inline_data: { mime_type: "image/png", data: "AAAA" } }, png()],
    ["gemini with the bytes", gemini, { imageBytes: "AAAA", mimeType: "image/png" }, png()],
    ["gemini with a text", gemini, { text: "hello" }, null],
    ["gemini with audio", gemini, { inlineData: { mimeType: "audio/wav", data: "AAAA" } }, null],
    ["gemini with a file", gemini, { fileData: { mimeType: "image/png", fileUri: "gs://a/b.png" } }, remote("other")],
    ["gemini with a file of the cloud", gemini, { gcsUri: "gs://a/b.png", mimeType: "image/png" }, remote("other")],
    [
      "gemini with two blobs",
      gemini,
      { inlineData: { mimeType: "image/png", data: "AAAA" }, inline_data: { mime_type: "image/png", data: "BBBB" } },
      invalid("AmbiguousData")
    ],
    ["mcp", mcp, { type: "image", data: "AAAA", mimeType: "image/png" }, png()],
    ["mcp with audio", mcp, { type: "audio", data: "AAAA", mimeType: "audio/wav" }, null],
    ["mcp without data", mcp, { type: "image", mimeType: "image/png" }, invalid("DataNotAString")],
    ["aiSdk", aiSdk, { type: "file", mediaType: "image/png", filename: "a.png", data: "AAAA" }, png("a.png")],
    ["aiSdk of Effect", aiSdk, { type: "file", mediaType: "image/png", fileName: "a.png", data: "AAAA" }, png("a.png")],
    ["aiSdk with a data URL", aiSdk, { type: "file", mediaType: "image/*", data: url }, png()],
    ["aiSdk with a URL", aiSdk, { type: "file", mediaType: "image/png", data: "https://a/b" }, remote("http")],
    ["aiSdk in the UI", aiSdk, { type: "file", mediaType: "image/png", url }, png()],
    ["aiSdk with two types", aiSdk, { type: "file", mediaType: "image/webp", url }, invalid("MimeConflict")],
    ["aiSdk with an image", aiSdk, { type: "image", image: "AAAA", mediaType: "image/png" }, png()],
    [
      "aiSdk with an image without a type",
      aiSdk,
      { type: "image", image: "AAAA" },
      { mime: undefined, name: undefined, data: "AAAA" }
    ],
    ["aiSdk with a file without a type", aiSdk, { type: "file", data: "AAAA" }, missing],
    ["aiSdk with a PDF", aiSdk, { type: "file", mediaType: "application/pdf", data: "AAAA" }, null],
    [
      "aiSdk with two texts",
      aiSdk,
      { type: "file", mediaType: "image/png", data: "AAAA", url },
      invalid("AmbiguousData")
    ],
    ["langChain of JavaScript", langChain, { type: "image", data: "AAAA", mimeType: "image/png" }, png()],
    ["langChain of Python", langChain, { type: "image", base64: "AAAA", mime_type: "image/png" }, png()],
    [
      "langChain of version 0",
      langChain,
      { type: "image", source_type: "base64", data: "AAAA", mime_type: "image/png", metadata: { filename: "a.png" } },
      png("a.png")
    ],
    ["langChain with a data URL", langChain, { type: "image", source_type: "url", url }, png()],
    ["langChain with an id", langChain, { type: "image", source_type: "id", id: "file-1" }, remote("id")],
    ["langChain with a file's id", langChain, { type: "image", fileId: "file-1" }, remote("id")],
    ["ollama", ollama, "AAAA", { mime: undefined, name: undefined, data: "AAAA" }],
    ["ollama with an object", ollama, { data: "AAAA" }, invalid("NotAString")]
  ])("reads %s", (_, dialect, value, expected) => {
    assert.deepStrictEqual<unknown>(decode(dialect, value), expected)
  })

  it.each<[string, string]>([
    ["http", "http://example.com/a.png"],
    ["http", "HTTPS://example.com/a.png"],
    ["http", " \u0001\u001fht\ntps://example.com/a.png"],
    ["file", "file:///etc/passwd"],
    ["file", "\tFILE:c:/a.png"],
    ["other", "gs://bucket/a.png"],
    ["other", "s3://bucket/a.png"],
    ["other", "blob:https://example.com/1"],
    ["other", "javascript:alert(1)"],
    ["other", "C:\\a.png"]
  ])("refuses a URL as RemoteImage of the scheme %s, without the URL: %j", (scheme, url) => {
    for (
      const [dialect, value] of [
        [dataUrl, url],
        [dreamverse, { mime_type: "image/png", data_url: url }],
        [openAiChat, { type: "image_url", image_url: { url } }],
        [openAiResponses, { type: "input_image", image_url: url }],
        [openAiVideo, { image_url: url }],
        [anthropic, { type: "image", source: { type: "url", url } }],
        [gemini, { file_data: { file_uri: url } }],
        [aiSdk, { type: "image", image: url }],
        [aiSdk, { type: "file", mediaType: "image/png", url }],
        [langChain, { type: "image", url }]
      ] as const
    ) {
      const error = Effect.runSync(Effect.flip(dialect.decode(value)))
      assert.deepStrictEqual<unknown>(
        { ...error },
        remote(scheme === "other" ? "other" : scheme === "file" ? "file" : "http")
      )
      assert.notInclude(JSON.stringify(error) + String(error) + error.stack, "example")
    }
  })

  it("takes no type into account where the declared type is optional", () => {
    const decoded = dreamverse.decode({ mime_type: "image/webp", data_url: "data:image/gif;base64,AAAA" }).pipe(
      InitImageLimits.withDeclaredType("optional"),
      Effect.runSync
    )
    assert.strictEqual(Option.getOrThrow(decoded).mime, undefined)
  })

  it("has no image where the value is empty, and refuses a value of another kind", () => {
    for (const { dialect, isText, name } of dialects) {
      for (const value of [null, undefined, false, 0, "", {}, []]) assert.isNull(decode(dialect, value), name)
      const others = [5, true, [1], isText ? { a: 1 } : "text"]
      for (const value of others) {
        assert.deepStrictEqual<unknown>(decode(dialect, value), invalid(isText ? "NotAString" : "NotAnObject"), name)
      }
      for (const value of [new Blob(["a"]), Promise.resolve(1), new Map([[1, 2]]), new Date(), 1n, () => 1]) {
        assert.deepStrictEqual<unknown>(decode(dialect, value), invalid("NotJsonValue"), name)
      }
    }
  })

  const keys = ["type", "data", "url", "source", "media_type", "mimeType", "mime_type", "image_url", "inlineData"]
    .concat(
      ["image", "base64", "file_id", "data_url", "mime", "name", "imageBytes", "fileData", "__proto__"]
    )

  const json = FastCheck.letrec<{ value: unknown }>((tie) => ({
    value: FastCheck.oneof(
      { maxDepth: 3 },
      FastCheck.constantFrom<unknown>(
        null,
        1,
        true,
        "AAAA",
        url,
        "https://a/b",
        "image/png",
        "image",
        "file",
        "base64"
      ),
      FastCheck.string(),
      FastCheck.array(tie("value"), { maxLength: 3 }),
      FastCheck.dictionary(
        FastCheck.constantFrom(...keys),
        tie("value"),
        { maxKeys: 5 }
      )
    )
  })).value

  it.prop("gives a payload, none or a typed error for any JSON value", { json }, ({ json }) => {
    for (const { dialect } of dialects) {
      const result = Effect.runSync(Effect.either(dialect.decode(json)))
      if (Either.isLeft(result)) assert.include(["InvalidPayload", "InvalidMime", "RemoteImage"], result.left._tag)
    }
  }, { fastCheck: { numRuns: 500 } })

  it("joins dialects: the first that recognises a value reads it", () => {
    const joined = InitImageDialect.any(openAiChat, anthropic, mcp, aiSdk, langChain)
    const named = (name: Named["name"]) => imageOf(name, { mime: "image/png", data: "AAAA" })
    for (const name of ["openAiChat", "anthropic", "mcp", "aiSdk", "langChain"] as const) {
      assert.deepStrictEqual(decode(joined, named(name)), png(), name)
    }
    assert.isNull(decode(joined, { type: "text", text: "hello" }))
    assert.deepStrictEqual<unknown>(decode(joined, "text"), invalid("NotAnObject"))
    const either = InitImageDialect.any(payload, dataUrl)
    assert.deepStrictEqual(decode(either, url), png())
    assert.deepStrictEqual(decode(either, { mime: "image/png", data: "AAAA" }), png())
    assert.deepStrictEqual<unknown>(decode(either, 5), invalid("NotAString"))
    assert.deepStrictEqual<unknown>(
      decode(joined, { type: "image", mimeType: "image/png", data: "AAAA", base64: "AAAA" }),
      invalid("AmbiguousData")
    )
  })

  it("refuses to join dialects whose images stand inside each other", () => {
    const inner = InitImageDialect.make({
      at: ["initial_image", "a"],
      data: [{ at: ["data"], form: "base64" }],
      decode: () => Either.right(Option.some({}))
    })
    assert.throws(() => InitImageDialect.any(dreamverse, inner), "inside")
  })

  it("refuses to join dialects with two alphabets for one text, or with keys of digits", () => {
    const strict = InitImageDialect.make({
      at: ["a"],
      data: [{ at: ["data_url"], form: "dataUrl" }],
      decode: () => Either.right(Option.some({}))
    })
    assert.throws(() => InitImageDialect.any(dreamverse, strict), "alphabets")
    const digits = InitImageDialect.make({
      at: ["1"],
      data: [{ at: ["data"], form: "base64" }],
      decode: () => Either.right(Option.some({}))
    })
    assert.throws(() => InitImageDialect.any(openAiChat, digits), "number")
  })

  it("refuses a dialect without a text, or with a text in a text", () => {
    const make = (data: ReadonlyArray<InitImageDialect.TextPlace>) => () =>
      InitImageDialect.make({ at: [InitImageDialect.each], data, decode: () => Either.right(Option.none()) })
    assert.throws(make([]), "data")
    assert.throws(make([{ at: [], form: "base64" }, { at: ["a"], form: "base64" }]), "data")
  })

  it("reads a data URL of 43 MiB without looking at its base64", () => {
    const text = "A".repeat(43 * 1024 * 1024) + "!"
    const decoded = decode(dataUrl, `data:image/png;base64,${text}`) as { readonly data: string }
    assert.isTrue(decoded.data === text)
  })
})
