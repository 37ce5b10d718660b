import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { writeFileSync } from "node:fs"
import * as Http from "node:http"
import { join } from "node:path"
import { InitImageHttp, InitImageLimits, InitImageSpool } from "../../src/index.js"
import { isDeno } from "../../src/internal/runtime.js"
import { InitImageTest, TestImages } from "../../src/testing/index.js"
import { run } from "../utils/command.js"
import { makeDirectory } from "../utils/directory.js"
import { findCommand, leaveOut } from "../utils/peers.js"
import { collecting } from "../utils/spools.js"
import { listenerOf, serve } from "../utils/webServer.js"
import { connectRaw, eventually } from "../utils/webSocketClient.js"

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

  it.live("answers with a status without a body before the request's has ended", () =>
    Effect.promise(async () => {
      const ignored = Effect.as(Effect.either(InitImageHttp.fromRequest()), HttpServerResponse.empty())
      const { handler } = InitImageHttp.toWebHandler(ignored, InitImageTest.layer)
      let isCancelled = false
      const body = new ReadableStream({
        start: (controller) => controller.enqueue(new Uint8Array(100_000)),
        cancel: () => {
          isCancelled = true
        }
      })
      const headers = { "content-type": "image/png" }
      const request = new Request("http://localhost/", { method: "POST", body, duplex: "half", headers })
      assert.strictEqual((await handler(request)).status, 204)
      assert.isFalse(isCancelled)
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

/** Drains behind a refusal for longer than any client of these tests waits. */
const refusing = InitImageHttp.toWebHandler(
  InitImageHttp.fromRequest({ stallTimeout: "1 hour" }).pipe(Effect.as(HttpServerResponse.empty())),
  Layer.merge(InitImageTest.layer, InitImageLimits.layer({ maxBytes: 100_000 }))
)
const tooLarge = TestImages.png({ bytes: 16 * 1024 * 1024 }).bytes

// In Deno an answer without a length may end only behind the body.
it.scopedLive.skipIf(isDeno)(
  "a client that stops sending to read the answer gets it whole, with its length",
  () =>
    Effect.gen(function*() {
      const port = yield* serve(Http.createServer(listenerOf(refusing.handler)))
      const { received, socket, until } = yield* connectRaw(port)
      const head = `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: ${tooLarge.length}`
      socket.write(`${head}\r\n\r\n`)
      socket.write(tooLarge.subarray(0, 200_000))
      yield* until("\r\n\r\n")
      const length = Number(/^content-length: (\d+)\r$/im.exec(received().toString())?.[1])
      assert.isAbove(length, 0)
      yield* eventually(() => {
        const [, body = ""] = received().toString().split("\r\n\r\n")
        assert.strictEqual(Buffer.byteLength(body), length)
        assert.deepInclude(JSON.parse(body), { _tag: "TooLarge" })
      })
    })
)

const hasCurl = findCommand(["curl"], ["--version"]) !== undefined
if (!hasCurl) leaveOut("curl", "it gets the answer of a web handler to a picture that is too large")

it.scopedLive.skipIf(!hasCurl || isDeno)(
  "curl ends with the answer to a picture that is too large",
  () =>
    Effect.gen(function*() {
      const port = yield* serve(Http.createServer(listenerOf(refusing.handler)))
      const directory = yield* makeDirectory
      const file = join(directory, "large.png")
      writeFileSync(file, tooLarge)
      for (const body of [["-H", "content-type: image/png", "--data-binary", `@${file}`], ["-F", `image=@${file}`]]) {
        const { status, stdout } = yield* Effect.promise(() =>
          run("curl", ["--silent", "--max-time", "120", ...body, `http://127.0.0.1:${port}`])
        )
        assert.strictEqual(status, 0)
        assert.deepInclude(JSON.parse(stdout), { _tag: "TooLarge" })
      }
    }).pipe(Effect.provide(NodeContext.layer))
)

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
