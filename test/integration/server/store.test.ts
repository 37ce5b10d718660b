/** Servers whose sessions' images are in a store. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { putImage, request } from "../../utils/apis.js"
import { list, makeDirectory } from "../../utils/directory.js"
import { png } from "../../utils/images.js"
import { connect, eventually } from "../../utils/webSocketClient.js"
import { answer, image, init, picture, update } from "./messages.js"
import { moveAway, serve } from "./testServer.js"

describe("a server with a store", () => {
  it.scopedLive("serves the pictures of another one's requests and WebSockets, for as long as those are open", () =>
    Effect.gen(function*() {
      const store = yield* makeDirectory
      const env = { INIT_IMAGE_STORE: "directory", INIT_IMAGE_STORE_DIRECTORY: store }
      const one = yield* serve({ env })
      const other = yield* serve({ env })
      yield* putImage(one.url, png())
      assert.isTrue((yield* request(other.url)).body.equals(png()))

      const client = yield* connect(`${one.stream}?session_id=s`)
      yield* client.sendJson(init(picture(3)))
      assert.deepStrictEqual(yield* client.next, answer(image(3)))
      assert.isTrue((yield* request(other.url, {}, "s")).body.equals(png({ width: 3, height: 2 })))
      yield* client.sendJson(update(picture(4)))
      assert.deepStrictEqual(yield* client.next, answer(image(4)))
      assert.isTrue((yield* request(other.url, {}, "s")).body.equals(png({ width: 4, height: 2 })))
      yield* client.close
      yield* client.closed
      yield* eventually(() => assert.lengthOf(list(store), 1))
      assert.strictEqual((yield* request(other.url, {}, "s")).status, 404)

      yield* request(other.url, { method: "DELETE" })
      assert.strictEqual((yield* request(one.url)).status, 404)
      yield* Effect.zip(one.empty, other.empty)
      assert.deepStrictEqual(list(store), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("answers a picture that it cannot store with an error, and the session goes on", () =>
    Effect.gen(function*() {
      const store = yield* makeDirectory
      const env = { INIT_IMAGE_STORE: "directory", INIT_IMAGE_STORE_DIRECTORY: store }
      const log: Array<string> = []
      const { stream, url } = yield* serve({ env, log: (line) => void log.push(line) })
      const client = yield* connect(`${stream}?session_id=s`)
      yield* client.sendJson(init(picture(3)))
      assert.deepStrictEqual(yield* client.next, answer(image(3)))
      yield* moveAway(store)
      yield* client.sendJson(update(picture(4)))
      assert.deepInclude(yield* client.next, { type: "error", code: "internal_error" })
      yield* client.sendJson({ type: "ping" })
      assert.deepStrictEqual(yield* client.next, { type: "pong" })
      assert.strictEqual((yield* putImage(url, png())).status, 500)
      assert.include(log.join("\n"), "The image store")
      assert.notInclude(log.join("\n"), store)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("answers 500 where its object store does not answer, and keeps no file", () =>
    Effect.gen(function*() {
      const env = {
        INIT_IMAGE_STORE: "s3",
        // Nothing listens on the port of the discard protocol.
        AWS_ENDPOINT_URL_S3: "http://127.0.0.1:9",
        AWS_ACCESS_KEY_ID: "key",
        AWS_SECRET_ACCESS_KEY: "secret",
        INIT_IMAGE_BUCKET: "bucket"
      }
      const log: Array<string> = []
      const { empty, url } = yield* serve({ env, log: (line) => void log.push(line) })
      assert.strictEqual((yield* putImage(url, png())).status, 500)
      assert.include(log.join("\n"), "The image store does not answer")
      assert.notMatch(log.join("\n"), /named-|AWS4|secret/)
      yield* empty
    }))

  it.scopedLive("does not start without the settings of its store", () =>
    Effect.gen(function*() {
      const missing = yield* Effect.flip(
        serve({ env: { INIT_IMAGE_STORE: "s3", AWS_ENDPOINT_URL: "http://127.0.0.1:9" } })
      )
      assert.include(String(missing), "INIT_IMAGE_BUCKET")
      assert.include(String(yield* Effect.flip(serve({ env: { INIT_IMAGE_STORE: "ftp" } }))), "INIT_IMAGE_STORE")
      const short = {
        INIT_IMAGE_STORE: "directory",
        INIT_IMAGE_STORE_DIRECTORY: "/nowhere",
        INIT_IMAGE_STORE_TIME_TO_LIVE: "20 seconds"
      }
      assert.include(String(yield* Effect.flip(serve({ env: short }))), "at least 1 minute")
      const cluster = { INIT_IMAGE_CLUSTER_DATABASE_URL: "postgres://127.0.0.1:9/test" }
      assert.include(String(yield* Effect.flip(serve({ env: cluster }))), "A cluster keeps its images in a store")
    }))
})
