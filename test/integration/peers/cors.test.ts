import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createServer } from "node:http"
import { pngOfSize } from "../../utils/images.js"
import { leaveOut } from "../../utils/peers.js"
import { executable, launch } from "../browser/chromium.js"
import { serve } from "../server/testServer.js"

if (executable === undefined) leaveOut("Chromium", "pages of other origins work in a browser")

/** Serves an empty page until the scope closes; answers its origin. */
const makeSite = Effect.gen(function*() {
  const server = createServer((_, response) => response.setHeader("content-type", "text/html").end("<title>a</title>"))
  yield* Effect.acquireRelease(
    Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const address = server.address()
  return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
})

/** A browser with a page of the site. */
const visit = Effect.fnUntraced(function*(origin: string) {
  const browser = yield* launch
  const page = yield* Effect.promise(() => browser.newPage())
  yield* Effect.promise(() => page.goto(origin))
  return (script: string): Effect.Effect<unknown> => Effect.promise(() => page.evaluate(`(async () => {${script}})()`))
})

const image = pngOfSize(2000)

const requests = (url: string) => `
  const headers = { "content-type": "image/png", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }
  const send = async (path, options) => {
    try {
      const response = await fetch(${JSON.stringify(url)} + path, options)
      return { status: response.status, headers: Object.fromEntries(response.headers), text: await response.text() }
    } catch (error) {
      return { error: error.name }
    }
  }
  const image = Uint8Array.from(atob(${JSON.stringify(Buffer.from(image).toString("base64"))}), (c) => c.charCodeAt(0))
`

describe.skipIf(executable === undefined)("a page of another origin", () => {
  it.scopedLive("puts, reads and deletes an image if its origin is allowed, and reads why one is refused", () =>
    Effect.gen(function*() {
      const origin = yield* makeSite
      const server = yield* serve({ env: { INIT_IMAGE_ORIGINS: `https://app.example,${origin}/` } })
      const run = yield* visit(origin)
      const answers = yield* run(`
        ${requests(server.url)}
        const path = "/sessions/a/init-image?name=ref.png"
        return {
          put: await send(path, { method: "PUT", headers, body: image }),
          get: await send(path, {}),
          refused: await send(path, { method: "PUT", headers, body: image.subarray(0, 1000) }),
          post: await send("/v1/init-image", { method: "POST", headers, body: image }),
          deleted: await send(path, { method: "DELETE" })
        }
      `)
      const { deleted, get, post, put, refused } = answers as Record<
        string,
        { readonly status: number; readonly headers: Record<string, string>; readonly text: string }
      >
      assert.strictEqual(put?.status, 200)
      assert.include(JSON.parse(put?.text ?? ""), { mime: "image/png", bytes: 2000 })
      assert.strictEqual(get?.status, 200)
      assert.include(get?.headers["content-disposition"], "ref.png")
      assert.strictEqual(refused?.status, 422)
      assert.include(JSON.parse(refused?.text ?? ""), { _tag: "MalformedImage" })
      assert.strictEqual(post?.status, 200)
      assert.strictEqual(deleted?.status, 204)
      assert.deepStrictEqual(server.files(), [])
    }))

  it.scopedLive("reads when to try again if the server is full", () =>
    Effect.gen(function*() {
      const origin = yield* makeSite
      const server = yield* serve({
        env: { INIT_IMAGE_ORIGINS: origin, INIT_IMAGE_MAX_FILES_KEPT: "1" }
      })
      const run = yield* visit(origin)
      const answer = yield* run(`
        ${requests(server.url)}
        await send("/sessions/a/init-image", { method: "PUT", headers, body: image })
        return send("/sessions/b/init-image", { method: "PUT", headers, body: image })
      `)
      assert.deepInclude(answer, { status: 503 })
      const { headers } = answer as { readonly headers: Record<string, string> }
      assert.strictEqual(headers["retry-after"], "10")
    }))

  it.scopedLive("is refused if its origin is not allowed, and changes nothing", () =>
    Effect.gen(function*() {
      const origin = yield* makeSite
      const server = yield* serve({ env: { INIT_IMAGE_ORIGINS: "https://app.example" } })
      const run = yield* visit(origin)
      const answers = yield* run(`
        ${requests(server.url)}
        const path = "/sessions/a/init-image"
        const socket = await new Promise((resolve) => {
          const socket = new WebSocket(${JSON.stringify(server.stream)})
          socket.onopen = () => resolve("open")
          socket.onerror = () => resolve("refused")
        })
        return [
          socket,
          await send(path, { method: "PUT", headers, body: image }),
          await send("/v1/init-image", { method: "POST", body: "{}" }),
          await send(path, {}),
          await send("/healthz", {})
        ]
      `)
      const blocked = { error: "TypeError" }
      assert.deepStrictEqual(answers, ["refused", blocked, blocked, blocked, blocked])
      assert.deepStrictEqual(server.files(), [])
    }))

  it.scopedLive("opens a session if its origin is allowed, and gets a pong", () =>
    Effect.gen(function*() {
      const origin = yield* makeSite
      const server = yield* serve({ env: { INIT_IMAGE_ORIGINS: origin } })
      const run = yield* visit(origin)
      const answer = yield* run(`
        const socket = new WebSocket(${JSON.stringify(server.stream)})
        return new Promise((resolve, reject) => {
          socket.onopen = () => socket.send('{"type":"ping"}')
          socket.onmessage = ({ data }) => resolve(data)
          socket.onclose = reject
        })
      `)
      assert.strictEqual(answer, "{\"type\":\"pong\"}")
    }))
})
