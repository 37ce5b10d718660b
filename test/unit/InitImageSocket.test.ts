import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { readFileSync } from "node:fs"
import { createServer, IncomingMessage } from "node:http"
import { join } from "node:path"
import { InitImageLimits, InitImageSlot, InitImageSocket, InitImageSpool, SessionInitImage } from "../../src/index.js"
import { BadBase64 } from "../../src/InitImageError.js"
import * as protocol from "../../src/internal/protocol.js"
import { isBun } from "../../src/internal/runtime.js"
import { connectionOf } from "../../src/internal/socket/connection.js"
import { imagesIn } from "../integration/server/testServer.js"
import { uprightSize } from "../utils/descriptions.js"
import { makeDirectory } from "../utils/directory.js"
import { makeFakeSocket } from "../utils/fakeSocket.js"
import { layerHooked } from "../utils/hookedFileSystem.js"
import { png, pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { collecting, diskError, layerWith } from "../utils/spools.js"
import { withSpans } from "../utils/tracing.js"
import { connect, connectRaw, encodeFrame, eventually, upgradeRequest } from "../utils/webSocketClient.js"

const init = (image: unknown) => JSON.stringify({ type: protocol.openingType, [protocol.payloadKey]: image })
const update = (image: unknown) => JSON.stringify({ type: protocol.updateType, [protocol.payloadKey]: image })
const announce = (bytes: unknown, mime = "image/png") => ({ mime, name: "ref.png", bytes })

const described = (bytes: Uint8Array) =>
  protocol.imageMessage({ mime: "image/png", display_name: "ref.png", bytes: bytes.length, ...uprightSize(1, 1) })
const progress = protocol.progressMessage
const noImage = protocol.imageMessage(null)
const cancel = JSON.stringify({ type: protocol.cancelType })

const assertError = (message: unknown, code: string, text?: string) => {
  assert.include(message, { type: "error", code })
  if (text !== undefined) assert.include(message, { message: text })
}

const pieces = (bytes: Uint8Array, length: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / length) }, (_, i) => bytes.slice(i * length, (i + 1) * length))

interface Options<E, R> extends InitImageSocket.Options<E, R> {
  readonly maxBytes?: number
  readonly spool?: Omit<InitImageSpool.Options, "directory">
}

/** Runs a session with a fake client in a new directory. */
const open = Effect.fnUntraced(function*<E = never, R = never>(
  handler: (session: InitImageSocket.Session) => Effect.Effect<void, E, R> = () => Effect.never,
  { maxBytes = 32 * 1024 * 1024, spool, ...options }: Options<E, R> = {}
) {
  const directory = yield* makeDirectory
  const service = yield* InitImageSpool.make({ directory, ...spool })
  const client = yield* makeFakeSocket
  const fiber = yield* InitImageSocket.run(client.socket, handler, options).pipe(
    Effect.provideService(InitImageSpool.InitImageSpool, service),
    InitImageLimits.withMaxBytes(maxBytes),
    Effect.fork
  )
  const images = () => imagesIn(directory)
  return {
    ...client,
    fiber,
    spool: service,
    images,
    read: () => images().map((path) => new Uint8Array(readFileSync(join(directory, path)))),
    /** Takes the next message other than progress. */
    answer: Effect.repeat(client.next, {
      until: (message) => (message as { readonly type?: unknown }).type !== protocol.progressType
    })
  }
})

/** Reserves bytes of the spool until the scope closes. */
const reserve = (spool: InitImageSpool.Spool, bytes: number) =>
  Effect.acquireRelease(spool.makeRoom({ maxBytes: bytes, bytes }), (room) => room.release).pipe(
    Effect.flatMap((room) => room.reserve)
  )

const live = (name: string, test: () => Effect.Effect<void, unknown, NodeContext.NodeContext | Scope.Scope>) =>
  it.scopedLive(name, () => Effect.provide(test(), NodeContext.layer))

