import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Supervisor from "effect/Supervisor"
import { Buffer } from "node:buffer"
import * as Http from "node:http"
import {
  InitImageError,
  InitImageHttp,
  InitImageLimits,
  InitImageSlot,
  InitImageSpool,
  SessionInitImage
} from "../../src/index.js"
import { warn } from "../../src/internal/persist/removal.js"
import { isBun, isDeno } from "../../src/internal/runtime.js"
import * as quotas from "../../src/internal/spool/quota.js"
import * as rooms from "../../src/internal/spool/room.js"
import { uprightSize } from "../utils/descriptions.js"
import { list, makeDirectory, openIn } from "../utils/directory.js"
import { type Hook, layerHooked } from "../utils/hookedFileSystem.js"
import { jpeg, png, pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { withSpans } from "../utils/tracing.js"
import { makeClock } from "../utils/turns.js"
import { connectRaw, eventually, type RawClient, upgradeRequest } from "../utils/webSocketClient.js"

type Services = FileSystem.FileSystem | Path.Path | Scope.Scope
type App = HttpApp.Default<unknown, Services>

const answer = <E, R>(image: Effect.Effect<Option.Option<SessionInitImage.SessionInitImage>, E, R>) =>
  Effect.map(
    image,
    (image) => HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
  )

const routed = (options: InitImageHttp.RequestOptions = {}): App =>
  Effect.flatten(HttpRouter.toHttpApp(
    HttpRouter.empty.pipe(
      HttpRouter.all("/", answer(InitImageHttp.fromRequest(options))),
      HttpRouter.get("/ok", HttpServerResponse.text("still there"))
    )
  ))

/** Apps around `fromRequest`. */
const apps: Record<string, (options: InitImageHttp.RequestOptions) => App> = {
  "in a router": routed,
  "as an app": (options) => answer(InitImageHttp.fromRequest(options)),
  "in a slot": (options) =>
    Effect.flatMap(InitImageSlot.make, (slot) => answer(slot.setWith(InitImageHttp.fromRequest(options)))),
  "in a slot in a router": (options) =>
    Effect.flatten(HttpRouter.toHttpApp(HttpRouter.empty.pipe(
      HttpRouter.post(
        "/",
        Effect.flatMap(InitImageSlot.make, (slot) => answer(slot.setWith(InitImageHttp.fromRequest(options))))
      )
    )))
}

const limited = InitImageLimits.withMaxBytes(100_000)

interface Options extends InitImageHttp.RequestOptions {
  readonly hook?: Hook
}

/** A server of the app with a new directory, which can check that its requests leave nothing behind. */
const serve = Effect.fnUntraced(function*(
  makeApp: (options: InitImageHttp.RequestOptions) => App = routed,
  { hook = (_, run) => run, ...options }: Options = {}
) {
  const directory = yield* makeDirectory
  const supervisor = yield* Supervisor.track
  const requests: Array<Http.IncomingMessage> = []
  const node = Http.createServer((request) => void requests.push(request))
  const http = yield* NodeHttpServer.make(() => node, { host: "127.0.0.1", port: 0 })
  yield* http.serve(
    makeApp({ directory, ...options }).pipe(
      Effect.supervised(supervisor),
      Effect.provide(layerHooked(hook))
    )
  )
  const port = http.address._tag === "TcpAddress" ? http.address.port : 0
  const listeners = (request: Http.IncomingMessage) =>
    ["readable", "data", "close"].map((event) => request.listenerCount(event))
  return {
    directory,
    port,
    url: `http://127.0.0.1:${port}`,
    /** Bytes read from all connections. */
    bytesRead: () => requests.reduce((sum, { socket }) => sum + socket.bytesRead, 0),
    /** Waits until no request has a file, a descriptor, a fiber or a listener. */
    clean: Effect.zipRight(
      eventually(() => {
        assert.deepStrictEqual(list(directory), [])
        assert.deepStrictEqual(openIn(directory), [])
        for (const request of requests) assert.deepStrictEqual(listeners(request), [0, 0, 0])
      }),
      Effect.retry(
        Effect.flatMap(
          supervisor.value,
          (fibers) => fibers.length === 0 ? Effect.void : Effect.fail(`${fibers.length} fibers`)
        ),
        { times: 200, schedule: Schedule.spaced("20 millis") }
      )
    )
  }
}, Effect.provide(NodeContext.layer))

const boundary = "b0undary"

const formOf = (bytes: Uint8Array, type = "image/png", before = ""): Buffer =>
  Buffer.concat([
    Buffer.from(
      before + `--${boundary}\r\nContent-Disposition: form-data; name="image"; filename="ref.png"\r\n`
        + `Content-Type: ${type}\r\n\r\n`
    ),
    bytes,
    Buffer.from(`\r\n--${boundary}--\r\n`)
  ])

/** A body with an image of `size` bytes, of each kind. */
const kinds: Record<string, { readonly type: string; readonly body: (size: number) => Buffer }> = {
  "JSON": {
    type: "application/json",
    body: (size) => Buffer.from(JSON.stringify(payloadOf("image/png", pngOfSize(size), "ref.png")))
  },
  "the raw image": { type: "image/png", body: (size) => Buffer.from(pngOfSize(size)) },
  "a form": { type: `multipart/form-data; boundary=${boundary}`, body: (size) => formOf(pngOfSize(size)) }
}

interface Head {
  readonly method?: string
  readonly path?: string
  readonly version?: string
  readonly type?: string
  readonly length?: number
  readonly headers?: ReadonlyArray<string>
}

const head = ({ headers = [], length, method = "POST", path = "/", type, version = "1.1" }: Head): string =>
  [
    `${method} ${path} HTTP/${version}`,
    "Host: localhost",
    ...(type === undefined ? [] : [`Content-Type: ${type}`]),
    length === undefined ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`,
    ...headers,
    "",
    ""
  ].join("\r\n")

const chunk = (bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")])

/** Writes all of the data before it reads. Dies if the connection breaks meanwhile. */
const write = ({ socket }: RawClient, data: string | Uint8Array) =>
  Effect.async<void>((resume) => {
    socket.pause()
    socket.write(data, (error) => {
      socket.resume()
      resume(error instanceof Error ? Effect.die(error) : Effect.void)
    })
  })

const post = (url: string, type: string, body: Uint8Array | string, path = "/") =>
  Effect.promise(async () => {
    const response = await fetch(url + path, { method: "POST", body, headers: { "content-type": type } })
    return { status: response.status, text: await response.text() }
  })

describe("fromRequest", () => {
  for (const [title, { body, type }] of Object.entries(kinds)) {
    it.scopedLive(`accepts an image, whole and in chunks, and leaves no file: ${title}`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const image = { mime: "image/png", bytes: 1_000_000, width: 1, height: 1 }
        assert.include(JSON.parse((yield* post(server.url, type, body(1_000_000))).text), image)
        const client = yield* connectRaw(server.port)
        yield* write(client, head({ type }))
        for (let at = 0, all = body(1_000_000); at < all.length; at += 100_003) {
          yield* write(client, chunk(all.subarray(at, at + 100_003)))
        }
        yield* write(client, "0\r\n\r\n")
        yield* client.until("\"bytes\":1000000")
        yield* server.clean
      }))
  }

  for (const [where, makeApp] of Object.entries(apps)) {
    for (const [title, { body, type }] of Object.entries(kinds)) {
      it.scopedLive(`lets a client that sends too much read the response, ${where}: ${title}`, () =>
        Effect.gen(function*() {
          const server = yield* serve((options) => limited(makeApp(options)))
          const all = body(5_000_000)
          for (const connection of ["keep-alive", "close"]) {
            for (const chunked of [false, true]) {
              const client = yield* connectRaw(server.port)
              const headers = [`Connection: ${connection}`]
              yield* write(client, head({ type, headers, ...chunked ? {} : { length: all.length } }))
              yield* write(client, chunked ? Buffer.concat([chunk(all), Buffer.from("0\r\n\r\n")]) : all)
              yield* client.until("}")
              assert.match(client.received().toString(), /^HTTP\/1\.1 413 [^]*"limit":100000,"_tag":"TooLarge"/)
              if (connection === "close") yield* client.ended
              else {
                yield* write(client, head({ path: "/", type: "application/json", length: 4 }) + "null")
                yield* client.until("null")
              }
            }
          }
          yield* server.clean
        }))
    }
  }

  for (const [title, { type }] of Object.entries(kinds)) {
    it.scopedLive(`refuses a body by its declared length before any of it arrives: ${title}`, () =>
      Effect.gen(function*() {
        const server = yield* serve((options) => limited(routed(options)))
        const client = yield* connectRaw(server.port)
        yield* write(client, head({ type, length: 10_000_000 }))
        yield* client.until("\"TooLarge\"")
        assert.match(client.received().toString(), /^HTTP\/1\.1 413 /)
        client.socket.destroy()
        yield* server.clean
      }))

    it.scopedLive(`accepts an image as large as the limit, and refuses one a byte larger: ${title}`, () =>
      Effect.gen(function*() {
        const server = yield* serve((options) => limited(routed(options)))
        const { body } = kinds[title] ?? assert.fail()
        assert.strictEqual((yield* post(server.url, type, body(100_000))).status, 200)
        const { status, text } = yield* post(server.url, type, body(100_001))
        assert.strictEqual(status, 413)
        assert.include(JSON.parse(text), { _tag: "TooLarge", limit: 100_000 })
        yield* server.clean
      }))

    it.scopedLive(`leaves no file when the client goes away in the middle: ${title}`, () =>
      Effect.gen(function*() {
        for (const makeApp of Object.values(apps)) {
          const server = yield* serve(makeApp)
          const { body } = kinds[title] ?? assert.fail()
          const all = body(5_000_000)
          for (const part of [0, 0.0001, 0.5, 0.9999]) {
            const client = yield* connectRaw(server.port)
            yield* write(client, head({ type, length: all.length }))
            yield* write(client, all.subarray(0, all.length * part))
            if (part === 0.5) yield* eventually(() => assert.lengthOf(list(server.directory), 1))
            client.socket.destroy()
          }
          yield* server.clean
        }
      }))

    it.scopedLive(`answers a client that stalls, then closes its connection: ${title}`, () =>
      Effect.gen(function*() {
        for (const makeApp of Object.values(apps)) {
          const server = yield* serve(makeApp, { stallTimeout: "200 millis" })
          const { body } = kinds[title] ?? assert.fail()
          const all = body(1_000_000)
          for (const part of [0, 0.5]) {
            const client = yield* connectRaw(server.port)
            yield* write(client, head({ type, length: all.length }))
            yield* write(client, all.subarray(0, all.length * part))
            yield* client.ended
            assert.match(client.received().toString(), /^HTTP\/1\.1 400 /)
          }
          yield* server.clean
        }
      }))

    it.scopedLive(`waits for a client that sends slowly: ${title}`, () =>
      Effect.gen(function*() {
        const server = yield* serve(routed, { stallTimeout: "600 millis" })
        const { body } = kinds[title] ?? assert.fail()
        const all = body(1000)
        const client = yield* connectRaw(server.port)
        yield* write(client, head({ type, length: all.length }))
        for (let i = 0; i < 10; i++) {
          yield* write(client, all.subarray(all.length * i / 10, all.length * (i + 1) / 10))
          yield* Effect.sleep("120 millis")
        }
        yield* client.until("\"bytes\":1000")
      }))
  }

  it.scopedLive("closes the connection of a stalled client right after the response", () =>
    Effect.gen(function*() {
      const server = yield* serve(routed, { stallTimeout: "2 seconds" })
      const client = yield* connectRaw(server.port)
      yield* write(client, head({ type: "image/png", length: 1000 }))
      const [taken] = yield* Effect.timed(client.ended)
      assert.isTrue(Duration.between(taken, { minimum: "1900 millis", maximum: "3500 millis" }))
    }))

  it.scopedLive("closes the connection of a client that stalls after its image was refused", () =>
    Effect.gen(function*() {
      const server = yield* serve((options) => limited(routed(options)), { stallTimeout: "200 millis" })
      const client = yield* connectRaw(server.port)
      yield* write(client, head({ type: "image/png", length: 10_000_000 }))
      yield* client.ended
      assert.match(client.received().toString(), /^HTTP\/1\.1 413 [^]*"_tag":"TooLarge"/)
      yield* server.clean
    }))

  it.scopedLive("waits forever with an infinite stall timeout", () =>
    Effect.gen(function*() {
      const stallTimeout = Duration.infinity
      const server = yield* serve(routed, { stallTimeout })
      const { handle } = yield* webHandler({ stallTimeout })
      for (const { body, type } of Object.values(kinds)) {
        const all = body(1000)
        const client = yield* connectRaw(server.port)
        yield* write(client, head({ type, length: all.length }))
        yield* Effect.sleep("100 millis")
        yield* write(client, all)
        yield* client.until("\"bytes\":1000")
        const late = new ReadableStream({
          start: (controller) => {
            setTimeout(() => {
              controller.enqueue(all)
              controller.close()
            }, 100)
          }
        })
        const { status } = yield* handle({ body: late, duplex: "half", headers: { "content-type": type } })
        assert.strictEqual(status, 200)
      }
    }))

  it.scopedLive("does not count the time that the server itself takes", () =>
    Effect.gen(function*() {
      const hook: Hook = (operation, run) => operation === "open" ? Effect.delay(run, "700 millis") : run
      const server = yield* serve(routed, { hook, stallTimeout: "200 millis" })
      assert.strictEqual((yield* post(server.url, "image/png", pngOfSize(2_000_000))).status, 200)
    }))

  it.scopedLive("reads no further than it can write", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const hook: Hook = (operation, run) => operation === "writeAll" ? Effect.zipRight(Deferred.await(gate), run) : run
      for (const { body, type } of Object.values(kinds)) {
        const server = yield* serve(routed, { hook })
        const client = yield* connectRaw(server.port)
        const all = body(20_000_000)
        client.socket.write(head({ type, length: all.length }))
        client.socket.write(all)
        let before = -1
        while (before !== server.bytesRead()) {
          before = server.bytesRead()
          yield* Effect.sleep("200 millis")
        }
        assert.isBelow(before, 5_000_000)
      }
      yield* Deferred.succeed(gate, undefined)
    }))

  it.scopedLive("refuses the body of a client that ends its half of the connection too early", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const all = pngOfSize(1000)
      const client = yield* connectRaw(server.port)
      client.socket.end(Buffer.concat([Buffer.from(head({ type: "image/png", length: 1001 })), all]))
      yield* client.ended
      assert.notInclude(client.received().toString(), " 200 ")
      yield* server.clean
    }))

  it.scopedLive("answers an HTTP/1.0 client and closes its connection", () =>
    Effect.gen(function*() {
      const server = yield* serve((options) => limited(routed(options)))
      for (const [size, status] of [[1000, 200], [5_000_000, 413]] as const) {
        const all = pngOfSize(size)
        const client = yield* connectRaw(server.port)
        yield* write(client, head({ version: "1.0", type: "image/png", length: all.length }))
        yield* write(client, all)
        yield* client.ended
        assert.match(client.received().toString(), new RegExp(`^HTTP/1.1 ${status} [^]*\\}$`))
      }
      yield* server.clean
    }))

  it.scopedLive("answers HEAD without a body, and the request behind it", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connectRaw(server.port)
      const all = pngOfSize(1000)
      const request = Buffer.concat([Buffer.from(head({ method: "HEAD", type: "image/png", length: all.length })), all])
      yield* write(client, request)
      yield* write(client, head({ method: "HEAD", type: "image/gif", length: 3 }) + "GIF")
      yield* write(client, head({ method: "GET", path: "/ok", length: 0 }))
      yield* client.until("still there")
      assert.match(
        client.received().toString(),
        /^HTTP\/1\.1 200 [^{}]*\r\n\r\nHTTP\/1\.1 415 [^{}]*\r\n\r\nHTTP\/1\.1 200 /
      )
      yield* server.clean
    }))

  it.scopedLive("answers a client that waits to be told to continue", () =>
    Effect.gen(function*() {
      const server = yield* serve((options) => limited(routed(options)))
      const client = yield* connectRaw(server.port)
      const all = pngOfSize(1000)
      yield* write(client, head({ type: "image/png", length: all.length, headers: ["Expect: 100-continue"] }))
      yield* client.until("100 Continue")
      yield* write(client, all)
      yield* client.until("\"bytes\":1000")
    }))

  const names: ReadonlyArray<readonly [query: string, name: string]> = [
    ["", "init.png"],
    ["?", "init.png"],
    ["?other=a.png", "init.png"],
    ["?name=", "init.png"],
    ["?name=a.png", "a.png"],
    ["?x=1&name=a%20b+c.png", "a b c.png"],
    ["?name=a.png&name=b.png", "a.png"],
    ["?name=%2Fetc%2Fpasswd%00%0A.png", "passwd.png"],
    ["?name=%E5%86%99%E7%9C%9F.png", "写真.png"],
    ["?name=%ff%.png", "\ufffd%.png"],
    [`?name=${"a".repeat(5000)}`, "a".repeat(255)]
  ]
  it.scopedLive("reads the name of a raw image from the query", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const [query, name] of names) {
        const client = yield* connectRaw(server.port)
        const all = pngOfSize(1000)
        yield* write(client, head({ path: `/${query}`, type: "image/png", length: all.length }))
        yield* write(client, all)
        yield* client.until("}")
        const [, json = ""] = client.received().toString().split("\r\n\r\n")
        assert.strictEqual(JSON.parse(json).display_name, name)
      }
    }))

  it.scopedLive("reads the name of a form's file", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const type = kinds["a form"]?.type ?? ""
      assert.include(JSON.parse((yield* post(server.url, type, formOf(png()))).text), { display_name: "ref.png" })
    }))

  const field = (length: number, name = "a") =>
    `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${"x".repeat(length)}\r\n`
  const form = { type: `multipart/form-data; boundary=${boundary}` }
  const hostile: Record<
    string,
    { readonly type: string; readonly body: Uint8Array | string; readonly error: object; readonly status?: number }
  > = {
    "a form without a boundary": {
      type: "multipart/form-data",
      body: formOf(pngOfSize(1_000_000)),
      error: { _tag: "InvalidPayload", reason: "MissingBoundary" }
    },
    "a form without a file": {
      ...form,
      body: `${field(1)}--${boundary}--\r\n`,
      error: { _tag: "InvalidPayload", reason: "NoFile" }
    },
    "a form with an image as text": {
      ...form,
      body: `${field(3_000_000, "image")}--${boundary}--\r\n`,
      error: { _tag: "InvalidPayload", reason: "NotAFile", field: "image" }
    },
    "JSON without an image": { type: "application/json", body: "{}", error: { _tag: "Empty" } },
    "a body that is not a form": { ...form, body: "hello", error: { _tag: "InvalidPayload", reason: "NotMultipart" } },
    "an empty form": { ...form, body: "", error: { _tag: "InvalidPayload", reason: "NotMultipart" } },
    "a form that ends in its file": {
      ...form,
      body: formOf(pngOfSize(100_000)).subarray(0, 50_000),
      error: { _tag: "InvalidPayload", reason: "NotMultipart" }
    },
    "a form with thousands of fields": {
      ...form,
      body: Buffer.concat([Buffer.from(field(1).repeat(5000)), formOf(png())]),
      error: { _tag: "InvalidPayload", reason: "MessageTooLarge" }
    },
    "a form with a field of 3 MB": {
      ...form,
      body: formOf(png(), "image/png", field(3_000_000)),
      error: { _tag: "InvalidPayload", reason: "MessageTooLarge" }
    },
    "a form with headers of 3 MB": {
      ...form,
      body: `--${boundary}\r\n${"a: b\r\n".repeat(500_000)}`,
      error: { _tag: "InvalidPayload", reason: "MessageTooLarge" }
    },
    "a form with a file of another type": {
      ...form,
      body: formOf(png(), "image/webp"),
      error: { _tag: "ContentMismatch", declared: "webp", detected: "png" },
      status: 415
    },
    "a form with a file that is not an image": {
      ...form,
      body: formOf(Buffer.from("hello"), "text/plain"),
      error: { _tag: "InvalidMime" },
      status: 415
    },
    "a form with an empty file": { ...form, body: formOf(new Uint8Array()), error: { _tag: "Empty" } },
    "no bytes of an image": { type: "image/png", body: "", error: { _tag: "Empty" } },
    "no bytes of JSON": { type: "application/json", body: "", error: { _tag: "InvalidPayload", reason: "NotJson" } },
    "JSON with a duplicate key before an endless image": {
      type: "application/json",
      body: `{"mime":"image/png","mime":"image/png","data":"${"A".repeat(5_000_000)}`,
      error: { _tag: "InvalidPayload", reason: "DuplicateKey" }
    },
    "no type, and no image": {
      type: "",
      body: "x".repeat(1_000_000),
      error: { _tag: "ContentMismatch", detected: "unknown" },
      status: 415
    },
    "a malformed type": { type: "//", body: png(), error: { _tag: "InvalidMime" }, status: 415 },
    "another type": { type: "text/plain", body: "x".repeat(1_000_000), error: { _tag: "InvalidMime" }, status: 415 },
    "the type of curl -d": {
      type: "application/x-www-form-urlencoded",
      body: png(),
      error: { _tag: "InvalidMime", reason: "NotAccepted" },
      status: 415
    },
    "a form of another kind": {
      type: `multipart/mixed; boundary=${boundary}`,
      body: formOf(png()),
      error: { _tag: "InvalidMime" },
      status: 415
    }
  }
  it.scopedLive("answers hostile bodies with their error, and leaves no file", () =>
    Effect.gen(function*() {
      for (const makeApp of [routed, apps["in a slot"]]) {
        const server = yield* serve(makeApp)
        for (const [title, { body, error, status = 400, type }] of Object.entries(hostile)) {
          const answer = yield* post(server.url, type, body)
          assert.strictEqual(answer.status, status, title)
          const refused = JSON.parse(answer.text)
          assert.deepInclude(refused, error, title)
          const { message } = Schema.decodeUnknownSync(InitImageError.InitImageError)(refused)
          assert.strictEqual(refused.message, message)
          assert.isBelow(answer.text.length, 1024)
        }
        yield* server.clean
      }
    }))
})

