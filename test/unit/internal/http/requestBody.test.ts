import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Buffer } from "node:buffer"
import * as Http from "node:http"
import { Socket } from "node:net"
import { Empty } from "../../../../src/InitImageError.js"
import * as requestBody from "../../../../src/internal/http/requestBody.js"
import { ImageBuffer } from "../../../../src/internal/persist/imageBuffer.js"
import { Done, type Reader, type Step } from "../../../../src/internal/persist/reader.js"
import { turn } from "../../../utils/gates.js"
import { connectRaw } from "../../../utils/webSocketClient.js"

/** Reads chunks as text. Answers each with the same step; `"full"` and `"image"` hand the text to `take`. */
const makeReader = <E extends object = never>(answer: Step<E> = "full") => {
  let text = ""
  const reader: Reader<Uint8Array, string, E> = {
    buffer: new ImageBuffer<never>({ push: () => undefined }, 0),
    push: (chunk) => {
      text += Buffer.from(chunk).toString()
      return answer
    },
    resume: () => "more",
    end: () => new Done(text)
  }
  const take = () => {
    const taken = text
    text = ""
    return taken
  }
  return { reader, take }
}

/** A server that refuses any request after the first bytes of its body. */
const serve = Effect.fnUntraced(function*(bounds: requestBody.Bounds) {
  const { address, serve } = yield* NodeHttpServer.make(() => Http.createServer(), { host: "127.0.0.1", port: 0 })
  yield* serve(Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const body = yield* requestBody.open(request, bounds)
    yield* body.use((source) => source.pump(makeReader().reader))
    return HttpServerResponse.text("refused", { status: 413 })
  }))
  const client = yield* connectRaw(address._tag === "TcpAddress" ? address.port : 0)
  client.socket.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n")
  client.socket.write("a")
  yield* client.until("\r\ncontent-length: 7\r\n")
  yield* client.until("refused")
  return client
}, Effect.provide(NodeHttpServer.layerContext))

/** The platform's request of one of node's, or of the web's. */
const requestOf = (
  incoming?: Http.IncomingMessage,
  headers: Record<string, string> = {}
): HttpServerRequest.HttpServerRequest => {
  const request = HttpServerRequest.fromWeb(new Request("http://localhost/secret?name=secret.png", { headers }))
  return incoming === undefined
    ? request
    : Object.create(request, { source: { value: incoming }, headers: { value: request.headers } })
}

/** A connection that tells whether the server closed it behind a response. */
class Connection extends Socket {
  isClosedBehind = false
  override destroySoon() {
    this.isClosedBehind = true
  }
}

const connected = Effect.acquireRelease(
  Effect.sync(() => {
    const connection = new Connection()
    return { connection, incoming: Object.assign(new Http.IncomingMessage(connection), { method: "POST" }) }
  }),
  ({ connection, incoming }) =>
    Effect.sync(() => {
      incoming.destroy()
      connection.destroy()
    })
)

const incomingMessage = Effect.map(connected, ({ incoming }) => incoming)

const second = Duration.seconds(1)

/** A body of a node request, which the test writes to. */
const open = Effect.fnUntraced(function*(stallTimeout: Duration.DurationInput = second) {
  const incoming = yield* incomingMessage
  const body = yield* requestBody.open(requestOf(incoming), { maxDrainedBytes: 0, stallTimeout })
  const source = yield* body.use(Effect.succeed)
  const { reader, take } = makeReader()
  return {
    incoming,
    source,
    /** The next chunk as text, `None` at the end. */
    next: Effect.map(source.pump(reader), (stop) => stop === "ended" ? Option.none() : Option.some(take()))
  }
})

const events = ["data", "readable", "end", "close", "error"] as const
const listeners = (incoming: Http.IncomingMessage) => events.map((event) => incoming.listenerCount(event))

describe("the length of a body", () => {
  for (
    const [header, length] of [
      ["0", 0],
      ["12", 12],
      ["", undefined],
      ["x", undefined],
      ["12x", undefined],
      ["x12", undefined],
      ["-1", undefined],
      ["1e3", undefined],
      [undefined, undefined]
    ] as const
  ) {
    it.scoped(`is ${length} where ${header} is declared`, () =>
      Effect.gen(function*() {
        const headers: Record<string, string> = header === undefined ? {} : { "content-length": header }
        const incoming = yield* incomingMessage
        for (const source of [incoming, undefined]) {
          assert.strictEqual((yield* requestBody.open(requestOf(source, headers))).length, length)
        }
      }))
  }
})