describe("a session", () => {
  live(
    "passes the message and the slot to its handler, and closes with 1000 when that ends",
    () =>
      Effect.gen(function*() {
        const { deliver, fiber, images, next } = yield* open((session) =>
          Effect.gen(function*() {
            const image = yield* session.slot.lease
            yield* session.send({ message: session.message, width: Option.map(image, ({ width }) => width) })
          }).pipe(Effect.scoped)
        )
        yield* deliver(JSON.stringify({
          type: "session_init_v2",
          prompt: "a cat",
          initial_image: payloadOf("image/png", png(), "ref.png")
        }))
        assert.deepStrictEqual(yield* next, described(png()))
        assert.deepStrictEqual(yield* next, {
          message: { type: "session_init_v2", prompt: "a cat", initial_image: { mime: "image/png", name: "ref.png" } },
          width: { _id: "Option", _tag: "Some", value: 1 }
        })
        assert.strictEqual(yield* next, 1000)
        yield* Fiber.join(fiber)
        assert.isEmpty(images())
      })
  )

  live("fails with its handler's error, and closes with 1011", () =>
    Effect.gen(function*() {
      const { deliver, fiber, images, next } = yield* open(() => Effect.fail("broken"))
      yield* deliver(init(payloadOf("image/png", png())))
      yield* next
      assert.strictEqual(yield* next, 1011)
      assert.deepStrictEqual(yield* fiber.await, Exit.fail("broken"))
      assert.isEmpty(images())
    }))

  live("closes with 1001 when it is interrupted", () =>
    Effect.gen(function*() {
      const { deliver, fiber, images, next } = yield* open()
      yield* deliver(init(payloadOf("image/png", png())))
      yield* next
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* next, 1001)
      assert.isEmpty(images())
    }))

  live(
    "interrupts its handler when the client disconnects, and releases the handler's resources",
    () =>
      Effect.gen(function*() {
        const released = yield* Deferred.make<void>()
        const { close, deliver, fiber, images, next } = yield* open(({ slot }) =>
          Effect.zipRight(
            slot.lease,
            Effect.ensuring(Effect.never, Deferred.succeed(released, void 0))
          )
        )
        yield* deliver(init(payloadOf("image/png", png())))
        yield* next
        assert.lengthOf(images(), 1)
        yield* close
        yield* Fiber.join(fiber)
        yield* Deferred.await(released)
        assert.isEmpty(images())
      })
  )

  live(
    "passes other messages to the application, one at a time and in order with the images",
    () =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const { answer, deliver } = yield* open(() => Effect.never, {
          onMessage: (message, { send, slot }) =>
            Effect.gen(function*() {
              yield* Deferred.await(gate)
              const image = yield* slot.lease
              yield* send({ echo: message, bytes: Option.getOrNull(Option.map(image, ({ bytes }) => bytes)) })
            }).pipe(Effect.scoped)
        })
        const [first, second] = [pngOfSize(1000), pngOfSize(2000)]
        yield* deliver(
          init(payloadOf("image/png", first, "ref.png")),
          "{\"type\":\"prompt\",\"n\":1}",
          update(payloadOf("image/png", second, "ref.png")),
          "{\"type\":\"prompt\",\"n\":2}"
        )
        assert.deepStrictEqual(yield* answer, described(first))
        yield* Effect.sleep("30 millis")
        yield* Deferred.succeed(gate, void 0)
        assert.deepStrictEqual(yield* answer, { echo: { type: "prompt", n: 1 }, bytes: 1000 })
        assert.deepStrictEqual(yield* answer, described(second))
        assert.deepStrictEqual(yield* answer, { echo: { type: "prompt", n: 2 }, bytes: 2000 })
      })
  )

  live("takes a byte order mark at the start of a message", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open()
      const payload = payloadOf("image/png", png(), "ref.png")
      yield* deliver(`\uFEFF${init(payload)}`, `\uFEFF${update(payload)}`)
      assert.deepStrictEqual(yield* answer, described(png()))
      assert.deepStrictEqual(yield* answer, described(png()))
    }))

  live("uses the message types and the payload's path from its options", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open(() => Effect.never, {
        at: ["input", "image"],
        openingType: "open",
        updateType: "replace"
      })
      const input = { image: payloadOf("image/png", png(), "ref.png") }
      yield* deliver(JSON.stringify({ type: "open", input }), JSON.stringify({ type: "replace", input: {} }))
      assert.deepStrictEqual(yield* answer, described(png()))
      assert.deepStrictEqual(yield* answer, noImage)
    }))

  live("uses the slot from its options", () =>
    Effect.gen(function*() {
      const slot = yield* Deferred.make<InitImageSlot.InitImageSlot>()
      const { answer, deliver } = yield* open(() => Effect.never, {
        slot: Effect.tap(InitImageSlot.make, (made) => Deferred.succeed(slot, made))
      })
      yield* deliver(init(payloadOf("image/png", png(), "ref.png")))
      yield* answer
      const { lease } = yield* Deferred.await(slot)
      const image = yield* lease
      assert.isTrue(Option.isSome(image))
    }))

  live("answers an update without an image that the slot cannot store, and stays", () =>
    Effect.gen(function*() {
      const full = diskError("put", "ENOSPC")
      const slot = Effect.map(InitImageSlot.make, (made): InitImageSlot.InitImageSlot<typeof full> => ({
        ...made,
        clear: Effect.die(full),
        setWith: (effect) =>
          Effect.filterOrFail(
            made.setWith(effect),
            (value) => !(Option.isOption(value) && Option.isNone(value)),
            () => full
          )
      }))
      const { answer, deliver } = yield* open(() => Effect.never, { slot })
      const payload = payloadOf("image/png", png(), "ref.png")
      yield* deliver(init(payload), update(null), update(payload))
      assert.deepStrictEqual(yield* answer, described(png()))
      assert.include(JSON.stringify(yield* answer), "internal_error")
      assert.deepStrictEqual(yield* answer, described(png()))
    }))

  /** The spans of a session that answers each of these messages, and is then closed. */
  const spansOf = Effect.fnUntraced(function*(messages: ReadonlyArray<string>) {
    const spool = yield* InitImageSpool.make({ directory: yield* makeDirectory })
    const { close, deliver, next, socket } = yield* makeFakeSocket
    const session = yield* InitImageSocket.run(socket, () => Effect.never).pipe(
      Effect.provideService(InitImageSpool.InitImageSpool, spool),
      withSpans,
      Effect.fork
    )
    for (const message of messages) {
      yield* deliver(message)
      yield* next
    }
    yield* close
    return yield* Fiber.join(session)
  })

  live("has a span for itself and for each received message", () =>
    Effect.gen(function*() {
      const spans = yield* spansOf([init(payloadOf("image/png", png()))])
      assert.includeMembers(spans.map(({ name }) => name), ["InitImageSocket.run", "InitImageSocket.receive"])
      const received = spans.find(({ name }) => name === "InitImageSocket.receive")
      assert.strictEqual(received?.attributes.get("outcome"), "persisted")
    }))

  live("records a message that is refused, or has no image, once", () =>
    Effect.gen(function*() {
      const payload = payloadOf("image/png", png())
      const refused = { ...payload, data: "!!!!" }
      const messages = [init(payload), update(refused), update(null), update(payload), update({ ...payload, data: "" })]
      const spans = yield* spansOf(messages)
      assert.deepStrictEqual(
        spans.filter(({ name }) => name === "InitImageSocket.receive").map(({ attributes }) =>
          attributes.get("outcome")
        ),
        ["persisted", "BadBase64", "none", "persisted", "Empty"]
      )
    }))

  live("ends when its socket closes while a replaced image is being removed", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const fs = yield* FileSystem.FileSystem
      const spool = yield* InitImageSpool.make({ directory })
      const removing = yield* Deferred.make<void>()
      const removed = yield* Deferred.make<void>()
      const slow = FileSystem.FileSystem.of({
        ...fs,
        remove: (path, options) =>
          Deferred.succeed(removing, void 0).pipe(
            Effect.zipRight(Deferred.await(removed)),
            Effect.zipRight(fs.remove(path, options))
          )
      })
      const { close, deliver, socket } = yield* makeFakeSocket
      const session = yield* InitImageSocket.run(socket, () => Effect.never).pipe(
        Effect.provideService(InitImageSpool.InitImageSpool, spool),
        Effect.provideService(FileSystem.FileSystem, slow),
        Effect.fork
      )
      const payload = payloadOf("image/png", png())
      yield* deliver(init(payload), update(payload), update(payload))
      yield* Deferred.await(removing)
      yield* close
      yield* Effect.sleep("20 millis")
      yield* Deferred.succeed(removed, void 0)
      yield* Effect.timeout(session.await, "10 seconds")
      assert.deepStrictEqual(imagesIn(directory), [])
    }))
})

