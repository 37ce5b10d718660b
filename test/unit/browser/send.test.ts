import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { Buffer } from "node:buffer"
import * as promiseFace from "../../../src/browser/promise.js"
import * as protocol from "../../../src/internal/protocol.js"
import { uprightSize } from "../../utils/descriptions.js"
import { ascii, concat, png, pngOfSize } from "../../utils/images.js"
import { failingBlob } from "./blobs.js"
import { type Face, faces } from "./faces.js"
import { FakeWebSocket } from "./fakeWebSocket.js"

const kibibyte = 1024
const mebibyte = 1024 * 1024

const opening = { type: protocol.openingType } as const
const update = { type: protocol.updateType } as const
const types = [opening, update] as const
const cancelled = { type: protocol.cancelType }

const fileOf = (bytes: Uint8Array<ArrayBuffer>, name = "a.png") => new File([bytes], name, { type: "image/png" })
const big = pngOfSize(3 * mebibyte + 5)

const progress = (received: number, bytes = big.length) => protocol.progressMessage(received, bytes)
const description = (bytes = big.length): protocol.ImageDescription => ({
  mime: "image/png",
  display_name: "a.png",
  bytes,
  ...uprightSize(1, 1)
})
const taken = (bytes?: number) => protocol.imageMessage(description(bytes))
const refused = (code: string, retryable = false): protocol.ErrorMessage => ({
  type: "error",
  code,
  message: `It is ${code}.`,
  retryable
})

/** The server's answers to a cancelled image and to the cancelling message. */
const cancelledAnswers = [refused("invalid_payload"), refused("invalid_message")]

const reasonOf = (code: number) => code === 1006 ? "" : "because"

/** Starts an upload and waits until its image has been announced. */
const start = Effect.fnUntraced(function*(
  face: Face,
  socket: FakeWebSocket,
  blob: Blob = fileOf(big),
  options: Parameters<Face["send"]>[2] = update
) {
  const before = socket.texts.length
  const fiber = yield* Effect.fork(face.send(socket, blob, options))
  yield* socket.until(before + 1, socket.sentBytes)
  return fiber
})

