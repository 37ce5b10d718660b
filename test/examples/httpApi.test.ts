import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { png, pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import * as generator from "./generator.js"
import { ApiLive } from "./httpApi.js"
import { makeSlowGenerator, request, serve } from "./serving.js"

const serveApi = (generatorLayer: typeof generator.layer) =>
  serve(
    HttpApiBuilder.serve().pipe(
      Layer.provide(ApiLive),
      Layer.provide(generatorLayer),
      Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["API_TOKEN", "open sesame"]]))))
    )
  )

const authorized = { authorization: "Bearer open sesame" }

const put = (url: string, body: string | Uint8Array, type = "application/json") =>
  request(`${url}/sessions/a/init-image`, { method: "PUT", body, headers: { ...authorized, "content-type": type } })

const putSize = (url: string, width: number, height: number) =>
  put(url, JSON.stringify(payloadOf("image/png", png({ width, height }))))

const generate = (url: string, session: string, headers: Record<string, string> = authorized) =>
  request(`${url}/sessions/${session}/clips`, {
    method: "POST",
    body: JSON.stringify({ prompt: "rain" }),
    headers: { ...headers, "content-type": "application/json" }
  })

describe("an application's HttpApi", () => {
  it.scopedLive("generates from the session's image, and answers 404 without one", () =>
    Effect.gen(function*() {
      const { left, url } = yield* serveApi(generator.layer)
      assert.strictEqual((yield* generate(url, "a")).status, 404)
      assert.strictEqual((yield* putSize(url, 3, 2)).status, 200)
      const { status, text } = yield* generate(url, "a")
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(JSON.parse(text), { prompt: "rain", width: 3, height: 2 })
      assert.strictEqual((yield* generate(url, "b")).status, 404)
      yield* request(`${url}/sessions/a/init-image`, { method: "DELETE", headers: authorized })
      yield* left(0)
      assert.strictEqual((yield* generate(url, "a")).status, 404)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("keeps the image in use when the client replaces it", () =>
    Effect.gen(function*() {
      const { go, layer, started } = yield* makeSlowGenerator
      const { images, left, url } = yield* serveApi(layer.pipe(Layer.provide(generator.layer)))
      yield* putSize(url, 3, 2)
      const generating = yield* Effect.fork(generate(url, "a"))
      yield* started
      yield* putSize(url, 5, 4)
      assert.lengthOf(images(), 2)
      yield* go
      const { status, text } = yield* Fiber.join(generating)
      assert.deepStrictEqual({ status, ...JSON.parse(text) }, { status: 200, prompt: "rain", width: 3, height: 2 })
      yield* left(1)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("answers 401 without the token, for the clips and for the images", () =>
    Effect.gen(function*() {
      const { images, url } = yield* serveApi(generator.layer)
      for (const headers of [{}, { authorization: "Bearer open" }, { authorization: "Basic open sesame" }]) {
        assert.strictEqual((yield* generate(url, "a", headers)).status, 401)
        for (const method of ["PUT", "GET", "DELETE"]) {
          const { status } = yield* request(`${url}/sessions/a/init-image`, {
            method,
            headers: { ...headers, "content-type": "image/png" },
            ...method === "PUT" ? { body: png() } : {}
          })
          assert.strictEqual(status, 401, method)
        }
      }
      assert.deepStrictEqual(images(), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("refuses an image above the api's limit", () =>
    Effect.gen(function*() {
      const { url } = yield* serveApi(generator.layer)
      const limit = 8 * 1024 * 1024
      assert.strictEqual((yield* put(url, pngOfSize(limit), "image/png")).status, 200)
      const { status, text } = yield* put(url, pngOfSize(limit + 1), "image/png")
      assert.strictEqual(status, 413)
      assert.include(JSON.parse(text), { _tag: "TooLarge", limit })
    }).pipe(Effect.provide(NodeContext.layer)))
})
