import { assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { makeTurn, maxDeferredTurns } from "../../../src/server/pacing.js"
import { turn } from "../../utils/gates.js"
import { makeClock } from "../../utils/turns.js"

/** Lets each request arrive in the given turn; returns the start order with the turns of the starts. */
const startsOf = (arrivals: ReadonlyArray<number>, waitForTurn = makeTurn()) =>
  Effect.gen(function*() {
    const clock = yield* makeClock
    const starts: Array<readonly [index: number, turn: number]> = []
    const fibers: Array<Fiber.Fiber<unknown>> = []
    for (const [index, at] of arrivals.entries()) {
      while (clock.now < at) yield* turn
      fibers.push(yield* Effect.fork(Effect.map(waitForTurn, () => starts.push([index, clock.now]))))
      yield* Effect.yieldNow()
    }
    yield* Effect.forEach(fibers, Fiber.join)
    return starts
  })

const range = (length: number) => Array.from({ length }, (_, index) => index)

describe("requests", () => {
  it.scopedLive("start in order, one per turn, after the whole burst has arrived", () =>
    Effect.gen(function*() {
      const starts = yield* startsOf([0, 0, 0, 1, 2, 2, 3])
      assert.deepStrictEqual(starts.map(([index]) => index), range(7))
      const turns = starts.map(([, turn]) => turn)
      assert.isAbove(turns[0] ?? 0, 3)
      assert.deepStrictEqual(turns, range(7).map((index) => index + (turns[0] ?? 0)))
    }))

  it.scopedLive("start after maxDeferredTurns if others arrive in every turn", () =>
    Effect.gen(function*() {
      const starts = yield* startsOf(range(maxDeferredTurns + 50))
      const turns = starts.map(([, turn]) => turn)
      assert.deepStrictEqual(turns, range(maxDeferredTurns + 50).map((index) => index + maxDeferredTurns + 1))
    }))

  it.scopedLive("are deferred again after the queue was empty", () =>
    Effect.gen(function*() {
      const waitForTurn = makeTurn()
      yield* Effect.scoped(startsOf(range(maxDeferredTurns + 50), waitForTurn))
      yield* turn
      const starts = yield* startsOf([0, 1, 2], waitForTurn)
      assert.isAbove(starts[0]?.[1] ?? 0, 2)
    }))

  it.scopedLive("schedule no turn while the queue is empty", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(startsOf([0, 0, 1]))
      yield* turn
      const scheduled = yield* Effect.acquireRelease(
        Effect.sync(() => vi.spyOn(globalThis, "setImmediate")),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
      yield* Effect.repeatN(turn, 9)
      assert.lengthOf(scheduled.mock.calls, 10)
    }))

  it.scopedLive("do not wait for an interrupted request", () =>
    Effect.gen(function*() {
      const waitForTurn = makeTurn()
      const first = yield* Effect.fork(waitForTurn)
      const second = yield* Effect.fork(waitForTurn)
      yield* Effect.yieldNow()
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(first)))
      yield* turn
      yield* turn
      yield* Effect.yieldNow()
      assert.isNotNull(second.unsafePoll())
    }))
})
