import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { Buffer } from "node:buffer"
import { once } from "node:events"
import type * as Http from "node:http"
import { portionsPerTurn } from "../../src/internal/eventLoop.js"
import * as NodeServer from "../../src/NodeServer.js"
import { connectRaw, eventually, upgradeRequest } from "../utils/webSocketClient.js"

const spaced = Schedule.spaced("20 millis")

interface Serving {
  readonly server: Http.Server
  readonly port: number
  /** The number of open connections. */
  readonly connections: Effect.Effect<number>
  /** Waits until no connection is open. */
  readonly idle: Effect.Effect<void>
}

/** Serves on loopback until the scope closes. */
const serve = Effect.fnUntraced(function*(options: NodeServer.Options, listener?: Http.RequestListener) {
  const server = NodeServer.make(options)
  if (listener !== undefined) server.on("request", listener)
  yield* Effect.acquireRelease(
    Effect.promise(() => once(server.listen(0, "127.0.0.1"), "listening")),
    () =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )
  const address = server.address()
  if (address === null || typeof address === "string") return yield* Effect.dieMessage("not a TCP address")
  const connections = Effect.async<number>((resume) =>
    void server.getConnections((_, count) => resume(Effect.succeed(count)))
  )
  const idle = connections.pipe(
    Effect.filterOrFail((count) => count === 0),
    Effect.retry({ times: 200, schedule: spaced }),
    Effect.orDie,
    Effect.asVoid
  )
  const serving: Serving = { server, port: address.port, connections, idle }
  return serving
})

const head = (method: string, path: string, headers: Record<string, string> = {}): string =>
  [
    `${method} ${path} HTTP/1.1`,
    "Host: localhost",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    "",
    ""
  ].join("\r\n")

const get = (path: string): string => head("GET", path)

const h2c = { "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAA" }

/** Answers with the number of the body's bytes. */
const count: Http.RequestListener = (request, response) => {
  let bytes = 0
  request.on("data", (chunk) => bytes += Buffer.byteLength(chunk))
  request.on("end", () => response.end(`${request.url} ${bytes};`))
  request.on("error", () => {})
}

/** Answers at once. */
const path: Http.RequestListener = (request, response) => void response.end(`${request.url};`)

const text = (received: Buffer): string => received.toString("latin1")

/** The paths of the answers, in order. */
const answered = (received: Buffer): ReadonlyArray<string> =>
  [...text(received).matchAll(/\r\n\r\n(\/\w*)/g)].map(([, path = ""]) => path)

