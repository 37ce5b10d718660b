import { assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { patience, turnToBegin } from "../../../src/server/pacing.js"
import { turn } from "../../utils/gates.js"
import { makeClock } from "../../utils/turns.js"

/** Each begins so many turns after the first one has come. */
const begun = (turns: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    const clock = yield* makeClock
    const began: Array<readonly [index: number, turn: number]> = []
    const fibers: Array<Fiber.Fiber<unknown>> = []
    for (const [index, at] of turns.entries()) {
      while (clock.now < at) yield* turn
      fibers.push(yield* Effect.fork(Effect.map(turnToBegin, () => began.push([index, clock.now]))))
      yield* Effect.yieldNow()
    }
    yield* Effect.forEach(fibers, Fiber.join)
    return began
  })

const range = (length: number) => Array.from({ length }, (_, index) => index)

describe("newcomers", () => {
  it.scopedLive("begin one in a turn, in order, and none before all are there", () =>
    Effect.gen(function*() {
      const began = yield* begun([0, 0, 0, 1, 2, 2, 3])
      assert.deepStrictEqual(began.map(([index]) => index), range(7))
      const turns = began.map(([, turn]) => turn)
      assert.isAbove(turns[0] ?? 0, 3)
      assert.deepStrictEqual(turns, range(7).map((index) => index + (turns[0] ?? 0)))
    }))

  it.scopedLive("begin all the same where others come in every turn", () =>
    Effect.gen(function*() {
      const began = yield* begun(range(patience + 50))
      const turns = began.map(([, turn]) => turn)
      assert.deepStrictEqual(turns, range(patience + 50).map((index) => index + patience + 1))
    }))

  it.scopedLive("come first again, once nobody has waited any more", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(begun(range(patience + 50)))
      yield* turn
      const began = yield* begun([0, 1, 2])
      assert.isAbove(began[0]?.[1] ?? 0, 2)
    }))

  it.scopedLive("leave the event loop alone, once nobody waits", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(begun([0, 0, 1]))
      yield* turn
      const scheduled = yield* Effect.acquireRelease(
        Effect.sync(() => vi.spyOn(globalThis, "setImmediate")),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
      yield* Effect.repeatN(turn, 9)
      assert.lengthOf(scheduled.mock.calls, 10)
    }))

  it.scopedLive("hold up nobody by one that has been interrupted", () =>
    Effect.gen(function*() {
      const first = yield* Effect.fork(turnToBegin)
      const second = yield* Effect.fork(turnToBegin)
      yield* Effect.yieldNow()
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(first)))
      yield* turn
      yield* turn
      yield* Effect.yieldNow()
      assert.isNotNull(second.unsafePoll())
    }))
})