for (const face of faces) {
  describe(`send, with ${face.title}`, () => {
    for (const options of types) {
      it.live(`announces an image with ${options.type}, and sends its bytes only once the server has room`, () =>
        Effect.gen(function*() {
          const socket = new FakeWebSocket()
          yield* start(face, socket, fileOf(png(), "b.png"), {
            ...options,
            message: { prompt: "a cat", type: "another", initial_image: null }
          })
          assert.deepStrictEqual(socket.texts, [{
            type: options.type,
            prompt: "a cat",
            initial_image: { mime: "image/png", name: "b.png", bytes: png().length }
          }])
          socket.receive(progress(0, png().length))
          yield* socket.until(1, png().length)
        }))
    }

    it.live("sends all bytes in frames of at most 1 MiB, at most 1 MiB ahead of the progress", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        const told: Array<unknown> = []
        const fiber = yield* start(face, socket, fileOf(big), { ...update, onProgress: (p) => told.push(p) })
        const steps = [0, 256 * kibibyte, 700 * kibibyte, 2 * mebibyte, 3 * mebibyte]
        for (const received of steps) {
          socket.receive(progress(received))
          // The window is full, so that the upload never stalls.
          const room = Math.floor((received + mebibyte) / (256 * kibibyte)) * 256 * kibibyte
          yield* socket.until(1, Math.min(big.length, room))
        }
        assert.isAtMost(Math.max(...socket.frames.map(({ length }) => length)), mebibyte)
        assert.isTrue(Buffer.concat(socket.frames).equals(big))
        socket.receive(taken())
        assert.deepStrictEqual(yield* Fiber.join(fiber), description())
        assert.deepStrictEqual(
          told,
          [...steps, big.length].map((received) => ({ received, bytes: big.length }))
        )
      }))

    it.live("waits for a socket that is still connecting", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        socket.readyState = 0
        const fiber = yield* Effect.fork(face.send(socket, fileOf(png()), opening))
        yield* socket.until(0, 0)
        socket.open()
        yield* socket.until(1, 0)
        socket.receive(taken(png().length))
        assert.deepStrictEqual(yield* Fiber.join(fiber), description(png().length))
      }))

    it.live("announces an image once, whenever the socket opens", () =>
      Effect.gen(function*() {
        for (const readyState of [0, 1]) {
          const socket = new FakeWebSocket()
          socket.readyState = readyState
          yield* Effect.fork(face.send(socket, fileOf(png()), opening))
          yield* Effect.yieldNow()
          socket.open()
          yield* socket.until(1, 0)
          socket.open()
          yield* socket.until(1, 0)
          assert.deepInclude(socket.texts[0], opening)
        }
      }))

    it.live("announces nothing on a socket that opens after an abort", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        socket.readyState = 0
        const fiber = yield* Effect.fork(face.send(socket, fileOf(png()), opening))
        yield* socket.until(0, 0)
        yield* Fiber.interrupt(fiber)
        socket.open()
        yield* socket.until(0, 0)
        assert.deepStrictEqual(socket.closed, [])
      }))

    it.live("listens to its socket's errors, which would end a Node process", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        yield* start(face, socket)
        assert.isTrue(socket.listensTo("error"))
      }))

    it.live("sends each byte once, however fast the server reports progress", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        yield* start(face, socket)
        socket.receive(progress(0), progress(0), progress(256 * kibibyte))
        yield* socket.until(1, 1.25 * mebibyte)
        socket.receive(progress(2 * mebibyte), progress(2.5 * mebibyte))
        yield* socket.until(1, big.length)
        assert.isTrue(Buffer.concat(socket.frames).equals(big))
      }))

    const wrong = [
      ["InvalidMime", new Blob([png()], { type: "image/gif" })],
      ["Empty", new Blob([], { type: "image/png" })],
      ["ContentMismatch", fileOf(concat(ascii("GIF89a"), new Uint8Array(32)))],
      ["TooLarge", fileOf(png())],
      ["UnreadableBlob", failingBlob(png(), 0, "rejects")]
    ] as const
    for (const [tag, blob] of wrong) {
      it.live(`fails with ${tag} before it sends anything`, () =>
        Effect.gen(function*() {
          const socket = new FakeWebSocket()
          const options = { ...opening, ...tag === "TooLarge" ? { maxBytes: 10 } : {} }
          const error = yield* Effect.flip(face.send(socket, blob, options))
          assert.strictEqual(error._tag, tag)
          yield* socket.until(0, 0)
          assert.deepStrictEqual(socket.closed, [])
        }))
    }

    it.live("refuses a limit that is no size before it sends anything", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        const exit = yield* Effect.exit(face.send(socket, fileOf(png()), { ...opening, maxBytes: Number.NaN }))
        assert.instanceOf(Exit.isFailure(exit) && Cause.squash(exit.cause), RangeError)
        yield* socket.until(0, 0)
      }))

    it.live("fails with the server's error, and stops sending", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        for (const retryable of [true, false]) {
          const before = socket.sentBytes
          const told: Array<unknown> = []
          const fiber = yield* start(face, socket, fileOf(big), { ...update, onProgress: (p) => told.push(p) })
          socket.receive(progress(0))
          yield* socket.until(socket.texts.length, before + mebibyte)
          socket.receive(progress(512 * kibibyte), refused("busy", retryable))
          const error = yield* Effect.flip(Fiber.join(fiber))
          assert.deepStrictEqual(told, [0, 512 * kibibyte].map((received) => ({ received, bytes: big.length })))
          assert.deepInclude({ ...error }, { _tag: "ServerError", code: "busy", retryable })
          assert.strictEqual(error.message, "It is busy.")
          yield* Effect.sleep("20 millis")
          const after = socket.sentBytes
          socket.receive(progress(mebibyte))
          yield* Effect.sleep("20 millis")
          assert.strictEqual(socket.sentBytes, after)
          assert.isAtMost(after - before, mebibyte + 256 * kibibyte)
        }
        assert.notDeepInclude(socket.texts, cancelled)
      }))

    it.live("ignores the application's own messages", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        const fiber = yield* start(face, socket)
        const others = [
          "",
          "{",
          "null",
          "[]",
          "1",
          "{\"type\":\"frame\",\"received\":0}",
          "{\"type\":\"init_image_progress\"}"
        ]
        for (const data of [...others, new ArrayBuffer(4), undefined]) socket.receiveRaw(data)
        yield* socket.until(1, 0)
        socket.receive(progress(0))
        yield* socket.until(1, mebibyte)
        socket.receive(taken())
        assert.deepStrictEqual(yield* Fiber.join(fiber), description())
        socket.receive(taken(), refused("invalid_message"))
      }))

    it.live("fails if the server answers without an image, or with an error without fields", () =>
      Effect.gen(function*() {
        for (const message of [{ type: "session_init_image", image: null }, { type: "error" }]) {
          const socket = new FakeWebSocket()
          const fiber = yield* start(face, socket)
          socket.receive(message)
          const error = yield* Effect.flip(Fiber.join(fiber))
          assert.deepInclude({ ...error }, {
            _tag: "ServerError",
            code: message.type === "error" ? "internal_error" : "no_image",
            retryable: false,
            details: {}
          })
          assert.isNotEmpty(error.message)
        }
      }))

    it.live("survives an onProgress that throws, and so does the next image", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        const onProgress = () => {
          throw new RangeError("mine")
        }
        for (const file of [fileOf(png(), "1.png"), fileOf(png(), "2.png")]) {
          const before = socket.sentBytes
          const fiber = yield* start(face, socket, file, { ...update, onProgress })
          assert.throws(() => socket.receive(progress(0, png().length)), RangeError)
          yield* socket.until(socket.texts.length, before + png().length)
          assert.throws(() => socket.receive(taken(png().length)), RangeError)
          assert.deepStrictEqual(yield* Fiber.join(fiber), description(png().length))
        }
      }))

    it.live("sends images on one socket one after the other, and continues after one that fails", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        const files = ["1.png", "2.png", "3.png", "4.png"].map((name) => fileOf(png(), name))
        files[1] = fileOf(concat(ascii("GIF89a"), new Uint8Array(32)), "2.png")
        const fibers = yield* Effect.forEach(files, (file) => Effect.fork(face.send(socket, file, update)))
        yield* socket.until(1, 0)
        socket.receive(taken(1))
        yield* socket.until(2, 0)
        socket.receive(refused("too_many_pixels"))
        yield* socket.until(3, 0)
        socket.receive(taken(4))
        const exits = yield* Effect.forEach(fibers, (fiber) => fiber.await)
        assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, false, true])
        assert.deepStrictEqual(
          socket.texts.map((text) => (text as { initial_image: { name: string } }).initial_image.name),
          ["1.png", "3.png", "4.png"]
        )
      }))
  })

  describe(`send, with ${face.title}, when the socket closes`, () => {
    const assertClosed = Effect.fnUntraced(function*(
      fiber: Fiber.RuntimeFiber<unknown, { readonly _tag: string }>,
      code: number
    ) {
      const error: object = yield* Effect.flip(Fiber.join(fiber)).pipe(Effect.timeout("5 seconds"))
      assert.deepInclude({ ...error }, { _tag: "SocketClosed", code, reason: reasonOf(code) })
      assert.include(error, { message: `The connection was closed (${code}).` })
    })

    for (const options of types) {
      it.live(`fails with SocketClosed at any point of ${options.type}`, () =>
        Effect.gen(function*() {
          const points: ReadonlyArray<(socket: FakeWebSocket) => Effect.Effect<void>> = [
            () => Effect.void,
            () => Effect.sleep(0),
            (socket) => socket.until(1, 0),
            (socket) => Effect.sync(() => socket.receive(progress(0))),
            (socket) => socket.until(1, mebibyte),
            (socket) => Effect.sync(() => socket.receive(progress(3 * mebibyte))),
            (socket) => socket.until(1, big.length)
          ]
          for (let last = 0; last < points.length; last++) {
            for (const code of [1000, 1006, 1011]) {
              const socket = new FakeWebSocket()
              const fiber = yield* Effect.fork(face.send(socket, fileOf(big), options))
              for (const reach of points.slice(0, last + 1)) yield* reach(socket)
              socket.end(code, reasonOf(code))
              // At the first point the upload has not started, and finds the socket closed.
              yield* assertClosed(fiber, last === 0 ? 1006 : code)
              const { sentBytes } = socket
              yield* Effect.sleep("5 millis")
              assert.strictEqual(socket.sentBytes, sentBytes)
            }
          }
        }))
    }

    it.live("fails the queued uploads too", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        const first = yield* start(face, socket)
        const second = yield* Effect.fork(face.send(socket, fileOf(png()), update))
        yield* socket.until(1, 0)
        socket.end(1011, "because")
        yield* assertClosed(first, 1011)
        yield* assertClosed(second, 1011)
      }))

    it.live("fails at once if it is closed or closing, and if it never opens", () =>
      Effect.gen(function*() {
        for (const readyState of [2, 3]) {
          const socket = new FakeWebSocket()
          socket.readyState = readyState
          yield* assertClosed(yield* Effect.fork(face.send(socket, fileOf(png()), update)), 1006)
        }
        const socket = new FakeWebSocket()
        socket.readyState = 0
        const fiber = yield* Effect.fork(face.send(socket, fileOf(png()), update))
        yield* socket.until(0, 0)
        socket.end(1006)
        yield* assertClosed(fiber, 1006)
      }))
  })

  describe(`send, with ${face.title}, when it is aborted`, () => {
    /** Sends a second image, which the server accepts. */
    const assertNext = Effect.fnUntraced(function*(socket: FakeWebSocket, before: ReadonlyArray<unknown>) {
      const bytes = socket.sentBytes
      const texts = socket.texts.length
      const next = yield* Effect.fork(face.send(socket, fileOf(png(), "next.png"), update))
      yield* socket.until(texts + 1, bytes)
      socket.receive(...before)
      yield* socket.until(texts + 1, bytes)
      socket.receive(progress(0, png().length))
      yield* socket.until(texts + 1, bytes + png().length)
      socket.receive(taken(png().length))
      assert.deepStrictEqual(yield* Fiber.join(next), description(png().length))
    })

    it.live("sends nothing if it has not started, and lets the next upload start", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        for (const options of types) {
          const fiber = yield* Effect.fork(face.send(socket, fileOf(big), options))
          yield* Effect.yieldNow()
          yield* Fiber.interrupt(fiber)
        }
        const first = yield* start(face, socket)
        const waiting = yield* Effect.fork(face.send(socket, fileOf(big), opening))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(waiting)
        socket.receive(taken())
        yield* Fiber.join(first)
        yield* assertNext(socket, [])
        assert.lengthOf(socket.texts, 2)
        assert.deepStrictEqual(socket.closed, [])
      }))

    it.live("closes the socket of an opening", () =>
      Effect.gen(function*() {
        for (const messages of [[], [progress(0)], [progress(0), progress(3 * mebibyte)]]) {
          const socket = new FakeWebSocket()
          const told: Array<unknown> = []
          const fiber = yield* start(face, socket, fileOf(big), { ...opening, onProgress: (p) => told.push(p) })
          socket.receive(...messages)
          yield* Effect.sleep("20 millis")
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(socket.closed, [1000])
          assert.lengthOf(socket.texts, 1)
          socket.receive(progress(mebibyte), taken())
          socket.end(1000)
          assert.lengthOf(told, messages.length)
        }
      }))

    const answers = {
      "the server's two answers to the image": [],
      "the one answer if an application handles the cancelling message": cancelledAnswers.slice(0, 1),
      "both answers after some progress": [progress(0), progress(512 * kibibyte), ...cancelledAnswers],
      "an earlier refusal": [progress(0), refused("content_mismatch"), refused("invalid_message")]
    }
    for (const [title, before] of Object.entries(answers)) {
      it.live(`sends init_image_cancelled for a replacement, and assigns ${title} to no other image`, () =>
        Effect.gen(function*() {
          for (const isBegun of [false, true]) {
            const socket = new FakeWebSocket()
            const told: Array<unknown> = []
            const fiber = yield* start(face, socket, fileOf(big), { ...update, onProgress: (p) => told.push(p) })
            if (isBegun) {
              socket.receive(progress(0))
              yield* socket.until(1, mebibyte)
            }
            yield* Fiber.interrupt(fiber)
            assert.deepStrictEqual(socket.texts.slice(1), [cancelled])
            assert.deepStrictEqual(socket.closed, [])
            const answers = before.length === 0 ? cancelledAnswers : before
            if (isBegun) {
              socket.receive(...answers)
              yield* assertNext(socket, [])
            } else yield* assertNext(socket, answers)
            assert.lengthOf(told, isBegun ? 1 : 0)
          }
        }))
    }

    it.live("tells the next image's refusal from the answers to earlier ones", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        for (let i = 0; i < 3; i++) yield* Fiber.interrupt(yield* start(face, socket))
        const next = yield* start(face, socket)
        socket.receive(...cancelledAnswers, ...cancelledAnswers, ...cancelledAnswers, refused("too_large"))
        assert.deepInclude({ ...yield* Effect.flip(Fiber.join(next)) }, { _tag: "ServerError", code: "too_large" })
        const last = yield* start(face, socket)
        socket.receive(refused("invalid_message"))
        assert.deepInclude({ ...yield* Effect.flip(Fiber.join(last)) }, { code: "invalid_message" })
      }))

    it.live("tells them apart if an application handles the cancelling message", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        yield* Fiber.interrupt(yield* start(face, socket))
        const next = yield* start(face, socket)
        socket.receive(...cancelledAnswers.slice(0, 1), refused("too_large"))
        assert.deepInclude({ ...yield* Effect.flip(Fiber.join(next)) }, { _tag: "ServerError", code: "too_large" })
      }))

    it.live("cancels nothing once all bytes are sent, and assigns their answer to no other image", () =>
      Effect.gen(function*() {
        for (const answer of [taken(), refused("malformed_image")]) {
          const socket = new FakeWebSocket()
          const fiber = yield* start(face, socket)
          socket.receive(progress(3 * mebibyte))
          yield* socket.until(1, big.length)
          yield* Fiber.interrupt(fiber)
          assert.lengthOf(socket.texts, 1)
          const next = yield* start(face, socket)
          socket.receive(progress(big.length), answer, refused("invalid_message"))
          assert.deepInclude({ ...yield* Effect.flip(Fiber.join(next)) }, { code: "invalid_message" })
        }
      }))

    it.live("tells that an aborted replacement is accepted late, and no other answer", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        const late: Array<unknown> = []
        const options = { ...update, onAcceptedLate: (image: protocol.ImageDescription) => late.push(image) }
        const sendAll = Effect.gen(function*() {
          const bytes = socket.sentBytes + big.length
          const fiber = yield* start(face, socket, fileOf(big), options)
          socket.receive(progress(3 * mebibyte))
          yield* socket.until(socket.texts.length, bytes)
          return fiber
        })
        yield* Fiber.interrupt(yield* sendAll)
        socket.receive(progress(big.length))
        assert.isEmpty(late)
        socket.receive(taken())
        assert.deepStrictEqual(late, [description()])

        yield* Fiber.interrupt(yield* sendAll)
        socket.receive(refused("malformed_image"))
        yield* Fiber.interrupt(yield* start(face, socket, fileOf(big), options))
        socket.receive(...cancelledAnswers)
        const last = yield* sendAll
        socket.receive(taken())
        yield* Fiber.join(last)
        assert.lengthOf(late, 1)
      }))

    it.live("survives an onAcceptedLate that throws, and so does the next image", () =>
      Effect.gen(function*() {
        const socket = new FakeWebSocket()
        const fiber = yield* start(face, socket, fileOf(big), {
          ...update,
          onAcceptedLate: () => {
            throw new Error("it is too late")
          }
        })
        socket.receive(progress(3 * mebibyte))
        yield* socket.until(1, big.length)
        yield* Fiber.interrupt(fiber)
        assert.throws(() => socket.receive(taken()), "it is too late")
        const next = yield* start(face, socket)
        socket.receive(refused("invalid_message"))
        assert.deepInclude({ ...yield* Effect.flip(Fiber.join(next)) }, { code: "invalid_message" })
      }))

    it.live("aborts with UnreadableBlob if a later read fails", () =>
      Effect.gen(function*() {
        for (const options of types) {
          const socket = new FakeWebSocket()
          // One read of the first bytes, and two frames.
          const fiber = yield* start(face, socket, failingBlob(big, 3, "is shorter"), options)
          socket.receive(progress(0))
          assert.strictEqual((yield* Effect.flip(Fiber.join(fiber)))._tag, "UnreadableBlob")
          assert.strictEqual(socket.sentBytes, 512 * kibibyte)
          assert.deepStrictEqual(socket.closed, options === opening ? [1000] : [])
          assert.deepStrictEqual(socket.texts.slice(1), options === opening ? [] : [cancelled])
          if (options === update) yield* assertNext(socket, cancelledAnswers)
        }
      }))
  })
}