describe.concurrent("an upgrade", () => {
  it.scopedLive("that is reset before it is answered does not end the process", () =>
    Effect.gen(function*() {
      const { idle, port, server } = yield* serve({}, path)
      server.on("upgrade", (_request, socket) =>
        setTimeout(() => socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n"), 50))
      for (const protocol of ["websocket", "h2c"]) {
        const { socket } = yield* connectRaw(port)
        socket.write(upgradeRequest({ Upgrade: protocol }), () =>
          socket.resetAndDestroy())
      }
      yield* Effect.sleep("100 millis")
      yield* idle
    }))

  it.scopedLive("to a WebSocket reaches the listener with the bytes behind it", () =>
    Effect.gen(function*() {
      const { port, server } = yield* serve({}, path)
      server.on("upgrade", (_request, socket, head) => socket.end(`upgraded ${String(head)}`))
      const { ended, received, socket } = yield* connectRaw(port)
      socket.write(`${upgradeRequest()}frames`)
      yield* ended
      assert.strictEqual(text(received()), "upgraded frames")
    }))

  it.scopedLive("to a WebSocket is a plain request for a server without upgrades", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({}, path)
      const { ended, received, socket } = yield* connectRaw(port)
      socket.write(upgradeRequest())
      yield* ended
      assert.deepStrictEqual(answered(received()), ["/v1"])
    }))

  for (const title of ["alone", "behind another request"]) {
    it.scopedLive(`to another protocol is ignored and its body read, ${title}`, () =>
      Effect.gen(function*() {
        const { port, server } = yield* serve({}, count)
        server.on("upgrade", (_request, socket) => socket.destroy())
        const { ended, received, socket } = yield* connectRaw(port)
        const body = "a".repeat(300_000)
        const first = title === "alone" ? "" : get("/first")
        socket.write(`${first}${head("POST", "/image", { ...h2c, "Content-Length": String(body.length) })}${body}`)
        yield* ended
        assert.include(text(received()), "/image 300000;")
        assert.deepStrictEqual(answered(received()), [...title === "alone" ? [] : ["/first"], "/image"])
        assert.match(text(received()), /\r\nConnection: close\r\n/)
      }))
  }

  it.scopedLive("to another protocol without a body is ignored, and no request behind it is taken", () =>
    Effect.gen(function*() {
      const { port, server } = yield* serve({}, path)
      server.on("upgrade", (_request, socket) => socket.destroy())
      const { ended, received, socket } = yield* connectRaw(port)
      socket.write(head("GET", "/first", h2c) + get("/second"))
      yield* ended
      assert.deepStrictEqual(answered(received()), ["/first"])
    }))

  it.scopedLive("to a WebSocket behind a running request is ignored", () =>
    Effect.gen(function*() {
      const { port, server } = yield* serve({}, (request, response) => {
        setTimeout(() => response.end(`${request.url};`), 20)
      })
      server.on("upgrade", (_request, socket) => socket.end("upgraded"))
      const { ended, received, socket } = yield* connectRaw(port)
      socket.write(get("/first") + upgradeRequest())
      yield* ended
      assert.deepStrictEqual(answered(received()), ["/first", "/v1"])
    }))

  it.scopedLive("that is answered closes although bytes follow it", () =>
    Effect.gen(function*() {
      const { idle, port, server } = yield* serve({}, path)
      server.on("upgrade", (_request, socket) => setTimeout(() => socket.end("HTTP/1.1 403 Forbidden\r\n\r\n"), 50))
      for (let i = 0; i < 20; i++) {
        const { socket } = yield* connectRaw(port)
        socket.write(upgradeRequest(), () => setTimeout(() => socket.end("0123456789"), 20))
      }
      yield* Effect.sleep("200 millis")
      yield* idle
    }))

  it.scopedLive("that is answered closes although the client keeps its side open", () =>
    Effect.gen(function*() {
      const { idle, port, server } = yield* serve({}, path)
      server.on("upgrade", (_request, socket) => socket.end("HTTP/1.1 403 Forbidden\r\n\r\n"))
      const { socket, until } = yield* connectRaw(port)
      socket.allowHalfOpen = true
      socket.write(upgradeRequest())
      yield* until("403")
      yield* idle
    }))
})