describe("a refused message", () => {
  const errorOf = (code: string, message: string, fields: object = {}) => ({
    type: "error",
    code,
    message,
    retryable: ["busy", "internal_error"].includes(code),
    ...fields
  })
  const invalid = (message: string) => errorOf("invalid_message", message)
  const notText = invalid("A message must be a text frame.")
  const refused: Record<string, {
    /** The frame sent in place of a message of the type. */
    readonly frame: (type: string) => string | Uint8Array
    readonly error: (type: string) => unknown
    readonly closeCode?: number
    readonly options?: Options<never, never>
  }> = {
    "is not JSON": { frame: () => "{", error: () => invalid("A message must be JSON.") },
    "is nested too deeply": {
      frame: (type) => `{"type":"${type}","a":${"[".repeat(1000)}${"]".repeat(1000)}}`,
      error: () => invalid("The message with the image is nested too deeply.")
    },
    "is a binary frame": { frame: () => Uint8Array.of(1), error: () => notText },
    "is of another type": {
      frame: () => "{\"type\":\"other\"}",
      error: (type) => invalid(`The message's type must be ${type}.`)
    },
    "has no type": { frame: () => "[]", error: (type) => invalid(`The message's type must be ${type}.`) },
    "has an image that is not an object": {
      frame: (type) => JSON.stringify({ type, initial_image: 1 }),
      error: () =>
        errorOf("invalid_payload", "The image must be an object with the fields mime, name and data.", {
          _tag: "InvalidPayload",
          reason: "NotAnObject"
        })
    },
    "has an invalid image": {
      frame: (type) => JSON.stringify({ type, initial_image: { mime: "image/png", data: "====" } }),
      error: () =>
        errorOf("bad_base64", new BadBase64({ reason: "Padding", offset: 0 }).message, {
          _tag: "BadBase64",
          reason: "Padding",
          offset: 0
        })
    },
    "has an image that the spool has no room for": {
      frame: (type) => JSON.stringify({ type, initial_image: payloadOf("image/png", pngOfSize(600)) }),
      error: () =>
        errorOf("busy", "The image cannot be taken at the moment; please try again in 1 second.", {
          _tag: "Busy",
          retryAfter: 1
        }),
      closeCode: 1013,
      options: { spool: { maxBytesInFlight: 1000, onFull: "fail" } }
    }
  }
  for (const [title, { closeCode = 1003, error, frame, options }] of Object.entries(refused)) {
    live(
      `that ${title} is answered with the error, and ends the session only if it was the opening`,
      () =>
        Effect.gen(function*() {
          for (const opened of [false, true]) {
            const type = opened ? "init_image_updated" : "session_init_v2"
            const { answer, deliver, images, spool } = yield* open(() => Effect.never, options)
            if (opened) {
              yield* deliver(init(payloadOf("image/png", png(), "ref.png")))
              assert.deepStrictEqual(yield* answer, described(png()))
            }
            const before = images()
            yield* Effect.scoped(Effect.gen(function*() {
              if (options?.spool !== undefined) yield* reserve(spool, 500)
              yield* deliver(frame(type))
              assert.deepStrictEqual(yield* answer, error(type))
            }))
            assert.deepStrictEqual(images(), before)
            if (opened) {
              yield* deliver(update(null))
              assert.deepStrictEqual(yield* answer, noImage)
            } else assert.strictEqual(yield* answer, closeCode)
          }
        })
    )
  }

  live(
    "whose image cannot be stored is answered without the cause, which is logged",
    () =>
      Effect.gen(function*() {
        for (const opened of [false, true]) {
          let broken = false
          const lines: Array<string> = []
          const fail = (method: string) => Effect.fail(diskError(method, "EIO"))
          const disk = layerWith((fs) => ({
            open: (path, options) => broken ? fail("open") : fs.open(path, options),
            writeFile: (path, data, options) => broken ? fail("writeFile") : fs.writeFile(path, data, options)
          }))
          const { answer, deliver } = yield* Effect.provide(open(), Layer.merge(disk, collecting(lines)))
          if (opened) {
            yield* deliver(init(null))
            yield* answer
          }
          broken = true
          yield* deliver((opened ? update : init)(payloadOf("image/png", png(), "ref.png")))
          assert.deepStrictEqual(
            yield* answer,
            errorOf("internal_error", "The server could not store the image.")
          )
          if (!opened) assert.strictEqual(yield* answer, 1011)
          assert.lengthOf(lines.filter((line) => line.includes("An init image could not be stored")), 1)
          assert.include(lines.join(), "EIO")
        }
      })
  )

  it.scoped("that does not arrive in time closes the session with 1008", () =>
    Effect.gen(function*() {
      for (const [openingTimeout, millis] of [[undefined, 10_000], ["3 seconds", 3000]] as const) {
        const { fiber, next, sent } = yield* open(() => Effect.never, { openingTimeout })
        yield* TestClock.adjust(millis - 1)
        assert.isEmpty(sent)
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* next, invalid("No message arrived in time."))
        assert.strictEqual(yield* next, 1008)
        yield* Fiber.join(fiber)
      }
    }).pipe(Effect.provide(NodeContext.layer)))
})

