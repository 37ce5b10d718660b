import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { ImageReference, InitImageStore, type Store } from "../../../src/InitImageStore.js"
import * as cephs from "../../utils/ceph.js"
import { list, makeDirectory } from "../../utils/directory.js"
import { leaveOut } from "../../utils/peers.js"
import * as s3 from "../../utils/s3.js"
import { bytesOf, makeImage } from "../../utils/stored.js"

if (!cephs.isInstalled) leaveOut("Ceph", "images are stored in an S3-compatible server")

const clients = {
  "undici": NodeHttpClient.layerUndici,
  "node:http": NodeHttpClient.layer,
  "fetch": FetchHttpClient.layer
}

describe.skipIf(!cephs.isInstalled)("a store in Ceph", () => {
  let ceph: cephs.Ceph
  let bucket: ReturnType<typeof cephs.makeInspector>
  beforeAll(async () => {
    ceph = await cephs.start()
    bucket = cephs.makeInspector(ceph)
  }, 120_000)
  afterAll(() => ceph.stop())

  const keys = Effect.promise(() => bucket.keys())

  /** Runs a test with a store, which is closed before the keys are looked at in the end: none may be left. */
  const withStore = <E, R>(
    run: (store: Store) => Effect.Effect<void, E, R>,
    options: Parameters<typeof s3.layer>[1] & Partial<cephs.Ceph> = {},
    client?: Parameters<typeof s3.layer>[2]
  ) =>
    Effect.flatMap(InitImageStore, run).pipe(
      Effect.provide(Layer.suspend(() => s3.layer(ceph, options, client))),
      Effect.zipRight(Effect.map(keys, (left) => assert.deepStrictEqual(left, [])))
    )

  for (const [name, client] of Object.entries(clients)) {
    it.scopedLive(`keeps an image through the client over ${name}, and removes it`, () =>
      withStore(Effect.fnUntraced(function*(store) {
        const image = yield* makeImage(3_000_000, { fill: 1, name: "café.png" })
        const reference = yield* store.put(image)
        assert.deepStrictEqual(yield* keys, [`${s3.prefix}${reference.key}`])
        const fetched = yield* store.fetchScoped(reference)
        assert.deepStrictEqual({ ...fetched, path: "" }, { ...image, path: "" })
        assert.isTrue(Buffer.from(yield* bytesOf(fetched)).equals(yield* bytesOf(image)))
        yield* store.remove(reference)
        yield* store.remove(reference)
        assert.deepStrictEqual(yield* keys, [])
        assert.strictEqual((yield* Effect.flip(store.fetchScoped(reference)))._tag, "ImageGone")
      }), {}, client))
  }
})