describe.concurrent("pipelined requests", () => {
  it.scopedLive("are handled one after another and in order", () =>
    Effect.gen(function*() {
      let running = 0
      let most = 0
      const { port } = yield* serve({}, (request, response) => {
        most = Math.max(most, ++running)
        response.once("finish", () => running -= 1)
        setTimeout(() => response.end(`${request.url};`), 5)
      })
      const { received, socket, until } = yield* connectRaw(port)
      const paths = Array.from({ length: 10 }, (_, i) => `/${i}`)
      socket.write(paths.map(get).join(""))
      yield* until("/9;")
      assert.deepStrictEqual(answered(received()), paths)
      assert.strictEqual(most, 1)
      // The connection stays open.
      socket.write(get("/later"))
      yield* until("/later;")
    }))

  it.scopedLive("start one in each turn of the event loop, whatever their connection", () =>
    Effect.gen(function*() {
      const count = 20
      const firsts: Array<Http.ServerResponse> = []
      let inTurn = 0
      const pipelined: Array<number> = []
      const { port } = yield* serve({}, (request, response) => {
        if (request.url === "/first") {
          if (firsts.push(response) === count) { for (const first of firsts) first.end() }
          return
        }
        pipelined.push(++inTurn)
        if (inTurn === 1) setImmediate(() => inTurn = 0)
        response.end(`${request.url};`)
      })
      const clients = yield* Effect.forEach(Array.from({ length: count }), () => connectRaw(port), { concurrency: 20 })
      for (const { socket } of clients) socket.write(get("/first") + get("/second") + get("/third"))
      for (const { until } of clients) yield* until("/third;")
      assert.lengthOf(pipelined, 2 * count)
      // A count may span two turns.
      assert.isAtMost(Math.max(...pipelined), 2)
    }))

  for (const [title, count] of [["few", 3], ["too many", 100]] as const) {
    it.scopedLive(`are not started once their client has gone: ${title}`, () =>
      Effect.gen(function*() {
        const started: Array<string | undefined> = []
        let closed = 0
        const { idle, port } = yield* serve({}, (request, response) => {
          started.push(request.url)
          response.on("close", () => closed += 1)
        })
        const { socket } = yield* connectRaw(port)
        socket.write(Array.from({ length: count }, (_, i) => get(`/${i}`)).join(""))
        yield* eventually(() => assert.lengthOf(started, 1))
        socket.destroy()
        yield* idle
        yield* eventually(() => assert.strictEqual(closed, 1))
        assert.deepStrictEqual(started, ["/0"])
      }))
  }

  it.scopedLive("that are too many are not read, and the connection ends behind the others", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ maxPipelinedRequests: 4 }, (request, response) => {
        setTimeout(() => response.end(`${request.url};`), 5)
      })
      const { ended, received, socket } = yield* connectRaw(port)
      socket.write(Array.from({ length: 100 }, (_, i) => get(`/${i}`)).join(""))
      yield* ended
      assert.deepStrictEqual(answered(received()), ["/0", "/1", "/2", "/3", "/4"])
      assert.lengthOf(text(received()).match(/Connection: close/g) ?? [], 1)
    }))

  it.scopedLive("that are too many do not hold up a response that is being sent", () =>
    Effect.gen(function*() {
      const bytes = 30_000_000
      const { port } = yield* serve({ maxPipelinedRequests: 1 }, async (request, response) => {
        if (request.url !== "/large") return void response.end(`${request.url};`)
        response.writeHead(200, { "content-length": bytes })
        for (let sent = 0; sent < bytes; sent += 1_000_000) {
          if (!response.write(Buffer.alloc(1_000_000))) await once(response, "drain")
        }
        response.end()
      })
      const { ended, received, socket } = yield* connectRaw(port)
      socket.write(["/large", "/1", "/2", "/3"].map(get).join(""))
      yield* ended
      assert.isAbove(received().length, bytes)
      assert.include(text(received().subarray(-1000)), "/1;")
      assert.notInclude(text(received().subarray(-1000)), "/2;")
    }))

  it.scopedLive("end at the most that a connection may have", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ maxRequestsPerConnection: 3 }, path)
      const { ended, received, socket, until } = yield* connectRaw(port)
      socket.write(get("/0"))
      yield* until("/0;")
      socket.write(["/1", "/2", "/3"].map(get).join(""))
      yield* ended
      assert.deepStrictEqual(answered(received()), ["/0", "/1", "/2"])
    }))

  it.scopedLive("keep their answers if what follows them is not HTTP", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({}, (request, response) => {
        setTimeout(() => response.end(`${request.url};`), 20)
      })
      const { ended, received, socket } = yield* connectRaw(port)
      socket.write(`${get("/0")}${get("/1")}not HTTP\r\n\r\n`)
      yield* ended
      assert.deepStrictEqual(answered(received()), ["/0", "/1"])
    }))
})

describe.concurrent("a response", () => {
  const responseStallTimeout = "1 second"

  it.scopedLive("that its client does not read ends after the stall timeout", () =>
    Effect.gen(function*() {
      let closed = false
      const { idle, port } = yield* serve({ responseStallTimeout }, (_, response) => {
        response.on("close", () => closed = true)
        response.end(Buffer.alloc(50_000_000))
      })
      const { socket } = yield* connectRaw(port)
      socket.pause()
      // Bytes from the client are no progress.
      const trickle = setInterval(() => socket.write("\r\n"), 100)
      yield* Effect.addFinalizer(() => Effect.sync(() => clearInterval(trickle)))
      socket.write(get("/"))
      yield* idle
      assert.isTrue(closed)
    }))

  it.scopedLive("that its client reads slowly is sent to its end", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ responseStallTimeout: "3 seconds" }, (_, response) =>
        void response.end(Buffer.alloc(60_000_000)))
      const { received, socket } = yield* connectRaw(port)
      const read = setInterval(() => {
        socket.resume()
        setTimeout(() =>
          socket.pause(), 5)
      }, 200)
      yield* Effect.addFinalizer(() => Effect.sync(() => clearInterval(read)))
      socket.write(get("/"))
      yield* Effect.sleep("4 seconds")
      clearInterval(read)
      socket.resume()
      yield* eventually(() => assert.isAbove(received().length, 60_000_000))
    }))
})

