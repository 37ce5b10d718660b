import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as InitImageError from "../src/InitImageError.js"

/** Every error there is, with its status and the JSON that a client gets. */
const table: ReadonlyArray<readonly [InitImageError.InitImageError, number, Record<string, unknown>]> = [
  [new InitImageError.InvalidPayload({ reason: "NotAnObject" }), 400, { reason: "NotAnObject" }],
  [new InitImageError.InvalidPayload({ reason: "DataNotAString" }), 400, { reason: "DataNotAString" }],
  [new InitImageError.InvalidMime({ accepted: ["image/png"] }), 415, { accepted: ["image/png"] }],
  [new InitImageError.TooLarge({ bytes: 60, limit: 32 }), 413, { bytes: 60, limit: 32 }],
  [new InitImageError.Empty(), 400, {}],
  [new InitImageError.BadBase64({ reason: "Character", offset: 7 }), 400, { reason: "Character", offset: 7 }],
  [new InitImageError.BadBase64({ reason: "Length" }), 400, { reason: "Length" }],
  [
    new InitImageError.ContentMismatch({ declared: "png", detected: "gif" }),
    415,
    { declared: "png", detected: "gif" }
  ],
  [
    new InitImageError.ContentMismatch({ declared: "webp", detected: "unknown" }),
    415,
    { declared: "webp", detected: "unknown" }
  ],
  [
    new InitImageError.MalformedImage({ format: "jpeg", reason: "Truncated" }),
    422,
    { format: "jpeg", reason: "Truncated" }
  ],
  [
    new InitImageError.TooManyPixels({ width: 64250, height: 64250, limit: 50_000_000 }),
    422,
    { width: 64250, height: 64250, limit: 50_000_000 }
  ],
  [new InitImageError.Busy({ retryAfter: 1 }), 503, { retryAfter: 1 }]
]

const bodyOf = (error: InitImageError.InitImageError, fields: Record<string, unknown>) => ({
  _tag: error._tag,
  ...fields
})

const answer = Effect.gen(function*() {
  const bodies: Array<unknown> = []
  for (const index of table.keys()) {
    const response = yield* HttpClient.get(`/${index}`)
    bodies.push([response.status, yield* response.json])
  }
  return bodies
})

const expected = table.map(([error, status, fields]) => [status, bodyOf(error, fields)])

describe("InitImageError", () => {
  it("has a row in this table for every case", () => {
    assert.deepStrictEqual(
      new Set(table.map(([error]) => error._tag)),
      new Set(InitImageError.InitImageError.members.map((member) => member._tag))
    )
  })

  it.each(table)("%o encodes to its tag and closed fields, and back, in little space", (error, _status, fields) => {
    const encoded = Schema.encodeSync(InitImageError.InitImageError)(error)
    assert.deepStrictEqual<unknown>(encoded, bodyOf(error, fields))
    assert.isBelow(JSON.stringify(encoded).length, 256)
    const decoded = Schema.decodeUnknownSync(InitImageError.InitImageError)(JSON.parse(JSON.stringify(encoded)))
    assert.deepStrictEqual(decoded, error)
    assert.isTrue(InitImageError.isInitImageError(decoded))
  })

  it.each(table)("%o has a sentence for a person", (error) => {
    assert.match(error.message, /^The (image|png|jpeg|webp)\b.*\.$/)
    assert.isBelow(error.message.length, 160)
  })

  it("names the type that was found, but not the unknown one", () => {
    assert.include(new InitImageError.ContentMismatch({ declared: "png", detected: "gif" }).message, "gif")
    assert.notInclude(new InitImageError.ContentMismatch({ declared: "png", detected: "unknown" }).message, "unknown")
  })

  it("points at the offending character where there is one", () => {
    assert.include(new InitImageError.BadBase64({ reason: "Character", offset: 7 }).message, "7")
    assert.notMatch(new InitImageError.BadBase64({ reason: "Length" }).message, /at character/)
  })

  it("says when to try again", () => {
    assert.include(new InitImageError.Busy({ retryAfter: 1 }).message, "in 1 second.")
    assert.include(new InitImageError.Busy({ retryAfter: 10 }).message, "in 10 seconds.")
  })

  it.scopedLive("tells a busy client of a plain HttpRouter when to come again in the header for it", () =>
    Effect.gen(function*() {
      const busy = new InitImageError.Busy({ retryAfter: 7 })
      yield* HttpServer.serveEffect(HttpRouter.get(HttpRouter.empty, "/", Effect.fail(busy)))
      const { headers } = yield* HttpClient.get("/")
      assert.strictEqual(headers["retry-after"], "7")
    }).pipe(Effect.provide(NodeHttpServer.layerTest)))

  it("takes nothing else for one", () => {
    assert.isFalse(InitImageError.isInitImageError(new Error("TooLarge")))
    assert.isFalse(InitImageError.isInitImageError({ _tag: "Empty" }))
  })

  it.scopedLive("answers a plain HttpRouter with its status and its encoded self", () =>
    Effect.gen(function*() {
      let router: HttpRouter.HttpRouter<InitImageError.InitImageError> = HttpRouter.empty
      for (const [index, [error]] of table.entries()) {
        router = router.pipe(HttpRouter.get(`/${index}`, Effect.fail(error)))
      }
      yield* HttpServer.serveEffect(router)
      assert.deepStrictEqual(yield* answer, expected)
    }).pipe(Effect.provide(NodeHttpServer.layerTest)))

  it.scopedLive("answers an HttpApi with the same", () =>
    Effect.gen(function*() {
      const endpoint = HttpApiEndpoint.get("fail", "/:index")
        .setPath(Schema.Struct({ index: Schema.NumberFromString }))
        .addSuccess(Schema.Void)
        .addError(InitImageError.InitImageError)
      const api = HttpApi.make("api").add(HttpApiGroup.make("group").add(endpoint))
      const group = HttpApiBuilder.group(
        api,
        "group",
        (handlers) => handlers.handle("fail", ({ path }) => table[path.index]?.[0] ?? Effect.die("no such row"))
      )
      yield* Layer.launch(HttpApiBuilder.serve().pipe(Layer.provide(HttpApiBuilder.api(api)), Layer.provide(group)))
        .pipe(Effect.forkScoped)
      yield* Effect.yieldNow()
      assert.deepStrictEqual(yield* answer, expected)
    }).pipe(Effect.provide(NodeHttpServer.layerTest)))
})
