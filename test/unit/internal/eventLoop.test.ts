import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { InitImageFrame, SessionInitImage } from "../../../src/index.js"
import { bytesPerTurn, turnFor } from "../../../src/internal/eventLoop.js"
import { makeDirectory } from "../../utils/directory.js"
import { turn } from "../../utils/gates.js"
import { pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { layerWith } from "../../utils/spools.js"
import { makeClock } from "../../utils/turns.js"

const third = bytesPerTurn / 3

/** In the order in which they are let go on, each with the turn in which that was. */
const letGo = (sizes: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    const clock = yield* makeClock
    const gone: Array<readonly [index: number, turn: number]> = []
    yield* Effect.forEach(sizes, (bytes, index) => Effect.map(turnFor(bytes), () => gone.push([index, clock.now])), {
      concurrency: "unbounded"
    })
    return gone
  })

describe("turns", () => {
  it.scopedLive("let so many bytes pass in each as it has room for, in order", () =>
    Effect.gen(function*() {
      const gone = yield* letGo([third, third, third, third, bytesPerTurn, third, third, third + 1, 1])
      assert.deepStrictEqual(gone, [[0, 0], [1, 0], [2, 0], [3, 1], [4, 2], [5, 3], [6, 3], [7, 4], [8, 4]])
    }))

  it.scopedLive("give one to whatever is larger than that", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* letGo([bytesPerTurn * 2, bytesPerTurn * 3, 1]), [[0, 0], [1, 1], [2, 2]])
    }))

  it.scopedLive("let nobody pass the first that waits, though there be room for it at once", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* letGo([third, bytesPerTurn, third]), [[0, 0], [1, 1], [2, 2]])
    }))

  it.live("pass over one that has been interrupted", () =>
    Effect.gen(function*() {
      yield* turn
      yield* turnFor(bytesPerTurn)
      const waiting = yield* Effect.fork(turnFor(bytesPerTurn))
      const next = yield* Effect.fork(turnFor(bytesPerTurn))
      yield* Effect.yieldNow()
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(waiting)))
      yield* turn
      yield* Effect.yieldNow()
      assert.isNotNull(next.unsafePoll())
    }))

  const atOnce = 24
  const image = pngOfSize(third)
  const payload = payloadOf("image/png", image)
  const frame = new TextEncoder().encode(JSON.stringify(payload))

  it.scopedLive.each(
    [
      ["payloads", (directory: string) => Effect.asVoid(SessionInitImage.persist(payload, { directory }))],
      ["frames", (directory: string) => Effect.asVoid(InitImageFrame.persist(frame, { at: [] }, { directory }))]
    ] as const
  )("leave room for others while many %s are decoded at once", ([, persist]) =>
    Effect.gen(function*() {
      const clock = yield* makeClock
      const decoded = new Map<number, number>()
      const counting = layerWith((fs) => ({
        writeFile: (path, bytes, options) =>
          Effect.suspend(() => {
            decoded.set(clock.now, (decoded.get(clock.now) ?? 0) + bytes.length)
            return fs.writeFile(path, bytes, options)
          })
      }))
      const directory = yield* makeDirectory
      const all = Effect.forEach(Array.from({ length: atOnce }), () => persist(directory), { concurrency: "unbounded" })
      yield* Effect.provide(all, counting)
      const counts = [...decoded.values()]
      assert.strictEqual(counts.reduce((sum, count) => sum + count, 0), atOnce * image.length)
      assert.isAtMost(Math.max(...counts), bytesPerTurn)
    }).pipe(Effect.provide(NodeContext.layer)))
})
