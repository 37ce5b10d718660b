import * as Socket from "@effect/platform/Socket"
import { assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { withBytesRead } from "../../../../src/internal/socket/bytesRead.js"
import * as Frames from "../../../../src/internal/socket/frames.js"
import { makeFakeSocket } from "../../../utils/fakeSocket.js"

const makeSocket = Effect.gen(function*() {
  const { deliver, sent, socket, ws } = yield* makeFakeSocket
  return { frames: yield* Frames.make(socket), ws, sent, deliver }
})

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
        const frames = yield* Frames.make({ ...socket, writer: Effect.succeed(write) })
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
      const frames = yield* Frames.make(withBytesRead(socket, { source: { socket: connection } }))
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
})
