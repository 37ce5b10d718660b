/** References without images. */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as InitImageStore from "../../src/InitImageStore.js"

/** A reference that is told by its number. */
export const numbered = (n: number): InitImageStore.ImageReference =>
  InitImageStore.ImageReference.make({
    key: n.toString(16).padStart(32, "0"),
    sha256: n.toString(16).padStart(64, "0"),
    bytes: n,
    mime: "image/png",
    width: 1,
    height: 1,
    orientation: 1,
    displayName: "init.png",
    expiresAt: DateTime.unsafeMake(4_000_000_000_000)
  })

const unused = () => Effect.dieMessage("not a part of this store")

/** A store that adds the keys of removed images to the array, and does nothing else. */
export const removing = (keys: Array<string>): Layer.Layer<InitImageStore.InitImageStore> =>
  Layer.mock(InitImageStore.InitImageStore, {
    remove: ({ key }) => Effect.sync(() => void keys.push(key)),
    named: { put: unused, get: unused, remove: unused }
  })
