import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { dirname } from "node:path"
import { SessionInitImage } from "../../src/index.js"
import { list, makeDirectory } from "../utils/directory.js"
import { jpeg, png, pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { layer } from "./configuration.js"

/** Provides the configuration with these environment variables. */
const withEnvironment = (variables: Record<string, string>) =>
  Effect.provide(layer.pipe(
    Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables)))))
  ))

const outcome = (mime: string, bytes: Uint8Array) =>
  SessionInitImage.persistScoped(payloadOf(mime, bytes)).pipe(
    Effect.as("persisted"),
    Effect.catchAll((error) => Effect.succeed(error._tag))
  )

const outcomes = Effect.all([
  outcome("image/png", png()),
  outcome("image/png", pngOfSize(1001)),
  outcome("image/png", png({ width: 101 })),
  outcome("image/jpeg", jpeg())
])

describe("the configuration", () => {
  it.scopedLive("sets the limits and the directory", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const [all, path] = yield* Effect.all([
        outcomes,
        Effect.map(SessionInitImage.persistScoped(payloadOf("image/png", png())), (image) =>
          Option.getOrThrow(image).path)
      ]).pipe(withEnvironment({
        MAX_IMAGE_BYTES: "1000",
        MAX_IMAGE_PIXELS: "100",
        IMAGE_FORMATS: "image/png,image/webp",
        IMAGE_DIRECTORY: directory,
        MAX_DISK_BYTES: "100000",
        STALE_AFTER: "10 seconds"
      }))
      assert.deepStrictEqual(all, ["persisted", "TooLarge", "TooManyPixels", "InvalidMime"])
      assert.strictEqual(dirname(dirname(path)), directory)
      assert.deepStrictEqual(list(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("limits the bytes kept on disk", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const all = yield* Effect.all([outcome("image/png", pngOfSize(900)), outcome("image/png", pngOfSize(900))]).pipe(
        withEnvironment({ IMAGE_DIRECTORY: directory, MAX_DISK_BYTES: "1000" })
      )
      assert.deepStrictEqual(all, ["persisted", "Busy"])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("uses the defaults without variables", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* withEnvironment({})(outcomes), Array.from({ length: 4 }, () => "persisted"))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("fails on invalid values", () =>
    Effect.gen(function*() {
      for (
        const variables of [
          { MAX_IMAGE_BYTES: "-1" },
          { MAX_IMAGE_PIXELS: "many" },
          { IMAGE_FORMATS: "image/gif" },
          { MAX_DISK_BYTES: "-1" },
          { STALE_AFTER: "a while" }
        ]
      ) {
        const ended = yield* Effect.either(withEnvironment(variables)(outcomes))
        assert.isTrue(Either.isLeft(ended), JSON.stringify(variables))
      }
    }).pipe(Effect.provide(NodeContext.layer)))
})