/** The responses of the app as a web handler. */
const handlerOf = (app: HttpApp.Default<unknown, Scope.Scope>) => {
  const handler = HttpApp.toWebHandler(app)
  return {
    handle: (init: RequestInit & { readonly duplex?: "half" }, path = "/") =>
      Effect.promise(async () => {
        const response = await handler(new Request(`http://localhost${path}`, { method: "POST", ...init }))
        return { status: response.status, text: await response.text() }
      }),
    handler
  }
}

/** The app as a web handler, with a new directory. */
const webHandler = Effect.fnUntraced(function*(options: InitImageHttp.RequestOptions = {}, maxBytes = 100_000) {
  const directory = yield* makeDirectory
  const app = routed({ directory, ...options }).pipe(
    InitImageLimits.withMaxBytes(maxBytes),
    Effect.provide(NodeContext.layer)
  )
  return { directory, ...handlerOf(app) }
}, Effect.provide(NodeContext.layer))

const mebibytes = new Uint8Array(16 * 1024 * 1024)

/** A body that never ends, and tells whether it was cancelled. */
const endless = (first: Uint8Array, more: boolean) => {
  let cancelled = false
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(first),
    pull: (controller) => more ? controller.enqueue(mebibytes) : new Promise(() => {}),
    cancel: () => {
      cancelled = true
    }
  })
  return { body, isCancelled: () => cancelled }
}

