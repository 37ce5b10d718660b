import * as Socket from "@effect/platform/Socket"
import { assert, describe, it, vi } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Net from "node:net"
import { withConnection } from "../../../../src/internal/socket/connection.js"
import * as Frames from "../../../../src/internal/socket/frames.js"
import { Pace } from "../../../../src/internal/socket/pace.js"
import { makeFakeSocket } from "../../../utils/fakeSocket.js"

const never: Frames.Options = { keepAlive: Duration.infinity, maxMessageBytes: 1024 * 1024 }

/** The pace of a client that may be silent for a second, and has to send 100 bytes a second. */
const pace = () => new Pace({ bytesPerSecond: 100, stall: 1000 })

const makeSocketWith = Effect.fnUntraced(function*(options: Frames.Options) {
  const { deliver, sent, socket, ws } = yield* makeFakeSocket
  return { frames: yield* Frames.make(socket, options), ws, sent, deliver }
})

const makeSocket = makeSocketWith(never)

describe("frames", () => {
  it.scoped("pause the socket at 16 in the queue, and resume it when one is taken", () =>
    Effect.gen(function*() {
      const { deliver, frames, ws } = yield* makeSocket
      const pause = vi.spyOn(ws, "pause")
      const resume = vi.spyOn(ws, "resume")
      for (let i = 0; i < 15; i++) yield* deliver(String(i))
      assert.isFalse(ws.paused)
      for (let i = 15; i < 20; i++) yield* deliver(String(i))
      assert.isTrue(ws.paused)
      for (let i = 0; i < 20; i++) {
        assert.strictEqual(yield* frames.take, String(i))
        assert.strictEqual(ws.paused, 20 - i - 1 >= 16)
      }
      assert.lengthOf(pause.mock.calls, 1)
      assert.lengthOf(resume.mock.calls, 1)
    }))

  const others: ReadonlyArray<readonly [name: string, value: unknown]> = [
    ["pause", undefined],
    ["pause", true],
    ["resume", undefined],
    ["resume", true],
    ["bufferedAmount", undefined],
    ["bufferedAmount", "0"]
  ]

  it.scoped.each(others)(
    "of a socket other than that of ws are all queued: its %s is %j",
    ([name, value]) =>
      Effect.gen(function*() {
        const { deliver, frames, ws } = yield* makeSocket
        Object.assign(ws, { [name]: value })
        for (let i = 0; i < 40; i++) yield* deliver(String(i))
        for (let i = 0; i < 40; i++) assert.strictEqual(yield* frames.take, String(i))
        assert.isFalse(ws.paused)
      })
  )

  it.scoped("pause the socket at a total of 1 MiB", () =>
    Effect.gen(function*() {
      const { deliver, frames, ws } = yield* makeSocket
      yield* deliver(new Uint8Array(1024 * 1024 - 1))
      assert.isFalse(ws.paused)
      yield* deliver("a")
      assert.isTrue(ws.paused)
      yield* frames.take
      assert.isFalse(ws.paused)
    }))

  it.scoped("wait while the client does not read its answers", () =>
    Effect.gen(function*() {
      const { deliver, frames, ws } = yield* makeSocket
      yield* deliver("first")
      ws.bufferedAmount = 1024 * 1024 + 1
      const fiber = yield* Effect.fork(frames.take)
      yield* TestClock.adjust("1 second")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      ws.bufferedAmount = 1024 * 1024
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), "first")
    }))

  it.scoped("are dropped after the close, while the socket is read on for the closing handshake", () =>
    Effect.gen(function*() {
      const { deliver, frames, sent, ws } = yield* makeSocket
      for (let i = 0; i < 16; i++) yield* deliver(String(i))
      assert.isTrue(ws.paused)
      yield* frames.close(1003)
      assert.isFalse(ws.paused)
      for (let i = 0; i < 100; i++) yield* deliver(String(i))
      assert.isFalse(ws.paused)
      assert.deepStrictEqual(sent, [new Socket.CloseEvent(1003)])
      for (let i = 0; i < 16; i++) assert.strictEqual(yield* frames.take, String(i))
      const next = yield* Effect.fork(frames.take)
      yield* Effect.yieldNow()
      assert.isTrue(Option.isNone(yield* Fiber.poll(next)))
    }))

  it.effect("leave no fiber waiting to write once the scope has closed", () =>
    Effect.gen(function*() {
      const { socket } = yield* makeFakeSocket
      const waiting = new Set<unknown>()
      const write = (data: unknown) =>
        Effect.suspend(() => {
          waiting.add(data)
          return Effect.ensuring(Effect.never, Effect.sync(() => waiting.delete(data)))
        })
      yield* Effect.gen(function*() {
        const frames = yield* Frames.make({ ...socket, writer: Effect.succeed(write) }, never)
        yield* frames.send("message")
        yield* frames.close(1000)
        assert.strictEqual(waiting.size, 2)
      }).pipe(Effect.scoped, Effect.uninterruptible)
      assert.strictEqual(waiting.size, 0)
    }))

  const idle = { _tag: "Idle" } as const

  it.scoped("fail a take once no byte has arrived for its timeout", () =>
    Effect.gen(function*() {
      const { deliver, frames } = yield* makeSocket
      const fiber = yield* Effect.fork(Effect.flip(frames.takeWithin(pace(), () => idle)))
      yield* TestClock.adjust(999)
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Fiber.join(fiber), idle)
      yield* deliver("first", "second")
      assert.strictEqual(yield* frames.take, "first")
      assert.strictEqual(yield* frames.takeWithin(pace(), () => idle), "second")
    }))

  it.scoped("leave a client the time that its bytes may take at the lowest rate, and not more than the stall timeout", () =>
    Effect.gen(function*() {
      const { deliver, frames } = yield* makeSocket
      const client = pace()
      const take = frames.takeWithin(client, () => idle)
      for (let i = 0; i < 10; i++) {
        const fiber = yield* Effect.fork(Effect.either(take))
        yield* TestClock.adjust("900 millis")
        yield* deliver(new Uint8Array(90))
        assert.isTrue(Either.isRight(yield* Fiber.join(fiber)))
      }
      // Time in which nothing is taken does not count.
      yield* TestClock.adjust("10 seconds")
      yield* deliver(new Uint8Array(10_000))
      assert.strictEqual((yield* take as Effect.Effect<Uint8Array>).length, 10_000)
      const fiber = yield* Effect.fork(Effect.either(take))
      yield* TestClock.adjust(999)
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(fiber), Either.left(idle))
    }))

  it.scoped("count as messages where their connection emits no data, as on Bun", () =>
    Effect.gen(function*() {
      const { deliver, socket, ws } = yield* makeFakeSocket
      const connection = new Net.Socket()
      Object.assign(connection, { [Symbol("websocket")]: Object.assign(ws, { send: () => {}, close: () => {} }) })
      const opening: Socket.Socket = {
        ...socket,
        runRaw: (handler, options) => Effect.zipRight(options?.onOpen ?? Effect.void, socket.runRaw(handler))
      }
      const frames = yield* Frames.make(withConnection(opening, { source: { socket: connection } }), never)
      const take = frames.takeWithin(pace(), () => idle)
      for (let i = 0; i < 10; i++) {
        const fiber = yield* Effect.fork(Effect.either(take))
        yield* TestClock.adjust("900 millis")
        yield* deliver(new Uint8Array(90))
        assert.isTrue(Either.isRight(yield* Fiber.join(fiber)))
      }
    }))

  it.scoped("do not leave a client more time for a byte now and then, nor for pings", () =>
    Effect.gen(function*() {
      for (const [message, taken] of [[new Uint8Array(1), 3], [ping, 0]] as const) {
        const { deliver, frames } = yield* makeSocket
        const take = frames.takeWithin(pace(), () => idle)
        let count = 0
        const fiber = yield* Effect.fork(Effect.flip(Effect.forever(Effect.tap(take, () => void count++))))
        for (let i = 0; i < 3; i++) {
          yield* TestClock.adjust("300 millis")
          yield* deliver(message)
        }
        yield* TestClock.adjust("131 millis")
        assert.strictEqual(yield* Fiber.join(fiber), idle)
        assert.strictEqual(count, taken)
      }
    }))
})

