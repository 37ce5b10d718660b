import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as InitImageError from "../../src/InitImageError.js"

/** Every error, with its tag, the other fields of its JSON, and its status. */
const table: ReadonlyArray<readonly [string, Record<string, unknown>, number, InitImageError.InitImageError]> = [
  ["InvalidPayload", { reason: "NotAnObject" }, 400, new InitImageError.InvalidPayload({ reason: "NotAnObject" })],
  [
    "InvalidPayload",
    { reason: "DataNotAString" },
    400,
    new InitImageError.InvalidPayload({ reason: "DataNotAString" })
  ],
  [
    "InvalidMime",
    { reason: "NotAccepted", accepted: ["image/png"] },
    415,
    new InitImageError.InvalidMime({ reason: "NotAccepted", accepted: ["image/png"] })
  ],
  [
    "InvalidPayload",
    { reason: "NoFile", field: "image" },
    400,
    new InitImageError.InvalidPayload({ reason: "NoFile", field: "image" })
  ],
  [
    "InvalidMime",
    { reason: "Missing", accepted: ["image/png"], field: "media_type" },
    415,
    new InitImageError.InvalidMime({ reason: "Missing", accepted: ["image/png"], field: "media_type" })
  ],
  ["RemoteImage", { scheme: "http" }, 400, new InitImageError.RemoteImage({ scheme: "http" })],
  ["TooManyImages", { limit: 1 }, 400, new InitImageError.TooManyImages({ limit: 1 })],
  ["UnsupportedEncoding", {}, 415, new InitImageError.UnsupportedEncoding()],
  ["TooLarge", { bytes: 60, limit: 32 }, 413, new InitImageError.TooLarge({ bytes: 60, limit: 32 })],
  ["Empty", {}, 400, new InitImageError.Empty()],
  [
    "BadBase64",
    { reason: "Character", offset: 7 },
    400,
    new InitImageError.BadBase64({ reason: "Character", offset: 7 })
  ],
  ["BadBase64", { reason: "Length" }, 400, new InitImageError.BadBase64({ reason: "Length" })],
  [
    "ContentMismatch",
    { declared: "png", detected: "gif" },
    415,
    new InitImageError.ContentMismatch({ declared: "png", detected: "gif" })
  ],
  [
    "ContentMismatch",
    { declared: "webp", detected: "unknown" },
    415,
    new InitImageError.ContentMismatch({ declared: "webp", detected: "unknown" })
  ],
  [
    "ContentMismatch",
    { detected: "gif" },
    415,
    new InitImageError.ContentMismatch({ detected: "gif" })
  ],
  [
    "MalformedImage",
    { format: "jpeg", reason: "Truncated" },
    422,
    new InitImageError.MalformedImage({ format: "jpeg", reason: "Truncated" })
  ],
  [
    "TooManyPixels",
    { width: 64250, height: 64250, limit: 50_000_000 },
    422,
    new InitImageError.TooManyPixels({ width: 64250, height: 64250, limit: 50_000_000 })
  ],
  ["Busy", { retryAfter: 1 }, 503, new InitImageError.Busy({ retryAfter: 1 })]
]

const answer = Effect.gen(function*() {
  const bodies: Array<unknown> = []
  for (const index of table.keys()) {
    const response = yield* HttpClient.get(`/${index}`)
    bodies.push([response.status, yield* response.json])
  }
  return bodies
})

const expected = table.map(([_tag, fields, status, { message }]) => [status, { _tag, ...fields, message }])

const { Busy, Empty, InvalidMime, InvalidPayload, TooLarge } = InitImageError
const { BadBase64, ContentMismatch, MalformedImage, RemoteImage, TooManyImages, TooManyPixels, UnsupportedEncoding } =
  InitImageError

/** The classes of the union. */
const classes = [
  InvalidPayload,
  InvalidMime,
  RemoteImage,
  TooManyImages,
  UnsupportedEncoding,
  TooLarge,
  Empty,
  BadBase64,
  ContentMismatch,
  MalformedImage,
  TooManyPixels,
  Busy
]

/** The reasons of each error, in the order of its documentation. */
const reasons = {
  InvalidPayload: [
    "NotAnObject",
    "NotJsonValue",
    "NotAString",
    "DataNotAString",
    "BadDataUrl",
    "MimeConflict",
    "AmbiguousData",
    "NotJson",
    "TooDeep",
    "DuplicateKey",
    "MessageTooLarge",
    "NotMultipart",
    "MissingBoundary",
    "NoFile",
    "NotAFile",
    "BytesNotACount",
    "MoreBytes",
    "FewerBytes",
    "LateBytes",
    "FrameTooLarge"
  ],
  BadBase64: [
    "Length",
    "Unpadded",
    "Character",
    "DataUrl",
    "LineBreaks",
    "WhiteSpace",
    "UrlSafe",
    "MixedAlphabets",
    "Padding",
    "UnusedBits"
  ],
  MalformedImage: [
    "Truncated",
    "BadHeader",
    "BadChecksum",
    "BadLength",
    "ZeroDimension",
    "MissingHeader",
    "MissingTable",
    "MissingImageData",
    "UnexpectedSegment",
    "UnsupportedProcess"
  ]
} as const

