import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Http from "node:http"
import { InitImageHttp, InitImageSpool } from "../../src/index.js"
import { InitImageTest, TestImages } from "../../src/testing/index.js"
import { collecting } from "../utils/spools.js"
import { serve } from "../utils/webServer.js"

const picture = TestImages.png({ width: 3, height: 2 })

const requestOf = (bytes: Uint8Array<ArrayBuffer>, signal?: AbortSignal) =>
  new Request("http://localhost/?name=secret.png", {
    method: "POST",
    body: bytes,
    headers: { "content-type": "image/png" },
    ...signal === undefined ? {} : { signal }
  })

const receive = Effect.map(
  InitImageHttp.fromRequest(),
  (image) => HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
)

describe("toWebHandler", () => {
  it.live("shares its layer between requests, and ends it with dispose", () =>
    Effect.promise(async () => {
      let builds = 0
      let ends = 0
      const counted = Layer.scopedDiscard(
        Effect.acquireRelease(Effect.sync(() => ++builds), () => Effect.sync(() => ++ends))
      )
      const layer = Layer.provideMerge(Layer.merge(counted, InitImageSpool.layer()), InitImageTest.layer)
      const { dispose, handler } = InitImageHttp.toWebHandler(receive, layer)
      for (let i = 0; i < 2; i++) {
        const response = await handler(requestOf(picture.bytes))
        assert.strictEqual(response.status, 200)
        assert.deepInclude(await response.json(), { bytes: picture.bytes.length, display_name: "secret.png" })
      }
      assert.deepStrictEqual([builds, ends], [1, 0])
      await dispose()
      assert.deepStrictEqual([builds, ends], [1, 1])
    }))

  it.live("logs a failure of the disk, and answers 500 with nothing", () =>
    Effect.promise(async () => {
      const lines: Array<string> = []
      const layer = Layer.merge(InitImageTest.layerFailing({ after: 0 }), collecting(lines))
      const { handler } = InitImageHttp.toWebHandler(receive, layer)
      const response = await handler(requestOf(picture.bytes))
      assert.deepStrictEqual([response.status, await response.text()], [500, ""])
      assert.include(lines.join(), "A request failed")
      assert.include(lines.join(), "ENOSPC")
      assert.notInclude(lines.join(), "secret")
    }))

  it.live("logs no refusal", () =>
    Effect.promise(async () => {
      const lines: Array<string> = []
      const { handler } = InitImageHttp.toWebHandler(receive, Layer.merge(InitImageTest.layer, collecting(lines)))
      assert.strictEqual((await handler(requestOf(TestImages.refused.truncated.bytes))).status, 422)
      assert.deepStrictEqual(lines, [])
    }))

  it.live("interrupts the app, also without a router, where the client goes away", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const slow = InitImageHttp.fromRequest().pipe(
        Effect.zipRight(Deferred.succeed(started, void 0)),
        Effect.zipRight(Effect.never),
        Effect.onInterrupt(() => Deferred.succeed(ended, void 0))
      )
      const { handler } = InitImageHttp.toWebHandler(slow, InitImageTest.layer)
      const client = new AbortController()
      const answer = handler(requestOf(picture.bytes, client.signal))
      yield* Deferred.await(started)
      client.abort()
      yield* Deferred.await(ended)
      assert.strictEqual((yield* Effect.promise(() => answer)).status, 499)
    }))
})

it.scopedLive("a body that a parser has read before is answered with 500, and the log says what to do", () =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const handler = yield* NodeHttpServer.makeHandler(Effect.tapErrorCause(receive, Effect.logError)).pipe(
      Effect.provide(Layer.merge(InitImageTest.layer, collecting(lines)))
    )
    const port = yield* serve(Http.createServer((request, response) => {
      // As `express.json()` does.
      request.resume().once("end", () => handler(request, response))
    }))
    const { status } = yield* Effect.promise(() =>
      fetch(`http://127.0.0.1:${port}`, {
        method: "POST",
        body: picture.bytes,
        headers: { "content-type": "image/png" }
      })
    )
    assert.strictEqual(status, 500)
    assert.include(lines.join(), "before parsers of the body")
  }))
