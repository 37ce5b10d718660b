import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import sharp from "sharp"
import { payloadOf } from "../utils/payloads.js"
import { picture } from "../utils/pictures.js"
import { connect } from "../utils/webSocketClient.js"
import * as generator from "./generator.js"
import { app, Normalizer } from "./normalizer.js"
import { serve } from "./serving.js"

const serveApp = serve(HttpServer.serve(app).pipe(Layer.provide([generator.layer, Normalizer])))

/** A portrait photo: a phone stores it sideways, with an orientation of 6. */
const photo = Effect.promise(() => picture(2000, 1500).withMetadata({ orientation: 6 }).jpeg().toBuffer())

describe("a session that normalises its images", () => {
  it.scopedLive("turns a portrait phone JPEG into an upright picture of the model's size", () =>
    Effect.gen(function*() {
      const { directory, images, left, socketUrl } = yield* serveApp
      const client = yield* connect(`${socketUrl}/stream`)
      yield* client.sendJson({
        type: "session_init_v2",
        initial_image: payloadOf("image/jpeg", yield* photo, "IMG_0001.jpg")
      })
      const answer = yield* client.next
      assert.nestedInclude(answer, {
        "type": "session_init_image",
        "image.mime": "image/png",
        "image.display_name": "IMG_0001.jpg",
        "image.width": 1280,
        "image.height": 704
      })
      assert.deepStrictEqual(yield* client.next, { type: "clip", clip: { prompt: "rain", width: 1280, height: 704 } })
      assert.lengthOf(images(), 1)
      const { data, info } = yield* Effect.promise(() =>
        sharp(join(directory, String(images()[0]))).raw().toBuffer({ resolveWithObject: true })
      )
      assert.include(info, { width: 1280, height: 704, channels: 3 })
      // The stored picture's red grows to the right, and so the upright one's downwards.
      const red = (x: number, y: number) => data[(y * 1280 + x) * 3] ?? NaN
      assert.isAbove(red(640, 650), red(640, 50) + 20)
      assert.closeTo(red(100, 350), red(1180, 350), 12)
      yield* client.close
      yield* left(0)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("answers an image that does not decode with its code, and keeps the current one", () =>
    Effect.gen(function*() {
      const { images, socketUrl } = yield* serveApp
      const client = yield* connect(`${socketUrl}/stream`)
      yield* client.sendJson({ type: "session_init_v2", initial_image: payloadOf("image/jpeg", yield* photo) })
      yield* client.next
      yield* client.next
      const current = images()
      const sound = yield* Effect.promise(() => picture(100, 100).webp({ lossless: true }).toBuffer())
      const broken = Uint8Array.from(sound).fill(0xff, 200, 4000)
      yield* client.sendJson({ type: "init_image_updated", initial_image: payloadOf("image/webp", broken) })
      assert.deepStrictEqual(yield* client.next, {
        type: "error",
        code: "undecodable_image",
        message: "The webp image's data is damaged and cannot be decoded.",
        retryable: false,
        _tag: "UndecodableImage",
        format: "webp",
        reason: "Corrupt"
      })
      assert.strictEqual(images().join(), current.join())
    }).pipe(Effect.provide(NodeContext.layer)))
})
