/** Helpers for slot tests. Each image is identified by its size. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { InitImageSlot, type SessionInitImage } from "../../src/index.js"
import { list } from "./directory.js"
import { pngOfSize } from "./images.js"
import { payloadOf } from "./payloads.js"

export const payloadOfSize = (size: number) => payloadOf("image/png", pngOfSize(size))

/** A payload whose image lacks its last byte. */
export const brokenOfSize = (size: number) => payloadOf("image/png", pngOfSize(size + 4).subarray(0, -5))

/** The sizes of a directory's files, ascending. */
export const sizes = (directory: string): ReadonlyArray<number> =>
  list(directory).map((name) => statSync(join(directory, name)).size).toSorted((a, b) => a - b)

/** The size of the image's file. */
export const sizeOf = (image: Option.Option<SessionInitImage.SessionInitImage>): number | undefined =>
  Option.isSome(image) ? readFileSync(image.value.path).length : undefined

/** A slot in a separate scope, which `end` closes. */
export const openSlot = Effect.gen(function*() {
  const scope = yield* Effect.acquireRelease(Scope.make(), Scope.close)
  const slot = yield* Scope.extend(InitImageSlot.make, scope)
  return { slot, end: Scope.close(scope, Exit.void) }
})

/** A lease in a separate scope, which `release` closes. */
export const leaseOf = Effect.fnUntraced(function*(slot: InitImageSlot.InitImageSlot) {
  const scope = yield* Effect.acquireRelease(Scope.make(), Scope.close)
  const image = yield* Scope.extend(slot.lease, scope)
  return { image, release: Scope.close(scope, Exit.void) }
})
