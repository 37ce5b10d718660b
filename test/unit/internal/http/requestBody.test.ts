import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Buffer } from "node:buffer"
import * as Http from "node:http"
import { Socket } from "node:net"
import * as requestBody from "../../../../src/internal/http/requestBody.js"
import { turn } from "../../../utils/gates.js"
import { connectRaw } from "../../../utils/webSocketClient.js"

/** A server that refuses whatever it is sent after the first byte, with that much patience. */
const serve = Effect.fnUntraced(function*(patience: requestBody.Patience) {
  const { address, serve } = yield* NodeHttpServer.make(() => Http.createServer(), { host: "127.0.0.1", port: 0 })
  yield* serve(Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const body = yield* requestBody.open(request, patience)
    yield* Stream.runHead(body.stream)
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

/** A connection that knows whether it has been closed behind an answer. */
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

/** Reads a body of node's, which the test says what comes of. */
const open = Effect.fnUntraced(function*(stallTimeout: Duration.DurationInput = second) {
  const incoming = yield* incomingMessage
  const body = yield* requestBody.open(requestOf(incoming), { maxDiscarded: 0, stallTimeout })
  const pull = yield* Stream.toPull(body.stream)
  return {
    incoming,
    /** What comes next as text, `None` at the end. */
    next: pull.pipe(
      Effect.map((chunk) => Option.some(Buffer.concat(Chunk.toReadonlyArray(chunk)).toString())),
      Effect.catchAll(Option.match({ onNone: () => Effect.succeedNone, onSome: Effect.fail }))
    )
  }
})

const events = ["readable", "end", "close", "error"] as const
const listeners = (incoming: Http.IncomingMessage) => events.map((event) => incoming.listenerCount(event))

describe("a body's length", () => {
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

describe("a body of node's", () => {
  it.scoped("comes as it is there, to its end", () =>
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

  it.scoped("loses nothing to a pull that is interrupted", () =>
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
    it.scoped(`fails once its client is gone, ${error === undefined ? "without" : "with"} an error`, () =>
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

  it.scoped("fails once its client has sent nothing for the whole time, and not before", () =>
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

  it.scopedLive("does not mind its silence while the event loop is busy", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open("20 millis")
      const waiting = yield* Effect.fork(next)
      yield* turn
      const since = performance.now()
      setTimeout(() => incoming.push("a"), 30)
      while (performance.now() - since < 60);
      assert.strictEqual(Option.getOrThrow(yield* Fiber.join(waiting)), "a")
    }))

  it.scoped("counts from when it waits for the client, whose silence it does not mind while it does not", () =>
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
      // It has looked, and looks again no sooner than it has to.
      const slept = Array.from(yield* TestClock.sleeps(), Number)
      assert.deepStrictEqual(slept, [11_300])
      yield* TestClock.adjust(299)
      yield* turn
      assert.isNull(waiting.unsafePoll())
      yield* TestClock.adjust(1)
      yield* Fiber.join(waiting)
    }))

  it.scoped("waits for as long as it is told to", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open(Duration.infinity)
      const waiting = yield* Effect.fork(next)
      yield* turn
      yield* TestClock.adjust("365 days")
      yield* turn
      incoming.push("a")
      assert.strictEqual(Option.getOrThrow(yield* Fiber.join(waiting)), "a")
    }))

  it.scoped("may be told to wait for nothing", () =>
    Effect.gen(function*() {
      const { incoming, next } = yield* open(0)
      incoming.push("a")
      assert.strictEqual(Option.getOrThrow(yield* next), "a")
      const waiting = yield* Effect.fork(Effect.flip(next))
      yield* turn
      yield* TestClock.adjust(2)
      yield* Fiber.join(waiting)
    }))

  it.effect("is listened to for as long as it is read", () =>
    Effect.gen(function*() {
      const incoming = yield* Effect.scoped(Effect.gen(function*() {
        const { incoming, next } = yield* open()
        incoming.push("a")
        yield* next
        assert.deepStrictEqual(listeners(incoming), [1, 1, 1, 1])
        return new WeakRef(incoming)
      }))
      assert.deepStrictEqual(listeners(incoming.deref() ?? assert.fail("gone")), [0, 0, 0, 0])
    }))
})

/** What the platform makes of that response to a request that is still being sent. */
const answer = Effect.fnUntraced(function*(
  incoming: Http.IncomingMessage,
  response: HttpServerResponse.HttpServerResponse,
  patience: requestBody.Patience = { maxDiscarded: 1000, stallTimeout: second }
) {
  const request = requestOf(incoming)
  let handled: HttpServerResponse.HttpServerResponse | undefined
  const app = Effect.as(requestBody.open(request, patience), response)
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

/** All that is sent of an answer, which ends when it may. */
const sent = ({ body }: HttpServerResponse.HttpServerResponse) =>
  body._tag === "Stream"
    ? Effect.map(Stream.runCollect(body.stream), (chunks) => Buffer.concat(Chunk.toReadonlyArray(chunks)).toString())
    : assert.fail("not a stream")

const refused = HttpServerResponse.text("refused", { status: 413 })

describe("an answer", () => {
  it.scoped("is left as it is where the whole request has come", () =>
    Effect.gen(function*() {
      const incoming = yield* incomingMessage
      incoming.complete = true
      assert.strictEqual(yield* answer(incoming, refused), refused)
    }))

  it.scoped("is left as it is where nobody knows its length", () =>
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
    it.scoped(`is the same but for its end: ${title}`, () =>
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
        assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0])
      }))
  }

  it.scoped("is ended with the request also by what cannot be interrupted", () =>
    Effect.gen(function*() {
      const incoming = yield* incomingMessage
      const all = yield* Effect.fork(Effect.uninterruptible(sent(yield* answer(incoming, refused))))
      yield* turn
      incoming.push(null)
      assert.strictEqual(yield* Fiber.join(all), "refused")
    }))

  it.scoped("is ended where the request was meanwhile", () =>
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

  it.scoped("is ended where the client has left meanwhile", () =>
    Effect.gen(function*() {
      const incoming = yield* incomingMessage
      const early = yield* answer(incoming, refused)
      incoming.destroy()
      yield* turn
      assert.strictEqual(yield* sent(early), "refused")
    }))

  for (const error of [undefined, new Error("reset")]) {
    it.scoped(`is ended once the client leaves, ${error === undefined ? "without" : "with"} an error`, () =>
      Effect.gen(function*() {
        const incoming = yield* incomingMessage
        const all = yield* Effect.fork(sent(yield* answer(incoming, refused)))
        yield* turn
        incoming.destroy(error)
        assert.strictEqual(yield* Fiber.join(all), "refused")
        assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0])
      }))
  }

  it.scoped("is ended, and its connection closed, once the client has sent nothing for the whole time", () =>
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
      assert.deepStrictEqual(listeners(incoming), [0, 0, 0, 0])
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

describe("an early answer", () => {
  it.scopedLive("is ended behind it where the client sends more than is discarded", () =>
    Effect.gen(function*() {
      const { ended, socket } = yield* serve({ maxDiscarded: 1_000_000, stallTimeout: "1 minute" })
      socket.write(Buffer.alloc(2_000_000))
      yield* ended
    }))

  it.scopedLive("is not ended where the client sends no more than that", () =>
    Effect.gen(function*() {
      const { received, socket, until } = yield* serve({ maxDiscarded: 10_000_000, stallTimeout: "1 minute" })
      socket.write(Buffer.alloc(9_999_999))
      socket.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na")
      yield* until("refusedHTTP/1.1 413")
      assert.notInclude(received().toString().toLowerCase(), "connection: close")
    }))

  it.scopedLive("is ended behind it where the client stops sending", () =>
    Effect.gen(function*() {
      const { ended } = yield* serve({ maxDiscarded: 10_000_000, stallTimeout: "100 millis" })
      yield* ended
    }))

  it.scopedLive("waits for a client that sends slowly", () =>
    Effect.gen(function*() {
      const { socket, until } = yield* serve({ maxDiscarded: 10_000_000, stallTimeout: "500 millis" })
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