describe("an image under another key than the payload's", () => {
  const payload = payloadOf("image/png", png(), "ref.png")
  const keys = [
    "initialImage",
    "init_image",
    "initImage",
    "image",
    "input_image",
    "inputImage",
    "session_init_image"
  ]
  const misplaced = (found: string, at = "initial_image") => ({
    type: "error",
    code: "invalid_message",
    message: `The message's image must be under ${at}, and not under ${found}.`,
    retryable: false
  })

  for (const key of keys) {
    live(`is refused, with the right key in place of ${key}`, () =>
      Effect.gen(function*() {
        const values = [payload, announce(10), "data:image/png;base64,", { data: "a" }]
        for (const value of values) {
          const { answer, deliver } = yield* open()
          yield* deliver(JSON.stringify({ type: protocol.openingType, [key]: value }))
          assert.deepStrictEqual(yield* answer, misplaced(key))
          assert.strictEqual(yield* answer, 1003)
        }
        const { answer, deliver, images } = yield* open()
        yield* deliver(init(payload))
        yield* answer
        for (const value of values) {
          yield* deliver(JSON.stringify({ type: protocol.updateType, [key]: value }))
          assert.deepStrictEqual(yield* answer, misplaced(key))
        }
        assert.lengthOf(images(), 1)
      }))
  }

  live("is refused too if the message is larger than a message without an image may be", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open()
      yield* deliver(init(null))
      yield* answer
      const data = "A".repeat(2_000_000)
      for (const value of [{ data }, data]) {
        yield* deliver(JSON.stringify({ type: protocol.updateType, image: value }))
        assert.deepStrictEqual(yield* answer, misplaced("image"))
      }
      const others = [
        { type: "other", image: data },
        { type: protocol.updateType, image: data, initial_image: null },
        { type: protocol.updateType, picture: data },
        { type: protocol.updateType, image: [data] }
      ]
      for (const other of others) {
        yield* deliver(JSON.stringify(other))
        assertError(yield* answer, "invalid_payload")
      }
    }))

  live(
    "is left alone beside the payload's own key, without content, and in the application's messages",
    () =>
      Effect.gen(function*() {
        const { answer, deliver } = yield* open(() => Effect.never, {
          onMessage: (message, { send }) => send({ got: message })
        })
        yield* deliver(init(payload))
        yield* answer
        for (const image of [null, false, 0, "", {}, [], 7, [payload]]) {
          yield* deliver(JSON.stringify({ type: protocol.updateType, image }))
          assert.deepStrictEqual(yield* answer, noImage)
        }
        yield* deliver(JSON.stringify({ type: protocol.updateType, initial_image: null, image: payload }))
        assert.deepStrictEqual(yield* answer, noImage)
        yield* deliver(JSON.stringify({ type: protocol.updateType, initial_image: payload, image: payload }))
        assert.deepStrictEqual(yield* answer, described(png()))
        yield* deliver(JSON.stringify({ type: "other", image: 1 }))
        assert.deepStrictEqual(yield* answer, { got: { type: "other", image: 1 } })
      })
  )

  live("is sought beside the configured key only", () =>
    Effect.gen(function*() {
      const at = ["input", "image"]
      const { answer, deliver } = yield* open(() => Effect.never, { at })
      yield* deliver(JSON.stringify({ type: protocol.openingType, image: payload, input: 1 }))
      assert.deepStrictEqual(yield* answer, noImage)
      yield* deliver(JSON.stringify({ type: protocol.updateType, input: { initial_image: payload } }))
      assert.deepStrictEqual(yield* answer, misplaced("initial_image", "input.image"))
      yield* deliver(JSON.stringify({ type: protocol.updateType, input: { image: payload } }))
      assert.deepStrictEqual(yield* answer, described(png()))
    }))

  live("is the message itself if the options say so", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open(() => Effect.never, { at: [] })
      yield* deliver(JSON.stringify({ type: protocol.openingType, ...payload }))
      assert.deepStrictEqual(yield* answer, described(png()))
    }))
})

