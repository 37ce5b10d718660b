import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { InitImageLimits } from "../../src/index.js"
import { uprightSize } from "../utils/descriptions.js"
import { png } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { type Client, connect } from "../utils/webSocketClient.js"
import * as generator from "./generator.js"
import { makeSlowGenerator, serve } from "./serving.js"
import { app, checkLimits } from "./webSocket.js"

const serveApp = (generatorLayer: typeof generator.layer) =>
  serve(HttpServer.serve(app).pipe(Layer.provide(generatorLayer)))

const describeImage = (width: number) => ({
  type: "session_init_image",
  image: { mime: "image/png", display_name: "ref", bytes: png({ width }).length, ...uprightSize(width, 1) }
})

const sendImage = (client: Client, type: string, width: number) =>
  Effect.gen(function*() {
    yield* client.sendJson({ type, initial_image: payloadOf("image/png", png({ width })) })
    assert.deepStrictEqual(yield* client.next, describeImage(width))
  })

const clip = (prompt: string, width: number) => ({ type: "clip", clip: { prompt, width, height: 1 } })

describe("a session over a WebSocket", () => {
  it.scopedLive("answers each prompt from the current image, and ends at the client's request", () =>
    Effect.gen(function*() {
      const { left, socketUrl } = yield* serveApp(generator.layer)
      const client = yield* connect(`${socketUrl}/stream`)
      yield* sendImage(client, "session_init_v2", 3)
      yield* client.sendJson({ type: "prompt", prompt: "rain" })
      assert.deepStrictEqual(yield* client.next, clip("rain", 3))
      yield* sendImage(client, "init_image_updated", 5)
      yield* client.sendJson({ type: "prompt", prompt: "snow" })
      assert.deepStrictEqual(yield* client.next, clip("snow", 5))
      yield* client.sendJson({ type: "init_image_updated", initial_image: null })
      assert.deepStrictEqual(yield* client.next, { type: "session_init_image", image: null })
      yield* client.sendJson({ type: "prompt", prompt: "fog" })
      assert.deepStrictEqual(yield* client.next, { type: "clip", clip: null })
      yield* client.sendJson({ type: "end" })
      assert.strictEqual(yield* client.closed, 1000)
      yield* left(0)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("keeps the file in use when the client replaces the image", () =>
    Effect.gen(function*() {
      const { go, layer, started } = yield* makeSlowGenerator
      const { images, left, socketUrl } = yield* serveApp(layer.pipe(Layer.provide(generator.layer)))
      const client = yield* connect(`${socketUrl}/stream`)
      yield* sendImage(client, "session_init_v2", 3)
      yield* client.sendJson({ type: "prompt", prompt: "rain" })
      yield* started
      yield* sendImage(client, "init_image_updated", 5)
      assert.lengthOf(images(), 2)
      yield* go
      assert.deepStrictEqual(yield* client.next, clip("rain", 3))
      yield* left(1)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("answers an unknown message with an error and continues", () =>
    Effect.gen(function*() {
      const { socketUrl } = yield* serveApp(generator.layer)
      const client = yield* connect(`${socketUrl}/stream`)
      yield* sendImage(client, "session_init_v2", 3)
      yield* client.sendJson({ type: "prompt", prompt: 7 })
      const answer = yield* client.next
      assert.include(answer, { type: "error", code: "invalid_message" })
      yield* client.sendJson({ type: "prompt", prompt: "rain" })
      assert.deepStrictEqual(yield* client.next, clip("rain", 3))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.effect("fails at the start if the frame limit is too low for the images", () =>
    Effect.gen(function*() {
      yield* checkLimits
      const exit = yield* Effect.exit(InitImageLimits.withMaxBytes(checkLimits, 80 * 1024 * 1024))
      assert.include(Exit.isFailure(exit) ? String(exit.cause) : "", "takes frames of 104857600 bytes")
    }))
})
