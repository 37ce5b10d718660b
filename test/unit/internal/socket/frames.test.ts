import * as Socket from "@effect/platform/Socket"
import { assert, describe, it, vi } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { withBytesRead } from "../../../../src/internal/socket/bytesRead.js"
import * as Frames from "../../../../src/internal/socket/frames.js"
import { makeFakeSocket } from "../../../utils/fakeSocket.js"

const never = Duration.infinity

const makeSocketWith = Effect.fnUntraced(function*(keepAlive: Duration.Duration) {
  const { deliver, sent, socket, ws } = yield* makeFakeSocket
  return { frames: yield* Frames.make(socket, keepAlive), ws, sent, deliver }
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

  it.scoped("are counted as they arrive, taken or not", () =>
    Effect.gen(function*() {
      const { deliver, frames } = yield* makeSocket
      assert.strictEqual(yield* frames.received, 0)
      yield* deliver("a", new Uint8Array(3), "c")
      assert.strictEqual(yield* frames.received, 3)
      yield* frames.take
      yield* frames.close(1000)
      yield* deliver("d")
      assert.strictEqual(yield* frames.received, 4)
    }))

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
      const fiber = yield* Effect.fork(Effect.flip(frames.takeWithin("1 second", () => idle)))
      yield* TestClock.adjust(999)
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Fiber.join(fiber), idle)
      yield* deliver("first", "second")
      assert.strictEqual(yield* frames.take, "first")
      assert.strictEqual(yield* frames.takeWithin("1 second", () => idle), "second")
    }))

  it.scoped("restart the timeout of a take while bytes of a frame arrive", () =>
    Effect.gen(function*() {
      const { deliver, socket } = yield* makeFakeSocket
      const connection = { bytesRead: 0 }
      const frames = yield* Frames.make(withBytesRead(socket, { source: { socket: connection } }), never)
      const fiber = yield* Effect.fork(Effect.either(frames.takeWithin("1 second", () => idle)))
      yield* TestClock.adjust("500 millis")
      for (let i = 0; i < 10; i++) {
        connection.bytesRead += 1
        yield* TestClock.adjust("1 second")
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      }
      yield* deliver("frame")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Either.right("frame"))
      const silent = yield* Effect.fork(Effect.either(frames.takeWithin("1 second", () => idle)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(silent), Either.left(idle))
    }))

  it.scoped("restart no timeout by pings and pongs", () =>
    Effect.gen(function*() {
      const { deliver, socket, ws } = yield* makeFakeSocket
      const connection = { bytesRead: 0 }
      const frames = yield* Frames.make(withBytesRead(socket, { source: { socket: connection } }), never)
      const arrive = (bytes: number) => {
        connection.bytesRead += bytes
      }
      yield* deliver("first")
      yield* frames.take
      const messages = [
        Effect.suspend(() => {
          arrive(6 + ping.length)
          return deliver(ping)
        }),
        ...(["ping", "pong"] as const).flatMap((event) =>
          [0, 4, 125].map((length) =>
            Effect.sync(() => {
              arrive(6 + length)
              ws.listeners.get(event)?.(new Uint8Array(length))
            })
          )
        )
      ]
      for (const message of messages) {
        const fiber = yield* Effect.fork(Effect.either(frames.takeWithin("1 second", () => idle)))
        yield* TestClock.adjust("500 millis")
        yield* message
        yield* TestClock.adjust("500 millis")
        assert.deepStrictEqual(yield* Fiber.join(fiber), Either.left(idle))
      }
      yield* deliver(ping)
      assert.strictEqual(yield* frames.received, -6 - ping.length)
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
      assert.strictEqual(yield* frames.received, 1)
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
      const { deliver, ws } = yield* makeSocketWith(Duration.seconds(20))
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
      yield* Effect.uninterruptible(Effect.scoped(Frames.make(socket, Duration.seconds(20))))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ws.pings, 0)
    }))

  it.scoped("are not sent without an interval, nor by a socket that cannot", () =>
    Effect.gen(function*() {
      const endless = yield* makeSocket
      yield* endless.deliver("first")
      yield* TestClock.adjust("1 day")
      assert.strictEqual(endless.ws.pings, 0)
      for (const name of ["ping", "on"]) {
        const { deliver, frames, ws } = yield* makeSocketWith(Duration.seconds(1))
        Object.assign(ws, { [name]: undefined })
        yield* deliver("first")
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(ws.pings, 0)
        assert.strictEqual(yield* frames.take, "first")
      }
    }))
})
