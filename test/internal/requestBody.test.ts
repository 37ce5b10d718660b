import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import * as Http from "node:http"
import * as requestBody from "../../src/internal/requestBody.js"
import { connectRaw } from "../utils/webSocketClient.js"

/** A server that refuses whatever it is sent after the first byte, with that much patience. */
const serve = Effect.fnUntraced(function*(patience: requestBody.Patience) {
  const { address, serve } = yield* NodeHttpServer.make(() => Http.createServer(), { host: "127.0.0.1", port: 0 })
  yield* serve(Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const body = yield* requestBody.open(request, patience)
    yield* Stream.runHead(body.stream)
    return HttpServerResponse.text("refused", { status: 413 })
  }))
  const client = yield* connectRaw(address._tag === "TcpAddress" ? address.port : 0)
  client.socket.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n")
  client.socket.write("a")
  yield* client.until("\r\ncontent-length: 7\r\n")
  yield* client.until("refused")
  return client
}, Effect.provide(NodeHttpServer.layerContext))

describe("an early answer", () => {
  it.scopedLive("is ended behind it where the client sends more than is discarded", () =>
    Effect.gen(function*() {
      const { ended, socket } = yield* serve({ maxDiscarded: 1_000_000, stallTimeout: "1 minute" })
      socket.write(Buffer.alloc(2_000_000))
      yield* ended
    }))

  it.scopedLive("is not ended where the client sends no more than that", () =>
    Effect.gen(function*() {
      const { received, socket, until } = yield* serve({ maxDiscarded: 10_000_000, stallTimeout: "1 minute" })
      socket.write(Buffer.alloc(9_999_999))
      socket.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na")
      yield* until("refusedHTTP/1.1 413")
      assert.notInclude(received().toString().toLowerCase(), "connection: close")
    }))

  it.scopedLive("is ended behind it where the client stops sending", () =>
    Effect.gen(function*() {
      const { ended } = yield* serve({ maxDiscarded: 10_000_000, stallTimeout: "100 millis" })
      yield* ended
    }))

  it.scopedLive("waits for a client that sends slowly", () =>
    Effect.gen(function*() {
      const { socket, until } = yield* serve({ maxDiscarded: 10_000_000, stallTimeout: "500 millis" })
      const pieces = 12
      for (let i = 0; i < pieces; i++) {
        socket.write(Buffer.alloc(1))
        yield* Effect.sleep("150 millis")
      }
      socket.write(Buffer.alloc(9_999_999 - pieces))
      socket.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na")
      yield* until("refusedHTTP/1.1 413")
    }))
})
