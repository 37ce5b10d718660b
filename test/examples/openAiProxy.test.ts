import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { imageOf, messageOf } from "../utils/dialects.js"
import { jpeg, png } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { app, Model } from "./openAiProxy.js"
import { post, serve } from "./serving.js"

/** Answers with the prompt, in which the bytes of each file are counted. */
const model = Layer.effect(
  Model,
  Effect.map(FileSystem.FileSystem, (fs) => ({
    complete: Effect.fnUntraced(function*(prompt) {
      const parts = yield* Effect.forEach(prompt, (part) =>
        typeof part === "string"
          ? Effect.succeed(part)
          : Effect.map(fs.readFile(part.path), ({ length }) => `${part.mime} of ${length} bytes`))
      return parts.join(", ")
    })
  }))
)

const serveApp = serve(HttpServer.serve(app).pipe(Layer.provide(model)))

const part = (bytes: Uint8Array, mime: string) => imageOf("openAiChat", payloadOf(mime, bytes))

const ask = (url: string, body: unknown) =>
  Effect.map(post(`${url}/v1/chat/completions`, "application/json", JSON.stringify(body)), ({ status, text }) => ({
    status,
    body: JSON.parse(text)
  }))

describe("a proxy for chat completions", () => {
  it.scopedLive("gives the model the images of a request as files, in order, and keeps none", () =>
    Effect.gen(function*() {
      const { left, url } = yield* serveApp
      const request = {
        model: "local",
        messages: [
          { role: "system", content: "be kind" },
          {
            role: "user",
            content: [part(png(), "image/png"), { type: "text", text: "or" }, part(jpeg(), "image/jpeg")]
          }
        ]
      }
      const { body, status } = yield* ask(url, request)
      assert.strictEqual(status, 200)
      assert.strictEqual(
        body.choices[0].message.content,
        `be kind, image/png of ${png().length} bytes, or, image/jpeg of ${jpeg().length} bytes`
      )
      yield* left(0)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("refuses a URL, nine images and another type in the form of OpenAI's errors", () =>
    Effect.gen(function*() {
      const { left, url } = yield* serveApp
      const codeOf = (...content: ReadonlyArray<unknown>) =>
        Effect.map(
          ask(url, { model: "local", messages: [{ role: "user", content }] }),
          ({ body, status }) => [status, body.error.code]
        )
      const remote = { type: "image_url", image_url: { url: "https://example.com/a.png" } }
      assert.deepStrictEqual(yield* codeOf(remote), [400, "remote_image"])
      const nine = Array.from({ length: 9 }, () => part(png(), "image/png"))
      assert.deepStrictEqual(yield* codeOf(...nine), [400, "too_many_images"])
      assert.deepStrictEqual(yield* codeOf(part(png(), "image/webp")), [415, "content_mismatch"])
      const { status } = yield* ask(url, messageOf("openAiChat", 5))
      assert.strictEqual(status, 400)
      yield* left(0)
    }).pipe(Effect.provide(NodeContext.layer)))
})
