/** A server author's tests, on the kit for tests. */
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import { InitImageLimits, SessionInitImage } from "session-init-image"
import { InitImageTest, TestImages } from "session-init-image/testing"

/** The server's own code: it opens a session with an image, whose bytes a model reads. */
const openSession = (payload: unknown) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const image = yield* SessionInitImage.persistScoped(payload)
    if (Option.isNone(image)) return "no image"
    const bytes = yield* fs.readFile(image.value.path)
    return `${image.value.width}×${image.value.height}, ${bytes.length} bytes`
  }).pipe(Effect.scoped, InitImageLimits.withMaxBytes(1024))

describe("a session", () => {
  it.effect("reads its image, and removes the file at its end", () =>
    Effect.gen(function*() {
      const picture = TestImages.png({ width: 64, height: 48, bytes: 1024 })
      assert.strictEqual(yield* openSession(picture.payload), "64×48, 1024 bytes")
      assert.strictEqual((yield* InitImageTest.left).size, 0)
      assert.lengthOf(yield* InitImageTest.removed, 1)
    }).pipe(Effect.provide(InitImageTest.layer)))

  it.effect("refuses an image that is too large for it, and one that is cut", () =>
    Effect.gen(function*() {
      const large = yield* Effect.flip(openSession(TestImages.jpeg({ bytes: 1025 }).payload))
      assert.strictEqual(large._tag, "TooLarge")
      const cut = yield* Effect.flip(openSession(TestImages.refused.truncated.payload))
      assert.isTrue(Equal.equals(cut, TestImages.refused.truncated.error))
    }).pipe(Effect.provide(InitImageTest.layer)))

  it.effect.prop(
    "takes any picture that fits, and leaves no file",
    [TestImages.outcomes],
    ([outcome]) =>
      Effect.gen(function*() {
        const result = yield* Effect.either(openSession(outcome.payload))
        if (outcome._tag === "Image") {
          assert.strictEqual(result._tag, outcome.picture.bytes.length > 1024 ? "Left" : "Right")
        }
        assert.strictEqual((yield* InitImageTest.left).size, 0)
      }).pipe(Effect.provide(InitImageTest.layer))
  )

  it.effect("leaves no file, whichever operation on a file fails", () =>
    Effect.gen(function*() {
      for (let after = 0, isReached = true; isReached; after++) {
        isReached = yield* Effect.gen(function*() {
          yield* Effect.exit(openSession(TestImages.webp().payload))
          assert.strictEqual((yield* InitImageTest.left).size, 0)
          return (yield* InitImageTest.operations).length > after
        }).pipe(Effect.provide(InitImageTest.layerFailing({ after })))
      }
    }))
})
