import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { request } from "node:http"
import { png } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { connect, connectRaw, upgradeRequest } from "../../utils/webSocketClient.js"
import { serve } from "./testServer.js"

const json = JSON.stringify(payloadOf("image/png", png(), "ref.png"))

/** Sends a request; `fetch` cannot set `Origin` and `Host`. */
const send = (port: number, method: string, path: string, headers: Record<string, string>, body = "") =>
  Effect.async<{ readonly status: number | undefined; readonly text: string }>((resume) => {
    const outgoing = request({ host: "127.0.0.1", port, method, path, headers }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (chunk) => {
        text += chunk
      })
      response.on("end", () => resume(Effect.succeed({ status: response.statusCode, text })))
    })
    outgoing.end(body)
  })

const post = (port: number, headers: Record<string, string>) =>
  Effect.map(
    send(port, "POST", "/v1/init-image", { "content-type": "application/json", ...headers }, json),
    ({ status }) => status
  )

const upgrade = Effect.fnUntraced(function*(port: number, headers: Record<string, string>) {
  const client = yield* connectRaw(port)
  client.socket.write(upgradeRequest(headers))
  yield* client.until("\r\n\r\n")
  return Number(client.received().toString().slice(9, 12))
})

describe("the origin policy", () => {
  it.scopedLive("refuses changes and WebSockets of another site: 403", () =>
    Effect.gen(function*() {
      const { files, port } = yield* serve()
      for (const origin of ["https://evil.example", "null", `http://127.0.0.1:${port + 1}`, "http://127.0.0.1"]) {
        assert.strictEqual(yield* post(port, { origin }), 403)
        assert.strictEqual(yield* upgrade(port, { Origin: origin, Host: `127.0.0.1:${port}` }), 403)
        const path = "/sessions/a/init-image"
        assert.strictEqual((yield* send(port, "PUT", path, { origin }, json)).status, 403)
        assert.strictEqual((yield* send(port, "DELETE", path, { origin })).status, 403)
        assert.strictEqual((yield* send(port, "GET", "/healthz", { origin })).status, 200)
      }
      assert.isEmpty(files())
    }))

  it.scopedLive("accepts the server's own origin, by each name of the loopback address", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      for (const name of ["127.0.0.1", "localhost", "[::1]"]) {
        const headers = { host: `${name}:${port}`, origin: `http://${name}:${port}` }
        assert.strictEqual(yield* post(port, headers), 200)
        assert.strictEqual(yield* upgrade(port, { Host: headers.host, Origin: headers.origin }), 101)
      }
    }))

  it.scopedLive("refuses a foreign name that resolves to the loopback address", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const headers = { host: `evil.example:${port}`, origin: `http://evil.example:${port}` }
      assert.strictEqual(yield* post(port, headers), 403)
      assert.strictEqual(yield* upgrade(port, { Host: headers.host, Origin: headers.origin }), 403)
    }))

  it.scopedLive("accepts configured origins and hosts", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({
        env: {
          INIT_IMAGE_ORIGINS: "https://app.example,http://other.example:81",
          INIT_IMAGE_HOSTS: "images.example,127.0.0.1"
        }
      })
      assert.strictEqual(yield* post(port, { origin: "https://app.example" }), 200)
      assert.strictEqual(yield* post(port, { origin: "http://other.example:81" }), 200)
      assert.strictEqual(yield* post(port, { host: "images.example", origin: "https://images.example" }), 200)
      assert.strictEqual(yield* post(port, { host: `localhost:${port}` }), 403)
    }))
})

describe("a session with an id", () => {
  it.scopedLive("serves its image under that id while its socket is open", () =>
    Effect.gen(function*() {
      const { empty, port, stream } = yield* serve()
      const path = "/sessions/a%20b/init-image"
      assert.strictEqual((yield* send(port, "GET", path, {})).status, 404)
      const client = yield* connect(`${stream}?session_id=a%20b`)
      yield* client.sendJson({ type: "session_init_v2", initial_image: JSON.parse(json) })
      yield* client.next
      const { status, text } = yield* send(port, "GET", path, {})
      assert.strictEqual(status, 200)
      assert.include(text, "PNG")
      assert.strictEqual((yield* send(port, "GET", "/sessions/a/init-image", {})).status, 404)
      yield* client.close
      yield* empty
      assert.strictEqual((yield* send(port, "GET", path, {})).status, 404)
    }))
})

describe("the OpenAPI document", () => {
  it.scopedLive("is served as JSON and as a page", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const { text } = yield* send(port, "GET", "/openapi.json", {})
      assert.hasAllKeys(JSON.parse(text).paths, ["/sessions/{sessionId}/init-image"])
      const docs = yield* send(port, "GET", "/docs", {})
      assert.include(docs.text, "SwaggerUIBundle")
    }))
})

describe("a server", () => {
  it.scopedLive("does not start if its byte limit exceeds the maximum WebSocket frame", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.sandbox(serve({ env: { INIT_IMAGE_MAX_BYTES: "100000000" } })))
      assert.include(String(error), "134381912")
    }))
})