describe.concurrent("a body", () => {
  const post = (length: number, headers: Record<string, string> = {}) =>
    head("POST", "/", { "Content-Length": String(length), ...headers })
  const trickle = (socket: { write: (data: string) => unknown }, data: string, interval: number) =>
    Effect.acquireRelease(
      Effect.sync(() => setInterval(() => socket.write(data), interval)),
      (timer) => Effect.sync(() => clearInterval(timer))
    )

  it.scopedLive("slower than the lowest rate is answered with a readable 408", () =>
    Effect.gen(function*() {
      let closed = false
      const { idle, port } = yield* serve({ requestGrace: "500 millis" }, (request, response) => {
        request.resume()
        response.on("close", () => closed = true)
      })
      const { received, socket, until } = yield* connectRaw(port)
      socket.write(post(1_000_000))
      yield* trickle(socket, "a", 50)
      yield* until("The request's body arrived too slowly.")
      assert.match(text(received()), /^HTTP\/1.1 408 Request Timeout\r\nConnection: close\r\n/)
      assert.isTrue(closed)
      yield* idle
    }))

  it.scopedLive("is not paid for by the framing of its chunks", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ requestGrace: "500 millis" }, count)
      const { socket, until } = yield* connectRaw(port)
      socket.write(head("POST", "/", { "Transfer-Encoding": "chunked" }))
      yield* trickle(socket, `1;${"x".repeat(100)}\r\na\r\n`, 50)
      yield* until("408 Request Timeout")
    }))

  it.scopedLive("that stalls after a fast start is answered with 408", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ requestStallTimeout: "500 millis" }, count)
      const { socket, until } = yield* connectRaw(port)
      socket.write(post(1_000_000))
      socket.write("a".repeat(500_000))
      yield* until("408 Request Timeout")
    }))

  it.scopedLive("at the lowest rate arrives, however long it takes", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ requestGrace: "500 millis", requestStallTimeout: "2 seconds" }, count)
      const { socket, until } = yield* connectRaw(port)
      socket.write(post(4000))
      yield* trickle(socket, "a".repeat(100), 100)
      yield* until("/ 4000;")
    }))

  it.scopedLive("may wait for a server that does not read it", () =>
    Effect.gen(function*() {
      const { port } = yield* serve(
        { requestGrace: "500 millis", requestStallTimeout: "500 millis" },
        (request, response) => {
          setTimeout(() => void count(request, response), 2500)
        }
      )
      const { socket, until } = yield* connectRaw(port)
      socket.write(post(1_000_000) + "a".repeat(1_000_000))
      yield* until("/ 1000000;")
    }))

  it.scopedLive("is asked for when it is read", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ requestGrace: "100 millis" }, (request, response) => {
        setTimeout(() => void count(request, response), 1500)
      })
      const { received, socket, until } = yield* connectRaw(port)
      socket.write(post(4, { Expect: "100-continue" }))
      yield* Effect.sleep("500 millis")
      assert.lengthOf(received(), 0)
      yield* until("100 Continue")
      socket.write("body")
      yield* until("/ 4;")
    }))

  it.scopedLive("is not asked for by a refusal", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({}, (_, response) => void response.writeHead(413).end())
      const { ended, received, socket } = yield* connectRaw(port)
      socket.write(post(4, { Expect: "100-continue" }))
      yield* ended
      assert.match(text(received()), /^HTTP\/1.1 413 [^]*\r\nConnection: close\r\n/)
    }))

  it.scopedLive("behind an early response may arrive at the lowest rate", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ requestGrace: "500 millis" }, (request, response) =>
        void response.end(`${request.url};`))
      const { received, socket, until } = yield* connectRaw(port)
      socket.write(post(3000))
      yield* until("/;")
      yield* trickle(socket, "a".repeat(100), 100)
      yield* Effect.sleep("2 seconds")
      assert.notInclude(text(received()), "408")
      socket.write("a".repeat(3000))
    }))
})

