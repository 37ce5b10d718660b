/**
 * Tests the built package without a test runner: `smoke.js <platform> <version key> <version>` reports a failure and exits
 * with a code other than 0.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Path from "@effect/platform/Path"
import * as Socket from "@effect/platform/Socket"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import * as Http from "node:http"
import type * as Library from "../../src/index.js"

const [, , platform = "", key = "", version = ""] = process.argv

/** The modules of the platform that this script uses. */
interface Context {
  readonly layer: Layer.Layer<FileSystem.FileSystem | Path.Path>
}
interface NodeHttpServer {
  readonly layer: (
    server: () => Http.Server,
    options: { readonly host: string; readonly port: number }
  ) => Layer.Layer<HttpServer.HttpServer>
}
interface BunHttpServer {
  readonly layer: (options: { readonly hostname: string; readonly port: number }) => Layer.Layer<HttpServer.HttpServer>
}
interface WebSockets {
  readonly layerWebSocketConstructor: Layer.Layer<Socket.WebSocketConstructor>
}

// The name of the module is known only at run time, so its type is asserted.
const load = async <A>(name: string): Promise<A> => (await import(name)) as A

const library = await load<typeof Library>("session-init-image")
const context = await load<Context>(`${platform}Context`)
const webSockets = await load<WebSockets>(`${platform}Socket`)
const host = "127.0.0.1"
const server = key === "bun"
  ? (await load<BunHttpServer>(`${platform}HttpServer`)).layer({ hostname: host, port: 0 })
  : (await load<NodeHttpServer>(`${platform}HttpServer`)).layer(() => Http.createServer(), { host, port: 0 })

/** A PNG of one grey pixel. */
const smallest = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==",
  "base64"
)

/** A PNG of `size` bytes, written in several pieces: bytes after the image's end are kept. */
const large = Buffer.concat([smallest, Buffer.alloc(3 * 1024 * 1024 + 1, "after the end")])

const payloadOf = (bytes: Buffer, mime = "image/png") => ({ mime, name: "../ref.png", data: bytes.toString("base64") })

const describes = (bytes: Buffer, name: string) => ({
  mime: "image/png",
  display_name: name,
  bytes: bytes.length,
  width: 1,
  height: 1,
  orientation: 1,
  upright_width: 1,
  upright_height: 1
})