describe("InitImageError", () => {
  it("has a row in this table for every class", () => {
    assert.deepStrictEqual(
      new Set(table.map(([_tag]) => _tag)),
      new Set<string>(classes.map((member) => member._tag))
    )
    assert.lengthOf(InitImageError.InitImageError.members, classes.length)
    for (const [, , , error] of table) assert.isTrue(InitImageError.isInitImageError(error))
  })

  it.each(table)(
    "%s %j encodes to its tag, closed fields and message, in under 384 bytes, and decodes back",
    (_tag, fields, _, error) => {
      const encoded = Schema.encodeSync(InitImageError.InitImageError)(error)
      assert.deepStrictEqual<unknown>(encoded, { _tag, ...fields, message: error.message })
      assert.isBelow(JSON.stringify(encoded).length, 384)
      const decoded = Schema.decodeUnknownSync(InitImageError.InitImageError)(JSON.parse(JSON.stringify(encoded)))
      // Chai does not compare the fields of errors.
      assert.deepStrictEqual({ ...decoded }, { ...error })
      assert.strictEqual(decoded.constructor, error.constructor)
      assert.isTrue(InitImageError.isInitImageError(decoded))
    }
  )

  it.each(table)("%s %j has a message for a person", (_tag, _fields, _status, error) => {
    assert.match(error.message, /^The (image|form|message|png|jpeg|webp)\b.*\.$/)
    assert.isBelow(error.message.length, 160)
  })

  it("has a different message for each reason", () => {
    const messages = [
      ...reasons.InvalidPayload.map((reason) => new InvalidPayload({ reason }).message),
      ...reasons.BadBase64.map((reason) => new BadBase64({ reason }).message),
      ...reasons.MalformedImage.map((reason) => new MalformedImage({ format: "png", reason }).message)
    ]
    assert.lengthOf(new Set(messages), messages.length)
    for (const message of messages) {
      assert.match(message, /^The (?:[\w=/+-]+(?:'s)?[ ,:;]+){3,}[\w/]+\.$/)
      assert.isBelow(message.length, 160)
    }
  })

  it("formats the accepted types, limits and declared type in its message", () => {
    const messages = [
      new InitImageError.InvalidMime({ reason: "NotAccepted", accepted: ["image/png", "image/webp"] }),
      new InitImageError.InvalidMime({ reason: "Missing", accepted: ["image/png"] }),
      new InitImageError.InvalidMime({ reason: "Missing", accepted: ["image/png"], field: "mimeType" }),
      new InitImageError.InvalidPayload({ reason: "NoFile", field: "image" }),
      new InitImageError.TooLarge({ bytes: 33_554_433, limit: 33_554_432 }),
      new InitImageError.ContentMismatch({ declared: "png", detected: "gif" }),
      new InitImageError.ContentMismatch({ declared: "webp", detected: "unknown" }),
      new InitImageError.ContentMismatch({ detected: "gif" }),
      new InitImageError.ContentMismatch({ detected: "unknown" }),
      new InitImageError.BadBase64({ reason: "Padding", offset: 1234 }),
      new InitImageError.BadBase64({ reason: "DataUrl", offset: 0 }),
      new InitImageError.TooManyPixels({ width: 64250, height: 9, limit: 50_000 }),
      new InitImageError.TooManyImages({ limit: 1 }),
      new InitImageError.TooManyImages({ limit: 1000 }),
      new InitImageError.Busy({ retryAfter: 1 })
    ].map((error) => error.message)
    assert.deepStrictEqual(messages, [
      "The image's type must be one of: image/png, image/webp.",
      "The image's type is missing: its field mime must be one of: image/png.",
      "The image's type is missing: its field mime, not mimeType, must be one of: image/png.",
      "The form has no file with the image (field image).",
      "The image is larger than the 33,554,432 bytes that are allowed.",
      "The image was sent as png, but its bytes are gif.",
      "The image was sent as webp, but its bytes are not of that type.",
      "The image's bytes are gif, which is not accepted.",
      "The image's bytes are of no type that is known.",
      "The image's data is not valid base64: it has padding in the wrong place (at character 1,234).",
      "The image's data is not valid base64: it is a data URL; send only the text after its comma (at character 0).",
      "The image is 64250 by 9 pixels; at most 50,000 are allowed in all.",
      "The message must not have more than one image.",
      "The message must not have more than 1,000 images.",
      "The image cannot be taken at the moment; please try again in 1 second."
    ])
  })

  it("declares exactly the documented reasons", () => {
    assert.deepStrictEqual(InitImageError.InvalidPayload.fields.reason.literals, reasons.InvalidPayload)
    assert.deepStrictEqual(InitImageError.BadBase64.fields.reason.literals, reasons.BadBase64)
    assert.deepStrictEqual(InitImageError.MalformedImage.fields.reason.literals, reasons.MalformedImage)
  })

  it("BadBase64 has a numeric offset or omits it", () => {
    const decode = Schema.decodeUnknownEither(InitImageError.BadBase64)
    assert.isTrue(Either.isRight(decode({ _tag: "BadBase64", reason: "Length" })))
    assert.isTrue(Either.isLeft(decode({ _tag: "BadBase64", reason: "Length", offset: undefined })))
  })

  it("uses the same identifiers in every copy of the library", () => {
    assert.deepStrictEqual(
      classes.map((member) => member.identifier),
      Array.from(new Set(table.map(([_tag]) => `session-init-image/InitImageError/${_tag}`)))
    )
  })

  it("ContentMismatch names the detected type unless it is unknown", () => {
    assert.include(new InitImageError.ContentMismatch({ declared: "png", detected: "gif" }).message, "gif")
    assert.notInclude(new InitImageError.ContentMismatch({ declared: "png", detected: "unknown" }).message, "unknown")
  })

  it("BadBase64 gives the offset in its message unless the length is wrong", () => {
    assert.include(new InitImageError.BadBase64({ reason: "Character", offset: 7 }).message, "7")
    assert.notMatch(new InitImageError.BadBase64({ reason: "Length" }).message, /at character/)
  })

  it("Busy gives the delay in its message, in seconds", () => {
    assert.include(new InitImageError.Busy({ retryAfter: 1 }).message, "in 1 second.")
    assert.include(new InitImageError.Busy({ retryAfter: 10 }).message, "in 10 seconds.")
  })

  it.scopedLive("Busy sets Retry-After in a plain HttpRouter", () =>
    Effect.gen(function*() {
      const busy = new InitImageError.Busy({ retryAfter: 7 })
      yield* HttpServer.serveEffect(HttpRouter.get(HttpRouter.empty, "/", Effect.fail(busy)))
      const { headers } = yield* HttpClient.get("/")
      assert.strictEqual(headers["retry-after"], "7")
    }).pipe(Effect.provide(NodeHttpServer.layerTest)))

  it("isInitImageError rejects other values", () => {
    assert.isFalse(InitImageError.isInitImageError(new Error("TooLarge")))
    assert.isFalse(InitImageError.isInitImageError({ _tag: "Empty" }))
  })

  it.scopedLive("a plain HttpRouter answers with the status and the encoded error", () =>
    Effect.gen(function*() {
      let router: HttpRouter.HttpRouter<InitImageError.InitImageError> = HttpRouter.empty
      for (const [index, [, , , error]] of table.entries()) {
        router = router.pipe(HttpRouter.get(`/${index}`, Effect.fail(error)))
      }
      yield* HttpServer.serveEffect(router)
      assert.deepStrictEqual(yield* answer, expected)
    }).pipe(Effect.provide(NodeHttpServer.layerTest)))

  it.scopedLive("an HttpApi answers with the status and the encoded error", () =>
    Effect.gen(function*() {
      const endpoint = HttpApiEndpoint.get("fail", "/:index")
        .setPath(Schema.Struct({ index: Schema.NumberFromString }))
        .addSuccess(Schema.Void)
        .addError(InitImageError.InitImageError)
      const api = HttpApi.make("api").add(HttpApiGroup.make("group").add(endpoint))
      const group = HttpApiBuilder.group(
        api,
        "group",
        (handlers) => handlers.handle("fail", ({ path }) => table[path.index]?.[3] ?? Effect.die("no such row"))
      )
      yield* Layer.launch(HttpApiBuilder.serve().pipe(Layer.provide(HttpApiBuilder.api(api)), Layer.provide(group)))
        .pipe(Effect.forkScoped)
      yield* Effect.yieldNow()
      assert.deepStrictEqual(yield* answer, expected)
    }).pipe(Effect.provide(NodeHttpServer.layerTest)))

  it("UndecodableImage and DecodeTimeout are no part of the union, and answer 422", () => {
    const undecodable = new InitImageError.UndecodableImage({ format: "avif", reason: "TooMuchMemory" })
    const timeout = new InitImageError.DecodeTimeout({ limit: 10 })
    for (
      const [error, schema] of [
        [undecodable, InitImageError.UndecodableImage],
        [timeout, InitImageError.DecodeTimeout]
      ] as const
    ) {
      assert.isFalse(InitImageError.isInitImageError(error))
      assert.strictEqual(HttpApiSchema.getStatusError(schema), 422)
    }
    assert.strictEqual(undecodable.message, "The avif image takes too much memory to decode.")
    assert.strictEqual(timeout.message, "The image takes too long to decode.")
  })

  it.effect("UndecodableImage and DecodeTimeout answer 422 in a plain HttpRouter", () =>
    Effect.gen(function*() {
      for (
        const error of [
          new InitImageError.UndecodableImage({ format: "png", reason: "Corrupt" }),
          new InitImageError.DecodeTimeout({ limit: 10 })
        ]
      ) {
        assert.strictEqual((yield* HttpServerRespondable.toResponse(error)).status, 422)
      }
    }))
})
