import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { list, makeDirectory } from "../utils/directory.js"
import { png } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import * as generator from "./generator.js"
import { post, serve } from "./serving.js"
import { gateway, Store, work } from "./store.js"

describe("a gateway and a worker with a store between them", () => {
  it.scopedLive("hand over an image by its reference, and leave nothing", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const environment = Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["STORE_DIRECTORY", directory]])))
      const { left, url } = yield* serve(
        HttpServer.serve(gateway).pipe(Layer.provide([Store.pipe(Layer.provide(environment))]))
      )
      const { status, text } = yield* post(
        `${url}/jobs`,
        "application/json",
        JSON.stringify({
          prompt: "rain",
          initial_image: payloadOf("image/png", png({ width: 3, height: 2 }), "ref.png")
        })
      )
      assert.strictEqual(status, 200, text)
      assert.isBelow(text.length, 1000)
      yield* left(0)
      assert.strictEqual(list(directory).length, 1)

      const worker = Layer.mergeAll(generator.layer, Store.pipe(Layer.provide(environment)))
      const clip = yield* Effect.provide(work(JSON.parse(text)), worker)
      assert.deepStrictEqual(clip, { prompt: "rain", width: 3, height: 2 })
      assert.deepStrictEqual(list(directory), [])
      const again = yield* Effect.flip(Effect.provide(work(JSON.parse(text)), worker))
      assert.strictEqual(again._tag, "ImageGone")
    }).pipe(Effect.provide(NodeContext.layer)))
})