describe.concurrent("a connection", () => {
  it.scopedLive("above the most is closed", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ maxConnections: 2 }, path)
      const [first] = yield* Effect.all([connectRaw(port), connectRaw(port)])
      const third = yield* connectRaw(port)
      yield* third.ended
      first.socket.write(get("/first"))
      yield* first.until("/first;")
    }))

  it.scopedLive("is ended in a turn with few others, also where hundreds close at once", () =>
    Effect.gen(function*() {
      let closed = 0
      let inTurn = 0
      let most = 0
      const { port, server } = yield* serve({}, (_, response) =>
        response.once("close", () => {
          closed += 1
          inTurn += 1
          most = Math.max(most, inTurn)
          if (inTurn === 1) setImmediate(() => inTurn = 0)
        }))
      const clients = yield* Effect.forEach(Array.from({ length: 200 }), () => connectRaw(port), { concurrency: 50 })
      let requests = 0
      server.on("request", () => requests += 1)
      for (const { socket } of clients) socket.write(get("/"))
      yield* eventually(() => assert.strictEqual(requests, 200))
      server.closeAllConnections()
      yield* eventually(() => assert.strictEqual(closed, 200))
      // A count may span two turns.
      assert.isAtMost(most, 2 * portionsPerTurn)
    }))

  it.scopedLive("without a whole header is answered with 408", () =>
    Effect.gen(function*() {
      const { idle, port } = yield* serve({ headersTimeout: "500 millis" }, path)
      const [silent, slow] = yield* Effect.all([connectRaw(port), connectRaw(port)])
      slow.socket.write("GET / HTTP/1.1\r\n")
      yield* slow.until("The request's header arrived too slowly.")
      yield* silent.ended
      yield* idle
    }))

  const wrong = {
    "that is not HTTP": ["not HTTP\r\n\r\n", "400 Bad Request"],
    "with a header that is too large": [head("GET", "/", { "X-Large": "a".repeat(20_000) }), "431 Request Header"]
  }
  for (const [title, [sent = "", answer = ""]] of Object.entries(wrong)) {
    it.scopedLive(`${title} is answered and closed`, () =>
      Effect.gen(function*() {
        const { port } = yield* serve({}, path)
        const { ended, socket, until } = yield* connectRaw(port)
        socket.write(sent)
        yield* until(answer)
        yield* ended
      }))
  }

  it.scopedLive("of any kind is closed by the shutdown timeout", () =>
    Effect.gen(function*() {
      const { port, server } = yield* serve({ shutdownTimeout: "300 millis" }, (request) => void request.resume())
      server.on("upgrade", (_request, socket) => socket.write("upgraded"))
      const clients = yield* Effect.forEach([...Array(5)], () => connectRaw(port))
      const [upgraded, running, body, header] = clients
      upgraded?.socket.write(upgradeRequest())
      running?.socket.write(get("/"))
      body?.socket.write(head("POST", "/", { "Content-Length": "10" }))
      header?.socket.write("GET /")
      yield* upgraded?.until("upgraded") ?? Effect.void
      yield* Effect.async<void>((resume) => void server.close(() => resume(Effect.void))).pipe(
        Effect.timeout("3 seconds")
      )
      yield* Effect.forEach(clients, ({ ended }) => ended)
    }))

  it.scopedLive("ends behind the response that runs when the server closes", () =>
    Effect.gen(function*() {
      const { port, server } = yield* serve({}, (request, response) => {
        setTimeout(() => response.end(`${request.url};`), 200)
      })
      const { ended, received, socket } = yield* connectRaw(port)
      socket.write(get("/"))
      yield* Effect.sleep("50 millis")
      server.close()
      yield* ended
      assert.match(text(received()), /Connection: close[^]*\/;$/)
    }))
})

describe("an idle connection", () => {
  it.scopedLive("is closed after the keep-alive timeout", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ keepAliveTimeout: "100 millis" }, path)
      const { ended, socket, until } = yield* connectRaw(port)
      socket.write(get("/first"))
      yield* until("/first;")
      yield* ended
    }))

  it.scopedLive("keeps a request that arrives in time while the event loop is busy", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ keepAliveTimeout: "100 millis" }, path)
      const { socket, until } = yield* connectRaw(port)
      socket.write(get("/first"))
      yield* until("/first;")
      socket.write(get("/second"))
      // Node adds a second to the timeout.
      for (const end = Date.now() + 1500; Date.now() < end;);
      yield* until("/second;")
    }))
})
