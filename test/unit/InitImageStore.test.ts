import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { utimesSync } from "node:fs"
import { join } from "node:path"
import { ImageReference, InitImageStore, layerFileSystem } from "../../src/InitImageStore.js"
import type { Store } from "../../src/InitImageStore.js"
import { list, makeDirectory } from "../utils/directory.js"
import { bytesOf, makeImage } from "../utils/stored.js"

/** A test with a store in a directory of its own. */
const withStore = (
  title: string,
  run: (
    store: Store,
    directory: string
  ) => Effect.Effect<void, unknown, NodeContext.NodeContext | InitImageStore | Scope.Scope>
) =>
  it.scopedLive(title, () =>
    Effect.flatMap(makeDirectory, (directory) =>
      Effect.provide(
        Effect.flatMap(InitImageStore, (store) => run(store, directory)),
        layerFileSystem({ directory, timeToLive: "1 hour" })
      )).pipe(Effect.provide(NodeContext.layer)))

/** Makes an object of the store older. */
const age = (directory: string, name: string, seconds: number) =>
  Effect.sync(() => {
    const time = Date.now() / 1000 - seconds
    utimesSync(join(directory, name), time, time)
  })

withStore("fetches the image that was put, and all that the reference tells of it", (store) =>
  Effect.gen(function*() {
    const image = yield* makeImage(2_000_000, { fill: 7, name: "a \"b\".png" })
    const reference = yield* store.put(image)
    const fetched = yield* store.fetchScoped(reference)
    assert.deepStrictEqual({ ...fetched, path: "" }, { ...image, path: "" })
    assert.notStrictEqual(fetched.path, image.path)
    assert.isTrue(Buffer.from(yield* bytesOf(fetched)).equals(yield* bytesOf(image)))
  }))