describe("the body of a node request", () => {
  it.scoped("gives each chunk as it arrives, to the end", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open()
      incoming.push("a")
      assert.deepStrictEqual(Option.getOrThrow(yield* next), "a")
      incoming.push("b")
      assert.strictEqual(Option.getOrThrow(yield* next), "b")
      const later = yield* Effect.fork(next)
      yield* turn
      incoming.push("c")
      assert.strictEqual(Option.getOrThrow(yield* Fiber.join(later)), "c")
      const end = yield* Effect.fork(next)
      yield* turn
      incoming.push(null)
      assert.isTrue(Option.isNone(yield* Fiber.join(end)))
      assert.isTrue(Option.isNone(yield* next))
    }))

  it.scoped("loses no byte to an interrupted read", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open()
      const waiting = yield* Effect.fork(next)
      yield* turn
      yield* Fiber.interrupt(waiting)
      incoming.push("a")
      yield* turn
      assert.strictEqual(Option.getOrThrow(yield* next), "a")
    }))

  for (const error of [undefined, new Error("reset")]) {
    it.scoped(`fails when its client goes away, ${error === undefined ? "without" : "with"} an error`, () =>
      Effect.gen(function*() {
        const { incoming, next } = yield* open()
        incoming.push("a")
        yield* next
        const waiting = yield* Effect.fork(Effect.flip(next))
        yield* turn
        incoming.destroy(error)
        for (const failed of [yield* Fiber.join(waiting), yield* Effect.flip(next)]) {
          assert.strictEqual(failed.reason, "Decode")
          assert.strictEqual(failed.description, "the client has gone away")
          assert.notInclude(failed.message, "secret")
        }
      }))
  }

  it.scoped("fails when its client has sent nothing for the whole time, and not before", () =>
    Effect.gen(function*() {
      const { next } = yield* open()
      const waiting = yield* Effect.fork(Effect.flip(next))
      yield* turn
      yield* TestClock.adjust(999)
      yield* turn
      assert.isNull(waiting.unsafePoll())
      yield* TestClock.adjust(1)
      const failed = yield* Fiber.join(waiting)
      assert.strictEqual(failed.reason, "Decode")
      assert.strictEqual(failed.description, "the client has sent nothing for too long")
      assert.notInclude(failed.message, "secret")
    }))

  it.scopedLive("does not count the time in which the event loop is busy", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open("20 millis")
      const waiting = yield* Effect.fork(next)
      yield* turn
      const since = performance.now()
      setTimeout(() => incoming.push("a"), 30)
      while (performance.now() - since < 60);
      assert.strictEqual(Option.getOrThrow(yield* Fiber.join(waiting)), "a")
    }))

  it.scoped("counts the time only while it waits for the client", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open()
      yield* turn
      yield* TestClock.adjust(10_000)
      yield* turn
      yield* TestClock.adjust(300)
      incoming.push("a")
      yield* next
      const waiting = yield* Effect.fork(Effect.flip(next))
      yield* turn
      yield* TestClock.adjust(700)
      yield* turn
      // The test clock also keeps the sleep of the read that has ended.
      const slept = Array.from(yield* TestClock.sleeps(), Number)
      assert.deepStrictEqual([...new Set(slept)], [11_300])
      yield* TestClock.adjust(299)
      yield* turn
      assert.isNull(waiting.unsafePoll())
      yield* TestClock.adjust(1)
      yield* Fiber.join(waiting)
    }))

  it.scoped("waits forever with an infinite timeout", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open(Duration.infinity)
      const waiting = yield* Effect.fork(next)
      yield* turn
      yield* TestClock.adjust("365 days")
      yield* turn
      incoming.push("a")
      assert.strictEqual(Option.getOrThrow(yield* Fiber.join(waiting)), "a")
    }))

  it.scoped("fails at the next look with a timeout of 0", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open(0)
      incoming.push("a")
      assert.strictEqual(Option.getOrThrow(yield* next), "a")
      const waiting = yield* Effect.fork(Effect.flip(next))
      yield* turn
      yield* TestClock.adjust(2)
      yield* Fiber.join(waiting)
    }))

  it.scoped("has listeners only while it is read, and is paused otherwise", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open()
      const waiting = yield* Effect.fork(next)
      yield* turn
      assert.deepStrictEqual(listeners(incoming), [1, 0, 1, 1, 1])
      incoming.push("a")
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0, 0])
      assert.isTrue(incoming.isPaused())
      const interrupted = yield* Effect.fork(next)
      yield* turn
      yield* Fiber.interrupt(interrupted)
      assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0, 0])
      assert.isTrue(incoming.isPaused())
    }))

  it.scoped("is not read while the reader is full", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open()
      for (const chunk of ["a", "b", "c"]) incoming.push(chunk)
      assert.strictEqual(Option.getOrThrow(yield* next), "a")
      for (let i = 0; i < 5; i++) yield* turn
      assert.strictEqual(incoming.readableLength, 2)
      assert.strictEqual(Option.getOrThrow(yield* next), "b")
      assert.strictEqual(Option.getOrThrow(yield* next), "c")
      incoming.push(null)
      assert.isTrue(Option.isNone(yield* next))
    }))

  it.scoped("goes on to a reader that needs more, without a stop at each chunk", () =>
    Effect.gen(function*() {
      const { incoming, source } = yield* open()
      const { reader, take } = makeReader<never>("more")
      const pumping = yield* Effect.fork(source.pump(reader))
      for (const chunk of ["a", "b", "c"]) {
        yield* turn
        incoming.push(chunk)
      }
      incoming.push(null)
      assert.strictEqual(yield* Fiber.join(pumping), "ended")
      assert.strictEqual(take(), "abc")
    }))

  it.scoped("asks the reader to continue before it reads on", () =>
    Effect.gen(function*() {
      const { incoming, source } = yield* open()
      incoming.push("a")
      const { reader, take } = makeReader()
      for (const step of ["full", "image", "discard"] as const) {
        assert.strictEqual(yield* source.pump({ ...reader, resume: () => step }), step)
      }
      assert.strictEqual(yield* source.pump({ ...reader, resume: () => "done" }), "ended")
      const refused = new Empty()
      assert.strictEqual(yield* Effect.flip(source.pump<Empty>({ ...reader, resume: () => refused })), refused)
      assert.strictEqual(take(), "")
      assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0, 0])
    }))

  it.scoped("stops where the reader is done or refuses the body, and leaves the rest unread", () =>
    Effect.gen(function*() {
      const refused = new Empty()
      for (const answer of ["done", "image", "discard", refused] as const) {
        const { incoming, source } = yield* open()
        incoming.push("a")
        incoming.push("b")
        const { reader, take } = makeReader<Empty>(answer)
        const result = yield* Effect.either(source.pump(reader))
        assert.strictEqual(Either.merge(result), answer === "done" ? "ended" : answer)
        assert.strictEqual(take(), "a")
        yield* turn
        assert.strictEqual(incoming.readableLength, 1)
        assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0, 0])
      }
    }))

  it.scoped("waits for the whole time after each chunk", () =>
    Effect.gen(function*() {
      const { incoming, source } = yield* open()
      const { reader } = makeReader<never>("more")
      const waiting = yield* Effect.fork(Effect.flip(source.pump(reader)))
      yield* turn
      yield* TestClock.adjust(900)
      incoming.push("a")
      yield* turn
      yield* TestClock.adjust(100)
      yield* turn
      // It has looked, and looks again when the time is over.
      assert.deepStrictEqual(Array.from(yield* TestClock.sleeps(), Number), [1900])
      for (let i = 0; i < 5; i++) {
        incoming.push("a")
        yield* turn
        yield* TestClock.adjust(900)
        yield* turn
      }
      incoming.push("a")
      yield* turn
      yield* TestClock.adjust(999)
      yield* turn
      assert.isNull(waiting.unsafePoll())
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* Fiber.join(waiting)).description, "the client has sent nothing for too long")
      assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0, 0])
    }))

  it.scoped("has ended, and not failed, where its client leaves behind the end", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open()
      incoming.push("a")
      incoming.push(null)
      assert.strictEqual(Option.getOrThrow(yield* next), "a")
      assert.isTrue(Option.isNone(yield* next))
      incoming.destroy()
      yield* turn
      assert.isTrue(Option.isNone(yield* next))
    }))
})