describe("send with promises", () => {
  it("rejects with the signal's reason, before and after its abort", async () => {
    const reason = new Error("enough")
    const socket = new FakeWebSocket()
    const controller = new AbortController()
    const sent = promiseFace.send(socket, fileOf(png()), { ...update, signal: controller.signal })
    controller.abort(reason)
    assert.strictEqual(await sent.catch((error) => error), reason)
    const again = promiseFace.send(socket, fileOf(png()), { ...update, signal: controller.signal })
    assert.strictEqual(await again.catch((error) => error), reason)
    assert.deepStrictEqual(socket.texts, [])
  })

  it("removes its listener from a reused signal", async () => {
    const socket = new FakeWebSocket()
    const { signal } = new AbortController()
    let listeners = 0
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners += 1
      addEventListener.apply(signal, args)
    }
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners -= 1
      removeEventListener.apply(signal, args)
    }
    await promiseFace.send(socket, new Blob([]), { ...update, signal }).catch(() => {})
    assert.strictEqual(listeners, 0)
  })

  it("rejects if the message cannot be encoded as JSON, and accepts the next one", async () => {
    const socket = new FakeWebSocket()
    const error = await promiseFace.send(socket, fileOf(png()), { ...update, message: { seed: 1n } })
      .catch((error: unknown) => error)
    assert.instanceOf(error, TypeError)
    const next = promiseFace.send(socket, new Blob([]), update).catch((error: unknown) => error)
    assert.instanceOf(await next, promiseFace.Empty)
  })
})