describe("fromRequest in a web handler", () => {
  it.scopedLive("accepts an image of each kind", () =>
    Effect.gen(function*() {
      const { directory, handle } = yield* webHandler()
      for (const { body, type } of Object.values(kinds)) {
        const { status, text } = yield* handle(
          { body: body(50_000), headers: { "content-type": type } },
          "/?name=ref.png"
        )
        assert.strictEqual(status, 200)
        assert.include(JSON.parse(text), { bytes: 50_000, display_name: "ref.png" })
        yield* eventually(() => assert.deepStrictEqual(list(directory), []))
      }
    }))

  it.scopedLive("starts every request of a burst in the same event-loop turn", () =>
    Effect.gen(function*() {
      const { handle } = yield* webHandler()
      const clock = yield* makeClock
      const png = pngOfSize(50_000)
      const begun: Array<number> = []
      const request = Effect.suspend(() => {
        const body = new ReadableStream({
          pull: (controller) => {
            begun.push(clock.now)
            controller.enqueue(png)
            controller.close()
          }
        }, { highWaterMark: 0 })
        return handle({ body, duplex: "half", headers: { "content-type": "image/png" } })
      })
      const answers = yield* Effect.all(Array.from({ length: 20 }, () => request), { concurrency: "unbounded" })
      for (const { status } of answers) assert.strictEqual(status, 200)
      assert.lengthOf(begun, 20)
      assert.lengthOf(new Set(begun), 1)
    }))

  it.scopedLive("refuses a request without a body", () =>
    Effect.gen(function*() {
      const { handle } = yield* webHandler()
      for (
        const [type, error] of [
          ["image/png", { _tag: "Empty" }],
          ["", { _tag: "Empty" }],
          ["application/json", { _tag: "InvalidPayload", reason: "NotJson" }],
          ["multipart/form-data; boundary=b", { _tag: "InvalidPayload", reason: "NotMultipart" }]
        ] as const
      ) {
        const { status, text } = yield* handle({ headers: { "content-type": type } })
        assert.strictEqual(status, 400)
        assert.deepInclude(JSON.parse(text), error)
      }
    }))

  it.scopedLive("keeps to its limit, which a declared length does not change", () =>
    Effect.gen(function*() {
      const { directory, handle } = yield* webHandler()
      for (const { body, type } of Object.values(kinds)) {
        for (const length of ["x", "-1", "1e9", "0x10", "Infinity", "", "1, 2"]) {
          const headers = { "content-type": type, "content-length": length }
          assert.strictEqual((yield* handle({ body: body(100_001), headers })).status, 413)
          assert.strictEqual((yield* handle({ body: body(1000), headers })).status, 200)
        }
        for (const length of ["0", "1", "500", "999"]) {
          const headers = { "content-type": type, "content-length": length }
          for (const size of [100, 1000, 100_000]) {
            const { status, text } = yield* handle({ body: body(size), headers })
            assert.strictEqual(status, 200)
            assert.include(JSON.parse(text), { bytes: size })
          }
          const { status, text } = yield* handle({ body: body(100_001), headers })
          assert.strictEqual(status, 413)
          assert.include(JSON.parse(text), { _tag: "TooLarge", limit: 100_000 })
        }
      }
      yield* eventually(() => assert.deepStrictEqual(list(directory), []))
    }))

  it.scopedLive("reads a body by its media type, without its case and parameters", () =>
    Effect.gen(function*() {
      const { handle } = yield* webHandler()
      const json = Buffer.from(JSON.stringify(payloadOf("image/png", pngOfSize(1000))))
      const image = pngOfSize(1000)
      for (
        const [type, body, status] of [
          ["APPLICATION/JSON; charset=utf-8", json, 200],
          ["application/json ;a=b", json, 200],
          ["application/vnd.api+json", json, 200],
          ["application/json", Buffer.concat([Buffer.from("\ufeff"), json]), 200],
          ["Image/PNG\t; a=b;c=d", image, 200],
          ["text/json", json, 415],
          ["application/jsonp", json, 415],
          ["application/a+jsonp", json, 415],
          ["x-application/a+json", json, 415],
          ["application/+json", json, 415],
          ["image/gif", image, 415],
          ["image", image, 415],
          ["png", image, 415],
          ["application/x-www-form-urlencoded", image, 415],
          ["application/octet-streams", image, 415],
          ["", image, 200],
          [undefined, image, 200],
          ["application/octet-stream", image, 200],
          ["Application/Octet-Stream ;charset=x", image, 200],
          ["binary/octet-stream", image, 200],
          ["image/*", image, 200],
          [" image/x-png", image, 200],
          ["", json, 415]
        ] as const
      ) {
        const headers: Record<string, string> = type === undefined ? {} : { "content-type": type }
        const answer = yield* handle({ body, headers })
        assert.strictEqual(answer.status, status, type)
        const { _tag, mime } = JSON.parse(answer.text)
        if (status === 200) assert.strictEqual(mime, "image/png")
        else assert.strictEqual(_tag, type === "" ? "ContentMismatch" : "InvalidMime")
      }
    }))

  /** The longest body that may hold an image of 1000 bytes and 100 bytes beside it. */
  const longest = { "JSON": 100 + 1668, "the raw image": 1000, "a form": 100 + 1000 }
  for (const [title, length] of Object.entries(longest)) {
    for (const over of [0, 1]) {
      it.scopedLive(`${over === 0 ? "reads the longest" : "does not read a longer"} body that may hold an image of the limit: ${title}`, () =>
        Effect.gen(function*() {
          let pulled = false
          const body = new ReadableStream({
            pull: (controller) => {
              pulled = true
              controller.close()
            }
          }, { highWaterMark: 0 })
          let pulledBefore = false
          const refused = Effect.sync(() => {
            pulledBefore = pulled
          })
          const { handle } = handlerOf(
            answer(Effect.tapError(InitImageHttp.fromRequest(), () => refused)).pipe(
              Effect.provide(InitImageLimits.layer({ maxBytes: 1000, maxMessageBytes: 100 })),
              Effect.provide(NodeContext.layer)
            )
          )
          const headers = { "content-type": kinds[title]?.type ?? "", "content-length": String(length + over) }
          const { status, text } = yield* handle({ body, headers, duplex: "half" })
          assert.strictEqual(status, over === 0 ? 400 : 413)
          assert.strictEqual(pulledBefore, over === 0)
          if (over === 1) assert.deepInclude(JSON.parse(text), { bytes: 1001, limit: 1000 })
        }))
    }
  }

  for (const [title, { body, type }] of Object.entries(kinds)) {
    it.scopedLive(`reserves the bytes that the declared length can hold, at most the limit: ${title}`, () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const reserved: Array<number> = []
        const admission = { acquire: (bytes: number) => Effect.sync(() => reserved.push(bytes)), giveBack: () => {} }
        const context = {
          directory: Effect.succeed(directory),
          limit: Infinity,
          admission,
          quota: quotas.unlimited,
          onLeft: warn
        }
        const { handle } = handlerOf(
          answer(InitImageHttp.fromRequest()).pipe(
            Effect.provideService(InitImageSpool.InitImageSpool, {
              directory: context.directory,
              makeRoom: (size, options) => rooms.make(context, size, options),
              admit: () => Effect.dieMessage("no frames")
            }),
            InitImageLimits.withMaxBytes(5000),
            Effect.provide(NodeContext.layer)
          )
        )
        const small = body(1001)
        const length = body(5000).length
        for (const [bytes, declared] of [[small, small.length], [body(4000), length], [small, undefined]] as const) {
          const headers = {
            "content-type": type,
            ...declared === undefined ? {} : { "content-length": String(declared) }
          }
          assert.strictEqual((yield* handle({ body: bytes, headers })).status, 200)
        }
        const expected = title === "JSON" ? Math.ceil(small.length / 4) * 3 : small.length
        assert.deepStrictEqual(reserved, [expected, 5000, 5000])
      }).pipe(Effect.provide(NodeContext.layer)))
  }

  it.scopedLive("answers a body that is too large at once, and cancels it where it goes on for more than 1 GiB", () =>
    Effect.gen(function*() {
      const { directory, handle } = yield* webHandler()
      for (const { body, type } of Object.values(kinds)) {
        const source = endless(body(1_000_000).subarray(0, 150_000), true)
        const { status } = yield* handle({ body: source.body, duplex: "half", headers: { "content-type": type } })
        assert.strictEqual(status, 413)
        yield* eventually(() => assert.isTrue(source.isCancelled()))
      }
      yield* eventually(() => assert.deepStrictEqual(list(directory), []))
    }))

  // Bun's server reads on behind an answer that has ended.
  const itHolds = it.scopedLive.skipIf(isBun)
  itHolds("sends the answer at once, and ends it when the client has sent its body", () =>
    Effect.gen(function*() {
      const { handler } = yield* webHandler()
      for (const { body, type } of Object.values(kinds)) {
        const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
        const client = writable.getWriter()
        const init = { method: "POST", body: readable, duplex: "half" as const, headers: { "content-type": type } }
        const answered = handler(new Request("http://localhost/", init))
        yield* Effect.promise(() => client.write(body(1_000_000).subarray(0, 150_000)))
        const response = yield* Effect.promise(() => answered)
        assert.strictEqual(response.status, 413)
        assert.strictEqual(response.headers.get("content-type"), "application/json")
        // The server of Deno ends the response, and the connection, at its length.
        assert.strictEqual(response.headers.has("content-length"), !isDeno)
        const reader = response.body?.getReader()
        assert(reader !== undefined)
        const first = yield* Effect.promise(() => reader.read())
        assert.include(Buffer.from(first.value ?? []).toString(), "\"TooLarge\"")
        let isEnded = false
        const last = reader.read().then(({ done }) => {
          isEnded = done
        })
        for (let i = 0; i < 3; i++) yield* Effect.promise(() => client.write(mebibytes))
        assert.isFalse(isEnded)
        yield* Effect.promise(() => client.close())
        yield* Effect.promise(() => last)
        assert.isTrue(isEnded)
      }
    }))

  it.scopedLive("answers 500 where the body was read before", () =>
    Effect.gen(function*() {
      const { handler } = yield* webHandler()
      const request = (): Request =>
        new Request("http://localhost/", {
          method: "POST",
          body: pngOfSize(1000),
          headers: { "content-type": "image/png" }
        })
      const read = request()
      yield* Effect.promise(() => read.arrayBuffer())
      const locked = request()
      locked.body?.getReader()
      for (const used of [read, locked]) {
        assert.strictEqual((yield* Effect.promise(() => handler(used))).status, 500)
      }
    }))

  it.scopedLive("cancels a body that stalls", () =>
    Effect.gen(function*() {
      const { directory, handle } = yield* webHandler({ stallTimeout: "100 millis" })
      for (const { body, type } of Object.values(kinds)) {
        const source = endless(body(50_000).subarray(0, 25_000), false)
        const { status } = yield* handle({
          body: source.body,
          duplex: "half" as const,
          headers: { "content-type": type }
        })
        assert.strictEqual(status, 400)
        yield* eventually(() => assert.isTrue(source.isCancelled()))
      }
      yield* eventually(() => assert.deepStrictEqual(list(directory), []))
    }))

  it.scopedLive("leaves no file of an aborted request", () =>
    Effect.gen(function*() {
      const { directory, handler } = yield* webHandler({}, 5_000_000)
      for (const { body, type } of Object.values(kinds)) {
        const source = endless(body(4_000_000).subarray(0, 3_000_000), false)
        const aborted = new AbortController()
        const init = {
          method: "POST",
          body: source.body,
          duplex: "half" as const,
          headers: { "content-type": type },
          signal: aborted.signal
        }
        const response = handler(new Request("http://localhost/", init))
        yield* eventually(() => assert.lengthOf(list(directory), 1))
        aborted.abort()
        yield* eventually(() => assert.deepStrictEqual(list(directory), []))
        assert.strictEqual((yield* Effect.promise(() => response)).status, 499)
      }
    }))
})

