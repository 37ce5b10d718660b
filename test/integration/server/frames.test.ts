import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { Buffer } from "node:buffer"
import { InitImageSpool } from "../../../src/index.js"
import { pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { connect, connectRaw, encodeFrame, eventually, upgradeRequest } from "../../utils/webSocketClient.js"
import { answer, image, init, picture, update } from "./messages.js"
import { isHealthy, serve } from "./testServer.js"

const mebibyte = 1024 * 1024

/** The header of a frame (RFC 6455 section 5.2) with a mask of zeros. */
const frameHeader = (bytes: number, first = 0x81): Buffer => {
  const header = Buffer.alloc(14)
  header.writeUInt16BE(first << 8 | 0xff)
  header.writeBigUInt64BE(BigInt(bytes), 2)
  return header
}

const closeFrame = (code: number): Buffer => Buffer.of(0x88, 2, code >> 8, code & 0xff)

const opening = encodeFrame(JSON.stringify(init(picture(3))))

/** Connects, and opens a session if asked to. */
const open = Effect.fnUntraced(function*(port: number, first: Buffer = opening) {
  const client = yield* connectRaw(port)
  client.socket.write(Buffer.concat([Buffer.from(upgradeRequest()), first]))
  yield* client.until(first === opening ? "\"width\":3" : "\r\n\r\n")
  const closedWith = (code: number) => eventually(() => assert.isTrue(client.received().includes(closeFrame(code))))
  return { ...client, closedWith }
})

const inFlight = Effect.map(Metric.value(InitImageSpool.inFlightBytes), ({ value }) => value)

const resident = Effect.sync(() => {
  const { external, rss } = process.memoryUsage()
  return Math.max(rss, external)
})

describe("a message that is too large", () => {
  for (const [title, first] of [["text", 0x81], ["binary", 0x82], ["fragmented", 0x01]] as const) {
    it.scopedLive(`is refused before it arrives, and closes the session with 1009: ${title}`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        for (const isOpen of [false, true]) {
          const { closedWith, ended, socket, until } = yield* open(server.port, isOpen ? opening : Buffer.alloc(0))
          socket.write(Buffer.concat([frameHeader(60 * mebibyte, first), Buffer.alloc(100_000)]))
          yield* until("too_large")
          yield* closedWith(1009)
          yield* ended
          yield* server.empty
        }
        yield* isHealthy(server.url)
      }))
  }

  it.scopedLive("is not kept in memory while its client sends on", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const { socket, until } = yield* open(server.port)
      socket.write(frameHeader(95 * mebibyte))
      yield* until("too_large")
      const before = yield* resident
      for (let i = 0; i < 60 && socket.writable; i++) {
        socket.write(Buffer.alloc(mebibyte))
        yield* Effect.sleep("5 millis")
      }
      assert.isBelow((yield* resident) - before, 40 * mebibyte)
    }))
})

describe("an image of the largest size, escaped as PHP and .NET do,", () => {
  const largest = pngOfSize(32 * mebibyte)
  const escaped = (message: unknown) => JSON.stringify(message).replaceAll("/", "\\/").replaceAll("+", "\\u002B")

  it.scopedLive("is accepted in one frame and in a body", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const payload = payloadOf("image/png", largest)
      const text = escaped(init(payload))
      assert.isAbove(text.length, 46 * mebibyte)
      const client = yield* connect(server.stream)
      yield* client.send(text)
      assert.nestedInclude(yield* client.next, { type: "session_init_image", "image.bytes": largest.length })
      const response = yield* Effect.promise(() =>
        fetch(`${server.url}/v1/init-image`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: escaped(payload)
        })
      )
      assert.deepInclude(yield* Effect.promise(() => response.json()), { bytes: largest.length })
    }))
})