const checks: Record<string, Effect.Effect<void, unknown, FileSystem.FileSystem | Path.Path>> = {
  "runs in what it is said to run in": Effect.sync(() => assert.equal(process.versions[key], version)),

  "persists an image, and removes it with its scope": Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    for (const bytes of [smallest, large]) {
      const path = yield* Effect.scoped(Effect.gen(function*() {
        const image = yield* Effect.flatten(library.SessionInitImage.persistScoped(payloadOf(bytes)))
        assert.deepEqual(library.InitImageHttp.describe(image), describes(bytes, "ref.png"))
        assert.ok(bytes.equals(yield* fs.readFile(image.path)))
        const { mode } = yield* fs.stat(image.path)
        if (process.platform !== "win32") assert.equal(mode & 0o777, 0o600)
        return image.path
      }))
      assert.equal(yield* fs.exists(path), false)
    }
  }),

  "refuses what is wrong, and leaves nothing": Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const directory = yield* fs.makeTempDirectoryScoped()
    const refusal = (payload: unknown) => Effect.flip(library.SessionInitImage.persist(payload, { directory }))
    const { InitImageLimits } = library
    const tooLarge = yield* InitImageLimits.withMaxBytes(refusal(payloadOf(large)), large.length - 1)
    assert.deepEqual({ ...tooLarge }, { _tag: "TooLarge", bytes: large.length, limit: large.length - 1 })
    const mismatch = yield* refusal(payloadOf(large, "image/webp"))
    assert.deepEqual({ ...mismatch }, { _tag: "ContentMismatch", declared: "webp", detected: "png" })
    const { data } = payloadOf(large)
    const wrong = yield* refusal({ mime: "image/png", data: `${data.slice(0, -8)}-${data.slice(-7)}` })
    assert.deepEqual({ ...wrong }, { _tag: "BadBase64", reason: "UrlSafe", offset: data.length - 8 })
    const truncated = yield* refusal(payloadOf(smallest.subarray(0, -12)))
    assert.deepEqual({ ...truncated }, { _tag: "MalformedImage", format: "png", reason: "Truncated" })
    assert.deepEqual(yield* fs.readDirectory(directory), [])
  })),

  "persists an image from a message that it does not parse": Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const frame = Buffer.from(JSON.stringify({ prompt: "a view", image: payloadOf(large) }))
    const { image, message } = yield* library.InitImageFrame.persistScoped(frame, { at: ["image"] })
    assert.ok(large.equals(yield* fs.readFile(Option.getOrThrow(image).path)))
    assert.deepEqual(message, { prompt: "a view", image: { mime: "image/png", name: "../ref.png" } })
  })),

  "keeps images in a directory of its own, and removes that": Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    yield* Effect.scoped(Effect.gen(function*() {
      const directory = yield* fs.makeTempDirectoryScoped()
      yield* Effect.scoped(Effect.gen(function*() {
        const spool = yield* library.InitImageSpool.make({ directory, maxBytesKept: large.length })
        const persist = Effect.provideService(
          library.SessionInitImage.persistScoped(payloadOf(large)),
          library.InitImageSpool.InitImageSpool,
          spool
        )
        const image = yield* Effect.flatten(persist)
        assert.ok(image.path.startsWith(directory))
        assert.equal((yield* Effect.flip(persist))._tag, "Busy")
      }))
      assert.deepEqual(yield* fs.readDirectory(directory), [])
    }))
  }),

  "answers requests and sessions on the platform's own server": Effect.scoped(Effect.gen(function*() {
    const closed = yield* Deferred.make<void>()
    const router = HttpRouter.empty.pipe(
      HttpRouter.post(
        "/image",
        Effect.map(
          library.InitImageHttp.fromRequest(),
          (image) => HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, library.InitImageHttp.describe)))
        )
      ),
      HttpRouter.get(
        "/stream",
        Effect.gen(function*() {
          // The server or the disconnect ends the session.
          yield* library.InitImageSocket.run(yield* library.InitImageSocket.upgrade, () => Effect.never).pipe(
            Effect.ensuring(Deferred.succeed(closed, undefined))
          )
          return HttpServerResponse.empty()
        })
      )
    )
    yield* Layer.build(Layer.provideMerge(HttpServer.serve(router), server)).pipe(
      Effect.flatMap((built) =>
        Effect.gen(function*() {
          const { address } = yield* HttpServer.HttpServer
          assert.ok(address._tag === "TcpAddress")
          const url = `${host}:${address.port}`

          const post = (type: string, body: Uint8Array) =>
            Effect.promise(async () => {
              const answer = await fetch(`http://${url}/image?name=a.png`, {
                method: "POST",
                headers: { "content-type": type },
                body
              })
              const json: unknown = await answer.json()
              return [answer.status, json] as const
            })
          assert.deepEqual(yield* post("image/png", large), [200, describes(large, "a.png")])
          // An early answer: the next request on the connection waits for the rest of this body.
          const message = "The image was sent as webp, but its bytes are png."
          const mismatch = { _tag: "ContentMismatch", declared: "webp", detected: "png", message }
          assert.deepEqual(yield* post("image/webp", large), [415, mismatch])
          const json = Buffer.from(JSON.stringify(payloadOf(large)))
          assert.deepEqual(yield* post("application/json", json), [200, describes(large, "ref.png")])

          const answer = yield* Deferred.make<unknown>()
          const socket = yield* Socket.makeWebSocket(`ws://${url}/stream`)
          yield* Effect.scoped(Effect.gen(function*() {
            yield* Effect.forkScoped(
              socket.runRaw((data) => Deferred.succeed(answer, JSON.parse(String(data))))
            )
            const write = yield* socket.writer
            yield* write(JSON.stringify({ type: "session_init_v2", initial_image: payloadOf(large) }))
            assert.deepEqual(yield* Deferred.await(answer), {
              type: "session_init_image",
              image: describes(large, "ref.png")
            })
          }))
          yield* Deferred.await(closed)
        }).pipe(Effect.provide(built))
      ),
      Effect.provide(webSockets.layerWebSocketConstructor)
    )
  }))
}

for (const [promise, check] of Object.entries(checks)) {
  try {
    await Effect.runPromise(Effect.provide(Effect.timeout(check, "30 seconds"), context.layer))
    process.stdout.write(`The package ${promise}.\n`)
  } catch (error) {
    process.stderr.write(`Not so: the package ${promise}.\n${String(error)}\n`)
    process.exit(1)
  }
}
process.exit(0)