/** The response to a request that is still being sent, as the platform would send it. */
const answer = Effect.fnUntraced(function*(
  incoming: Http.IncomingMessage,
  response: HttpServerResponse.HttpServerResponse,
  bounds: requestBody.Bounds = { maxDrainedBytes: 1000, stallTimeout: second }
) {
  const request = requestOf(incoming)
  let handled: HttpServerResponse.HttpServerResponse | undefined
  const app = Effect.as(requestBody.open(request, bounds), response)
  const handling = Effect.provideService(
    HttpApp.toHandled(app, (_, response) =>
      Effect.sync(() => {
        handled = response
      })),
    HttpServerRequest.HttpServerRequest,
    request
  )
  // A fiber for each request, as a server has it.
  yield* Fiber.await(yield* Effect.fork(handling))
  return handled ?? assert.fail("not handled")
})

/** The whole body of an early response, when it ends. */
const sent = ({ body }: HttpServerResponse.HttpServerResponse) =>
  body._tag === "Stream"
    ? Effect.map(Stream.runCollect(body.stream), (chunks) => Buffer.concat(Chunk.toReadonlyArray(chunks)).toString())
    : assert.fail("not a stream")

const refused = HttpServerResponse.text("refused", { status: 413 })

describe("a response", () => {
  it.scoped("is not changed where the whole request has arrived", () =>
    Effect.gen(function*() {
      const incoming = yield* incomingMessage
      incoming.complete = true
      assert.strictEqual(yield* answer(incoming, refused), refused)
    }))

  it.scoped("is not changed where its length is not known", () =>
    Effect.gen(function*() {
      const response = HttpServerResponse.stream(Stream.empty)
      assert.strictEqual(yield* answer(yield* incomingMessage, response), response)
    }))

  for (
    const [title, plain, text] of [
      ["of a text", refused, "refused"],
      ["of nothing", HttpServerResponse.empty({ status: 403, statusText: "No" }), ""]
    ] as const
  ) {
    it.scoped(`has the same head and body and ends with the request: ${title}`, () =>
      Effect.gen(function*() {
        const incoming = yield* incomingMessage
        const response = plain.pipe(
          HttpServerResponse.setHeader("x-a", "b"),
          HttpServerResponse.unsafeSetCookie("session", "1")
        )
        const early = yield* answer(incoming, response)
        assert.strictEqual(early.status, response.status)
        assert.strictEqual(early.statusText, response.statusText)
        assert.strictEqual(early.cookies, response.cookies)
        assert.deepStrictEqual({ ...early.headers }, { ...response.headers, "content-length": String(text.length) })
        const all = yield* Effect.fork(sent(early))
        yield* turn
        incoming.push(null)
        assert.strictEqual(yield* Fiber.join(all), text)
      }))
  }

  for (const left of [0, 1]) {
    it.scoped(`is ended, and its connection ${left === 0 ? "kept" : "closed"}, behind 1000 bytes and ${left}`, () =>
      Effect.gen(function*() {
        const { connection, incoming } = yield* connected
        const all = yield* Effect.fork(sent(yield* answer(incoming, refused)))
        yield* turn
        incoming.push(Buffer.alloc(1000))
        yield* turn
        incoming.push(Buffer.alloc(left))
        incoming.push(null)
        yield* Fiber.join(all)
        assert.strictEqual(connection.isClosedBehind, left > 0)
        assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0, 0])
      }))
  }

  it.scoped("ends with the request also in an uninterruptible fiber", () =>
    Effect.gen(function*() {
      const incoming = yield* incomingMessage
      const all = yield* Effect.fork(Effect.uninterruptible(sent(yield* answer(incoming, refused))))
      yield* turn
      incoming.push(null)
      assert.strictEqual(yield* Fiber.join(all), "refused")
    }))

  it.scoped("ends where the request has ended meanwhile", () =>
    Effect.gen(function*() {
      const { connection, incoming } = yield* connected
      const early = yield* answer(incoming, refused)
      incoming.push(null)
      incoming.resume()
      yield* turn
      assert.isTrue(incoming.readableEnded)
      assert.strictEqual(yield* sent(early), "refused")
      assert.isFalse(connection.isClosedBehind)
    }))

  it.scoped("ends where the client has gone away meanwhile", () =>
    Effect.gen(function*() {
      const incoming = yield* incomingMessage
      const early = yield* answer(incoming, refused)
      incoming.destroy()
      yield* turn
      assert.strictEqual(yield* sent(early), "refused")
    }))

  for (const error of [undefined, new Error("reset")]) {
    it.scoped(`ends when the client goes away, ${error === undefined ? "without" : "with"} an error`, () =>
      Effect.gen(function*() {
        const incoming = yield* incomingMessage
        const all = yield* Effect.fork(sent(yield* answer(incoming, refused)))
        yield* turn
        incoming.destroy(error)
        assert.strictEqual(yield* Fiber.join(all), "refused")
        assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0, 0])
      }))
  }

  it.scoped("ends, and its connection is closed, when the client has sent nothing for the whole time", () =>
    Effect.gen(function*() {
      const { connection, incoming } = yield* connected
      const all = yield* Effect.fork(sent(yield* answer(incoming, refused)))
      yield* turn
      yield* TestClock.adjust(999)
      incoming.push("a")
      yield* turn
      yield* TestClock.adjust(1)
      yield* turn
      assert.isNull(all.unsafePoll())
      assert.isFalse(connection.isClosedBehind)
      yield* TestClock.adjust(second)
      yield* Fiber.join(all)
      assert.isTrue(connection.isClosedBehind)
      assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0, 0])
    }))

  for (const silent of [0, 8]) {
    it.scoped(`is read behind eight at a time, each of them in its turn, ${silent} of which have sent nothing`, () =>
      Effect.gen(function*() {
        const crowd = yield* Effect.all(Array.from({ length: 20 }, () => incomingMessage))
        for (const [i, incoming] of crowd.entries()) {
          if (i >= silent) incoming.push("a")
          yield* Effect.fork(sent(yield* answer(incoming, refused)))
        }
        const unread = () => crowd.filter((incoming) => incoming.readableLength > 0).length
        const seen: Array<number> = []
        while (unread() > 0) {
          yield* turn
          if (seen.at(-1) !== unread()) seen.push(unread())
        }
        assert.deepStrictEqual(seen, [12, 4, 0])
      }))
  }
})