describe("fromRequest in traces and metrics", () => {
  const outcomesOf = (outcome: string) =>
    Effect.map(Metric.value(Metric.tagged(SessionInitImage.outcomes, "outcome", outcome)), ({ count }) => count)

  const json = JSON.stringify(payloadOf("image/png", png()))
  const cases: ReadonlyArray<
    readonly [string, type: string, body: Uint8Array | string, headers?: Record<string, string>]
  > = [
    ["persisted", "application/json", json],
    ["persisted", "image/png", png()],
    ["persisted", kinds["a form"]?.type ?? "", formOf(png())],
    ["none", "application/json", "null"],
    ["persisted", "application/octet-stream", png()],
    ["UnsupportedEncoding", "image/png", png(), { "content-encoding": "gzip" }],
    ["InvalidPayload", kinds["a form"]?.type ?? "", `--${boundary}--`],
    ["Empty", "application/json", "{}"],
    ["InvalidPayload", "application/json", "{"],
    ["InvalidPayload", "application/json", "{\"mime\":1,\"mime\":1}"],
    ["InvalidPayload", kinds["a form"]?.type ?? "", "no form"],
    ["InvalidMime", "text/plain", "text"],
    ["InvalidMime", "application/json", "{\"mime\":\"image/gif\"}"],
    ["Empty", "image/png", ""],
    ["Empty", kinds["a form"]?.type ?? "", formOf(new Uint8Array())],
    ["BadBase64", "application/json", "{\"mime\":\"image/png\",\"data\":\"!!!!\"}"],
    ["ContentMismatch", "image/webp", png()],
    ["TooLarge", "image/png", pngOfSize(200_000)],
    ["TooLarge", "application/json", "null", { "content-length": "100000000" }],
    ["TooLarge", "image/png", png(), { "content-length": "100000000" }],
    ["TooLarge", kinds["a form"]?.type ?? "", formOf(png()), { "content-length": "100000000" }]
  ]
  for (const [outcome, type, body, more = {}] of cases) {
    it.scopedLive(`is one span, and is counted once as ${outcome}: ${type} ${JSON.stringify(more)}`, () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const request = HttpServerRequest.fromWeb(
          new Request("http://localhost/", { method: "POST", body, headers: { "content-type": type, ...more } })
        )
        const [before, all] = [yield* outcomesOf(outcome), yield* Metric.value(SessionInitImage.durationSeconds)]
        const spans = yield* withSpans(
          Effect.exit(Effect.scoped(InitImageHttp.fromRequest({ directory }))).pipe(
            Effect.provideService(HttpServerRequest.HttpServerRequest, request)
          )
        )
        assert.strictEqual(yield* outcomesOf(outcome), before + 1)
        assert.strictEqual((yield* Metric.value(SessionInitImage.durationSeconds)).count, all.count + 1)
        assert.deepStrictEqual(spans.map(({ name }) => name), ["InitImageHttp.fromRequest"])
        assert.strictEqual(spans[0]?.attributes.get("outcome"), outcome)
        assert.deepStrictEqual(list(directory), [])
      }).pipe(limited, Effect.provide(NodeContext.layer)))
  }
})

