import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { InitImageError, InitImageSlot, SessionInitImage } from "../../src/index.js"
import { list, makeDirectory } from "../utils/directory.js"
import { png } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"

/** Writes a wider image in place of the given one. */
const widen = (directory: string) => (image: SessionInitImage.SessionInitImage) =>
  SessionInitImage.persistStreamScoped(
    { mime: "image/png" },
    Stream.make(png({ width: image.width + 100 })),
    { directory }
  )

const payload = (width: number) => payloadOf("image/png", png({ width }))

const currentWidth = (slot: InitImageSlot.InitImageSlot<unknown>) =>
  Effect.scoped(Effect.map(slot.lease, Option.map(({ width }) => width)))

describe("a slot that prepares its images", () => {
  it.scopedLive("holds the prepared image, and removes the given one", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const slot = yield* InitImageSlot.makeWith({ prepare: widen(directory) })
      const set = yield* slot.set(payload(1), { directory })
      assert.strictEqual(Option.getOrThrow(set).width, 101)
      assert.deepStrictEqual(yield* currentWidth(slot), Option.some(101))
      assert.lengthOf(list(directory), 1)
      const message = yield* slot.setWith(Effect.map(
        SessionInitImage.persistScoped(payload(2), { directory }),
        (image) => ({ prompt: "rain", image })
      ))
      assert.strictEqual(message.prompt, "rain")
      assert.strictEqual(Option.getOrThrow(message.image).width, 102)
      assert.lengthOf(list(directory), 1)
      const image = yield* slot.setWith(
        SessionInitImage.persistStreamScoped({ mime: "image/png" }, Stream.make(png({ width: 3 })), { directory })
      )
      assert.strictEqual(image.width, 103)
      yield* slot.set(null)
      assert.isEmpty(list(directory))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("keeps the given image if that is the answer", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const slot = yield* InitImageSlot.makeWith({ prepare: Effect.succeed })
      yield* slot.set(payload(1), { directory })
      assert.deepStrictEqual(yield* currentWidth(slot), Option.some(1))
      assert.lengthOf(list(directory), 1)
      yield* slot.clear
      assert.isEmpty(list(directory))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("keeps the old image if the preparation fails", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const undecodable = new InitImageError.UndecodableImage({ format: "png", reason: "Corrupt" })
      const slot = yield* InitImageSlot.makeWith({
        prepare: (image) =>
          Effect.gen(function*() {
            if (image.width === 2) return yield* undecodable
            return yield* widen(directory)(image)
          })
      })
      yield* slot.set(payload(1), { directory })
      const error = yield* Effect.flip(slot.set(payload(2), { directory }))
      assert.strictEqual(error._tag, "UndecodableImage")
      assert.deepStrictEqual(yield* currentWidth(slot), Option.some(101))
      assert.lengthOf(list(directory), 1)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("keeps the old image if it is interrupted in the preparation", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const begun = yield* Deferred.make<void>()
      const slot = yield* InitImageSlot.makeWith({
        prepare: (image) =>
          image.width === 2
            ? Effect.zipRight(
              Deferred.succeed(begun, undefined),
              Effect.zipRight(widen(directory)(image), Effect.never)
            )
            : Effect.succeed(image)
      })
      yield* slot.set(payload(1), { directory })
      const fiber = yield* Effect.fork(slot.set(payload(2), { directory }))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* currentWidth(slot), Option.some(1))
      assert.lengthOf(list(directory), 1)
    }).pipe(Effect.provide(NodeContext.layer)))
})
