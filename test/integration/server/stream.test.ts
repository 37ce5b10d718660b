import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { Buffer } from "node:buffer"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { uprightSize } from "../../utils/descriptions.js"
import { png, pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { connect, connectRaw, encodeFrame, upgradeRequest } from "../../utils/webSocketClient.js"
import * as floods from "./floods.js"
import { answer, image, init, noImage, picture, update } from "./messages.js"
import { makePictures } from "./pictures.js"
import { hostileName, refusals, safeName } from "./refusals.js"
import { isHealthy, moveAway, serve } from "./testServer.js"

const assertError = (message: unknown, code: string, retryable = false) => {
  assert.include(message, { type: "error", code, retryable })
  assert.containsAllKeys(message, ["type", "code", "message", "retryable"])
}

describe("WS /v1/stream", () => {
  it.scopedLive("accepts real pictures, and keeps each until its socket closes", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const { height, payload, width } of yield* Effect.promise(makePictures)) {
        const client = yield* connect(server.stream)
        yield* client.sendJson({ ...init(payload), prompt: "a cat", fps: 24 })
        const bytes = Buffer.from(payload.data, "base64")
        assert.deepStrictEqual(
          yield* client.next,
          answer({ mime: payload.mime, display_name: payload.name, bytes: bytes.length, ...uprightSize(width, height) })
        )
        const [file, ...others] = server.files()
        assert.isEmpty(others)
        assert.isTrue(readFileSync(join(server.directory, String(file))).equals(bytes))
        yield* client.close
        assert.strictEqual(yield* client.closed, 1000)
        yield* server.empty
      }
    }))

  it.scopedLive("opens a session without an image", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const message of [init(null), { type: "session_init_v2" }, init({})]) {
        const client = yield* connect(server.stream)
        yield* client.sendJson(message)
        assert.deepStrictEqual(yield* client.next, noImage)
        yield* client.sendJson(update(picture(3)))
        assert.deepStrictEqual(yield* client.next, answer(image(3)))
        yield* client.close
      }
      yield* server.empty
    }))

  it.scopedLive("sanitises a hostile display name", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server.stream)
      yield* client.sendJson(init({ ...picture(3), name: hostileName }))
      assert.deepStrictEqual(yield* client.next, answer({ ...image(3), display_name: safeName }))
    }))

  for (const { code, payload, tag, title } of refusals) {
    it.scopedLive(`refuses an opening message with ${title}: ${code}, 1003`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const client = yield* connect(server.stream)
        yield* client.sendJson(init(payload()))
        const refused = yield* client.next
        assertError(refused, code)
        assert.include(refused, { _tag: tag })
        assert.strictEqual(yield* client.closed, 1003)
        assert.deepStrictEqual(server.files(), [])
      }))

    it.scopedLive(`refuses an update with ${title}: ${code}, and keeps image and socket`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const client = yield* connect(server.stream)
        yield* client.sendJson(init(picture(3)))
        yield* client.next
        const before = server.files()
        assert.lengthOf(before, 1)
        yield* client.sendJson(update(payload()))
        assertError(yield* client.next, code)
        assert.deepStrictEqual(server.files(), before)
        yield* client.sendJson(update(picture(4)))
        assert.deepStrictEqual(yield* client.next, answer(image(4)))
      }))
  }

  const notAnOpening = {
    "text that is not JSON": "hello",
    "an empty text": "",
    "JSON that is not an object": "[1]",
    "null": "null",
    "another type": JSON.stringify(update(picture(3))),
    "no type": JSON.stringify({ initial_image: picture(3) }),
    "bytes": new TextEncoder().encode(JSON.stringify(init(picture(3))))
  }
  for (const [title, frame] of Object.entries(notAnOpening)) {
    it.scopedLive(`refuses ${title} as the first frame: invalid_message, 1003`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const client = yield* connect(server.stream)
        yield* client.send(frame)
        assertError(yield* client.next, "invalid_message")
        assert.strictEqual(yield* client.closed, 1003)
        assert.deepStrictEqual(server.files(), [])
      }))
  }

  const deep = `${"[".repeat(200)}${"]".repeat(200)}`
  it.scopedLive("refuses a message that is nested too deeply as the first frame: invalid_message, 1003", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server.stream)
      yield* client.send(`{"type":"session_init_v2","options":${deep}}`)
      assertError(yield* client.next, "invalid_message")
      assert.strictEqual(yield* client.closed, 1003)
    }))

  it.scopedLive("reports an unknown message type unless the image in the message is invalid", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server.stream)
      yield* client.sendJson(init(picture(3)))
      yield* client.next
      yield* client.sendJson({ type: "hello", initial_image: picture(4) })
      assertError(yield* client.next, "invalid_message")
      yield* client.sendJson({ type: "hello", initial_image: { mime: "image/gif", data: "AAAA" } })
      assertError(yield* client.next, "invalid_mime")
    }))

  it.scopedLive("refuses an opening message when the spool is full: busy, retryable, 1013", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: { INIT_IMAGE_MAX_FILES_KEPT: "1" } })
      const first = yield* connect(server.stream)
      yield* first.sendJson(init(picture(3)))
      yield* first.next
      const before = server.files()

      const second = yield* connect(server.stream)
      yield* second.sendJson(init(picture(4)))
      assertError(yield* second.next, "busy", true)
      assert.strictEqual(yield* second.closed, 1013)

      yield* first.sendJson(update(picture(4)))
      assertError(yield* first.next, "busy", true)
      assert.deepStrictEqual(server.files(), before)
      yield* first.sendJson(update(null))
      assert.deepStrictEqual(yield* first.next, noImage)
      yield* first.sendJson(update(picture(5)))
      assert.deepStrictEqual(yield* first.next, answer(image(5)))
    }))

  it.scopedLive("answers an unknown later frame with invalid_message, and keeps image and socket", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server.stream)
      yield* client.sendJson(init(picture(3)))
      yield* client.next
      const before = server.files()
      for (const frame of ["hello", "{}", JSON.stringify(init(picture(4))), new Uint8Array(3)]) {
        yield* client.send(frame)
        assertError(yield* client.next, "invalid_message")
      }
      assert.deepStrictEqual(server.files(), before)
      yield* client.sendJson(update(picture(5)))
      assert.deepStrictEqual(yield* client.next, answer(image(5)))
      assert.lengthOf(server.files(), 1)
      assert.notDeepEqual(server.files(), before)
    }))

  it.scopedLive("removes the image on an update without one", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server.stream)
      yield* client.sendJson(init(picture(3)))
      yield* client.next
      yield* client.sendJson(update(null))
      assert.deepStrictEqual(yield* client.next, noImage)
      assert.deepStrictEqual(server.files(), [])
    }))

  it.scopedLive("closes a silent socket after the opening timeout: invalid_message, 1008", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: { INIT_IMAGE_OPENING_TIMEOUT: "100 millis" } })
      const client = yield* connect(server.stream)
      assertError(yield* client.next, "invalid_message")
      assert.strictEqual(yield* client.closed, 1008)
    }))

  it.scopedLive("does not time out while the opening message arrives", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: { INIT_IMAGE_OPENING_TIMEOUT: "1 second" } })
      const { socket, until } = yield* connectRaw(server.port)
      socket.write(upgradeRequest())
      const frame = encodeFrame(JSON.stringify(init(picture(3))))
      const parts = 8
      for (let part = 0; part < parts; part++) {
        const length = Math.ceil(frame.length / parts)
        socket.write(frame.subarray(part * length, (part + 1) * length))
        yield* Effect.sleep("200 millis")
      }
      yield* until("\"session_init_image\"")
    }))

  it.scopedLive("answers a burst of updates in order, and keeps only the last file", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server.stream)
      const widths = Array.from({ length: 50 }, (_, i) => i + 1)
      yield* client.sendJson(init(picture(100)))
      yield* Effect.forEach(widths, (width) => client.sendJson(update(picture(width))))
      assert.deepStrictEqual(yield* client.next, answer(image(100)))
      for (const width of widths) assert.deepStrictEqual(yield* client.next, answer(image(width)))
      const [file, ...others] = server.files()
      assert.isEmpty(others)
      assert.isTrue(readFileSync(join(server.directory, String(file))).equals(png({ width: 50, height: 2 })))
    }))

  it.scopedLive("pauses a client that sends faster than its images are written, and answers every message", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server.stream)
      const large = JSON.stringify(update(payloadOf("image/png", pngOfSize(3_000_000))))
      const rounds = 24
      yield* client.sendJson(init())
      yield* Effect.forEach(Array.from({ length: rounds }), () => client.send(large), { discard: true })
      assert.deepStrictEqual(yield* client.next, noImage)
      for (let round = 0; round < rounds; round++) {
        assert.nestedInclude(yield* client.next, { type: "session_init_image", "image.bytes": 3_000_000 })
      }
      assert.lengthOf(server.files(), 1)
      yield* client.close
      yield* server.empty
    }))

  it.scopedLive("reads frames that arrive in the same packet as the handshake", () => floods.withHandshake(60))

  it.scopedLive("closes with 1008 after 64 invalid messages in a row", () => floods.invalid(2000))

  it.scopedLive("serves other clients while one sends without reading the answers", () => floods.unread(5000))

  it.scopedLive("removes the files of clients that disconnect at any moment", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const large = payloadOf("image/png", pngOfSize(4_000_000))
      const whole = Buffer.concat([
        Buffer.from(upgradeRequest()),
        encodeFrame(JSON.stringify(init(large))),
        encodeFrame(JSON.stringify(update(large))),
        encodeFrame(JSON.stringify(update(large)))
      ])
      yield* Effect.forEach(
        Array.from({ length: 80 }, (_, i) => i),
        (i) =>
          Effect.scoped(Effect.gen(function*() {
            const { socket } = yield* connectRaw(server.port)
            const length = i % 4 === 0 ? whole.length : yield* Random.nextIntBetween(1, whole.length)
            socket.write(whole.subarray(0, length))
            yield* Effect.sleep(yield* Random.nextIntBetween(0, 60))
            if (i % 3 === 0) socket.resetAndDestroy()
            else if (i % 3 === 1) socket.end()
          })),
        { concurrency: 8, discard: true }
      )
      yield* server.empty
      const client = yield* connect(server.stream)
      yield* client.sendJson(init(picture(3)))
      assert.deepStrictEqual(yield* client.next, answer(image(3)))
    }))

  it.scopedLive("removes the files of clients that disconnect after the first answer", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* Effect.forEach(
        Array.from({ length: 40 }),
        () =>
          Effect.scoped(Effect.gen(function*() {
            const client = yield* connect(server.stream)
            yield* client.sendJson(init(picture(3)))
            yield* client.next
            yield* client.sendJson(update(picture(4)))
          })),
        { concurrency: 8, discard: true }
      )
      yield* server.empty
    }))

  it.scopedLive("survives frames that break the protocol", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const broken = {
        "reserved bits": Buffer.of(0xf1, 0x80, 0, 0, 0, 0),
        "no mask": Buffer.of(0x81, 0x01, 0x41),
        "invalid UTF-8": encodeFrame(Buffer.of(0xff, 0xfe)),
        "a frame of 2^63 bytes": Buffer.of(0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
        "an invalid close code": encodeFrame(Buffer.of(0, 1), "close")
      }
      for (const frame of Object.values(broken)) {
        const { ended, socket, until } = yield* connectRaw(server.port)
        socket.write(Buffer.concat([Buffer.from(upgradeRequest()), encodeFrame(JSON.stringify(init(picture(3))))]))
        yield* until("\"width\":3")
        socket.write(Buffer.concat([frame, frame]))
        socket.end()
        yield* ended
        yield* server.empty
      }
      yield* isHealthy(server.url)
    }))

  it.scopedLive("refuses an invalid upgrade with 426", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      assert.strictEqual((yield* Effect.promise(() => fetch(`${server.url}/v1/stream`))).status, 426)
      const headers = [
        { "Sec-WebSocket-Key": "short" },
        { "Sec-WebSocket-Version": "12" },
        { "Sec-WebSocket-Protocol": "a,,b" },
        { "Upgrade": "h2c" }
      ]
      for (const header of headers) {
        const { ended, received, socket } = yield* connectRaw(server.port)
        socket.write(upgradeRequest(header))
        yield* ended
        assert.match(received().toString(), /^HTTP\/1\.1 426 /)
      }
    }))

  it.scopedLive("answers a storage failure with a retryable internal_error without details", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const server = yield* serve({ log: (line) => log.push(line) })
      const open = yield* connect(server.stream)
      yield* open.sendJson(init(picture(3)))
      yield* open.next
      yield* moveAway(server.directory)

      const opening = yield* connect(server.stream)
      yield* opening.sendJson(init(picture(4)))
      const message = yield* opening.next
      assertError(message, "internal_error", true)
      assert.notInclude(JSON.stringify(message), server.directory)
      assert.strictEqual(yield* opening.closed, 1011)

      yield* open.sendJson(update(picture(4)))
      assertError(yield* open.next, "internal_error", true)
      yield* open.sendJson("hello")
      assertError(yield* open.next, "invalid_message")

      const errors = log.filter((line) => line.includes("level=ERROR"))
      assert.lengthOf(errors, 2)
      assert.notInclude(errors.join("\n"), server.directory)
    }))
})
