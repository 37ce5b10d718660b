import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { moveAway } from "../integration/server/testServer.js"
import { uprightSize } from "../utils/descriptions.js"
import { png } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import * as generator from "./generator.js"
import { app } from "./httpRouter.js"
import { post, request, serve } from "./serving.js"

const serveApp = serve(HttpServer.serve(app).pipe(Layer.provide(generator.layer)))

const image = png({ width: 3, height: 2 })

const answer = {
  image: { mime: "image/png", display_name: "ref.png", bytes: image.length, ...uprightSize(3, 2) },
  clip: { prompt: "a slow pan", width: 3, height: 2 }
}

const messageOf = (payload: unknown) => JSON.stringify({ prompt: "a slow pan", initial_image: payload })

const message = messageOf(payloadOf("image/png", image, "ref.png"))

describe("a plain HttpRouter", () => {
  it.scopedLive("takes a prompt and an image in JSON and in a form, and keeps no file", () =>
    Effect.gen(function*() {
      const { left, url } = yield* serveApp
      const form = new FormData()
      form.set("mask", new File([png({ width: 1 })], "mask.png", { type: "image/png" }))
      form.set("initial_image", new File([image], "ref.png", { type: "image/png" }))
      form.set("prompt", "a slow pan")
      const answers = [
        yield* post(`${url}/clips`, "application/json", message),
        yield* request(`${url}/clips`, { method: "POST", body: form })
      ]
      for (const { status, text } of answers) {
        assert.strictEqual(status, 200, text)
        assert.deepStrictEqual(JSON.parse(text), answer)
      }
      yield* left(0)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("answers an image error with its status, and 204 without an image", () =>
    Effect.gen(function*() {
      const { url } = yield* serveApp
      const wrong = yield* post(`${url}/clips`, "application/json", messageOf(payloadOf("image/webp", image)))
      assert.strictEqual(wrong.status, 415)
      assert.include(JSON.parse(wrong.text), { _tag: "ContentMismatch", declared: "webp", detected: "png" })
      assert.strictEqual((yield* post(`${url}/clips`, "application/json", messageOf(null))).status, 204)
      assert.strictEqual((yield* post(`${url}/clips`, "application/json", "{}")).status, 400)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("logs a disk error and does not send it to the client", () =>
    Effect.gen(function*() {
      const { directory, log, url } = yield* serveApp
      yield* moveAway(directory)
      const { status, text } = yield* post(`${url}/clips`, "application/json", message)
      assert.deepStrictEqual({ status, text }, { status: 500, text: "" })
      assert.include(log(), "An image could not be stored")
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("answers 403 to pages of other sites", () =>
    Effect.gen(function*() {
      const { url } = yield* serveApp
      const from = (origin: string) =>
        Effect.map(post(`${url}/clips`, "application/json", message, { origin }), (a) => a.status)
      assert.strictEqual(yield* from("https://app.example.com"), 200)
      assert.strictEqual(yield* from("https://example.org"), 403)
    }).pipe(Effect.provide(NodeContext.layer)))
})