/** An app that answers the message and the image's description. */
const messageApp = (options: InitImageHttp.MessageOptions): App =>
  Effect.map(
    InitImageHttp.messageFromRequest(options),
    ({ image, message }) =>
      HttpServerResponse.unsafeJson({ message, image: Option.getOrNull(Option.map(image, InitImageHttp.describe)) })
  )

const messageHandler = Effect.fnUntraced(function*(
  options: Omit<InitImageHttp.MessageOptions, "at"> = {},
  limits: InitImageLimits.Limits = {}
) {
  const directory = yield* makeDirectory
  const handler = handlerOf(
    messageApp({ directory, at: ["initial_image"], ...options }).pipe(
      InitImageLimits.withLimits(limits),
      Effect.provide(NodeContext.layer)
    )
  )
  return {
    directory,
    send: (type: string, body: string | Uint8Array) =>
      Effect.map(handler.handle({ body, headers: { "content-type": type } }), ({ status, text }) => ({
        status,
        body: JSON.parse(text)
      }))
  }
}, Effect.provide(NodeContext.layer))

describe("messageFromRequest", () => {
  const json = "application/json"
  const form = `multipart/form-data; boundary=${boundary}`
  const part = (headers: string, body: string | Uint8Array): Buffer =>
    Buffer.concat([Buffer.from(`--${boundary}\r\n${headers}\r\n\r\n`), Buffer.from(body), Buffer.from("\r\n")])
  const text = (name: string, value: string) => part(`Content-Disposition: form-data; name="${name}"`, value)
  const file = (name: string, bytes: Uint8Array) =>
    part(`Content-Disposition: form-data; name="${name}"; filename="${name}.png"\r\nContent-Type: image/png`, bytes)
  const whole = (...parts: ReadonlyArray<Buffer>) => Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)])

  it.scopedLive("answers JSON's message without the data, and the image in it", () =>
    Effect.gen(function*() {
      const { directory, send } = yield* messageHandler()
      const payload = payloadOf("image/png", pngOfSize(1000), "ref.png")
      const { body } = yield* send(json, JSON.stringify({ prompt: "rain", initial_image: payload, seed: 7 }))
      assert.deepStrictEqual(body.message, {
        prompt: "rain",
        initial_image: { mime: "image/png", name: "ref.png" },
        seed: 7
      })
      assert.include(body.image, { bytes: 1000, display_name: "ref.png" })
      for (const value of ["null", "{}", "\"\"", "false"]) {
        const none = yield* send(json, `{"prompt":"rain","initial_image":${value}}`)
        assert.deepInclude(none.body, { image: null })
      }
      assert.deepStrictEqual((yield* send(json, "{\"prompt\":\"rain\"}")).body, {
        message: { prompt: "rain" },
        image: null
      })
      yield* eventually(() => assert.deepStrictEqual(list(directory), []))
    }))

  it.scopedLive("answers a form's text fields before and behind the file", () =>
    Effect.gen(function*() {
      const { directory, send } = yield* messageHandler()
      const fields = [text("prompt", "rain"), text("prompt", "snow"), text("__proto__", "x"), text("größe", "é🙂")]
      const before = yield* send(form, whole(...fields, file("a", pngOfSize(1000))))
      const behind = yield* send(form, whole(file("a", pngOfSize(1000)), ...fields))
      for (const { body } of [before, behind]) {
        assert.deepStrictEqual(Object.entries(body.message), [
          ["prompt", "rain"],
          ["__proto__", "x"],
          ["größe", "é🙂"]
        ])
        assert.include(body.image, { bytes: 1000, display_name: "a.png" })
      }
      assert.deepStrictEqual((yield* send(form, whole(...fields.slice(0, 1)))).body, {
        message: { prompt: "rain" },
        image: null
      })
      yield* eventually(() => assert.deepStrictEqual(list(directory), []))
    }))

  it.scopedLive("answers an empty record with the bytes of an image", () =>
    Effect.gen(function*() {
      const { send } = yield* messageHandler()
      const { body } = yield* send("application/octet-stream", pngOfSize(1000))
      assert.deepStrictEqual(body.message, {})
      assert.include(body.image, { mime: "image/png", bytes: 1000 })
    }))

  it.scopedLive("takes the file of the option field, and does not take a mask for the image", () =>
    Effect.gen(function*() {
      const { directory, send } = yield* messageHandler({ field: "image" }, { maxBytes: 5000 })
      const mask = file("mask", pngOfSize(4000))
      for (const parts of [[mask, file("image", pngOfSize(1000))], [file("image", pngOfSize(1000)), mask]]) {
        const { body } = yield* send(form, whole(...parts, text("prompt", "rain")))
        assert.deepInclude(body, { message: { prompt: "rain" } })
        assert.include(body.image, { bytes: 1000, display_name: "image.png" })
      }
      assert.deepInclude((yield* send(form, whole(mask))).body, { image: null })
      const refused = yield* send(form, whole(mask, mask, file("image", pngOfSize(1000))))
      assert.include(refused.body, { _tag: "InvalidPayload", reason: "MessageTooLarge" })
      const named = yield* send(form, whole(text("image", "[object Object]"), mask))
      assert.include(named.body, { _tag: "InvalidPayload", reason: "NotAFile", field: "image" })
      yield* eventually(() => assert.deepStrictEqual(list(directory), []))
    }))

  it.scopedLive("reads the longest form that may hold the fields, the skipped files and the image", () =>
    Effect.gen(function*() {
      for (const over of [0, 1]) {
        const { handle } = handlerOf(
          messageApp({ at: [], field: "image" }).pipe(
            InitImageLimits.withLimits({ maxBytes: 1000, maxMessageBytes: 100 }),
            Effect.provide(NodeContext.layer)
          )
        )
        const headers = { "content-type": form, "content-length": String(100 + 1000 + 1000 + over) }
        const { status } = yield* handle({ body: "", headers })
        assert.strictEqual(status, over === 0 ? 400 : 413)
      }
    }))

  it.scopedLive("bounds a form's fields by MaxMessageBytes, before and behind the file", () =>
    Effect.gen(function*() {
      const { directory, send } = yield* messageHandler({}, { maxMessageBytes: 2000 })
      const long = text("prompt", "x".repeat(2000))
      for (const parts of [[long, file("a", png())], [file("a", png()), long]]) {
        const { body, status } = yield* send(form, whole(...parts))
        assert.strictEqual(status, 400)
        assert.include(body, { _tag: "InvalidPayload", reason: "MessageTooLarge" })
      }
      yield* eventually(() => assert.deepStrictEqual(list(directory), []))
    }))

  it.scopedLive("lets a client that sends too much read the response, and serves its next request", () =>
    Effect.gen(function*() {
      const server = yield* serve((options) => limited(messageApp({ at: ["initial_image"], ...options })))
      const bodies = [
        [
          json,
          Buffer.from(JSON.stringify({ prompt: "x", initial_image: payloadOf("image/png", pngOfSize(5_000_000)) }))
        ],
        [form, whole(text("prompt", "x"), file("image", pngOfSize(5_000_000)))]
      ] as const
      for (const [type, all] of bodies) {
        for (const chunked of [false, true]) {
          const client = yield* connectRaw(server.port)
          yield* write(client, head({ type, ...chunked ? {} : { length: all.length } }))
          yield* write(client, chunked ? Buffer.concat([chunk(all), Buffer.from("0\r\n\r\n")]) : all)
          yield* client.until("}")
          assert.match(client.received().toString(), /^HTTP\/1\.1 413 [^]*"_tag":"TooLarge"/)
          yield* write(client, head({ type: json, length: 4 }) + "null")
          yield* client.until("\"image\":null")
        }
      }
      yield* server.clean
    }))

  it.scopedLive("keeps the image as long as the scope, and is one span and one outcome", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const body = JSON.stringify({ prompt: "rain", initial_image: payloadOf("image/png", png()) })
      const request = HttpServerRequest.fromWeb(
        new Request("http://localhost/", { method: "POST", body, headers: { "content-type": json } })
      )
      const persisted = Metric.tagged(SessionInitImage.outcomes, "outcome", "persisted")
      const { count } = yield* Metric.value(persisted)
      const spans = yield* withSpans(
        Effect.scoped(Effect.gen(function*() {
          yield* InitImageHttp.messageFromRequest({ at: ["initial_image"], directory })
          assert.lengthOf(list(directory), 1)
        })).pipe(Effect.provideService(HttpServerRequest.HttpServerRequest, request))
      )
      assert.deepStrictEqual(list(directory), [])
      assert.strictEqual((yield* Metric.value(persisted)).count, count + 1)
      assert.deepStrictEqual(spans.map(({ name }) => name), ["InitImageHttp.messageFromRequest"])
      assert.strictEqual(spans[0]?.attributes.get("outcome"), "persisted")
    }).pipe(Effect.provide(NodeContext.layer)))
})