const ping = "{\"type\":\"ping\"}"
const pong = "{\"type\":\"pong\"}"

describe("a ping of the client", () => {
  it.scoped("is answered at once, and is not queued", () =>
    Effect.gen(function*() {
      const { deliver, frames, sent, ws } = yield* makeSocket
      yield* deliver(ping, "message", ...Array.from({ length: 40 }, () => ping))
      assert.isFalse(ws.paused)
      assert.deepStrictEqual(sent, Array.from({ length: 41 }, () => pong))
      assert.strictEqual(yield* frames.take, "message")
    }))

  it.scoped("may have other fields, white space and a byte order mark, in at most 125 characters", () =>
    Effect.gen(function*() {
      const { deliver, frames, sent } = yield* makeSocket
      const ofLength = (length: number) => `{"type":"ping","at":"${"a".repeat(length - 23)}"}`
      assert.lengthOf(ofLength(125), 125)
      const pings = ["{ \"n\": 1, \"type\" : \"ping\" }\n", `\uFEFF${ping}`, ofLength(125)]
      yield* deliver(...pings)
      assert.deepStrictEqual(sent, pings.map(() => pong))
      const others = [
        "{\"type\":\"pings\"}",
        "[\"ping\"]",
        "\"ping\"",
        "ping",
        "{\"type\":[\"ping\"]}",
        "null",
        ofLength(126)
      ]
      yield* deliver(...others)
      for (const other of others) assert.strictEqual(yield* frames.take, other)
      yield* deliver(new TextEncoder().encode(ping))
      assert.instanceOf(yield* frames.take, Uint8Array)
      assert.lengthOf(sent, pings.length)
    }))

  it.scoped("is not answered while the client does not read its answers, nor after the close", () =>
    Effect.gen(function*() {
      const { deliver, frames, sent, ws } = yield* makeSocket
      yield* deliver("first")
      ws.bufferedAmount = 1024 * 1024 + 1
      yield* deliver(ping, ping)
      assert.isEmpty(sent)
      ws.bufferedAmount = 0
      yield* deliver(ping)
      assert.deepStrictEqual(sent, [pong])
      yield* frames.close(1000)
      yield* deliver(ping)
      assert.lengthOf(sent, 2)
    }))
})