describe("a ping", () => {
  const ping = "{\"type\":\"ping\"}"
  const pong = { type: "pong" }

  live(
    "is answered before the opening, in a session, and while the application handles a message",
    () =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const { answer, deliver } = yield* open(() => Effect.never, {
          onMessage: (_, { send }) => Effect.zipRight(Deferred.await(gate), send("handled"))
        })
        yield* deliver(ping)
        assert.deepStrictEqual(yield* answer, pong)
        yield* deliver(init(null), ping)
        assert.sameDeepMembers([yield* answer, yield* answer], [noImage, pong])
        yield* deliver("{\"type\":\"other\"}", ping)
        assert.deepStrictEqual(yield* answer, pong)
        yield* Deferred.succeed(gate, void 0)
        assert.strictEqual(yield* answer, "handled")
      })
  )

  live("is answered between the frames of an image, which it does not end", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open()
      const image = pngOfSize(1000)
      yield* deliver(init(announce(1000)), image.slice(0, 500), ping, image.slice(500))
      assert.deepStrictEqual(yield* answer, pong)
      assert.deepStrictEqual(yield* answer, described(image))
    }))

  live("is no progress of an image or an opening", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open(() => Effect.never, { openingTimeout: "300 millis" })
      const pinging = Effect.forever(Effect.delay(deliver(ping), "50 millis"))
      const first = yield* Effect.raceFirst(
        pinging,
        Effect.repeat(answer, { until: (message) => (message as { readonly type?: unknown }).type !== "pong" })
      )
      assertError(first, "invalid_message", "No message arrived in time.")
    }))
})

describe("the options of a session", () => {
  it.effect("are refused where they make no sense", () =>
    Effect.gen(function*() {
      const { socket } = yield* makeFakeSocket
      const problems: ReadonlyArray<readonly [InitImageSocket.Options, string]> = [
        [{ at: ["a", ""] }, "each key of at must not be empty"],
        [{ openingType: "" }, "openingType must not be empty"],
        [{ updateType: "" }, "updateType must not be empty"],
        [{ openingType: "ping" }, "openingType must not be ping, which is a type of the protocol"],
        [{ updateType: "init_image_cancelled" }, "updateType must not be init_image_cancelled"],
        [{ minBytesPerSecond: -1 }, "minBytesPerSecond must be a number that is not negative"],
        ...(["openingTimeout", "stallTimeout", "keepAlive"] as const).flatMap((name) =>
          [0, -1, NaN, "-1 seconds", "soon"].map((value) =>
            [{ [name]: value }, `${name} must be a duration above zero`] as const
          )
        )
      ]
      // What a program without types may pass.
      const untyped = (options: unknown) => options as InitImageSocket.Options
      for (
        const [options, problem] of [
          ...problems,
          [untyped({ onMessage: "a" }), "onMessage must be a function"],
          [untyped({ prepare: {} }), "prepare must be a function"]
        ] as const
      ) {
        assert.throws(
          () => InitImageSocket.run(socket, () => Effect.void, options),
          `InitImageSocket.run: ${problem}`
        )
      }
      const allowed: InitImageSocket.Options = { at: [], keepAlive: Infinity, stallTimeout: Duration.infinity }
      assert.doesNotThrow(() => InitImageSocket.run(socket, () => Effect.void, allowed))
    }))
})

