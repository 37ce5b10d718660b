import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { InitImageStore, type Options, type Store } from "../../../src/InitImageStore.js"
import type * as cephs from "../../utils/ceph.js"
import * as cephTests from "../../utils/cephTests.js"
import { make as makeProxy } from "../../utils/faultyProxy.js"
import { findTool, leaveOut } from "../../utils/peers.js"
import { bytesOf, makeImage } from "../../utils/stored.js"

const isInstalled = cephTests.isInstalled && findTool("@effect-aws/client-s3") !== undefined
if (!isInstalled) {
  leaveOut("Ceph or @effect-aws/client-s3 (`npm run tools`)", "a store of the AWS SDK's objects keeps images")
}

describe.skipIf(!isInstalled)("a store over the AWS SDK, in Ceph", () => {
  const { bucket, keys, server, uploads } = cephTests.useCeph()

  /** Runs a test with a store, which is closed before the bucket is looked at in the end: nothing may be left. */
  const withStore = <E, R>(
    run: (store: Store) => Effect.Effect<unknown, E, R>,
    { options = {}, ...changed }: Partial<cephs.Ceph> & { readonly options?: Options; readonly timeout?: number } = {}
  ) =>
    Effect.gen(function*() {
      const { S3Service } = yield* Effect.promise(() => import("@effect-aws/client-s3"))
      const { layer } = yield* Effect.promise(() => import("../../examples/effectAws.js"))
      const { accessKeyId, bucket, endpoint, region, secretAccessKey, timeout = 60_000 } = { ...server(), ...changed }
      const client = S3Service.layer({
        endpoint,
        region,
        forcePathStyle: true,
        maxAttempts: 1,
        requestHandler: { socketTimeout: timeout },
        credentials: { accessKeyId, secretAccessKey }
      })
      yield* Effect.provide(
        Effect.scoped(Effect.flatMap(InitImageStore, run)),
        Layer.provide(layer(bucket, options), client)
      )
    }).pipe(
      Effect.provide(NodeContext.layer),
      Effect.zipRight(Effect.all([keys, uploads])),
      Effect.tap((left) => assert.deepStrictEqual(left, [[], []]))
    )

  it.live("keeps an image, and removes it", () =>
    withStore(Effect.fnUntraced(function*(store) {
      const image = yield* makeImage(9_000_000, { fill: 1, name: "café.png" })
      const reference = yield* store.put(image)
      assert.deepStrictEqual(yield* keys, [`init-images/${reference.key}`])
      const { headers } = yield* Effect.promise(() => bucket().read(`init-images/${reference.key}`))
      assert.strictEqual(headers.get("content-type"), "image/png")
      const fetched = yield* store.fetchScoped(reference)
      assert.deepStrictEqual({ ...fetched, path: "" }, { ...image, path: "" })
      assert.isTrue(Buffer.from(yield* bytesOf(fetched)).equals(yield* bytesOf(image)))
      yield* store.remove(reference)
      yield* store.remove(reference)
      assert.deepStrictEqual(yield* keys, [])
      assert.strictEqual((yield* Effect.flip(store.fetchScoped(reference)))._tag, "ImageGone")
    })))

  it.live("has the last image that was put under a name", () =>
    withStore(Effect.fnUntraced(function*({ fetchScoped, named }) {
      assert.isTrue(Option.isNone(yield* named.get("a/../b ?")))
      const first = yield* named.put("a/../b ?", yield* makeImage(1000, { fill: 1 }))
      const second = yield* named.put("a/../b ?", yield* makeImage(2000, { fill: 2, name: "zweites.png" }))
      const got = Option.getOrThrow(yield* named.get("a/../b ?"))
      assert.strictEqual(got.sha256, second.sha256)
      assert.strictEqual(got.displayName, "zweites.png")
      assert.strictEqual((yield* fetchScoped(got)).bytes, 2000)
      assert.strictEqual((yield* Effect.flip(fetchScoped(first)))._tag, "ImageChanged")
      assert.strictEqual((yield* keys).length, 1)
      yield* named.remove("a/../b ?")
      assert.isTrue(Option.isNone(yield* named.get("a/../b ?")))
    })))

  it.live("expires images, and sweeps them", () =>
    withStore(
      Effect.fnUntraced(function*(store) {
        const image = yield* makeImage(1000)
        const reference = yield* store.put(image)
        yield* store.named.put("idle", image)
        yield* store.named.put("used", image)
        assert.strictEqual(yield* store.sweep, 0)
        for (let i = 0; i < 5; i++) {
          yield* Effect.sleep("1 second")
          assert.isTrue(Option.isSome(yield* store.named.get("used")))
        }
        assert.strictEqual((yield* Effect.flip(store.fetchScoped(reference)))._tag, "ImageGone")
        assert.strictEqual(yield* store.sweep, 2)
        assert.isTrue(Option.isSome(yield* store.named.get("used")))
        yield* store.named.remove("used")
      }),
      { options: { timeToLive: "4 seconds" } }
    ))

  it.live("leaves nothing of ten uploads that are interrupted", () =>
    withStore(Effect.fnUntraced(function*(store) {
      const image = yield* makeImage(9_000_000)
      let interrupted = 0
      for (let i = 0; i < 10; i++) {
        const fiber = yield* Effect.fork(Effect.scoped(store.putScoped(image)))
        yield* Effect.sleep(8 * i)
        const exit = yield* Fiber.interrupt(fiber)
        if (exit._tag === "Failure") interrupted += 1
      }
      assert.isAbove(interrupted, 0)
    })))

  it.live("tells of wrong credentials, a missing bucket and a server that is not there or does not answer", () =>
    Effect.gen(function*() {
      const image = yield* makeImage(1000)
      const reasonOf = (server: Parameters<typeof withStore>[1]) =>
        Effect.gen(function*() {
          let reasons: ReadonlyArray<string> = []
          yield* withStore(
            Effect.fnUntraced(function*(store) {
              const errors = yield* Effect.all([Effect.flip(store.put(image)), Effect.flip(store.sweep)])
              reasons = errors.map(({ reason }) => reason)
            }),
            server
          )
          return reasons
        })
      assert.deepStrictEqual(yield* reasonOf({ secretAccessKey: "wrong" }), ["Denied", "Denied"])
      assert.deepStrictEqual(yield* reasonOf({ bucket: "no-such-bucket" }), ["NoBucket", "NoBucket"])
      assert.deepStrictEqual(yield* reasonOf({ endpoint: "http://127.0.0.1:1" }), ["Unavailable", "Unavailable"])
      const stalled = yield* makeProxy(server().endpoint, () => "stall")
      const [duration, reasons] = yield* Effect.timed(reasonOf({ endpoint: stalled, timeout: 200 }))
      assert.deepStrictEqual(reasons, ["Unavailable", "Unavailable"])
      assert.isBelow(Duration.toSeconds(duration), 60)
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))
})
