import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { request } from "node:http"
import * as protocol from "../../../src/internal/protocol.js"
import { png, pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { leaveOut } from "../../utils/peers.js"
import { connect } from "../../utils/webSocketClient.js"
import { serve } from "../server/testServer.js"
import { executable, start } from "./nginx.js"

if (executable === undefined) leaveOut("nginx", "sessions and origins work behind a proxy")

const upgradeMap = "map $http_upgrade $connection_upgrade { default upgrade; '' ''; }"

/** The sample of the README, with the given lines in place of those on the host. */
const locationOf = (port: number, host: string, readTimeout = "60s") => `
  client_max_body_size 54m;
  location / {
    proxy_pass http://127.0.0.1:${port};
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_read_timeout ${readTimeout};
    ${host}
  }
`

const passHost = "proxy_set_header Host $http_host;"

const proxy = (port: number, host: string, readTimeout?: string) =>
  Effect.provide(start({ http: upgradeMap, server: locationOf(port, host, readTimeout) }), NodeContext.layer)

const put = (port: number, headers: Record<string, string>, body = JSON.stringify(payloadOf("image/png", png()))) =>
  Effect.async<number | undefined>((resume) => {
    const outgoing = request({
      host: "127.0.0.1",
      port,
      method: "PUT",
      path: "/sessions/a/init-image",
      headers: { "content-type": "application/json", "content-length": body.length, ...headers }
    }, (response) => {
      response.resume().on("end", () => resume(Effect.succeed(response.statusCode)))
    })
    outgoing.on("error", (error) => resume(Effect.die(error)))
    outgoing.end(body)
  })

const site = (port: number) => ({ host: `images.example:${port}`, origin: `http://images.example:${port}` })

describe.skipIf(executable === undefined)("a session behind nginx", () => {
  const quietFor = Effect.fnUntraced(function*(keepAlive: string) {
    const server = yield* serve({ env: { INIT_IMAGE_KEEP_ALIVE: keepAlive } })
    const port = yield* proxy(server.port, "proxy_set_header Host 127.0.0.1;", "1s")
    const client = yield* connect(`ws://127.0.0.1:${port}/v1/stream`)
    yield* client.sendJson({ type: protocol.openingType, initial_image: payloadOf("image/png", png()) })
    assert.include(yield* client.next, { type: protocol.imageType })
    const ended = yield* Effect.either(
      Effect.timeoutFail(client.closed, { duration: "2500 millis", onTimeout: () => "open" })
    )
    return { client, ended }
  })

  it.scopedLive("lives longer than the proxy's idle limit by the server's pings", () =>
    Effect.gen(function*() {
      const { client, ended } = yield* quietFor("300 millis")
      assert.deepStrictEqual(ended, Either.left("open"))
      yield* client.sendJson({ type: "ping" })
      assert.deepStrictEqual(yield* client.next, { type: "pong" })
      yield* client.sendJson({ type: protocol.updateType, initial_image: null })
      assert.deepStrictEqual(yield* client.next, protocol.imageMessage(null))
    }))

  it.scopedLive("is closed by the proxy without pings", () =>
    Effect.gen(function*() {
      const { ended } = yield* quietFor("1 hour")
      assert.isTrue(Either.isRight(ended))
    }))
})

describe.skipIf(executable === undefined)("the origin check behind nginx", () => {
  const hosts = { INIT_IMAGE_HOSTS: "images.example" }

  it.scopedLive("takes the proxy's site for the server's own if the proxy passes the Host on", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: hosts })
      const port = yield* proxy(server.port, passHost)
      assert.strictEqual(yield* put(port, site(port)), 200)
      assert.strictEqual(yield* put(port, { ...site(port), origin: "https://evil.example" }), 403)
      const large = JSON.stringify(payloadOf("image/png", pngOfSize(8 * 1024 * 1024)))
      assert.strictEqual(yield* put(port, site(port), large), 200)
    }))

  it.scopedLive("says in the log what is missing if it does not, or if the server does not know its name", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const log = (line: string) => void lines.push(line)
      const server = yield* serve({ log, env: { INIT_IMAGE_LOG_LEVEL: "DEBUG" } })
      const withHost = yield* proxy(server.port, passHost)
      assert.strictEqual(yield* put(withHost, site(withHost)), 403)
      assert.include(lines.at(-1), "the name in its Host header is not in the option hosts")
      const withoutHost = yield* proxy(server.port, "")
      assert.strictEqual(yield* put(withoutHost, site(withoutHost)), 403)
      assert.include(
        lines.at(-1),
        `its origin ${site(withoutHost).origin} is neither in the option origins nor that of its Host header`
      )
    }))

  it.scopedLive("takes the host from X-Forwarded-Host if the operator says so, and not from the client's", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: { ...hosts, INIT_IMAGE_TRUST_PROXY: "true" } })
      const port = yield* proxy(
        server.port,
        "proxy_set_header X-Forwarded-Host $http_host;\nproxy_set_header X-Forwarded-For $remote_addr;"
      )
      assert.strictEqual(yield* put(port, site(port)), 200)
      assert.strictEqual(yield* put(port, { ...site(port), "x-forwarded-host": "evil.example" }), 200)
      const evil = { host: "evil.example", origin: "http://evil.example", "x-forwarded-host": "images.example" }
      assert.strictEqual(yield* put(port, evil), 403)
    }))
})
