/**
 * Uses a spool until it is killed: `node child.js <directory> <staleAfter in milliseconds>`.
 *
 * Writes `ready` when the spool is open. Writes `lost` and exits with 1 if a file is missing or differs. At SIGUSR2 blocks
 * the event loop for three times staleAfter, checks its files for two more, and then writes `unblocked`.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { readFileSync, rmSync, statSync } from "node:fs"
import { dirname } from "node:path"
import { InitImageSlot, InitImageSpool, SessionInitImage } from "../../../src/index.js"
import { pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"

const [directory = "", staleAfter = ""] = process.argv.slice(2)

const sizes = [100, 5000, 200_000, 2_500_000]
const images = sizes.map((size) => {
  const bytes = pngOfSize(size)
  return { bytes: Buffer.from(bytes), payload: payloadOf("image/png", bytes) }
})

const isWhole = (image: SessionInitImage.SessionInitImage, bytes: Buffer): Effect.Effect<void> =>
  Effect.sync(() => {
    if (!readFileSync(image.path).equals(bytes)) throw new Error("lost")
  })

/** Replaces the images of a session while they are read. */
const session = (offset: number) =>
  Effect.scoped(Effect.gen(function*() {
    const slot = yield* InitImageSlot.make
    for (let i = offset;; i++) {
      const { bytes, payload } = images[i % images.length] ?? images[offset] ?? (yield* Effect.dieMessage("no image"))
      yield* slot.set(payload)
      yield* Effect.scoped(Effect.gen(function*() {
        const image = Option.getOrThrow(yield* slot.lease)
        yield* slot.clear
        yield* isWhole(image, bytes)
        yield* Effect.sleep(3)
        yield* isWhole(image, bytes)
      }))
    }
  }))

/** Persists images and deletes the oldest. */
const keeper = Effect.gen(function*() {
  const kept: Array<SessionInitImage.SessionInitImage> = []
  for (;;) {
    for (const { bytes, payload } of images.slice(0, 3)) {
      const image = Option.getOrThrow(yield* SessionInitImage.persist(payload))
      yield* isWhole(image, bytes)
      kept.push(image)
      for (const { path } of kept.slice(0, -20)) rmSync(path)
      kept.splice(0, kept.length - 20)
      for (const { bytes, path } of kept) if (statSync(path).size !== bytes) throw new Error("lost")
      yield* Effect.sleep(2)
    }
  }
})

const program = Effect.gen(function*() {
  const first = Option.getOrThrow(yield* SessionInitImage.persist(images[1]?.payload))
  yield* Console.log(`ready ${dirname(first.path)}`)
  const stays = Effect.forever(
    Effect.sync(() => {
      if (statSync(first.path).size !== first.bytes) throw new Error("lost")
    }).pipe(Effect.delay(5))
  )
  yield* Effect.all([session(0), session(1), session(2), keeper, stays], { concurrency: "unbounded", discard: true })
})

process.on("SIGUSR2", () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3 * Number(staleAfter))
  setTimeout(() => process.stdout.write("unblocked\n"), 2 * Number(staleAfter))
})

const layer = InitImageSpool.layer({ directory, staleAfter: Number(staleAfter), maxBytesInFlight: 6_000_000 }).pipe(
  Layer.provideMerge(Layer.merge(NodeFileSystem.layer, NodePath.layer))
)

Effect.runPromiseExit(Effect.provide(program, layer)).then((exit) => {
  process.stdout.write(`lost ${JSON.stringify(exit)}\n`)
  process.exitCode = 1
})
