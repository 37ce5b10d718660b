import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as RpcClient from "@effect/rpc/RpcClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { moveAway } from "../integration/server/testServer.js"
import { png, pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { connect } from "../utils/webSocketClient.js"
import * as generator from "./generator.js"
import * as rpc from "./rpc.js"
import { makeSlowGenerator, post, serve } from "./serving.js"

const serveRpc = (generatorLayer: typeof generator.layer) =>
  serve(
    HttpLayerRouter.serve(rpc.layer).pipe(
      Layer.provide([generatorLayer, rpc.layerMaxBodySize])
    )
  )

const protocols = {
  HTTP: ({ url }: { readonly url: string; readonly socketUrl: string }) =>
    RpcClient.layerProtocolHttp({ url: `${url}/rpc` }).pipe(Layer.provide(NodeHttpClient.layerUndici)),
  "a WebSocket": ({ socketUrl }: { readonly url: string; readonly socketUrl: string }) =>
    RpcClient.layerProtocolSocket().pipe(Layer.provide(NodeSocket.layerWebSocket(`${socketUrl}/rpc/socket`)))
}

/** Connects a client until the test ends. */
const connectRpc = (
  protocol: Layer.Layer<RpcClient.Protocol, never, Layer.Layer.Success<typeof rpc.layerSerialization>>
) =>
  Effect.flatMap(
    Layer.build(protocol.pipe(Layer.provide(rpc.layerSerialization))),
    (context) => Effect.provide(RpcClient.make(rpc.Clips), context)
  )

const image = payloadOf("image/png", png({ width: 3, height: 2 }))

for (const [name, protocol] of Object.entries(protocols)) {
  describe(`RPCs over ${name}`, () => {
    it.scopedLive("remove the file at the end of a call, while the client stays connected", () =>
      Effect.gen(function*() {
        const { go, layer, started } = yield* makeSlowGenerator
        const server = yield* serveRpc(layer.pipe(Layer.provide(generator.layer)))
        const client = yield* connectRpc(protocol(server))
        const calling = yield* Effect.fork(client.Generate({ prompt: "rain", image }))
        yield* started
        assert.lengthOf(server.images(), 1)
        yield* go
        assert.deepStrictEqual(Option.getOrNull(yield* Fiber.join(calling)), { prompt: "rain", width: 3, height: 2 })
        assert.deepStrictEqual(server.images(), [])
        assert.isTrue(Option.isSome(yield* client.Generate({ prompt: "snow", image })))
        assert.deepStrictEqual(server.images(), [])
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("remove the file of a call that the client interrupts", () =>
      Effect.gen(function*() {
        const { layer, started } = yield* makeSlowGenerator
        const server = yield* serveRpc(layer.pipe(Layer.provide(generator.layer)))
        const client = yield* connectRpc(protocol(server))
        const calling = yield* Effect.fork(client.Generate({ prompt: "rain", image }))
        yield* started
        yield* Fiber.interrupt(calling)
        yield* server.left(0)
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("fail with the image error, and answer none without an image", () =>
      Effect.gen(function*() {
        const server = yield* serveRpc(generator.layer)
        const client = yield* connectRpc(protocol(server))
        const call = (image: unknown) => Effect.flip(client.Generate({ prompt: "rain", image }))
        assert.include(yield* call({ ...image, mime: "image/webp" }), { _tag: "ContentMismatch", detected: "png" })
        assert.include(yield* call({ ...image, data: "iVBOR-_=" }), { _tag: "BadBase64", offset: 5 })
        assert.include(yield* call("a picture"), { _tag: "InvalidPayload", reason: "NotAnObject" })
        assert.isTrue(Option.isNone(yield* client.Generate({ prompt: "rain", image: null })))
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("take an image larger than the default buffer", () =>
      Effect.gen(function*() {
        const server = yield* serveRpc(generator.layer)
        const client = yield* connectRpc(protocol(server))
        const large = payloadOf("image/png", pngOfSize(14 * 1024 * 1024))
        assert.isTrue(Option.isSome(yield* client.Generate({ prompt: "rain", image: large })))
        const tooLarge = payloadOf("image/png", pngOfSize(24 * 1024 * 1024 + 1))
        const error = yield* Effect.flip(client.Generate({ prompt: "rain", image: tooLarge }))
        assert.include(error, { _tag: "TooLarge", limit: 24 * 1024 * 1024 })
      }).pipe(Effect.provide(NodeContext.layer)))

    it.scopedLive("log a disk error and do not send it to the client", () =>
      Effect.gen(function*() {
        const server = yield* serveRpc(generator.layer)
        const client = yield* connectRpc(protocol(server))
        yield* moveAway(server.directory)
        const error = yield* Effect.flip(client.Generate({ prompt: "rain", image }))
        assert.strictEqual(JSON.stringify(error), "{\"_tag\":\"Failed\"}")
        assert.include(server.log(), "A clip failed")
      }).pipe(Effect.provide(NodeContext.layer)))
  })
}

describe("an invalid call", () => {
  const call = JSON.stringify({ _tag: "Request", id: "1", tag: "Generate", payload: { prompt: 1, image }, headers: [] })

  it.scopedLive("is answered without its image", () =>
    Effect.gen(function*() {
      const server = yield* serveRpc(generator.layer)
      const { text } = yield* post(`${server.url}/rpc`, "application/ndjson", `${call}\n`)
      assert.include(text, "Expected string, actual 1")
      assert.notInclude(text, image.data.slice(0, 12))
      const client = yield* connect(`${server.socketUrl}/rpc/socket`)
      yield* client.send(`${call}\n`)
      const answer = JSON.stringify(yield* client.next)
      assert.include(answer, "Expected string, actual 1")
      assert.notInclude(answer, image.data.slice(0, 12))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("over HTTP loses its connection beyond the size of the largest image", () =>
    Effect.gen(function*() {
      const server = yield* serveRpc(generator.layer)
      const call = (length: number) =>
        Effect.exit(post(`${server.url}/rpc`, "application/ndjson", new Uint8Array(length)))
      assert.isTrue(Exit.isSuccess(yield* call(1024 * 1024)))
      assert.isTrue(Exit.isFailure(yield* call(64 * 1024 * 1024)))
    }).pipe(Effect.provide(NodeContext.layer)))
})
