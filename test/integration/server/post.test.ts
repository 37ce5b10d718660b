import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { Buffer } from "node:buffer"
import * as Http from "node:http"
import { uprightSize } from "../../utils/descriptions.js"
import { png, pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { connect, connectRaw, eventually } from "../../utils/webSocketClient.js"
import { makePictures } from "./pictures.js"
import { hostileName, refusals, safeName } from "./refusals.js"
import { moveAway, serve } from "./testServer.js"
import { bodies, jsonStart, receives413, variants, write } from "./tooLarge.js"

const postAs = (url: string, type: string, body: string | Uint8Array, query = "") =>
  Effect.promise(async () => {
    const response = await fetch(`${url}/v1/init-image${query}`, {
      method: "POST",
      body,
      headers: { "content-type": type }
    })
    return { status: response.status, text: await response.text(), headers: response.headers }
  })

const post = (url: string, body: string) =>
  Effect.map(postAs(url, "application/json", body), ({ status, text }) => ({ status, text }))

const postJson = (url: string, payload: unknown) => post(url, JSON.stringify(payload))

describe("POST /v1/init-image", () => {
  it.scopedLive("accepts real pictures as JSON and keeps no file", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const { height, payload, width } of yield* Effect.promise(makePictures)) {
        const { status, text } = yield* postJson(server.url, payload)
        assert.strictEqual(status, 200)
        assert.deepStrictEqual(JSON.parse(text), {
          mime: payload.mime,
          display_name: payload.name,
          bytes: Buffer.from(payload.data, "base64").length,
          ...uprightSize(width, height)
        })
        yield* server.empty
      }
    }))

  it.scopedLive("accepts real pictures as raw bodies", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const { height, payload, width } of yield* Effect.promise(makePictures)) {
        const bytes = Buffer.from(payload.data, "base64")
        const image = { mime: payload.mime, bytes: bytes.length, ...uprightSize(width, height) }
        const named = yield* postAs(server.url, payload.mime, bytes, "?name=..%2Fa%0Ab.png")
        assert.deepStrictEqual({ status: 200, ...JSON.parse(named.text) }, {
          status: 200,
          display_name: "ab.png",
          ...image
        })
        const unnamed = yield* postAs(server.url, `${payload.mime.toUpperCase()} ; q=1`, bytes)
        assert.include(JSON.parse(unnamed.text), image)
        assert.match(JSON.parse(unnamed.text).display_name, /^init\.(png|jpg|webp)$/)
        yield* server.empty
      }
    }))

  it.scopedLive("accepts every JSON media type and no other type for JSON", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const body = JSON.stringify(payloadOf("image/png", png()))
      for (const type of ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"]) {
        assert.strictEqual((yield* postAs(server.url, type, body)).status, 200)
      }
      for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"]) {
        const { status, text } = yield* postAs(server.url, type, body)
        assert.strictEqual(status, 415)
        assert.strictEqual(JSON.parse(text)._tag, "InvalidMime")
      }
      const { status, text } = yield* postAs(server.url, "", body)
      assert.strictEqual(status, 415)
      assert.include(JSON.parse(text), { _tag: "ContentMismatch", detected: "unknown" })
    }))

  const refusedRaw = {
    "an image type that is not accepted": { type: "image/gif", body: png(), status: 415, tag: "InvalidMime" },
    "bytes of another type": { type: "image/webp", body: png(), status: 415, tag: "ContentMismatch" },
    "a cut file": { type: "image/png", body: png().subarray(0, -20), status: 422, tag: "MalformedImage" },
    "no bytes": { type: "image/png", body: new Uint8Array(), status: 400, tag: "Empty" },
    "a header of 64250×64250": {
      type: "image/png",
      body: png({ width: 64250, height: 64250 }),
      status: 422,
      tag: "TooManyPixels"
    }
  }
  for (const [title, { body, status, tag, type }] of Object.entries(refusedRaw)) {
    it.scopedLive(`refuses a raw body with ${title}: ${tag}, ${status}`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const answer = yield* postAs(server.url, type, body)
        assert.strictEqual(answer.status, status)
        assert.include(JSON.parse(answer.text), { _tag: tag })
        assert.deepStrictEqual(server.files(), [])
      }))
  }

  it.scopedLive("answers null to null, and refuses everything else without an image", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      assert.deepStrictEqual(yield* post(server.url, "null"), { status: 200, text: "null" })
      for (const body of ["{}", "[]", "\"\"", "false", "0"]) {
        const { status, text } = yield* post(server.url, body)
        assert.strictEqual(status, 400)
        assert.deepStrictEqual(JSON.parse(text), { _tag: "Empty", message: "The image is empty." })
      }
    }))

  it.scopedLive("sanitises a hostile display name", () =>
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
        assert.match(JSON.parse(answer.text).message, /^The .*\.$/)
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
        assert.deepStrictEqual(JSON.parse(text), {
          _tag: "InvalidPayload",
          reason: "NotJson",
          message: "The message with the image is not valid JSON."
        })
      }
    }))

  for (const variant of variants) {
    const { body, request, title } = variant
    for (const megabytes of [2, 40]) {
      it.scopedLive(`lets a client that sends ${megabytes} MB before it reads receive its 413: ${title}`, () =>
        receives413(megabytes, variant))
    }

    it.scopedLive(`refuses an image as soon as it exceeds the limit, and serves the next request: ${title}`, () =>
      Effect.gen(function*() {
        const server = yield* serve({ env: { INIT_IMAGE_MAX_BYTES: "3000000" } })
        const client = yield* connectRaw(server.port)
        const all = body(10_000_000)
        const sent = request.type === "image/png" ? 3_000_001 : 4_000_100
        const answer = yield* write(client, all, { ...request, sent })
        assert.match(answer, /^HTTP\/1\.1 413 /)
        assert.match(answer, /\r\ncontent-length: \d+\r\n/)
        assert.match(answer, /\r\ncontent-type: application\/json\r\n/)
        assert.deepStrictEqual(server.files(), [])

        const rest = all.subarray(sent)
        client.socket.write(
          request.chunked
            ? Buffer.concat([Buffer.from(`${rest.length.toString(16)}\r\n`), rest, Buffer.from("\r\n0\r\n\r\n")])
            : rest
        )
        if (request.connection === "close") return yield* client.ended
        client.socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield* client.until("\"ok\"")
      }))
  }

  it.scopedLive("refuses a too large Content-Length before the body arrives", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connectRaw(server.port)
      const answer = yield* write(client, pngOfSize(33_554_433), { type: "image/png", sent: 0 })
      assert.include(answer, "\"bytes\":33554433,\"limit\":33554432")
      const other = yield* write(yield* connectRaw(server.port), pngOfSize(33_554_433), { type: "image/gif", sent: 0 })
      assert.include(other, "\"_tag\":\"InvalidMime\"")
    }))

  const early = {
    "a type that is not accepted": { type: "image/gif", body: pngOfSize(1_000_000), status: 415 },
    "bytes of another type": { type: "image/webp", body: pngOfSize(2_000_000), status: 415 },
    "a wrong type in JSON": {
      type: "application/json",
      body: Buffer.from(jsonStart.replace("png", "gif") + "A".repeat(50_000_000)),
      status: 415
    },
    "invalid JSON": { type: "application/json", body: Buffer.from(`[}${" ".repeat(2_000_000)}`), status: 400 },
    "a message that is too large": {
      type: "application/json",
      body: Buffer.from(`{"a":"${"a".repeat(3_000_000)}`),
      status: 400
    }
  }
  for (const [title, { body, status, type }] of Object.entries(early)) {
    it.scopedLive(`lets a client that is still sending receive its ${status}: ${title}`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        for (const connection of ["keep-alive", "close"] as const) {
          const answer = yield* write(yield* connectRaw(server.port), body, { type, connection })
          assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
        }
        assert.deepStrictEqual(server.files(), [])
      }))
  }

  it.scopedLive("serves the next request on the connection after a too large one", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: { INIT_IMAGE_MAX_BYTES: "100000" } })
      const agent = yield* Effect.acquireRelease(
        Effect.sync(() => new Http.Agent({ keepAlive: true, maxSockets: 1 })),
        (agent) => Effect.sync(() => agent.destroy())
      )
      const send = (body: Buffer) =>
        Effect.async<{ status: number | undefined; port: number | undefined }>((resume) => {
          const request = Http.request(`${server.url}/v1/init-image`, {
            method: "POST",
            agent,
            headers: { "content-type": "application/json" }
          }, (response) => {
            const port = request.socket?.localPort
            response.resume()
            response.on("end", () => resume(Effect.succeed({ status: response.statusCode, port })))
          })
          request.on("error", (error) => resume(Effect.die(error)))
          request.end(body)
        })
      const refused = yield* send(bodies.JSON.body(30_000_000))
      assert.strictEqual(refused.status, 413)
      assert.deepStrictEqual(yield* send(Buffer.from("null")), { status: 200, port: refused.port })
    }))

  it.scopedLive("reads its limits from the environment", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: { INIT_IMAGE_MAX_BYTES: "1000", INIT_IMAGE_MAX_PIXELS: "100" } })
      assert.deepInclude(JSON.parse((yield* postJson(server.url, payloadOf("image/png", pngOfSize(1001)))).text), {
        _tag: "TooLarge",
        bytes: 1001,
        limit: 1000
      })
      const wide = payloadOf("image/png", png({ width: 101 }))
      assert.deepInclude(JSON.parse((yield* postJson(server.url, wide)).text), {
        _tag: "TooManyPixels",
        width: 101,
        height: 1,
        limit: 100
      })
      assert.strictEqual((yield* postJson(server.url, payloadOf("image/png", pngOfSize(1000)))).status, 200)
    }))

  it.scopedLive("answers a storage failure with a 500 that does not say why, also while the client is still sending", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const server = yield* serve({ log: (line) => log.push(line) })
      yield* moveAway(server.directory)
      const { status, text } = yield* postJson(server.url, payloadOf("image/png", png()))
      assert.strictEqual(status, 500)
      const failed = { _tag: "InternalServerError", message: "The server failed to handle the request." }
      assert.deepStrictEqual(JSON.parse(text), failed)
      const client = yield* connectRaw(server.port)
      client.socket.write([
        "POST /v1/init-image HTTP/1.1",
        "Host: localhost",
        "Content-Type: image/png",
        "Content-Length: 30000000",
        "",
        ""
      ].join("\r\n"))
      client.socket.write(pngOfSize(30_000_000))
      client.socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
      yield* client.until("\"ok\"")
      assert.match(
        client.received().toString(),
        /^HTTP\/1\.1 500 [^]*\r\n\r\n\{"_tag":"InternalServerError"[^}]*\}HTTP\/1\.1 200 /
      )
      const errors = log.filter((line) => line.includes("level=ERROR"))
      assert.lengthOf(errors, 2)
      assert.notInclude(errors.join("\n"), server.directory)
    }))

  it.scopedLive("answers a full quota with Busy, 503 and Retry-After", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: { INIT_IMAGE_MAX_FILES_KEPT: "1" } })
      const session = yield* connect(server.stream)
      yield* session.sendJson({ type: "session_init_v2", initial_image: payloadOf("image/png", png()) })
      yield* session.next
      const { headers, status, text } = yield* postAs(server.url, "image/png", png())
      assert.strictEqual(status, 503)
      assert.include(JSON.parse(text), { _tag: "Busy" })
      assert.strictEqual(headers.get("retry-after"), String(JSON.parse(text).retryAfter))
      yield* session.close
      yield* server.empty
      assert.strictEqual((yield* postAs(server.url, "image/png", png())).status, 200)
    }))

  for (
    const [kind, type, body] of [
      ["JSON", "application/json", JSON.stringify(payloadOf("image/png", pngOfSize(12_000_000)))],
      ["raw", "image/png", pngOfSize(12_000_000)]
    ] as const
  ) {
    it.scopedLive(`reserves the size of a body, and lets the next request wait or fail: ${kind}`, () =>
      Effect.gen(function*() {
        for (const onFull of ["wait", "fail"]) {
          const server = yield* serve({
            env: { INIT_IMAGE_MAX_BYTES_IN_FLIGHT: "32000000", INIT_IMAGE_ON_FULL: onFull }
          })
          const half = Buffer.from(body).subarray(0, 6_000_000)
          const head = `POST /v1/init-image HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\n`
          const clients = yield* Effect.forEach([1, 2], () => connectRaw(server.port))
          for (const { socket } of clients) {
            socket.write(`${head}Content-Length: ${body.length}\r\n\r\n`)
            socket.write(half)
          }
          yield* eventually(() => assert.lengthOf(server.files(), 2))
          const third = yield* Effect.fork(postAs(server.url, type, body))
          if (onFull === "fail") {
            assert.strictEqual((yield* Fiber.join(third)).status, 503)
          } else {
            yield* Effect.sleep("200 millis")
            assert.isTrue(Option.isNone(yield* Fiber.poll(third)))
            clients[0]?.socket.destroy()
            assert.strictEqual((yield* Fiber.join(third)).status, 200)
          }
        }
      }))
  }

  it.scopedLive("removes the files of clients that disconnect at any moment", () =>
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

  it.scopedLive("answers an unknown path with 404, and a message", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const method of ["GET", "POST"]) {
        const response = yield* Effect.promise(() => fetch(`${server.url}/nothing`, { method }))
        assert.strictEqual(response.status, 404)
        const body = yield* Effect.promise(() => response.json())
        assert.deepStrictEqual(body, { _tag: "NotFound", message: "There is nothing here." })
      }
    }))

  it.scopedLive("logs its address and nothing about requests", () =>
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
