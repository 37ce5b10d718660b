import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { inspect } from "node:util"
import * as InitImageLimits from "../../../src/InitImageLimits.js"
import { ImageReference, InitImageStore, type Store } from "../../../src/InitImageStore.js"
import { isBun } from "../../../src/internal/runtime.js"
import * as SessionInitImage from "../../../src/SessionInitImage.js"
import type * as cephs from "../../utils/ceph.js"
import { isInstalled, useCeph } from "../../utils/cephTests.js"
import { list, makeDirectory } from "../../utils/directory.js"
import { make as makeProxy } from "../../utils/faultyProxy.js"
import { findPython, leaveOut } from "../../utils/peers.js"
import { picture } from "../../utils/pictures.js"
import * as s3 from "../../utils/s3.js"
import { bytesOf, makeImage } from "../../utils/stored.js"
import { withSpans } from "../../utils/tracing.js"

const worker = join(import.meta.dirname, "../../examples/worker.py")

if (!isInstalled) leaveOut("Ceph", "images are stored in an S3-compatible server")

const clients = {
  "undici": NodeHttpClient.layerUndici,
  "node:http": NodeHttpClient.layer,
  "fetch": FetchHttpClient.layer
}

describe.skipIf(!isInstalled)("a store in Ceph", () => {
  const { bucket, keys, server } = useCeph()

  /** Runs a test with a store, which is closed before the keys are looked at in the end: none may be left. */
  const withStore = <E, R>(
    run: (store: Store) => Effect.Effect<unknown, E, R>,
    options: Parameters<typeof s3.layer>[1] & Partial<cephs.Ceph> = {},
    client?: Parameters<typeof s3.layer>[2]
  ) =>
    Effect.flatMap(InitImageStore, run).pipe(
      Effect.scoped,
      Effect.provide(Layer.suspend(() => s3.layer({ ...server(), ...options }, options, client))),
      Effect.zipRight(Effect.map(keys, (left) => assert.deepStrictEqual(left, [])))
    )

  const keyOf = ({ key }: ImageReference): string => `${s3.prefix}${key}`

  for (const [name, client] of Object.entries(clients)) {
    it.live(`keeps an image through the client over ${name}, and removes it`, () =>
      withStore(
        Effect.fnUntraced(function*(store) {
          const image = yield* makeImage(3_000_000, { fill: 1, name: "café.png" })
          const reference = yield* store.put(image)
          assert.deepStrictEqual(yield* keys, [keyOf(reference)])
          const fetched = yield* store.fetchScoped(reference)
          assert.deepStrictEqual({ ...fetched, path: "" }, { ...image, path: "" })
          assert.isTrue(Buffer.from(yield* bytesOf(fetched)).equals(yield* bytesOf(image)))
          yield* store.remove(reference)
          yield* store.remove(reference)
          assert.deepStrictEqual(yield* keys, [])
          assert.strictEqual((yield* Effect.flip(store.fetchScoped(reference)))._tag, "ImageGone")
        }),
        {},
        client
      ))
  }

  it.live("removes the image of a scope at its end", () =>
    withStore(Effect.fnUntraced(function*(store) {
      const image = yield* makeImage(1000)
      yield* Effect.scoped(Effect.gen(function*() {
        const reference = yield* store.putScoped(image)
        assert.deepStrictEqual(yield* keys, [keyOf(reference)])
      }))
      assert.deepStrictEqual(yield* keys, [])
    })))

  it.live("gives every host the last image that was put under a name", () =>
    withStore(Effect.fnUntraced(function*(store) {
      assert.deepStrictEqual(yield* store.named.get("a/../b ?"), Option.none())
      const first = yield* store.named.put("a/../b ?", yield* makeImage(1000, { fill: 1 }))
      const second = yield* store.named.put("a/../b ?", yield* makeImage(2000, { fill: 2, name: "zweites.png" }))
      const got = Option.getOrThrow(yield* store.named.get("a/../b ?"))
      assert.strictEqual(got.sha256, second.sha256)
      assert.strictEqual(got.displayName, "zweites.png")
      assert.strictEqual((yield* store.fetchScoped(got)).bytes, 2000)
      assert.strictEqual((yield* Effect.flip(store.fetchScoped(first)))._tag, "ImageChanged")
      assert.strictEqual((yield* keys).length, 1)
      yield* store.named.remove("a/../b ?")
      assert.deepStrictEqual(yield* store.named.get("a/../b ?"), Option.none())
    })))

  it.live(
    "refuses changed, truncated, longer and swapped objects, and leaves no file",
    () =>
      withStore(Effect.fnUntraced(function*(store) {
        const directory = yield* makeDirectory
        const image = yield* makeImage(160, { fill: 3 })
        const reference = yield* store.putScoped(image)
        const original = Uint8Array.from(yield* bytesOf(image))
        const refuses = Effect.fnUntraced(function*(bytes: Uint8Array<ArrayBuffer>, tags: ReadonlyArray<string>) {
          yield* Effect.promise(() => bucket().write(keyOf(reference), bytes))
          const error = yield* Effect.flip(store.fetchScoped(reference, { directory }))
          assert.include(tags, error._tag)
          assert.deepStrictEqual(list(directory), [])
        })
        for (let at = 0; at < original.length; at += 9) {
          // The verifier may see it first.
          yield* refuses(original.map((byte, i) => i === at ? byte ^ 1 : byte), [
            "ImageChanged",
            "ContentMismatch",
            "MalformedImage"
          ])
        }
        for (let length = 0; length < original.length; length += 40) {
          yield* refuses(original.slice(0, length), ["ImageChanged"])
        }
        yield* refuses(new Uint8Array([...original, 0]), ["ImageChanged"])
        const other = yield* store.putScoped(yield* makeImage(160, { fill: 4 }))
        yield* refuses(
          Uint8Array.from((yield* Effect.promise(() => bucket().read(keyOf(other)))).bytes),
          ["ImageChanged"]
        )
      })),
    60_000
  )

  it.live("tells of wrong credentials, failing credentials, a missing bucket and a server that is not there", () =>
    Effect.gen(function*() {
      const reasonOf = (options: Parameters<typeof withStore>[1]) =>
        Effect.gen(function*() {
          const store = yield* InitImageStore
          const image = yield* makeImage(1000)
          const reference = ImageReference.make({
            ...image,
            key: "0".repeat(32),
            sha256: "0".repeat(64),
            expiresAt: DateTime.unsafeMake("2100-01-01")
          })
          const errors = yield* Effect.all([
            Effect.flip(store.put(image)),
            Effect.flip(store.fetchScoped(reference)),
            Effect.flip(store.remove(reference)),
            Effect.flip(store.sweep)
          ], { concurrency: "unbounded" })
          for (const error of errors) {
            const shown = `${inspect(error, { depth: 9 })}${JSON.stringify(error)}`
            // A stack of Bun names the test's own file.
            assert.notMatch(
              isBun ? shown.replaceAll(/^ +at .*/gm, "") : shown,
              /http|127\.0\.0\.1|test\/|images|0000|key(?!s)/i
            )
          }
          return errors.map((error) => error._tag === "StoreError" ? error.reason : error._tag)
        }).pipe(Effect.scoped, Effect.provide(Layer.suspend(() => s3.layer({ ...server(), ...options }, options))))
      const all = (reason: string) => [reason, reason, reason, reason]
      assert.deepStrictEqual(yield* reasonOf({ secretAccessKey: "wrong" }), all("Denied"))
      assert.deepStrictEqual(yield* reasonOf({ accessKeyId: "wrong" }), all("Denied"))
      assert.deepStrictEqual(yield* reasonOf({ credentials: Effect.fail("no") }), all("Credentials"))
      assert.deepStrictEqual(yield* reasonOf({ bucket: "no-such-bucket" }), all("NoBucket"))
      assert.deepStrictEqual(yield* reasonOf({ endpoint: "http://127.0.0.1:1" }), all("Unavailable"))
    }))

  const python = findPython("PIL, requests")
  if (python === undefined) leaveOut("Python with Pillow and requests", "a worker in Python opens an image")

  it.live.skipIf(python === undefined)(
    "lets a worker in Python open an image by its presigned URL for a while",
    () =>
      withStore(Effect.fnUntraced(function*(store) {
        const png = yield* Effect.promise(() => picture(64, 48).png().toBuffer())
        const image = yield* SessionInitImage.persistStreamScoped({ name: "ref.png" }, Stream.succeed(png)).pipe(
          InitImageLimits.withDeclaredType("optional")
        )
        const reference = yield* store.putScoped(image)
        const url = yield* store.presign(reference, "2 seconds")
        assert.notInclude(inspect(url), "http")
        const work = (reference: ImageReference) =>
          spawnSync(python ?? "", [worker], {
            input: JSON.stringify({
              reference: Schema.encodeSync(ImageReference)(reference),
              url: Redacted.value(url)
            }),
            encoding: "utf8"
          })
        assert.deepStrictEqual(JSON.parse(work(reference).stdout), { format: "PNG", size: [64, 48], name: "ref.png" })
        const other = new ImageReference({ ...reference, sha256: "0".repeat(64) })
        assert.strictEqual(work(other).stderr, "the image is not that of the reference\n")
        yield* Effect.sleep("3 seconds")
        assert.strictEqual(work(reference).stderr, "the store answered 403\n")
      }))
  )

  it.live("expires images by the server's clock, and sweeps them", () =>
    withStore(
      Effect.fnUntraced(function*(store) {
        const image = yield* makeImage(1000)
        const reference = yield* store.put(image)
        yield* store.named.put("idle", image)
        yield* store.named.put("used", image)
        assert.strictEqual(yield* store.sweep, 0)
        // The server's times are whole seconds.
        for (let i = 0; i < 5; i++) {
          yield* Effect.sleep("1 second")
          assert.isTrue(Option.isSome(yield* store.named.get("used")))
        }
        assert.strictEqual((yield* Effect.flip(store.fetchScoped(reference)))._tag, "ImageGone")
        assert.deepStrictEqual(yield* store.named.get("idle"), Option.none())
        assert.strictEqual(yield* store.sweep, 2)
        assert.isTrue(Option.isSome(yield* store.named.get("used")))
        assert.strictEqual(yield* store.sweep, 0)
        yield* store.named.remove("used")
      }),
      { timeToLive: "4 seconds" }
    ))

  it.live("leaves nothing of uploads that are interrupted, and waits for none of them", () =>
    Effect.gen(function*() {
      let isSending = false
      const stalled = yield* makeProxy(server().endpoint, ({ method, socket }) => {
        if (method !== "PUT") return "pass"
        isSending = true
        socket.once("close", () => {
          isSending = false
        })
        return "stall"
      })
      yield* withStore(
        Effect.fnUntraced(function*(store) {
          const image = yield* makeImage(1000)
          const fiber = yield* Effect.fork(store.putScoped(image))
          yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => isSending })
          yield* Fiber.interrupt(fiber)
          // The layer still waits for the answer.
          assert.isTrue(isSending)
        }),
        { endpoint: stalled, timeout: "2 seconds" }
      )
      yield* withStore(Effect.fnUntraced(function*(store) {
        const image = yield* makeImage(3_000_000)
        for (let i = 0; i < 12; i++) {
          const fiber = yield* Effect.fork(i % 2 === 0 ? store.put(image) : store.putScoped(image))
          yield* Effect.sleep(8 * i)
          const exit = yield* Fiber.interrupt(fiber)
          if (i % 2 === 0 && Exit.isSuccess(exit)) yield* store.remove(exit.value)
        }
      }))
    }).pipe(Effect.scoped))

  it.live("removes the image of a scope by another request where the first is not answered", () =>
    Effect.gen(function*() {
      let stalls = 1
      const endpoint = yield* makeProxy(
        server().endpoint,
        ({ method }) => method === "DELETE" && stalls-- > 0 ? "stall" : "pass"
      )
      yield* withStore((store) => Effect.flatMap(makeImage(1000), store.putScoped), {
        endpoint,
        timeout: "500 millis"
      })
      assert.isBelow(stalls, 0)
    }).pipe(Effect.scoped))

  it.live("shows no URL, key or credential in spans and logs", () =>
    Effect.gen(function*() {
      const logs: Array<unknown> = []
      const logger = Logger.make((options) => {
        logs.push(options.message, options.annotations, options.cause)
      })
      const spans = yield* withSpans(
        withStore(Effect.fnUntraced(function*(store) {
          const reference = yield* store.put(yield* makeImage(1000))
          yield* store.fetchScoped(reference)
          yield* store.presign(reference, "1 minute")
          yield* store.remove(reference)
          yield* store.sweep
          yield* store.named.put("a-secret-name", yield* makeImage(1000))
          yield* store.named.get("a-secret-name")
          yield* store.named.remove("a-secret-name")
        }))
      ).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Logger.withMinimumLogLevel(LogLevel.All)
      )
      assert.include(spans.map(({ name }) => name), "InitImageStore.put")
      const shown = inspect([logs, spans.map(({ attributes, name }) => [name, attributes])], {
        depth: 9
      })
      assert.notMatch(shown, /http|127\.0\.0\.1|test\/|AWS4|[0-9a-f]{32}|a-secret-name|testaccesskey/i)
    }))
})
