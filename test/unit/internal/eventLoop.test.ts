import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { InitImageFrame, SessionInitImage } from "../../../src/index.js"
import { bytesPerTurn, DecodePacer, portionsPerTurn, turn, TurnQueue } from "../../../src/internal/eventLoop.js"
import { maxBufferBytes } from "../../../src/internal/persist/bufferPool.js"
import * as processState from "../../../src/internal/process.js"
import { makeDirectory } from "../../utils/directory.js"
import { pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { layerWith } from "../../utils/spools.js"
import { countTurns, makeClock } from "../../utils/turns.js"

const third = bytesPerTurn / 3

/** The order in which waiting decode work is admitted, with the turn of each. */
const admitted = (sizes: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    const pacer = new DecodePacer()
    const clock = yield* makeClock
    const turns: Array<readonly [index: number, turn: number]> = []
    yield* Effect.forEach(
      sizes,
      (bytes, index) => Effect.map(pacer.wait(bytes), () => turns.push([index, clock.now])),
      {
        concurrency: "unbounded"
      }
    )
    return turns
  })

describe("turn", () => {
  it.live("waits for one turn of the event loop", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* countTurns(turn), 1)
      assert.strictEqual(yield* countTurns(Effect.zipRight(turn, turn)), 2)
    }))

  it.live("can be interrupted", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(turn)
      yield* Effect.yieldNow()
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
    }))
})

describe("DecodePacer", () => {
  it.scopedLive("admits as many bytes in each turn as fit, first-in, first-out", () =>
    Effect.gen(function*() {
      const turns = yield* admitted([third, third, third, third, bytesPerTurn, third, third, third + 1, 1])
      assert.deepStrictEqual(turns, [[0, 0], [1, 0], [2, 0], [3, 1], [4, 2], [5, 3], [6, 3], [7, 4], [8, 4]])
    }))

  it.scopedLive("gives work that is larger than a turn a turn by itself", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* admitted([bytesPerTurn * 2, bytesPerTurn * 3, 1]), [[0, 0], [1, 1], [2, 2]])
    }))

  it.scopedLive("admits nothing before the first in the queue, even if it would fit", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* admitted([third, bytesPerTurn, third]), [[0, 0], [1, 1], [2, 2]])
    }))

  it.scopedLive("lets work that begins in a later turn pass at once", () =>
    Effect.gen(function*() {
      const pacer = new DecodePacer()
      const clock = yield* makeClock
      for (const expected of [0, 1, 2]) {
        yield* pacer.wait(bytesPerTurn)
        assert.strictEqual(clock.now, expected)
      }
      yield* turn
      yield* turn
      const before = clock.now
      yield* pacer.wait(bytesPerTurn)
      assert.strictEqual(clock.now, before)
    }))

  it.live("skips work that was interrupted", () =>
    Effect.gen(function*() {
      const pacer = new DecodePacer()
      yield* pacer.wait(bytesPerTurn)
      const waiting = yield* Effect.fork(pacer.wait(bytesPerTurn))
      const next = yield* Effect.fork(pacer.wait(bytesPerTurn))
      yield* Effect.yieldNow()
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(waiting)))
      yield* turn
      yield* Effect.yieldNow()
      assert.isNotNull(next.unsafePoll())
    }))

  it("admits two buffers in a turn, so that an image alone never waits for its own decode work", () => {
    assert.isAtLeast(bytesPerTurn, 2 * maxBufferBytes)
  })

  const atOnce = 48
  /** A frame of one slice and one buffer, written in the turn that decodes it. */
  const image = pngOfSize(Math.floor(bytesPerTurn / 9))
  const payload = payloadOf("image/png", image)
  const frame = new TextEncoder().encode(JSON.stringify(payload))

  it.scopedLive.each(
    [
      ["payloads", (directory: string) => Effect.asVoid(SessionInitImage.persist(payload, { directory }))],
      ["frames", (directory: string) => Effect.asVoid(InitImageFrame.persist(frame, { at: [] }, { directory }))]
    ] as const
  )("bounds the bytes that many concurrent %s decode in one turn", ([, persist]) =>
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

describe("TurnQueue", () => {
  /** Adds portions, and answers the turn in which each of them ran. */
  const turnsOf = (
    count: number,
    onAdded: (queue: TurnQueue, portions: ReadonlyArray<() => void>) => void = () => {}
  ) =>
    Effect.gen(function*() {
      const queue = new TurnQueue()
      const clock = yield* makeClock
      const turns: Array<readonly [index: number, turn: number]> = []
      const portions = Array.from({ length: count }, (_, index) => () => void turns.push([index, clock.now]))
      for (const portion of portions) queue.add(portion)
      assert.deepStrictEqual(turns, [])
      onAdded(queue, portions)
      yield* Effect.repeatN(turn, Math.ceil(count / portionsPerTurn) + 2)
      return turns
    })

  it.scopedLive("runs a bounded number of portions in each turn, first-in, first-out", () =>
    Effect.gen(function*() {
      const count = 2 * portionsPerTurn + 1
      assert.deepStrictEqual(
        yield* turnsOf(count),
        Array.from({ length: count }, (_, index) => [index, 1 + Math.floor(index / portionsPerTurn)])
      )
    }))

  it.scopedLive("runs as many portions in each turn as it is made for", () =>
    Effect.gen(function*() {
      const queue = new TurnQueue(1)
      const clock = yield* makeClock
      const turns: Array<number> = []
      for (let i = 0; i < 3; i++) queue.add(() => turns.push(clock.now))
      yield* Effect.repeatN(turn, 5)
      assert.deepStrictEqual(turns, [1, 2, 3])
    }))

  it.scopedLive("runs no portion that was deleted, and the others in its place", () =>
    Effect.gen(function*() {
      const turns = yield* turnsOf(portionsPerTurn + 2, (queue, portions) => {
        for (const portion of portions.slice(1, 3)) queue.delete(portion)
      })
      assert.deepStrictEqual(turns.map(([index]) => index), [
        0,
        ...Array.from({ length: portionsPerTurn - 1 }, (_, i) => i + 3)
      ])
      assert.deepStrictEqual(new Set(turns.map(([, turn]) => turn)), new Set([1]))
    }))

  it.scopedLive("runs a portion that is added by a portion in a later turn", () =>
    Effect.gen(function*() {
      const queue = new TurnQueue()
      const clock = yield* makeClock
      const turns: Array<number> = []
      const portion = () => {
        turns.push(clock.now)
        if (turns.length < 3) queue.add(portion)
      }
      queue.add(portion)
      yield* Effect.repeatN(turn, 6)
      assert.deepStrictEqual(turns, [1, 2, 3])
    }))
})

describe("process", () => {
  it("shares its state with other copies of the package through globalThis", () => {
    const store = Object.entries(globalThis).find(([key]) => key.startsWith("effect/GlobalValue"))?.[1]
    assert.instanceOf(store, Map)
    assert.deepInclude(store.get(Symbol.for("session-init-image/process/1")), { ...processState })
  })
})