describe("a content encoding", () => {
  it.scopedLive("is refused before a byte is read, and the connection serves the next request", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connectRaw(server.port)
      const all = pngOfSize(3_000_000)
      yield* write(client, head({ type: "image/png", length: all.length, headers: ["Content-Encoding: gzip"] }))
      yield* client.until("}")
      assert.match(
        client.received().toString(),
        /^HTTP\/1\.1 415 [^]*\r\naccept-encoding: identity\r\n[^]*"_tag":"UnsupportedEncoding"/
      )
      assert.isBelow(server.bytesRead(), 1000)
      yield* write(client, all)
      yield* write(client, head({ method: "GET", path: "/ok", length: 0 }))
      yield* client.until("still there")
      yield* server.clean
    }))

  it.scopedLive("may be identity, in any case and number", () =>
    Effect.gen(function*() {
      const { handle } = yield* webHandler()
      const statuses: Record<string, number> = {
        "": 200,
        "identity": 200,
        " Identity\t": 200,
        "identity, ,identity": 200,
        "gzip": 415,
        "identity, gzip": 415,
        "gzip;q=0": 415,
        "x identity": 415
      }
      for (const [encoding, expected] of Object.entries(statuses)) {
        const headers = { "content-type": "image/png", "content-encoding": encoding }
        assert.strictEqual((yield* handle({ body: png(), headers })).status, expected, encoding)
      }
    }))
})

