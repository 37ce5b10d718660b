import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Terminal from "@effect/platform/Terminal"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { InitImageSpool } from "../../src/index.js"
import { imagesIn } from "../integration/server/testServer.js"
import { makeDirectory } from "../utils/directory.js"
import { png, pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import * as batch from "./batch.js"

/** Records the texts that a terminal displays. */
const withTerminal = (shown: Array<string>) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal.Terminal
    const display = (text: string) => Effect.sync(() => void shown.push(text))
    return yield* Effect.provideService(effect, Terminal.Terminal, { ...terminal, display })
  })

const makeBatch = Effect.fnUntraced(function*(lines: ReadonlyArray<string>) {
  const directory = yield* makeDirectory
  const file = join(directory, "images.jsonl")
  writeFileSync(file, lines.join("\n"))
  const images = yield* makeDirectory
  const shown: Array<string> = []
  const run: typeof batch.run = (file, work, options) =>
    Effect.scoped(Effect.gen(function*() {
      const spool = yield* InitImageSpool.make({ directory: images })
      return yield* batch.run(file, work, options).pipe(
        Effect.provideService(InitImageSpool.InitImageSpool, spool),
        withTerminal(shown)
      )
    }))
  return { file, run, shown, images: () => imagesIn(images) }
})

const line = (bytes: Uint8Array, mime = "image/png") => JSON.stringify(payloadOf(mime, bytes))

describe("a batch", () => {
  it.scopedLive("continues after refused lines, displays its progress, and keeps no file", () =>
    Effect.gen(function*() {
      const lines = [
        line(png({ width: 2 })),
        "{\"mime\":",
        "",
        "null",
        line(png(), "image/webp"),
        line(png({ width: 5 }))
      ]
      const { file, images, run, shown } = yield* makeBatch(lines)
      const widths: Array<number> = []
      const outcomes = yield* run(file, (image) =>
        Effect.sync(() => {
          widths.push(image.width)
          assert.include(images().map((name) => name.split("/").at(-1)), image.path.split("/").at(-1))
        }))
      assert.deepStrictEqual(outcomes, { done: 2, InvalidPayload: 1, none: 1, ContentMismatch: 1 })
      assert.deepStrictEqual(widths.toSorted((a, b) => a - b), [2, 5])
      assert.deepStrictEqual(images(), [])
      assert.strictEqual(shown.at(-1), "\n")
      const last = shown.at(-2) ?? ""
      for (const part of ["2 done", "1 InvalidPayload", "1 none", "1 ContentMismatch"]) assert.include(last, part)
      assert.isTrue(shown.slice(0, -1).every((text) => text.startsWith("\r")))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("processes at most `concurrency` images at a time", () =>
    Effect.gen(function*() {
      const { file, images, run } = yield* makeBatch(Array.from({ length: 9 }, () => line(pngOfSize(300_000))))
      let most = 0
      const outcomes = yield* run(
        file,
        () =>
          Effect.zipRight(
            Effect.sleep("50 millis"),
            Effect.sync(() => {
              most = Math.max(most, images().length)
            })
          ),
        { concurrency: 3 }
      )
      assert.deepStrictEqual(outcomes, { done: 9 })
      assert.strictEqual(most, 3)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("fails if the work on one image fails, and leaves no file", () =>
    Effect.gen(function*() {
      const { file, images, run } = yield* makeBatch([line(png({ width: 2 })), line(png({ width: 3 }))])
      const error = yield* Effect.flip(run(file, ({ width }) => width === 3 ? Effect.fail("broken") : Effect.never))
      assert.strictEqual(error, "broken")
      assert.deepStrictEqual(images(), [])
    }).pipe(Effect.provide(NodeContext.layer)))
})