describe("an image in binary frames", () => {
  live("is written as it arrives, in frames of any size", () =>
    Effect.gen(function*() {
      const bytes = pngOfSize(3 * 1024 * 1024 + 7)
      for (const length of [1024 * 1024, 65_536, 700_001]) {
        const { answer, deliver, read } = yield* open()
        yield* deliver(init(announce(bytes.length)), ...pieces(bytes, length))
        assert.deepStrictEqual(yield* answer, described(bytes))
        assert.deepStrictEqual(read(), [new Uint8Array(bytes)])
      }
    }))

  live("is of the type that its bytes are, where the declared type is optional", () =>
    Effect.gen(function*() {
      const bytes = pngOfSize(5000)
      for (const mime of [undefined, "image/gif", "image/webp"]) {
        const { answer, deliver } = yield* open()
        yield* deliver(init({ mime, name: "ref.png", bytes: bytes.length }), ...pieces(bytes, 1000))
        assert.deepStrictEqual(yield* answer, described(bytes))
      }
    }).pipe(InitImageLimits.withDeclaredType("optional")))

  live("has the same result as its base64, in frames of any size", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.integer({ min: 100, max: 5000 }),
          FastCheck.integer({ min: 1, max: 700 }),
          FastCheck.boolean(),
          (size, length, cut) =>
            Effect.gen(function*() {
              const whole = pngOfSize(size)
              const bytes = cut ? whole.slice(0, -13) : whole
              const inline = yield* open()
              yield* inline.deliver(init(payloadOf("image/png", bytes, "ref.png")))
              const binary = yield* open()
              yield* binary.deliver(init(announce(bytes.length)), ...pieces(bytes, length))
              assert.deepStrictEqual(yield* binary.answer, yield* inline.answer)
              assert.deepStrictEqual(binary.read(), inline.read())
            }).pipe(Effect.scoped, Effect.provide(NodeContext.layer), Effect.runPromise)
        ),
        { numRuns: 60 }
      )
    ))

  live("is reported as progress, first with 0 bytes and then every 256 KiB", () =>
    Effect.gen(function*() {
      const bytes = pngOfSize(600 * 1024)
      const { deliver, next } = yield* open()
      yield* deliver(init(announce(bytes.length)))
      assert.deepStrictEqual(yield* next, progress(0, bytes.length))
      for (const piece of pieces(bytes, 100 * 1024)) yield* deliver(piece)
      assert.deepStrictEqual(yield* next, progress(300 * 1024, bytes.length))
      assert.deepStrictEqual(yield* next, described(bytes))
    }))

  live("is not requested before the spool has room for it", () =>
    Effect.gen(function*() {
      const bytes = pngOfSize(1000)
      const spool = yield* InitImageSpool.make({ directory: yield* makeDirectory, maxBytesInFlight: 1500 })
      const client = yield* makeFakeSocket
      yield* Effect.fork(Effect.provideService(
        InitImageSocket.run(client.socket, () => Effect.never),
        InitImageSpool.InitImageSpool,
        spool
      ))
      yield* Effect.scoped(Effect.gen(function*() {
        yield* reserve(spool, 1000)
        yield* client.deliver(init(announce(bytes.length)))
        yield* Effect.sleep("50 millis")
        assert.isEmpty(client.sent)
      }))
      assert.deepStrictEqual(yield* client.next, progress(0, bytes.length))
    }))

  live("reserves no more room than announced", () =>
    Effect.gen(function*() {
      const bytes = pngOfSize(1000)
      const spool = yield* InitImageSpool.make({ directory: yield* makeDirectory, maxBytesInFlight: 2000 })
      for (let i = 0; i < 2; i++) {
        const client = yield* makeFakeSocket
        yield* Effect.fork(Effect.provideService(
          InitImageSocket.run(client.socket, () => Effect.never),
          InitImageSpool.InitImageSpool,
          spool
        ))
        yield* client.deliver(init(announce(bytes.length)))
        assert.deepStrictEqual(yield* client.next, progress(0, bytes.length))
      }
    }))

  for (
    const [title, payload, code, text] of [
      ["of an unaccepted type", announce(10, "image/gif"), "invalid_mime", undefined],
      ["of 0 bytes", announce(0), "empty", undefined],
      ["that is too large", announce(40_000_000), "too_large", undefined],
      ["of 1.5 bytes", announce(1.5), "invalid_payload", "The number of the image's bytes must be a whole number."],
      [
        "of -1 bytes",
        announce(-1),
        "invalid_payload",
        "The number of the image's bytes must be a whole number."
      ],
      [
        "whose byte count is a string",
        announce("10"),
        "invalid_payload",
        "The number of the image's bytes must be a whole number."
      ]
    ] as const
  ) {
    live(`${title} is refused before its bytes are requested`, () =>
      Effect.gen(function*() {
        const { deliver, next } = yield* open()
        yield* deliver(init(payload))
        assertError(yield* next, code, text)
        assert.strictEqual(yield* next, 1003)
      }))
  }

  const bytes = pngOfSize(5000)
  const broken: Record<string, {
    readonly frames: ReadonlyArray<string | Uint8Array>
    readonly code: string
    readonly text?: string
    /** The answer to a text frame that arrives before the last byte. */
    readonly after?: unknown
  }> = {
    "of more bytes than announced": {
      frames: [bytes.slice(0, 4000), new Uint8Array(1001)],
      code: "invalid_payload",
      text: "The image has more bytes than announced."
    },
    "of fewer bytes than announced": {
      frames: [bytes.slice(0, 4999), update(null)],
      code: "invalid_payload",
      text: "The image has fewer bytes than announced.",
      after: noImage
    },
    "in a frame of more than 1 MiB": {
      frames: [new Uint8Array(1024 * 1024 + 1)],
      code: "invalid_payload"
    },
    "of another type": { frames: pieces(bytes.map((byte, i) => i === 0 ? 0 : byte), 100), code: "content_mismatch" },
    "that is truncated": { frames: [bytes.slice(0, -12), new Uint8Array(12)], code: "malformed_image" }
  }
  for (const [title, { after, code, frames, text }] of Object.entries(broken)) {
    live(
      `${title} is refused, its remaining bytes are dropped, and the session keeps its image`,
      () =>
        Effect.gen(function*() {
          const { answer, deliver, images, read } = yield* open()
          yield* deliver(init(payloadOf("image/png", png(), "ref.png")))
          assert.deepStrictEqual(yield* answer, described(png()))
          const before = images()
          yield* deliver(update(announce(5000)), ...frames)
          assertError(yield* answer, code, text)
          if (after !== undefined) assert.deepStrictEqual(yield* answer, after)
          else assert.deepStrictEqual(images(), before)
          yield* deliver(update(announce(bytes.length)), ...pieces(bytes, 999))
          assert.deepStrictEqual(yield* answer, described(bytes))
          assert.deepStrictEqual(read(), [new Uint8Array(bytes)])
        })
    )
  }

  live("in a frame of more than 1 MiB is refused with the reason", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open()
      yield* deliver(init(announce(2 * 1024 * 1024)), new Uint8Array(1024 * 1024 + 1))
      assertError(yield* answer, "invalid_payload", "The image's bytes came in frames that are too large.")
      assert.strictEqual(yield* answer, 1003)
    }))

  live(
    "stays when unannounced bytes follow, which are refused",
    () =>
      Effect.gen(function*() {
        const { answer, deliver, read } = yield* open()
        yield* deliver(init(announce(bytes.length)), ...pieces(bytes, 5000), new Uint8Array(1))
        assert.deepStrictEqual(yield* answer, described(bytes))
        assertError(yield* answer, "invalid_payload", "The image has more bytes than announced.")
        assert.deepStrictEqual(read(), [new Uint8Array(bytes)])
      })
  )

  live("may have as many bytes as the limit, and not one more", () =>
    Effect.gen(function*() {
      const { answer, deliver, next } = yield* open(() => Effect.never, { maxBytes: bytes.length })
      yield* deliver(init(announce(bytes.length)))
      assert.deepStrictEqual(yield* next, progress(0, bytes.length))
      yield* deliver(bytes)
      assert.deepStrictEqual(yield* answer, described(bytes))
      yield* deliver(update(announce(bytes.length + 1)))
      assertError(yield* answer, "too_large")
    }))

  live("has only its announced bytes dropped when it is refused", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open()
      yield* deliver(init(null), update(announce(5000)), ...pieces(new Uint8Array(5000), 500))
      assert.deepStrictEqual(yield* answer, noImage)
      assertError(yield* answer, "content_mismatch")
      yield* deliver(Uint8Array.of(1))
      assertError(yield* answer, "invalid_payload", "The image has more bytes than announced.")
      yield* deliver(update(null), Uint8Array.of(1))
      assert.deepStrictEqual(yield* answer, noImage)
      assertError(yield* answer, "invalid_message", "A message must be a text frame.")
    }))

  live("is not late while the server is slow", () =>
    Effect.gen(function*() {
      const large = pngOfSize(3_000_000)
      const slow = layerHooked((operation, run) => operation === "open" ? Effect.delay(run, "500 millis") : run)
      const { answer, deliver } = yield* Effect.provide(open(() => Effect.never, { stallTimeout: "100 millis" }), slow)
      yield* deliver(init(announce(large.length)), ...pieces(large, 1_000_000))
      assert.deepStrictEqual(yield* answer, described(large))
    }))

  live("is refused when its bytes stop arriving, and not while they arrive slowly", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open(() => Effect.never, { stallTimeout: "200 millis" })
      yield* deliver(init(announce(bytes.length)))
      for (const piece of pieces(bytes, 500)) {
        yield* Effect.sleep("50 millis")
        yield* deliver(piece)
      }
      assert.deepStrictEqual(yield* answer, described(bytes))
      yield* deliver(update(announce(bytes.length)), bytes.slice(0, 100))
      assertError(yield* answer, "invalid_payload", "The image's bytes stopped coming.")
      yield* deliver(update(payloadOf("image/png", png(), "ref.png")))
      assert.deepStrictEqual(yield* answer, described(png()))
    }))

  live("is refused when its bytes arrive too slowly, unless there is no lowest rate", () =>
    Effect.gen(function*() {
      for (const minBytesPerSecond of [undefined, 0]) {
        const { answer, deliver } = yield* open(() => Effect.never, { stallTimeout: "200 millis", minBytesPerSecond })
        yield* deliver(init(announce(14)))
        yield* Effect.fork(
          Effect.forEach(pieces(png().subarray(0, 14), 2), (piece) => Effect.delay(deliver(piece), "50 millis"))
        )
        if (minBytesPerSecond === undefined) {
          assertError(yield* answer, "invalid_payload", "The image's bytes stopped coming.")
        } else assertError(yield* answer, "malformed_image")
      }
    }))

  live("does not replace the image if its message has another type", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open()
      yield* deliver(init(null), JSON.stringify({ type: "other", initial_image: announce(10) }))
      assert.deepStrictEqual(yield* answer, noImage)
      assertError(yield* answer, "invalid_message")
    }))

  live("is cancelled by a message that is not answered itself, at any time", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open()
      yield* deliver(init(null), update(announce(bytes.length)), bytes.slice(0, 4000), cancel)
      assert.deepStrictEqual(yield* answer, noImage)
      assertError(yield* answer, "invalid_payload", "The image has fewer bytes than announced.")
      yield* deliver(cancel, update(announce(bytes.length)), bytes)
      assert.deepStrictEqual(yield* answer, described(bytes))
    }))

  live("ends with an early text frame, after which its bytes are unannounced", () =>
    Effect.gen(function*() {
      const { answer, deliver } = yield* open()
      yield* deliver(init(null), update(announce(bytes.length)), bytes.slice(0, 4000), cancel, bytes.slice(4000))
      assert.deepStrictEqual(yield* answer, noImage)
      assertError(yield* answer, "invalid_payload")
      assertError(yield* answer, "invalid_message", "A message must be a text frame.")
    }))

  live("is counted once in the metrics, like one in its message", () =>
    Effect.gen(function*() {
      const outcome = (name: string) => Metric.value(Metric.tagged(SessionInitImage.outcomes, "outcome", name))
      const counts = Effect.map(
        Effect.all([Metric.value(SessionInitImage.imageBytes), outcome("persisted"), outcome("none")]),
        (states) => states.map(({ count }) => Number(count))
      )
      const { answer, deliver } = yield* open()
      let before = yield* counts
      const counted = Effect.gen(function*() {
        yield* answer
        const after = yield* counts
        const more = after.map((count, i) => count - (before[i] ?? 0))
        before = after
        return more
      })
      yield* deliver(init(payloadOf("image/png", png())))
      assert.deepStrictEqual(yield* counted, [1, 1, 0])
      yield* deliver(update(announce(bytes.length)), bytes)
      assert.deepStrictEqual(yield* counted, [1, 1, 0])
      yield* deliver(update(null))
      assert.deepStrictEqual(yield* counted, [0, 0, 1])
    }))

  live("leaves no file when the client disconnects in its middle", () =>
    Effect.gen(function*() {
      const large = pngOfSize(4_000_000)
      const { close, deliver, fiber, images, next } = yield* open()
      yield* deliver(init(announce(large.length)), ...pieces(large, 500_000).slice(0, 5))
      yield* Effect.repeat(next, { until: (message) => (message as { received: number }).received > 1_600_000 })
      yield* eventually(() => assert.lengthOf(images(), 1))
      yield* close
      yield* Fiber.join(fiber)
      assert.isEmpty(images())
    }))
})