describe("DeclaredType", () => {
  it.scopedLive("optional: the bytes decide, whatever type a body or a part has", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { handle } = handlerOf(
        routed({ directory }).pipe(
          InitImageLimits.withLimits({ declaredType: "optional", acceptedFormats: ["image/png"] }),
          Effect.provide(NodeContext.layer)
        )
      )
      const form = kinds["a form"]?.type ?? ""
      for (const type of ["text/plain", "image/webp", "image/gif", "x"]) {
        for (const [outer, body] of [[type, png()], [form, formOf(png(), type)]] as const) {
          const { text } = yield* handle({ body, headers: { "content-type": outer } })
          assert.include(JSON.parse(text), { mime: "image/png" })
        }
      }
      const refused = yield* handle({ body: jpeg(), headers: { "content-type": "image/png" } })
      assert.strictEqual(refused.status, 415)
      assert.include(JSON.parse(refused.text), { _tag: "ContentMismatch", detected: "jpeg" })
    }).pipe(Effect.provide(NodeContext.layer)))
})

describe("describe", () => {
  it.scopedLive("describes an image without its path", () =>
    Effect.gen(function*() {
      const { directory, handle } = yield* webHandler()
      const headers = { "content-type": "image/png" }
      const { text } = yield* handle({ body: pngOfSize(1000), headers }, "/?name=a.png")
      const description = { mime: "image/png", display_name: "a.png", bytes: 1000, ...uprightSize(1, 1) }
      assert.deepStrictEqual(JSON.parse(text), description)
      assert.notInclude(text, directory)
      const decode = Schema.decodeUnknown(InitImageHttp.ImageDescription)
      assert.deepStrictEqual(yield* decode(description), { ...description, mime: "image/png" })
      for (const field of Object.keys(description)) {
        assert.isTrue(Either.isLeft(yield* Effect.either(decode({ ...description, [field]: null }))), field)
      }
    }))
})

