import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { png } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { picture } from "../../utils/pictures.js"
import { connect } from "../../utils/webSocketClient.js"
import { isHealthy, serve } from "./testServer.js"

describe("a server with INIT_IMAGE_NORMALIZE", () => {
  it.scopedLive("normalises the images of its sessions", () =>
    Effect.gen(function*() {
      const { empty, files, stream, url } = yield* serve({ env: { INIT_IMAGE_NORMALIZE: "320x192" } })
      const client = yield* connect(stream)
      const photo = yield* Effect.promise(() => picture(400, 300).withMetadata({ orientation: 6 }).jpeg().toBuffer())
      yield* client.sendJson({ type: "session_init_v2", initial_image: payloadOf("image/jpeg", photo) })
      assert.nestedInclude(yield* client.next, { "image.mime": "image/png", "image.width": 320, "image.height": 192 })
      assert.lengthOf(files(), 1)
      yield* isHealthy(url)
      yield* client.close
      yield* empty
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("normalises the images that arrive by HTTP, and keeps one where the next cannot be decoded", () =>
    Effect.gen(function*() {
      const { empty, files, url } = yield* serve({ env: { INIT_IMAGE_NORMALIZE: "320x192" } })
      const put = (body: Uint8Array, type: string) =>
        Effect.promise(async () => {
          const response = await fetch(`${url}/sessions/a/init-image`, {
            method: "PUT",
            body,
            headers: { "content-type": type }
          })
          return { status: response.status, body: await response.json() }
        })
      const photo = yield* Effect.promise(() => picture(400, 300).jpeg().toBuffer())
      const described = { mime: "image/png", width: 320, height: 192 }
      assert.deepNestedInclude(yield* put(photo, "image/jpeg"), { status: 200 })
      assert.deepInclude((yield* put(photo, "image/jpeg")).body, described)
      assert.lengthOf(files(), 1)
      const refused = yield* put(png({ width: 3000, height: 3000 }), "image/png")
      assert.strictEqual(refused.status, 422)
      assert.deepInclude(refused.body, { _tag: "UndecodableImage", format: "png", reason: "Corrupt" })
      const kept = yield* Effect.promise(() => fetch(`${url}/sessions/a/init-image`))
      assert.strictEqual(kept.headers.get("content-type"), "image/png")
      yield* Effect.promise(() => kept.arrayBuffer())
      assert.lengthOf(files(), 1)
      yield* Effect.promise(() => fetch(`${url}/sessions/a/init-image`, { method: "DELETE" }))
      yield* empty
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("does not start with a value that is no size", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(serve({ env: { INIT_IMAGE_NORMALIZE: "large" } }))
      assert.include(String(exit), "such as 1280x704")
    }))
})