describe("an upgrade", () => {
  /** A server that ends with the scope. That never happens if one of its requests cannot be interrupted. */
  const serve = <E>(app: HttpApp.Default<E, Scope.Scope>) =>
    Effect.gen(function*() {
      const http = yield* NodeHttpServer.make(() => createServer(), { host: "127.0.0.1", port: 0 })
      yield* http.serve(app)
      return http.address._tag === "TcpAddress" ? http.address.port : 0
    })

  live("without a valid handshake is refused with 426, and leaves no fiber behind", () =>
    Effect.gen(function*() {
      const port = yield* serve(Effect.zipRight(InitImageSocket.upgrade, HttpServerResponse.empty()))
      for (const headers of [{ "Upgrade": "h2c" }, { "Sec-WebSocket-Key": "short" }]) {
        const { ended, received, socket } = yield* connectRaw(port)
        socket.write(upgradeRequest(headers))
        yield* ended
        const [status = "", ...fields] = received().toString().toLowerCase().split("\r\n")
        assert.match(status, /^http\/1\.1 426 /)
        assert.includeMembers(fields, ["connection: upgrade, close", "upgrade: websocket", "sec-websocket-version: 13"])
      }
      const answer = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}`))
      assert.strictEqual(answer.status, 426)
    }))

  live("with a valid handshake provides the session's socket", () =>
    Effect.gen(function*() {
      const port = yield* serve(
        Effect.gen(function*() {
          const socket = yield* InitImageSocket.upgrade
          const { bytesRead } = connectionOf(socket) ?? assert.fail()
          // Bun does not count the bytes before the upgrade.
          if (!isBun) assert.isAbove(bytesRead, 0)
          yield* InitImageSocket.run(socket, ({ send }) => send("hello"))
          return HttpServerResponse.empty()
        }).pipe(Effect.provide(InitImageSpool.layer()), Effect.provide(NodeContext.layer))
      )
      const client = yield* connect(`ws://127.0.0.1:${port}`)
      yield* client.send(init(payloadOf("image/png", png(), "ref.png")))
      assert.deepStrictEqual(yield* client.next, described(png()))
      assert.strictEqual(yield* client.next, "hello")
      assert.strictEqual(yield* client.closed, 1000)
    }))

  live("pings its client, whose pongs are no progress of an image", () =>
    Effect.gen(function*() {
      const port = yield* serve(
        Effect.gen(function*() {
          const socket = yield* InitImageSocket.upgrade
          yield* InitImageSocket.run(socket, () => Effect.never, {
            keepAlive: "100 millis",
            stallTimeout: "400 millis"
          })
          return HttpServerResponse.empty()
        }).pipe(Effect.provide(InitImageSpool.layer()), Effect.provide(NodeContext.layer))
      )
      const client = yield* connectRaw(port)
      let pings = 0
      client.socket.write(upgradeRequest())
      yield* client.until("\r\n\r\n")
      client.socket.on("data", (data) => {
        // An empty ping: no other message of the server begins in this way.
        if (!data.subarray(0, 2).equals(Buffer.of(0x89, 0))) return
        pings += 1
        client.socket.write(Buffer.of(0x8a, 0x80, 0, 0, 0, 0))
      })
      client.socket.write(encodeFrame(init(announce(1000))))
      yield* client.until("The image's bytes stopped coming.")
      // It does not answer the closing handshake, which the server would wait for.
      client.socket.destroy()
      assert.isAtLeast(pings, 2)
      assert.isAtMost(pings, 8)
    }))

  it.effect("that the server does not support is refused", () =>
    Effect.gen(function*() {
      const [, ...fields] = upgradeRequest().trim().split("\r\n")
      const headers = fields.map((field) => field.split(": ") as [string, string])
      const request = HttpServerRequest.fromWeb(new Request("http://localhost/", { headers }))
      const error = yield* InitImageSocket.upgrade.pipe(
        Effect.provideService(HttpServerRequest.HttpServerRequest, request),
        Effect.flip
      )
      assert.strictEqual(error._tag, "UpgradeRequired")
      assert.strictEqual(error.message, "The request must be an upgrade to a WebSocket.")
    }))

  live("whose connection has ended ends, and so does its server", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<void>()
      const port = yield* serve(
        Effect.gen(function*() {
          const { source } = yield* HttpServerRequest.HttpServerRequest
          const socket = yield* InitImageSocket.upgrade
          if (source instanceof IncomingMessage) source.socket.destroy()
          yield* Effect.provide(InitImageSocket.run(socket, () => Effect.never), NodeContext.layer)
          return HttpServerResponse.empty()
        }).pipe(Effect.ensuring(Deferred.succeed(ended, void 0)))
      )
      const { socket } = yield* connectRaw(port)
      socket.write(upgradeRequest())
      yield* Deferred.await(ended)
    }))
})

