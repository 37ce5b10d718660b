/**
 * Puts images into a store until it is killed, some of them under names: `node child.js <Ceph as JSON>`. Writes `ready`
 * once the first is stored.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { InitImageStore } from "../../../src/InitImageStore.js"
import type { Ceph } from "../../utils/ceph.js"
import * as s3 from "../../utils/s3.js"
import { makeImage } from "../../utils/stored.js"

// The parent writes it.
const ceph = JSON.parse(process.argv[2] ?? "") as Ceph

const program = Effect.gen(function*() {
  const store = yield* InitImageStore
  const image = yield* makeImage(2_000_000, { fill: 5 })
  yield* store.put(image)
  yield* Console.log("ready")
  yield* Effect.all([
    Effect.forever(store.put(image)),
    Effect.forever(store.named.put("a", image)),
    Effect.forever(Effect.scoped(store.putScoped(image)))
  ], { concurrency: "unbounded" })
})

Effect.runFork(Effect.provide(Effect.scoped(program), s3.layer(ceph)))
