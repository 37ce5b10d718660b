import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Buffer } from "node:buffer"
import { readFileSync } from "node:fs"
import { bytesPerTurn, turnFor } from "../../../../src/internal/eventLoop.js"
import * as imageWriter from "../../../../src/internal/persist/writer.js"
import { makeDirectory } from "../../../utils/directory.js"
import { turn } from "../../../utils/gates.js"
import { layerHooked } from "../../../utils/hookedFileSystem.js"
import { makeClock } from "../../../utils/turns.js"

const { bufferBytes, minRoom } = imageWriter

interface Options {
  readonly fill: imageWriter.Fill<never, never>
  readonly directory: string
  readonly maxBytes?: number
  readonly bytesAtHand?: number
}

/** Written without a look at what it is. */
const write = ({ bytesAtHand = 0, directory, fill, maxBytes = bufferBytes }: Options) =>
  imageWriter.write({
    fill,
    check: { push: () => undefined, end: () => Effect.void },
    maxBytes,
    bytesAtHand,
    extension: () => ".png",
    options: { directory },
    spool: { directory: Effect.succeed(undefined), keep: () => Effect.void, removed: () => Effect.void }
  })

/** So many bytes at a time, and the buffers that they were put into. */
const makeFill = (lengths: ReadonlyArray<number>) => {
  const targets: Array<Buffer> = []
  const fill: imageWriter.Fill<never, never> = (target) =>
    Effect.sync(() => {
      const length = lengths[targets.length] ?? 0
      target.fill(targets.length + 1, 0, length)
      targets.push(target)
      return length
    })
  const bytes = () => Buffer.concat(lengths.map((length, index) => Buffer.alloc(length, index + 1)))
  return { bytes, fill, targets }
}

/** So many images that all have their buffer, of which the last ones are let go on first. */
const hold = (count: number, options: Omit<Options, "fill">) =>
  Effect.gen(function*() {
    const images = yield* Effect.forEach(Array.from({ length: count }), () =>
      Effect.gen(function*() {
        const held = yield* Deferred.make<Buffer>()
        const gate = yield* Deferred.make<number>()
        const fiber = yield* Effect.fork(write({
          ...options,
          fill: (target) => Effect.zipRight(Deferred.succeed(held, target), Deferred.await(gate))
        }))
        return { target: yield* Deferred.await(held), end: Deferred.succeed(gate, 0), fiber }
      }))
    for (const { end, fiber } of images.toReversed()) {
      yield* end
      yield* Fiber.join(fiber)
    }
    return images.map(({ target }) => target)
  })

const isAmong = (targets: ReadonlyArray<Buffer>) => ({ buffer }: Buffer): boolean =>
  targets.some((target) => target.buffer === buffer)

describe("imageWriter", () => {
  it.scopedLive("writes what it was given from two buffers in turn, none of which is filled before it is written", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { bytes, fill, targets } = makeFill(Array.from({ length: 7 }, (_, index) => bufferBytes - index))
      const { path } = yield* write({ directory, fill, maxBytes: 8 * bufferBytes })
      assert.strictEqual(new Set(targets.map(({ buffer }) => buffer)).size, 2)
      assert.isTrue(readFileSync(path).equals(bytes()))
    }).pipe(
      Effect.provide(
        layerHooked((operation, effect) => operation === "writeAll" ? Effect.delay(effect, "10 millis") : effect)
      )
    ))

  it.scopedLive("fills a buffer as long as it has room for what a fill may be", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { fill, targets } = makeFill([bufferBytes - minRoom, minRoom, bufferBytes - minRoom + 1, 5])
      const { path } = yield* write({ directory, fill, maxBytes: 3 * bufferBytes })
      assert.deepStrictEqual(targets.map(({ length }) => length), [
        bufferBytes,
        minRoom,
        bufferBytes,
        bufferBytes,
        bufferBytes - 5
      ])
      assert.strictEqual(readFileSync(path).length, 2 * bufferBytes - minRoom + 6)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("keeps four buffers of the full size for images to come, small ones too", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const first = yield* hold(6, { directory })
      assert.strictEqual(new Set(first.map(({ buffer }) => buffer)).size, 6)
      const second = yield* hold(6, { directory })
      assert.lengthOf(second.filter(isAmong(first)), 4)
      assert.isTrue([...first, ...second].every(({ length }) => length === bufferBytes))

      const maxBytes = 100
      const own = imageWriter.bufferSize(maxBytes)
      const small = yield* hold(6, { directory, maxBytes })
      assert.lengthOf(small.filter(isAmong(second)), 4)
      assert.deepStrictEqual(small.slice(4).map(({ length }) => length), [own, own])

      const third = yield* hold(6, { directory })
      assert.lengthOf(third.filter(isAmong(second)), 4)
      assert.isTrue(third.every(({ length }) => length === bufferBytes))
    }).pipe(Effect.provide(NodeContext.layer)))

  it("has two buffers decoded in one turn, so that an image alone never waits for its own", () => {
    assert.isAtLeast(bytesPerTurn, 2 * bufferBytes)
  })

  it.scopedLive("waits for its turn to decode what is at hand, and with what it must wait for anyway for none", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const clock = yield* makeClock
      const filled: Record<string, number> = {}
      const noted = (name: string, bytesAtHand: number) =>
        write({ directory, bytesAtHand, fill: () => Effect.sync(() => (filled[name] ??= clock.now, 0)) })
      yield* turn
      yield* turnFor(bytesPerTurn)
      const now = clock.now
      yield* Effect.all([noted("at hand", 1), noted("to come", 0)], { concurrency: "unbounded" })
      assert.deepStrictEqual(filled, { "to come": now, "at hand": now + 1 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("takes as much of a turn as it may decode in it", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const clock = yield* makeClock
      const turnsOf = (count: number, bytesAtHand: number) =>
        Effect.gen(function*() {
          const turns = new Set<number>()
          const fill = () => Effect.sync(() => (turns.add(clock.now), 0))
          yield* turn
          yield* Effect.all(Array.from({ length: count }, () => write({ directory, bytesAtHand, fill })), {
            concurrency: "unbounded"
          })
          return turns.size
        })
      assert.strictEqual(yield* turnsOf(8, bytesPerTurn / 8), 1)
      assert.strictEqual(yield* turnsOf(4, 100 * bytesPerTurn), 2)
    }).pipe(Effect.provide(NodeContext.layer)))
})