describe("the frame limit of a transport", () => {
  it("must allow the base64 of the largest image and the rest of its message", () => {
    assert.strictEqual(InitImageSocket.requiredFrameBytes(3, 0), 5)
    assert.strictEqual(InitImageSocket.requiredFrameBytes(4, 10), 20)
    assert.strictEqual(InitImageSocket.requiredFrameBytes(32 * 1024 * 1024), 44_739_244 * 1.25 + 65_536)
  })

  it.effect("fails the check if it is below the limits on images", () =>
    Effect.gen(function*() {
      yield* InitImageSocket.checkFrameLimit()
      yield* InitImageSocket.checkFrameLimit(44_739_244 * 1.25 + 65_536)
      const error = yield* Effect.flip(InitImageSocket.checkFrameLimit(44_739_244 * 1.25 + 65_535))
      assert.deepInclude(error, { _tag: "FrameLimitTooLow", required: 55_989_591, actual: 55_989_590 })
      assert.include(error.message, "55989591")
      yield* Effect.flip(InitImageLimits.withMaxBytes(InitImageSocket.checkFrameLimit(), 100_000_000))
      for (const frameBytes of [NaN, -1]) {
        const exit = yield* Effect.exit(InitImageSocket.checkFrameLimit(frameBytes))
        assert.include(String(exit), "InitImageSocket.checkFrameLimit: frameBytes must be a number")
      }
    }))
})