describe("pings of the server", () => {
  it.scoped("are sent after each interval, from the first frame on", () =>
    Effect.gen(function*() {
      const { deliver, ws } = yield* makeSocketWith({ ...never, keepAlive: Duration.seconds(20) })
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual(ws.pings, 0)
      yield* deliver(ping)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(ws.pings, 1)
      yield* TestClock.adjust("19 seconds")
      assert.strictEqual(ws.pings, 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(ws.pings, 2)
    }))

  it.effect("end with the scope, also in an uninterruptible region", () =>
    Effect.gen(function*() {
      const { socket, ws } = yield* makeFakeSocket
      yield* Effect.uninterruptible(Effect.scoped(Frames.make(socket, { ...never, keepAlive: Duration.seconds(20) })))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ws.pings, 0)
    }))

  it.scoped("are not sent without an interval, nor by a socket that cannot", () =>
    Effect.gen(function*() {
      const endless = yield* makeSocket
      yield* endless.deliver("first")
      yield* TestClock.adjust("1 day")
      assert.strictEqual(endless.ws.pings, 0)
      const { deliver, frames, ws } = yield* makeSocketWith({ ...never, keepAlive: Duration.seconds(1) })
      Object.assign(ws, { ping: undefined })
      yield* deliver("first")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(ws.pings, 0)
      assert.strictEqual(yield* frames.take, "first")
    }))
})
