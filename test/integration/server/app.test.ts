import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { type IncomingHttpHeaders, request } from "node:http"
import { png } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { connect, connectRaw, upgradeRequest } from "../../utils/webSocketClient.js"
import { image, init, picture } from "./messages.js"
import { serve } from "./testServer.js"

const json = JSON.stringify(payloadOf("image/png", png(), "ref.png"))

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** Sends a request; `fetch` cannot set `Origin` and `Host`. */
const send = (port: number, method: string, path: string, headers: Record<string, string>, body = "") =>
  Effect.async<Answer>((resume) => {
    const outgoing = request({ host: "127.0.0.1", port, method, path, headers }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (chunk) => {
        text += chunk
      })
      response.on("end", () => resume(Effect.succeed({ status: response.statusCode, headers: response.headers, text })))
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

  it.scopedLive("answers the preflight of a configured origin, and lets its pages read what follows", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ env: { INIT_IMAGE_ORIGINS: "https://app.example/" } })
      const origin = "https://app.example"
      const path = "/sessions/a/init-image"
      const asked = { origin, "access-control-request-method": "PUT", "access-control-request-headers": "content-type" }
      const preflight = yield* send(port, "OPTIONS", path, asked)
      assert.strictEqual(preflight.status, 204)
      const put = yield* send(port, "PUT", path, { origin, "content-type": "application/json" }, json)
      assert.strictEqual(put.status, 200)
      const refused = yield* send(port, "PUT", path, { origin, "content-type": "application/json" }, "{")
      assert.strictEqual(refused.status, 400)
      for (const { headers } of [preflight, put, refused]) {
        assert.strictEqual(headers["access-control-allow-origin"], origin)
      }
    }))

  it.scopedLive("takes a host from X-Forwarded-Host only where the operator says so", () =>
    Effect.gen(function*() {
      const env = { INIT_IMAGE_HOSTS: "images.example" }
      const headers = {
        "x-forwarded-host": "images.example",
        "x-forwarded-proto": "https",
        "origin": "https://images.example"
      }
      const trusting = yield* serve({ env: { ...env, INIT_IMAGE_TRUST_PROXY: "true" } })
      assert.strictEqual(yield* post(trusting.port, headers), 200)
      assert.strictEqual(yield* post(trusting.port, { ...headers, "x-forwarded-host": "evil.example" }), 403)
      const other = yield* serve({ env })
      assert.strictEqual(yield* post(other.port, headers), 403)
    }))

  it.scopedLive("does not start with origins, hosts or a timeout that make no sense", () =>
    Effect.gen(function*() {
      for (
        const [name, value] of [
          ["INIT_IMAGE_ORIGINS", "app.example"],
          ["INIT_IMAGE_ORIGINS", "https://app.example,*"],
          ["INIT_IMAGE_HOSTS", "https://app.example"],
          ["INIT_IMAGE_OPENING_TIMEOUT", "0 seconds"],
          ["INIT_IMAGE_KEEP_ALIVE", "0 seconds"]
        ] as const
      ) {
        const error = yield* Effect.flip(serve({ env: { [name]: value } }))
        assert.include(String(error), name)
      }
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

describe("two sockets of a session", () => {
  const path = "/sessions/a/init-image"
  const open = Effect.fnUntraced(function*(stream: string, width: number) {
    const client = yield* connect(`${stream}?session_id=a`)
    yield* client.sendJson(init(picture(width)))
    yield* client.next
    return client
  })

  it.scopedLive("end their own images only", () =>
    Effect.gen(function*() {
      const { empty, files, port, stream } = yield* serve()
      const bytes = Effect.map(send(port, "GET", path, {}), ({ headers, status }) =>
        status === 200 ? Number(headers["content-length"]) : status)
      const first = yield* open(stream, 1000)
      const second = yield* open(stream, 3)
      yield* first.close
      yield* Effect.sleep("100 millis")
      assert.strictEqual(yield* bytes, image(3).bytes)
      yield* send(port, "DELETE", path, {})
      assert.strictEqual(yield* bytes, 404)
      const put = yield* send(port, "PUT", path, { "content-type": "application/json" }, json)
      assert.strictEqual(put.status, 200)
      yield* second.close
      yield* Effect.sleep("100 millis")
      assert.strictEqual(yield* bytes, png().length)
      assert.lengthOf(files(), 1)
      yield* send(port, "DELETE", path, {})
      // The lease of the last GET may end a moment later.
      yield* empty
    }))
})

describe("the OpenAPI document", () => {
  it.scopedLive("is served as JSON and as a page", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const { text } = yield* send(port, "GET", "/openapi.json", {})
      assert.strictEqual(JSON.parse(text).openapi, "3.1.0")
      const docs = yield* send(port, "GET", "/docs", {})
      assert.include(docs.text, "SwaggerUIBundle")
      assert.include(docs.text, "/v1/stream")
    }))

  interface Response {
    readonly content?: Record<string, object>
  }

  const read = Effect.fnUntraced(function*(port: number) {
    // The parts of an OpenAPI document that the tests read.
    return JSON.parse((yield* send(port, "GET", "/openapi.json", {})).text) as {
      readonly info: { readonly version: string }
      readonly paths: Record<string, Record<string, { readonly responses: Record<string, Response> }>>
      readonly components: {
        readonly schemas: Record<string, { readonly properties: Record<string, { readonly maxLength?: number }> }>
      }
    }
  })

  it.scopedLive("has the package's version and every route, with the status and the media type that each answers", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const { info, paths } = yield* read(port)
      const manifest: unknown = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"))
      assert.deepInclude(manifest, { version: info.version })
      const asked = {
        "POST /v1/init-image": 200,
        "GET /v1/stream": 426,
        "PUT /sessions/a/init-image": 200,
        "GET /sessions/a/init-image": 200,
        "DELETE /sessions/a/init-image": 204,
        "GET /": 200,
        "GET /healthz": 200,
        "GET /metrics": 200,
        "GET /docs": 200,
        "GET /openapi.json": 200
      }
      const listed = Object.entries(paths).flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace("{sessionId}", "a")}`)
      )
      assert.sameMembers(listed, Object.keys(asked))
      for (const [route, status] of Object.entries(asked)) {
        const [method = "", path = ""] = route.split(" ")
        const body = method === "POST" || method === "PUT" ? json : ""
        const answer = yield* send(port, method, path, { "content-type": "application/json" }, body)
        assert.strictEqual(answer.status, status, route)
        const operation = paths[path.replace("/a/", "/{sessionId}/")]?.[method.toLowerCase()]
        const response = operation?.responses[status] ?? assert.fail(route)
        if (status !== 200) continue
        const [type = ""] = String(answer.headers["content-type"]).split(";")
        assert.property(response.content, type, route)
      }
    }))

  it.scopedLive("states the limits of the server", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ env: { INIT_IMAGE_MAX_BYTES: "10000", INIT_IMAGE_MAX_PIXELS: "123456" } })
      const document = yield* read(port)
      const text = JSON.stringify(document)
      assert.include(text, "At most 10,000 bytes and 123,456 pixels")
      assert.notMatch(text, /32 MiB|33,554,432|89,478,485/)
      assert.strictEqual(document.components.schemas["InitImagePayload"]?.properties["data"]?.maxLength, 13_336)
    }))
})

describe("a response", () => {
  const paths = [
    "/healthz",
    "/",
    "/page.js",
    "/docs",
    "/openapi.json",
    "/metrics",
    "/nowhere",
    "/sessions/a/init-image"
  ]

  it.scopedLive("is nothing else than its type says, and runs nothing that the server did not write", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      for (const path of paths) {
        const { headers } = yield* send(port, "GET", path, {})
        assert.strictEqual(headers["x-content-type-options"], "nosniff")
        const policy = String(headers["content-security-policy"])
        assert.match(policy, /^default-src 'none'.*frame-ancestors 'none'/)
        assert.notInclude(policy, "unsafe")
      }
    }))

  it.scopedLive("to HEAD has the status and the headers of that to GET", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      yield* send(port, "PUT", "/sessions/b/init-image", { "content-type": "application/json" }, json)
      for (const path of [...paths, "/sessions/b/init-image"]) {
        const [get, head] = yield* Effect.all(["GET", "HEAD"].map((method) => send(port, method, path, {})))
        assert.strictEqual(head?.status, get?.status)
        const { date: _date, ...headers } = head?.headers ?? {}
        assert.deepInclude(get?.headers, headers)
        assert.strictEqual(head?.text, "")
      }
    }))

  it.scopedLive("to a refused request does not ask for the body", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const png = { "Content-Type": "image/png" }
      const refusals: ReadonlyArray<readonly [status: number, head: string, headers: Record<string, string>]> = [
        [415, "POST /v1/init-image", { "Content-Type": "image/gif" }],
        [413, "POST /v1/init-image", { ...png, "Content-Length": "99999999" }],
        [403, "POST /v1/init-image", { ...png, Origin: "https://evil.example" }],
        [403, "POST /v1/init-image", { ...png, "Sec-Fetch-Site": "cross-site" }],
        [404, "POST /nowhere", png],
        [415, "PUT /sessions/a/init-image", { ...png, "Content-Encoding": "gzip" }]
      ]
      for (const [status, head, headers] of refusals) {
        const { received, socket, until } = yield* connectRaw(port)
        const fields = { "Host": "localhost", "Content-Length": "100", "Expect": "100-continue", ...headers }
        const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`)
        socket.write([`${head} HTTP/1.1`, ...lines, "", ""].join("\r\n"))
        yield* until("\"message\"")
        assert.match(received().toString(), new RegExp(`^HTTP/1.1 ${status} `))
      }
    }))

  it.scopedLive("with an image may be embedded by pages of other origins if there are any", () =>
    Effect.gen(function*() {
      for (
        const [env, policy] of [[{}, "same-origin"], [
          { INIT_IMAGE_ORIGINS: "https://a.example" },
          "cross-origin"
        ]] as const
      ) {
        const { port } = yield* serve({ env })
        yield* send(port, "PUT", "/sessions/a/init-image", { "content-type": "application/json" }, json)
        const { headers } = yield* send(port, "GET", "/sessions/a/init-image", {})
        assert.strictEqual(headers["cross-origin-resource-policy"], policy)
      }
    }))
})

describe("a server", () => {
  it.scopedLive("does not start if its byte limit exceeds the maximum WebSocket frame", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.sandbox(serve({ env: { INIT_IMAGE_MAX_BYTES: "100000000" } })))
      assert.include(String(error), "166732206")
    }))
})
