/** Every dialect through every door of a server. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { Buffer } from "node:buffer"
import { InitImageApi, InitImageDialect, InitImageHttp, InitImageSocket } from "../../src/index.js"
import { dialects, imageOf, messageOf, type Named } from "../utils/dialects.js"
import { makeFakeSocket } from "../utils/fakeSocket.js"
import { jpeg, png } from "../utils/images.js"

const pictureOf = (name: Named["name"], bytes: Uint8Array = png({ width: 7 }), mime = "image/png"): unknown =>
  messageOf(name, imageOf(name, { mime, data: Buffer.from(bytes).toString("base64") }))

const post = (path: string, json: unknown) =>
  Effect.gen(function*() {
    const request = HttpClientRequest.put(path).pipe(
      HttpClientRequest.bodyText(JSON.stringify(json), "application/json")
    )
    const response = yield* HttpClient.execute(request)
    const body: unknown = response.status === 204 ? null : yield* response.json
    return [response.status, body] as const
  })

const fieldOf = (body: unknown, key: string): unknown => Predicate.isRecord(body) ? body[key] : undefined

describe("a dialect", () => {
  it.scopedLive.each(dialects)("is read from a request as $name", ({ dialect, name }) =>
    Effect.gen(function*() {
      yield* HttpServer.serveEffect(HttpRouter.empty.pipe(
        HttpRouter.put(
          "/image",
          Effect.gen(function*() {
            const image = yield* InitImageHttp.fromRequest({ dialect })
            return HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
          })
        ),
        HttpRouter.put(
          "/message",
          Effect.gen(function*() {
            const { image, message } = yield* InitImageHttp.messageFromRequest({ dialect })
            return HttpServerResponse.unsafeJson({
              message,
              width: image.pipe(Option.map(({ width }) => width), Option.getOrNull)
            })
          })
        )
      ))
      const [, image] = yield* post("/image", pictureOf(name))
      assert.strictEqual(fieldOf(image, "width"), 7)
      const [, message] = yield* post("/message", pictureOf(name))
      assert.strictEqual(fieldOf(message, "width"), 7)
      assert.notInclude(JSON.stringify(message), Buffer.from(png({ width: 7 })).toString("base64"))
      const [status, mismatch] = yield* post("/image", pictureOf(name, Buffer.from("GIF89a"), "image/jpeg"))
      assert.deepStrictEqual([status, fieldOf(mismatch, "_tag")], [415, "ContentMismatch"])
      assert.deepStrictEqual(yield* post("/image", null), [200, null])
    }).pipe(Effect.provide(Layer.mergeAll(NodeHttpServer.layerTest, NodeContext.layer))))

  it.scopedLive("is read by the endpoints of an HttpApi, and a URL is refused without a request", () =>
    Effect.gen(function*() {
      class Api extends HttpApi.make("api").add(InitImageApi.group) {}
      yield* HttpApiBuilder.serve().pipe(
        Layer.provide(HttpApiBuilder.api(Api)),
        Layer.provide(InitImageApi.layer(Api, { dialect: InitImageDialect.openAiChat })),
        Layer.provide(InitImageApi.layerSessions()),
        Layer.build
      )
      const [status, image] = yield* post("/sessions/a/init-image", pictureOf("openAiChat"))
      assert.deepStrictEqual([status, fieldOf(image, "width")], [200, 7])
      const part = { type: "image_url", image_url: { url: "https://example.com/a.png" } }
      assert.deepStrictEqual(yield* post("/sessions/a/init-image", messageOf("openAiChat", part)), [400, {
        _tag: "RemoteImage",
        scheme: "http",
        message: "The image must be sent in the message; the server fetches none from a URL or by an id."
      }])
      const two = {
        messages: [{
          content: [0, 1].map(() =>
            imageOf("openAiChat", { mime: "image/png", data: Buffer.from(png()).toString("base64") })
          )
        }]
      }
      const [, refused] = yield* post("/sessions/a/init-image", two)
      assert.strictEqual(fieldOf(refused, "_tag"), "TooManyImages")
    }).pipe(Effect.provide(Layer.mergeAll(NodeHttpServer.layerTest, NodeContext.layer))))

  it.scopedLive.each(dialects.filter(({ name }) => name !== "dataUrl"))(
    "is read from the text frames of a session as $name",
    ({ dialect, name }) =>
      Effect.gen(function*() {
        const { deliver, next, socket } = yield* makeFakeSocket
        const fiber = yield* Effect.fork(InitImageSocket.run(socket, () => Effect.never, { dialect }))
        const frame = (type: string, bytes: Uint8Array, mime: string) => {
          const message = pictureOf(name, bytes, mime)
          const fields = name === "payload" ? { initial_image: message } : Predicate.isRecord(message) ? message : {}
          return JSON.stringify({ ...fields, type })
        }
        yield* deliver(frame("session_init_v2", png({ width: 7 }), "image/png"))
        assert.strictEqual(fieldOf(fieldOf(yield* next, "image"), "width"), 7)
        yield* deliver(frame("init_image_updated", jpeg({ width: 9 }), "image/jpeg"))
        assert.strictEqual(fieldOf(fieldOf(yield* next, "image"), "width"), 9)
        yield* deliver(frame("init_image_updated", Buffer.from("GIF89a"), "image/jpeg"))
        assert.strictEqual(fieldOf(yield* next, "code"), "content_mismatch")
        yield* Fiber.interrupt(fiber)
      }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("stands under initial_image in a session where it is the message itself, and announces no bytes", () =>
    Effect.gen(function*() {
      const { deliver, next, socket } = yield* makeFakeSocket
      const { dataUrl } = InitImageDialect
      const fiber = yield* Effect.fork(InitImageSocket.run(socket, () => Effect.never, { dialect: dataUrl }))
      yield* deliver(JSON.stringify({ type: "session_init_v2", initial_image: pictureOf("dataUrl") }))
      assert.strictEqual(fieldOf(fieldOf(yield* next, "image"), "width"), 7)
      yield* deliver(JSON.stringify({ type: "init_image_updated", image: pictureOf("dataUrl") }))
      assert.include(String(fieldOf(yield* next, "message")), "must be under initial_image")
      yield* deliver(JSON.stringify({ type: "init_image_updated", initial_image: { mime: "image/png", bytes: 5 } }))
      assert.deepInclude(yield* next, { code: "invalid_payload", reason: "NotAString" })
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(NodeContext.layer)))
})