describe("large messages that have not arrived", () => {
  const limit = 16 * mebibyte

  it.scopedLive("count as bytes in flight, and others wait or are refused with busy and 1013", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        env: { INIT_IMAGE_MAX_BYTES_IN_FLIGHT: String(limit), INIT_IMAGE_MAX_WAIT: "2 seconds" }
      })
      const clients = yield* Effect.all(Array.from({ length: 12 }, () => open(server.port)))
      for (const { socket } of clients) {
        socket.write(frameHeader(20 * mebibyte))
        socket.write(Buffer.alloc(19 * mebibyte, " "))
      }
      yield* eventually(() => assert.lengthOf(clients.filter(({ socket }) => socket.writableLength === 0), 1))
      assert.strictEqual(yield* inFlight, limit)
      yield* Effect.forEach(clients.slice(1), ({ until }) => until("busy"), { concurrency: "unbounded" })
      yield* Effect.forEach(clients.slice(1), ({ closedWith }) => closedWith(1013), { concurrency: "unbounded" })
      for (const { socket } of clients) socket.destroy()
      yield* server.empty
      yield* eventually(() => assert.strictEqual(Effect.runSync(inFlight), 0))
    }))

  it.scopedLive("are admitted one after another, and every image is stored", () =>
    Effect.gen(function*() {
      const server = yield* serve({ env: { INIT_IMAGE_MAX_BYTES_IN_FLIGHT: String(limit) } })
      const large = pngOfSize(9_000_000)
      const payload = payloadOf("image/png", large)
      yield* Effect.forEach(
        Array.from({ length: 6 }),
        () =>
          Effect.scoped(Effect.gen(function*() {
            const client = yield* connect(server.stream)
            yield* client.sendJson(init(payload))
            assert.nestedInclude(yield* client.next, { type: "session_init_image", "image.bytes": large.length })
            // The second of these is read while the first is handled.
            yield* client.sendJson(update(picture(4)))
            yield* client.sendJson(update(payload))
            assert.deepStrictEqual(yield* client.next, answer(image(4)))
            assert.nestedInclude(yield* client.next, { "image.bytes": large.length })
          })),
        { concurrency: "unbounded" }
      )
      yield* server.empty
      yield* eventually(() => assert.strictEqual(Effect.runSync(inFlight), 0))
    }))

  it.scopedLive("may come in fragments, with pings between them", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const { socket, until } = yield* open(server.port)
      const text = Buffer.from(JSON.stringify(update(payloadOf("image/png", pngOfSize(400_000)))))
      for (let offset = 0; offset < text.length; offset += 50_000) {
        const part = text.subarray(offset, offset + 50_000)
        const isLast = offset + 50_000 >= text.length
        const first = (offset === 0 ? 1 : 0) | (isLast ? 0x80 : 0)
        socket.write(Buffer.concat([frameHeader(part.length, first), part, Buffer.of(0x89, 0x80, 0, 0, 0, 0)]))
        yield* Effect.sleep("1 millis")
      }
      yield* until("\"bytes\":400000")
    }))
})

describe("a client that is too slow", () => {
  const env = { INIT_IMAGE_OPENING_TIMEOUT: "400 millis" }
  const ping = Buffer.of(0x89, 0x80, 0, 0, 0, 0)

  const slow: Record<string, (send: (bytes: Buffer) => void) => Effect.Effect<unknown>> = {
    "only pings": (send) => Effect.forever(Effect.delay(Effect.sync(() => send(ping)), "50 millis")),
    "a byte of its opening now and then": (send) => {
      send(frameHeader(1000))
      return Effect.forever(Effect.delay(Effect.sync(() => send(Buffer.from(" "))), "50 millis"))
    },
    "empty fragments": (send) => {
      send(frameHeader(0, 0x01))
      return Effect.forever(Effect.delay(Effect.sync(() => send(frameHeader(0, 0x00))), "50 millis"))
    },
    "a byte of a large opening now and then": (send) => {
      send(frameHeader(mebibyte))
      return Effect.forever(Effect.delay(Effect.sync(() => send(Buffer.from(" "))), "50 millis"))
    }
  }
  for (const [title, sends] of Object.entries(slow)) {
    it.scopedLive(`is closed with 1008 before it has opened a session: ${title}`, () =>
      Effect.gen(function*() {
        const server = yield* serve({ env })
        const { closedWith, socket, until } = yield* open(server.port, Buffer.alloc(0))
        yield* Effect.fork(sends((bytes) => void socket.write(bytes)))
        yield* Effect.timeout(until("No message arrived in time."), "3 seconds")
        yield* closedWith(1008)
      }))
  }
})
