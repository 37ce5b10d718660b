import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiError from "@effect/platform/HttpApiError"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as OpenApi from "@effect/platform/OpenApi"
import type * as Path from "@effect/platform/Path"
import { assert, describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { Buffer } from "node:buffer"
import { mkdirSync, rmSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { InitImageApi, InitImageError, InitImageHttp, InitImageLimits, InitImageSpool } from "../../src/index.js"
import { Api, pathOf, put, putImage, request, serveApi } from "../utils/apis.js"
import { uprightSize } from "../utils/descriptions.js"
import { list, makeDirectory, openIn } from "../utils/directory.js"
import { type Bytes, jpeg, jpegOfSize, png, pngOfSize, webp } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { collecting } from "../utils/spools.js"
import { connectRaw, eventually } from "../utils/webSocketClient.js"

interface Options extends InitImageApi.Options {
  readonly limits?: InitImageLimits.Limits
  readonly spool?: InitImageSpool.Options
  readonly log?: Array<string>
}

const directoryIn = (options: InitImageHttp.RequestOptions) => options.directory ?? assert.fail("no directory")

/** Implements the group of `Api`. */
const handlers = ({ limits = {}, log = [], spool, ...request }: Options) =>
  Layer.mergeAll(InitImageApi.layer(Api, request)).pipe(
    Layer.provideMerge(InitImageApi.layerSessions()),
    Layer.provide(InitImageLimits.layer(limits)),
    Layer.provide(spool === undefined ? Layer.empty : InitImageSpool.layer(spool)),
    Layer.provide(collecting(log))
  )

const serve = Effect.fnUntraced(function*(options: Options = {}) {
  const directory = options.spool === undefined ? yield* makeDirectory : undefined
  const served = yield* serveApi(
    HttpApiBuilder.api(Api).pipe(Layer.provideMerge(handlers({ ...options, directory })))
  )
  return {
    ...served,
    directory: directory ?? "",
    /** Waits until the directory has this number of files, all closed. */
    untilFiles: (count: number) =>
      eventually(() => {
        assert.lengthOf(list(directoryIn({ directory })), count)
        assert.deepStrictEqual(openIn(directoryIn({ directory })), [])
      })
  }
}, Effect.provide(NodeContext.layer))

const formOf = (bytes: Bytes, type: string, name: string): FormData => {
  const form = new FormData()
  form.append("note", "hello")
  form.append("image", new Blob([bytes], { type }), name)
  return form
}

const images = { "image/png": png({ width: 3 }), "image/jpeg": jpeg(), "image/webp": webp() }

describe("InitImageApi", () => {
  for (const [mime, bytes] of Object.entries(images)) {
    const bodies = {
      "as JSON": [JSON.stringify(payloadOf(mime, bytes, "écran.bin")), "application/json"],
      "as a binary body": [bytes, mime],
      "in a form": [formOf(bytes, mime, "écran.bin"), ""]
    } as const
    for (const [encoding, [body, type]] of Object.entries(bodies)) {
      it.scopedLive(`GET returns ${mime} that was put ${encoding}, with its type and name`, () =>
        Effect.gen(function*() {
          const { untilFiles, url } = yield* serve()
          const { status, text } = yield* put(url, body, type)
          assert.strictEqual(status, 200)
          const description = Schema.decodeUnknownSync(InitImageHttp.ImageDescription)(JSON.parse(text))
          assert.strictEqual<string>(description.mime, mime)
          assert.strictEqual(description.bytes, bytes.length)
          const got = yield* request(url)
          assert.strictEqual(got.status, 200)
          assert.isTrue(got.body.equals(bytes))
          const header = (name: string) => got.headers.get(name)
          assert.strictEqual(header("content-type"), mime)
          assert.strictEqual(header("content-length"), String(bytes.length))
          assert.strictEqual(header("cache-control"), "no-store")
          assert.strictEqual(header("x-content-type-options"), "nosniff")
          assert.strictEqual(
            header("content-disposition"),
            encoding === "as a binary body"
              ? `inline; filename="${description.display_name}"; filename*=UTF-8''${description.display_name}`
              : "inline; filename=\"_cran.bin\"; filename*=UTF-8''%C3%A9cran.bin"
          )
          assert.strictEqual((yield* request(url, { method: "DELETE" })).status, 204)
          assert.strictEqual((yield* request(url)).status, 404)
          yield* untilFiles(0)
        }))
    }
  }

  it.scopedLive("replaces the image of one session only", () =>
    Effect.gen(function*() {
      const { untilFiles, url } = yield* serve()
      yield* putImage(url, pngOfSize(1000))
      yield* putImage(url, pngOfSize(2000), "b")
      yield* putImage(url, pngOfSize(3000))
      yield* untilFiles(2)
      assert.lengthOf((yield* request(url)).body, 3000)
      assert.lengthOf((yield* request(url, {}, "b")).body, 2000)
    }))

  it.scopedLive("clears a session's image for JSON's null", () =>
    Effect.gen(function*() {
      const { untilFiles, url } = yield* serve()
      for (const body of ["null", " null\n"]) {
        yield* putImage(url, png())
        yield* untilFiles(1)
        assert.strictEqual((yield* put(url, body)).status, 204)
        assert.strictEqual((yield* request(url)).status, 404)
        yield* untilFiles(0)
      }
    }))

  it.scopedLive("refuses everything else without an image, and the session keeps its picture", () =>
    Effect.gen(function*() {
      const { untilFiles, url } = yield* serve()
      const fieldsOnly = new FormData()
      fieldsOnly.append("note", "hello")
      const text = new FormData()
      text.append("image", "[object Object]")
      const invalid = (fields: object) => ({ _tag: "InvalidPayload", ...fields })
      const bodies: ReadonlyArray<readonly [body: string | FormData, error: object]> = [
        ["{}", { _tag: "Empty" }],
        ["[]", { _tag: "Empty" }],
        ["\"\"", { _tag: "Empty" }],
        ["false", { _tag: "Empty" }],
        ["0", { _tag: "Empty" }],
        ["", invalid({ reason: "NotJson" })],
        ["undefined", invalid({ reason: "NotJson" })],
        ["\"null\"", invalid({ reason: "NotAnObject" })],
        [new FormData(), invalid({ reason: "NoFile" })],
        [fieldsOnly, invalid({ reason: "NoFile" })],
        [text, invalid({ reason: "NotAFile", field: "image" })]
      ]
      yield* putImage(url, pngOfSize(1000))
      for (const [body, error] of bodies) {
        const answer = yield* put(url, body)
        assert.strictEqual(answer.status, 400)
        assert.include(JSON.parse(answer.text), error)
      }
      assert.lengthOf((yield* request(url)).body, 1000)
      yield* untilFiles(1)
    }))

  it.scopedLive("takes the file of the option field, and names the field if it is text", () =>
    Effect.gen(function*() {
      const { url } = yield* serve({ field: "reference" })
      const form = formOf(pngOfSize(2000), "image/png", "mask.png")
      form.append("reference", new File([pngOfSize(1000)], "ref.png", { type: "image/png" }))
      assert.include(JSON.parse((yield* put(url, form)).text), { bytes: 1000, display_name: "ref.png" })
      const text = new FormData()
      text.append("reference", "data:image/png;base64,AAAA")
      assert.include(JSON.parse((yield* put(url, text)).text), { reason: "NotAFile", field: "reference" })
    }))

  it.scopedLive("keeps a session's image when its replacement is refused", () =>
    Effect.gen(function*() {
      const { untilFiles, url } = yield* serve()
      yield* putImage(url, pngOfSize(1000))
      assert.strictEqual((yield* putImage(url, pngOfSize(2000).subarray(0, 1500))).status, 422)
      assert.lengthOf((yield* request(url)).body, 1000)
      yield* untilFiles(1)
    }))

  it.scopedLive("answers 404 to GET and 204 to DELETE for a missing session, and creates none", () =>
    Effect.gen(function*() {
      const { sessions, url } = yield* serve()
      const { status, text } = yield* request(url)
      assert.strictEqual(status, 404)
      assert.deepStrictEqual(JSON.parse(text), { _tag: "NotFound", message: "There is nothing here." })
      assert.strictEqual((yield* request(url, { method: "HEAD" })).status, 404)
      assert.strictEqual((yield* request(url, { method: "DELETE" })).status, 204)
      assert.isTrue(Option.isNone(yield* sessions.find("a")))
    }))

  it.scopedLive("answers HEAD with the headers of GET and no body", () =>
    Effect.gen(function*() {
      const { untilFiles, url } = yield* serve()
      yield* putImage(url, pngOfSize(1000))
      const got = yield* request(url)
      const headers = (all: Headers) =>
        [...all].filter(([name]) => !["date", "connection", "keep-alive"].includes(name))
      const head = yield* request(url, { method: "HEAD" })
      assert.strictEqual(head.status, 200)
      assert.deepStrictEqual(headers(head.headers), headers(got.headers))
      yield* request(url, { method: "DELETE" })
      yield* untilFiles(0)
    }))

  it.scopedLive("accepts any id of 1 to 100 characters", () =>
    Effect.gen(function*() {
      const { url } = yield* serve()
      for (const id of ["a".repeat(100), "%2F..%2F", "%00", "__proto__", "%F0%9F%99%82".repeat(50)]) {
        assert.strictEqual((yield* putImage(url, png(), id)).status, 200)
        assert.strictEqual((yield* request(url, {}, id)).status, 200)
      }
      assert.strictEqual((yield* putImage(url, png(), "a".repeat(101))).status, 404)
    }))

  const limits = { maxBytes: 10_000, maxPixels: 1000 }
  const refusals: Record<string, readonly [status: number, body: string | Uint8Array, type?: string]> = {
    InvalidPayload: [400, "hello"],
    Empty: [400, new Uint8Array(), "image/png"],
    BadBase64: [400, "{\"mime\":\"image/png\",\"data\":\"!!!!\"}"],
    InvalidMime: [415, png(), "image/gif"],
    ContentMismatch: [415, png(), "image/webp"],
    TooLarge: [413, pngOfSize(10_001), "image/png"],
    MalformedImage: [422, png().subarray(0, -5), "image/png"],
    TooManyPixels: [422, png({ width: 1001 }), "image/png"]
  }
  for (const [tag, [status, body, type]] of Object.entries(refusals)) {
    it.scopedLive(`refuses with ${tag} and status ${status}`, () =>
      Effect.gen(function*() {
        const { untilFiles, url } = yield* serve({ limits })
        const answer = yield* put(url, body, type)
        assert.strictEqual(answer.status, status)
        const refused = JSON.parse(answer.text)
        assert.strictEqual(refused._tag, tag)
        const error = Schema.decodeUnknownSync(InitImageError.InitImageError)(refused)
        assert.isTrue(InitImageError.isInitImageError(error))
        assert.strictEqual(refused.message, error.message)
        yield* untilFiles(0)
      }))
  }

  it.scopedLive("refuses a content encoding and names the accepted one", () =>
    Effect.gen(function*() {
      const { url } = yield* serve()
      const headers = { "content-type": "image/png", "content-encoding": "gzip" }
      const answer = yield* request(url, { method: "PUT", body: png(), headers })
      assert.strictEqual(answer.status, 415)
      assert.include(JSON.parse(answer.text), { _tag: "UnsupportedEncoding" })
      assert.strictEqual(answer.headers.get("accept-encoding"), "identity")
    }))

  it.scopedLive("answers 503 with Retry-After when the spool is full, and keeps no session", () =>
    Effect.gen(function*() {
      const { sessions, url } = yield* serve({
        spool: { directory: yield* makeDirectory, maxFilesKept: 1, onFull: "fail" }
      })
      assert.strictEqual((yield* putImage(url, png())).status, 200)
      const { headers, status, text } = yield* putImage(url, png(), "b")
      assert.strictEqual(status, 503)
      assert.strictEqual(JSON.parse(text)._tag, "Busy")
      assert.strictEqual(headers.get("retry-after"), String(JSON.parse(text).retryAfter))
      yield* eventually(() => assert.isTrue(Option.isNone(Effect.runSync(Effect.scoped(sessions.find("b"))))))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("answers 410 for an image whose file has been removed from the disk, until the next image", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { directory, untilFiles, url } = yield* serve({ log })
      yield* putImage(url, png())
      for (const name of list(directory)) rmSync(join(directory, name))
      const { status, text } = yield* request(url)
      assert.deepStrictEqual([status, JSON.parse(text)], [410, {
        _tag: "Gone",
        message: "The image no longer exists. Send it again."
      }])
      assert.strictEqual((yield* request(url, { method: "HEAD" })).status, 410)
      assert.match(log.join("\n"), /level=WARN.*An init image's file is gone/)
      assert.notInclude(log.join("\n"), directory)
      assert.strictEqual((yield* putImage(url, png())).status, 200)
      assert.strictEqual((yield* request(url)).status, 200)
      yield* untilFiles(1)
    }))

  it.scopedLive("lets pages of other sites embed an image only if it is told to", () =>
    Effect.gen(function*() {
      for (const resourcePolicy of [undefined, "same-site", "cross-origin"] as const) {
        const { url } = yield* serve({ resourcePolicy })
        yield* putImage(url, png())
        const { headers } = yield* request(url)
        assert.strictEqual(headers.get("cross-origin-resource-policy"), resourcePolicy ?? "same-origin")
      }
    }))

  it.scopedLive("answers a disk failure with a 500 that does not say why, and logs it without the path", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const failed = { _tag: "InternalServerError", message: "The server failed to handle the request." }
      const { directory, url } = yield* serve({ log })
      yield* putImage(url, png())
      for (const name of list(directory)) {
        rmSync(join(directory, name))
        symlinkSync(name, join(directory, name))
      }
      const got = yield* request(url)
      assert.deepStrictEqual([got.status, JSON.parse(got.text)], [500, failed])
      rmSync(directory, { recursive: true })
      const answer = yield* putImage(url, png())
      mkdirSync(directory)
      assert.deepStrictEqual([answer.status, JSON.parse(answer.text)], [500, failed])
      assert.lengthOf(log.filter((line) => line.includes("level=ERROR")), 2)
      assert.match(log.join("\n"), /could not be read".*BadResource/)
      assert.notInclude(log.join("\n"), directory)
    }))

  it.scopedLive("answers a stalled client with 408 and disconnects it", () =>
    Effect.gen(function*() {
      const { untilFiles, port } = yield* serve({ stallTimeout: "200 millis" })
      const client = yield* connectRaw(port)
      client.socket.write(
        `PUT ${pathOf("a")} HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n`
      )
      client.socket.write(pngOfSize(1000).subarray(0, 500))
      yield* client.ended
      assert.match(client.received().toString(), /^HTTP\/1\.1 408 [^]*"_tag":"RequestTimeout","message":"[^"]+"/)
      yield* untilFiles(0)
    }))

  it.scopedLive("a client that sends too much reads the 413, and its connection serves the next request", () =>
    Effect.gen(function*() {
      const { untilFiles, port } = yield* serve({ limits })
      for (const connection of ["keep-alive", "close"]) {
        for (const chunked of [false, true]) {
          const client = yield* connectRaw(port)
          const body = pngOfSize(5_000_000)
          client.socket.write([
            `PUT ${pathOf("a")} HTTP/1.1`,
            "Host: a",
            "Content-Type: image/png",
            `Connection: ${connection}`,
            chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`,
            "",
            ""
          ].join("\r\n"))
          if (chunked) client.socket.write(`${body.length.toString(16)}\r\n`)
          yield* Effect.async<void>((resume) => {
            client.socket.write(body, () => resume(Effect.void))
          })
          if (chunked) client.socket.write("\r\n0\r\n\r\n")
          yield* client.until("\"TooLarge\"")
          assert.match(client.received().toString(), /^HTTP\/1\.1 413 /)
          if (connection === "close") yield* client.ended
          else {
            client.socket.write(`GET ${pathOf("a")} HTTP/1.1\r\nHost: a\r\n\r\n`)
            yield* client.until("HTTP/1.1 404 ")
          }
        }
      }
      yield* untilFiles(0)
    }))

  it.scopedLive("a started GET delivers the whole image although it is replaced and cleared meanwhile", () =>
    Effect.gen(function*() {
      const { directory, untilFiles, port, url } = yield* serve()
      const first = pngOfSize(20_000_000)
      yield* putImage(url, first)
      const client = yield* connectRaw(port)
      client.socket.pause()
      client.socket.write(`GET ${pathOf("a")} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      yield* eventually(() => assert.lengthOf(openIn(directory), 1))
      assert.strictEqual((yield* putImage(url, pngOfSize(1000))).status, 200)
      assert.lengthOf((yield* request(url)).body, 1000)
      assert.lengthOf(list(directory), 2)
      yield* request(url, { method: "DELETE" })
      // The lease of the second GET ends shortly after its response.
      yield* eventually(() => assert.lengthOf(list(directory), 1))
      client.socket.resume()
      yield* client.ended
      const received = client.received()
      assert.isTrue(received.subarray(received.indexOf("\r\n\r\n") + 4).equals(first))
      yield* untilFiles(0)
    }))

  it.scopedLive("releases an image when its reader disconnects", () =>
    Effect.gen(function*() {
      const { directory, untilFiles, port, url } = yield* serve()
      yield* putImage(url, pngOfSize(20_000_000))
      for (const wait of [0, 20]) {
        const client = yield* connectRaw(port)
        client.socket.pause()
        client.socket.write(`GET ${pathOf("a")} HTTP/1.1\r\nHost: a\r\n\r\n`)
        if (wait > 0) yield* eventually(() => assert.lengthOf(openIn(directory), 1))
        client.socket.destroy()
        yield* untilFiles(1)
      }
      yield* request(url, { method: "DELETE" })
      yield* untilFiles(0)
    }))

  it.scopedLive("removes all files when the server stops", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const scope = yield* Scope.make()
      const { url } = yield* Scope.extend(
        serveApi(HttpApiBuilder.api(Api).pipe(Layer.provideMerge(handlers({ directory })))),
        scope
      )
      yield* putImage(url, png())
      yield* putImage(url, png(), "b")
      assert.lengthOf(list(directory), 2)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(list(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))
})

class Authorization extends HttpApiMiddleware.Tag<Authorization>()("test/Authorization", {
  failure: HttpApiError.Unauthorized
}) {}

class Audit extends HttpApiMiddleware.Tag<Audit>()("test/Audit", {}) {}

const Other = HttpApiGroup.make("other").add(HttpApiEndpoint.get("hello", "/hello").addSuccess(Schema.String))

class Host extends HttpApi.make("host")
  .add(InitImageApi.group.prefix("/v1").middleware(Authorization).middlewareEndpoints(Audit))
  .add(Other)
{}

describe("InitImageApi in a larger HttpApi", () => {
  it.scopedLive("works under a prefix, behind middleware, beside other groups", () =>
    Effect.gen(function*() {
      const audited: Array<string> = []
      const directory = yield* makeDirectory
      const middleware = Layer.mergeAll(
        Layer.succeed(
          Authorization,
          Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
            headers["authorization"] === "yes" ? Effect.void : new HttpApiError.Unauthorized())
        ),
        Layer.succeed(
          Audit,
          Effect.map(HttpServerRequest.HttpServerRequest, ({ method }) =>
            void audited.push(method))
        )
      )
      const live = HttpApiBuilder.api(Host).pipe(
        Layer.provide(InitImageApi.layer(Host, { directory })),
        Layer.provide(
          HttpApiBuilder.group(Host, "other", (handlers) => handlers.handle("hello", () => Effect.succeed("hello")))
        ),
        Layer.provide(middleware),
        Layer.provideMerge(InitImageApi.layerSessions())
      )
      const { url } = yield* serveApi(live)
      const put = (authorization: string) =>
        request(`${url}/v1`, { method: "PUT", body: png(), headers: { authorization, "content-type": "image/png" } })
      assert.strictEqual((yield* put("no")).status, 401)
      assert.deepStrictEqual(list(directory), [])
      assert.strictEqual((yield* put("yes")).status, 200)
      assert.strictEqual((yield* request(`${url}/v1`)).status, 401)
      const got = yield* request(`${url}/v1`, { headers: { authorization: "yes" } })
      assert.isTrue(got.body.equals(png()))
      assert.strictEqual((yield* request(url)).status, 404)
      assert.strictEqual(yield* Effect.promise(async () => (await fetch(`${url}/hello`)).text()), "\"hello\"")
      assert.include(audited, "PUT")
    }).pipe(Effect.provide(NodeContext.layer)))

  it("requires the group, and the middleware of the group", () => {
    const live = InitImageApi.layer(Host)
    const asked: Layer.Layer.Context<typeof live> extends infer R
      ? [R] extends [InitImageApi.Sessions | FileSystem.FileSystem | Path.Path | Authorization | Audit]
        ? [Authorization | Audit] extends [R] ? true : false
      : false
      : never = true
    assert.isTrue(asked)
    // @ts-expect-error the group has not been added
    InitImageApi.layer(HttpApi.make("none").add(Other))
  })

  // Clients are generated from the document. `npx vitest -u` updates it; review the difference.
  it("the OpenAPI document equals the snapshot", async () => {
    const document = `${JSON.stringify(OpenApi.fromApi(Api), null, 2)}\n`
    await expect(document).toMatchFileSnapshot("../integration/openapi/openapi.json")
  })

  it("the OpenAPI document lists all bodies and responses", () => {
    const operations = OpenApi.fromApi(Host).paths[`/v1${pathOf("{sessionId}")}`] ?? assert.fail()
    assert.sameMembers(Object.keys(operations.put?.requestBody?.content ?? {}), [
      "application/json",
      "application/octet-stream",
      "image/png",
      "image/jpeg",
      "image/webp",
      "multipart/form-data"
    ])
    assert.sameMembers(Object.keys(operations.put?.responses ?? {}), [
      "200",
      "204",
      "400",
      "401",
      "408",
      "413",
      "415",
      "422",
      "500",
      "503"
    ])
    assert.nestedProperty(operations.put?.responses[503], "headers.Retry-After")
    assert.deepStrictEqual(operations.put?.parameters.map(({ name }) => name), ["sessionId", "name"])
    assert.sameMembers(Object.keys(operations.get?.responses[200]?.content ?? {}), [
      "image/png",
      "image/jpeg",
      "image/webp"
    ])
    assert.sameMembers(Object.keys(operations.get?.responses ?? {}), ["200", "400", "401", "404", "410", "500"])
    assert.sameMembers(Object.keys(operations.delete?.responses ?? {}), ["204", "400", "401", "500"])
    for (const name of Object.keys(OpenApi.fromApi(Host).components.schemas)) assert.match(name, /^[A-Za-z0-9._-]+$/)
  })
})

describe("InitImageApi in a web handler", () => {
  it.scopedLive("puts, reads and clears, and releases an unread response", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { dispose, handler } = HttpApiBuilder.toWebHandler(
        Layer.mergeAll(
          HttpApiBuilder.api(Api).pipe(Layer.provide(handlers({ directory })), Layer.provide(NodeContext.layer)),
          NodeHttpServer.layerContext
        )
      )
      yield* Effect.addFinalizer(() => Effect.promise(dispose))
      const handle = (init: RequestInit) =>
        Effect.promise(() => handler(new Request(`http://localhost${pathOf("a")}`, init)))
      const image = pngOfSize(1_000_000)
      for (const body of [image, formOf(image, "image/png", "a.png"), JSON.stringify(payloadOf("image/png", image))]) {
        const headers: Record<string, string> = body instanceof FormData
          ? {}
          : { "content-type": body === image ? "image/png" : "application/json" }
        assert.strictEqual((yield* handle({ method: "PUT", body, headers })).status, 200)
      }
      const got = yield* handle({})
      assert.isTrue(Buffer.from(yield* Effect.promise(() => got.arrayBuffer())).equals(image))
      const head = yield* handle({ method: "HEAD" })
      assert.deepStrictEqual([head.status, head.headers.get("content-length")], [200, "1000000"])
      const unread = yield* handle({})
      yield* Effect.promise(async () => unread.body?.cancel())
      assert.strictEqual((yield* handle({ method: "DELETE" })).status, 204)
      yield* eventually(() => {
        assert.deepStrictEqual(list(directory), [])
        assert.deepStrictEqual(openIn(directory), [])
      })
      assert.strictEqual((yield* handle({})).status, 404)
    }).pipe(Effect.provide(NodeContext.layer)))
})

describe("the client of HttpApiClient", () => {
  it.scopedLive("puts JSON, bytes and forms, reads and clears, and fails with typed errors", () =>
    Effect.gen(function*() {
      const { url } = yield* serve({ limits: { maxBytes: 10_000 } })
      const client = yield* HttpApiClient.make(Api, { baseUrl: url })
      const path = { sessionId: "a" }
      const description = { mime: "image/png" as const, bytes: 1000, ...uprightSize(1, 1) }
      const image = pngOfSize(1000)
      assert.isUndefined(yield* client.initImage.delete({ path }))
      assert.instanceOf(yield* Effect.flip(client.initImage.get({ path })), InitImageApi.NotFound)
      const payload = payloadOf("image/png", image, "a.png")
      assert.deepStrictEqual(yield* client.initImage.put({ path, payload }), { ...description, display_name: "a.png" })
      assert.isTrue(Buffer.from(yield* client.initImage.get({ path })).equals(image))
      const bytes = yield* client.initImage.put({ path, payload: image })
      assert.deepStrictEqual(bytes, { ...description, display_name: "init.png" })
      const photo = yield* client.initImage.put({ path, payload: jpegOfSize(1000) })
      assert.deepInclude(photo, { mime: "image/jpeg", display_name: "init.jpg" })
      const form = yield* client.initImage.put({ path, payload: formOf(jpegOfSize(1000), "image/jpeg", "a.jpg") })
      assert.deepStrictEqual(form, { ...description, mime: "image/jpeg" as const, display_name: "a.jpg" })

      const tooLarge = yield* Effect.flip(client.initImage.put({ path, payload: pngOfSize(10_001) }))
      assert.instanceOf(tooLarge, InitImageError.TooLarge)
      assert.deepInclude(tooLarge, { bytes: 10_001, limit: 10_000 })
      const broken = { mime: "image/png", data: "!!!!" }
      const refused = client.initImage.put({ path, payload: broken }).pipe(
        Effect.catchTags({ BadBase64: ({ reason }) => Effect.succeed(reason) })
      )
      assert.strictEqual(yield* refused, "Character")
    }).pipe(Effect.provide(FetchHttpClient.layer)))
})

describe("layerSessions", () => {
  /** Makes sessions on the test clock, with their directory. */
  const make = (options?: InitImageApi.SessionsOptions) =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const sessions = Context.get(yield* Layer.build(InitImageApi.layerSessions(options)), InitImageApi.Sessions)
      const set = (id: string, payload: unknown = payloadOf("image/png", png())) =>
        Effect.scoped(Effect.flatMap(sessions.slot(id), (slot) => slot.set(payload, { directory })))
      const has = (id: string) => Effect.scoped(Effect.map(sessions.find(id), Option.isSome))
      return { directory, sessions, set, has }
    })

  it.scoped("ends a session after 5 idle minutes, or after the configured time", () =>
    Effect.gen(function*() {
      for (const [idleTimeToLive, minutes] of [[undefined, 5], ["20 minutes", 20]] as const) {
        const { directory, has, set } = yield* make({ idleTimeToLive })
        yield* set("a")
        yield* TestClock.adjust(`${minutes * 60 - 1} seconds`)
        assert.isTrue(yield* has("a"))
        yield* TestClock.adjust(`${minutes * 60 - 1} seconds`)
        assert.lengthOf(list(directory), 1)
        yield* TestClock.adjust("2 seconds")
        yield* Effect.promise(() => Effect.runPromise(eventually(() => assert.deepStrictEqual(list(directory), []))))
        assert.isFalse(yield* has("a"))
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("ends an unused session without an image at once", () =>
    Effect.gen(function*() {
      const { has, sessions, set } = yield* make()
      yield* set("a", null)
      yield* Effect.exit(set("b", "not an image"))
      yield* set("c")
      yield* Effect.scoped(Effect.flatMap(sessions.slot("c"), (slot) => slot.clear))
      for (const id of ["a", "b", "c"]) assert.isFalse(yield* has(id))
      yield* set("c")
      assert.isTrue(yield* has("c"))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("keeps nothing of a session that has ended", () => {
    let sleepers = 0
    const sleeping = Effect.acquireUseRelease(
      Effect.sync(() => sleepers++),
      () => Effect.never,
      () => Effect.sync(() => sleepers--)
    )
    return Effect.gen(function*() {
      const { sessions, set } = yield* make()
      yield* set("a")
      yield* Effect.scoped(Effect.flatMap(sessions.slot("a"), (slot) => slot.clear))
      yield* set("b")
      yield* Effect.scoped(Effect.zipRight(sessions.slot("b"), sessions.end("b")))
      yield* set("c")
      yield* sessions.end("c")
      // A fiber that waits for the end of an idle time holds its session.
      yield* Effect.yieldNow()
      assert.strictEqual(sleepers, 0)
      yield* set("d")
      yield* Effect.yieldNow()
      assert.strictEqual(sleepers, 1)
    }).pipe(Effect.withClock(Object.assign(Clock.make(), { sleep: () => sleeping })), Effect.provide(NodeContext.layer))
  })

  it.scoped("keeps a session without an image while it is in use", () =>
    Effect.gen(function*() {
      const { has, sessions, set } = yield* make()
      const slot = yield* sessions.slot("a")
      yield* set("a", null)
      assert.isTrue(yield* has("a"))
      yield* set("a")
      assert.isTrue(Option.isSome(yield* slot.lease))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("makes one slot for calls that begin in one turn of the event loop", () =>
    Effect.gen(function*() {
      const { sessions, set } = yield* make()
      const scope = yield* Effect.scope
      // Two requests that a server reads in one turn: Deno does so.
      const fibers = [1, 2].map(() => Effect.runFork(Scope.extend(sessions.slot("a"), scope)))
      const slots = yield* Effect.all(fibers.map(Fiber.join))
      yield* set("a")
      for (const slot of slots) assert.isTrue(Option.isSome(yield* slot.lease))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("ends a session with its last use, and keeps a later session of the same id", () =>
    Effect.gen(function*() {
      const { directory, has, sessions, set } = yield* make()
      const scope = yield* Scope.make()
      yield* set("a")
      yield* Scope.extend(sessions.slot("a"), scope)
      yield* sessions.end("a")
      yield* sessions.end("never there")
      assert.isFalse(yield* has("a"))
      assert.lengthOf(list(directory), 1)
      yield* set("a")
      assert.lengthOf(list(directory), 2)
      yield* Scope.close(scope, Exit.void)
      assert.lengthOf(list(directory), 1)
      yield* TestClock.adjust("4 minutes")
      assert.isTrue(yield* has("a"))
      yield* sessions.end("a")
      assert.deepStrictEqual(list(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))
})