describe("an early response", () => {
  it.scopedLive("is followed by the end of the connection where the client sends more than is drained", () =>
    Effect.gen(function*() {
      const { ended, socket } = yield* serve({ maxDrainedBytes: 1_000_000, stallTimeout: "1 minute" })
      socket.write(Buffer.alloc(2_000_000))
      yield* ended
    }))

  it.scopedLive("leaves the connection open where the client sends no more than is drained", () =>
    Effect.gen(function*() {
      const { received, socket, until } = yield* serve({ maxDrainedBytes: 10_000_000, stallTimeout: "1 minute" })
      socket.write(Buffer.alloc(9_999_999))
      socket.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na")
      yield* until("refusedHTTP/1.1 413")
      assert.notInclude(received().toString().toLowerCase(), "connection: close")
    }))

  it.scopedLive("is followed by the end of the connection where the client stops sending", () =>
    Effect.gen(function*() {
      const { ended } = yield* serve({ maxDrainedBytes: 10_000_000, stallTimeout: "100 millis" })
      yield* ended
    }))

  it.scopedLive("waits for a client that sends slowly", () =>
    Effect.gen(function*() {
      const { socket, until } = yield* serve({ maxDrainedBytes: 10_000_000, stallTimeout: "500 millis" })
      const pieces = 12
      for (let i = 0; i < pieces; i++) {
        socket.write(Buffer.alloc(1))
        yield* Effect.sleep("150 millis")
      }
      socket.write(Buffer.alloc(9_999_999 - pieces))
      socket.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na")
      yield* until("refusedHTTP/1.1 413")
    }))
})