describe("checkOrigin", () => {
  /** A server that counts the requests that it lets through. */
  const guard = Effect.gen(function*() {
    let passed = 0
    const app = Effect.suspend(() => {
      passed += 1
      return routed()
    })
    const { port } = yield* serve(() => InitImageHttp.checkOrigin({ hosts: ["localhost"] })(app))
    return { port, passed: () => passed }
  })

  it.scopedLive("lets a page of another site read the refusal, however much it sends", () =>
    Effect.gen(function*() {
      const { passed, port } = yield* guard
      for (const connection of ["keep-alive", "close"]) {
        const client = yield* connectRaw(port)
        const all = pngOfSize(30_000_000)
        const headers = ["Origin: https://evil.example", `Connection: ${connection}`]
        yield* write(client, head({ type: "image/png", length: all.length, headers }))
        yield* write(client, all)
        yield* client.until("HTTP/1.1 403 ")
        if (connection === "close") yield* client.ended
        else {
          yield* write(client, head({ method: "GET", path: "/ok", length: 0 }))
          yield* client.until("still there")
        }
      }
      assert.strictEqual(passed(), 1)
    }))

  it.scopedLive("refuses a WebSocket from a page of another site, and ends its connection", () =>
    Effect.gen(function*() {
      const { passed, port } = yield* guard
      const client = yield* connectRaw(port)
      yield* write(client, upgradeRequest({ Origin: "https://evil.example" }))
      yield* client.ended
      assert.match(client.received().toString(), /^HTTP\/1\.1 403 /)
      assert.strictEqual(passed(), 0)
    }))

  it.scopedLive("refuses requests for another host name, and lets the others through", () =>
    Effect.gen(function*() {
      const { passed, port } = yield* guard
      const get = (...headers: ReadonlyArray<string>) =>
        Effect.gen(function*() {
          const client = yield* connectRaw(port)
          yield* write(client, ["GET /ok HTTP/1.1", ...headers, "Connection: close", "", ""].join("\r\n"))
          yield* client.ended
          return client.received().toString().slice(9, 12)
        })
      assert.strictEqual(yield* get("Host: evil.example"), "403")
      assert.strictEqual(yield* get("Host: localhost:1"), "200")
      assert.strictEqual(yield* get("Host: localhost", "Origin: https://evil.example"), "200")
      assert.strictEqual(passed(), 2)
    }))
})
