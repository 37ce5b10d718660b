import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import * as Http from "node:http"
import { png, pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { connectRaw, eventually } from "../utils/webSocketClient.js"
import { makePictures } from "./pictures.js"
import { hostileName, refusals, safeName } from "./refusals.js"
import { serve } from "./testServer.js"

const post = (url: string, body: string) =>
  Effect.promise(async () => {
    const response = await fetch(`${url}/v1/init-image`, {
      method: "POST",
      body,
      headers: { "content-type": "application/json" }
    })
    return { status: response.status, text: await response.text() }
  })

const postJson = (url: string, payload: unknown) => post(url, JSON.stringify(payload))

/** Sends a body of so many bytes as a client does that first sends everything and then reads. */
const postRaw = Effect.fnUntraced(function*(port: number, length: number, connection: string, chunked: boolean) {
  const { received, socket, until } = yield* connectRaw(port)
  const piece = Buffer.alloc(1024 * 1024, "A")
  socket.write([
    "POST /v1/init-image HTTP/1.1",
    "Host: localhost",
    `Connection: ${connection}`,
    chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`,
    "",
    ""
  ].join("\r\n"))
  const write = (data: string | Buffer) =>
    Effect.async<void>((resume) => {
      socket.write(data, () => resume(Effect.void))
    })
  for (let sent = 0; sent < length; sent += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, length - sent))
    if (chunked) yield* write(`${part.length.toString(16)}\r\n`)
    yield* write(part)
    if (chunked) yield* write("\r\n")
  }
  if (chunked) yield* write("0\r\n\r\n")
  yield* until("}")
  return received().toString()
}, Effect.scoped)

describe("POST /v1/init-image", () => {
  it.scopedLive("takes real pictures and keeps nothing of them", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const { height, payload, width } of yield* Effect.promise(makePictures)) {
        const { status, text } = yield* postJson(server.url, payload)
        assert.strictEqual(status, 200)
        assert.deepStrictEqual(JSON.parse(text), {
          mime: payload.mime,
          display_name: payload.name,
          bytes: Buffer.from(payload.data, "base64").length,
          width,
          height
        })
        yield* server.empty
      }
    }))

  it.scopedLive("answers null when there is no image", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      assert.deepStrictEqual(yield* post(server.url, "null"), { status: 200, text: "null" })
      assert.deepStrictEqual(yield* post(server.url, "{}"), { status: 200, text: "null" })
    }))

  it.scopedLive("shows a hostile name as one that is safe", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const { text } = yield* postJson(server.url, { ...payloadOf("image/png", png()), name: hostileName })
      assert.include(JSON.parse(text), { display_name: safeName })
    }))

  for (const { payload, status, tag, title } of refusals) {
    it.scopedLive(`refuses ${title}: ${tag}, ${status}`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const answer = yield* postJson(server.url, payload())
        assert.strictEqual(answer.status, status)
        assert.include(JSON.parse(answer.text), { _tag: tag })
        assert.isBelow(answer.text.length, 1024)
        assert.deepStrictEqual(server.files(), [])
      }))
  }

  it.scopedLive("refuses a body that is not JSON with 400", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const body of ["", "hello", "{\"mime\":"]) {
        const { status, text } = yield* post(server.url, body)
        assert.strictEqual(status, 400)
        assert.include(JSON.parse(text), { _tag: "InvalidPayload" })
      }
    }))

  for (const megabytes of [2, 60, 200]) {
    for (const connection of ["keep-alive", "close"]) {
      for (const chunked of [false, true]) {
        const title = `${megabytes} MB, ${connection}${chunked ? ", chunked" : ""}`
        it.scopedLive(`lets a client that sends too much read its 413: ${title}`, () =>
          Effect.gen(function*() {
            const server = yield* serve({ env: { INIT_IMAGE_MAX_BYTES: "100000" } })
            const answer = yield* postRaw(server.port, megabytes * 1_000_000, connection, chunked)
            assert.match(answer, /^HTTP\/1\.1 413 /)
            assert.include(answer, "\"_tag\":\"TooLarge\"")
            assert.include(answer, "\"limit\":100000")
          }))
      }
    }
  }

  it.scopedLive("serves the next request on a connection whose last one was too large", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: { INIT_IMAGE_MAX_BYTES: "100000" } })
      const agent = yield* Effect.acquireRelease(
        Effect.sync(() => new Http.Agent({ keepAlive: true, maxSockets: 1 })),
        (agent) => Effect.sync(() => agent.destroy())
      )
      const send = (body: Buffer) =>
        Effect.async<{ status: number | undefined; reused: boolean }>((resume) => {
          const request = Http.request(`${server.url}/v1/init-image`, { method: "POST", agent }, (response) => {
            response.resume()
            response.on("end", () =>
              resume(Effect.succeed({ status: response.statusCode, reused: request.reusedSocket })))
          })
          request.on("error", (error) =>
            resume(Effect.die(error)))
          request.end(body)
        })
      assert.deepStrictEqual(yield* send(Buffer.alloc(30_000_000, "A")), { status: 413, reused: false })
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(yield* send(Buffer.from("null")), { status: 200, reused: true })
    }))

  it.scopedLive("takes its limits from the environment", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: { INIT_IMAGE_MAX_BYTES: "1000", INIT_IMAGE_MAX_PIXELS: "100" } })
      assert.deepStrictEqual(JSON.parse((yield* postJson(server.url, payloadOf("image/png", pngOfSize(1001)))).text), {
        _tag: "TooLarge",
        bytes: 1001,
        limit: 1000
      })
      const wide = payloadOf("image/png", png({ width: 101 }))
      assert.deepStrictEqual(JSON.parse((yield* postJson(server.url, wide)).text), {
        _tag: "TooManyPixels",
        width: 101,
        height: 1,
        limit: 100
      })
      assert.strictEqual((yield* postJson(server.url, payloadOf("image/png", pngOfSize(1000)))).status, 200)
    }))

  it.scopedLive("calls storage trouble 500 and says nothing about it", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const server = yield* serve({ env: { INIT_IMAGE_DIRECTORY: "/proc/self" }, log: (line) => log.push(line) })
      assert.deepStrictEqual(yield* postJson(server.url, payloadOf("image/png", png())), { status: 500, text: "" })
      assert.lengthOf(log.filter((line) => line.includes("level=ERROR")), 1)
      assert.notInclude(log.join("\n"), "/proc/self")
    }))

  it.scopedLive("leaves nothing of clients that disconnect at any moment", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const body = JSON.stringify(payloadOf("image/png", pngOfSize(8_000_000)))
      const request = Buffer.from(
        `POST /v1/init-image HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`
      )
      yield* Effect.forEach(
        Array.from({ length: 40 }, (_, i) => i),
        (i) =>
          Effect.scoped(Effect.gen(function*() {
            const { socket } = yield* connectRaw(server.port)
            socket.write(i % 2 === 0 ? request : request.subarray(0, request.length * i / 40))
            yield* Effect.sleep(i * 2)
          })),
        { concurrency: 8, discard: true }
      )
      yield* server.empty
      assert.strictEqual((yield* post(server.url, body)).status, 200)
    }))
})

describe("the server", () => {
  it.scopedLive("answers GET /healthz", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const response = yield* Effect.promise(() => fetch(`${server.url}/healthz`))
      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual(yield* Effect.promise(() => response.json()), { status: "ok" })
    }))

  it.scopedLive("answers what it does not know with 404", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      assert.strictEqual((yield* Effect.promise(() => fetch(`${server.url}/nothing`))).status, 404)
    }))

  it.scopedLive("logs where it listens, and nothing of what it is sent", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const server = yield* serve({ log: (line) => log.push(line) })
      yield* postJson(server.url, { ...payloadOf("image/png", png()), name: "secret-name.png" })
      yield* postJson(server.url, { ...payloadOf("image/gif", png()), name: "secret-name.png" })
      yield* post(server.url, "secret-name")
      yield* eventually(() => assert.lengthOf(log, 1))
      assert.include(log.join("\n"), server.url)
    }))
})
