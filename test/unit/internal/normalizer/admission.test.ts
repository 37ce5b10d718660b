import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as admission from "../../../../src/internal/normalizer/admission.js"

const make = (limits: Partial<admission.Limits> = {}) =>
  admission.make({ concurrency: 2, maxMemory: 100, onFull: "wait", ...limits })

/** Works for a second, and records what runs. */
const makeWork = (permits: admission.Admission) => {
  const log: Array<string> = []
  const work = (name: string, bytes: number) =>
    admission.withPermit(permits, bytes, (restore, onSettled) =>
      Effect.sync(() => log.push(`+${name}`)).pipe(
        Effect.zipRight(restore(Effect.sleep("1 second"))),
        Effect.ensuring(Effect.sync(() => {
          log.push(`-${name}`)
          onSettled()
        }))
      ))
  return { log, work }
}

const settle = TestClock.adjust("10 seconds")

describe("admission", () => {
  it.effect("bounds the number of decodes, and lets them wait in order", () =>
    Effect.gen(function*() {
      const { log, work } = makeWork(make())
      const all = yield* Effect.fork(Effect.forEach(["a", "b", "c"], (name) => work(name, 1), { concurrency: 3 }))
      yield* settle
      yield* Fiber.join(all)
      assert.strictEqual(log.slice(0, 2).join(), "+a,+b")
      assert.isAbove(log.indexOf("+c"), Math.min(log.indexOf("-a"), log.indexOf("-b")))
    }))

  it.effect("bounds the memory, and lets no small decode overtake a large one", () =>
    Effect.gen(function*() {
      const { log, work } = makeWork(make({ concurrency: 9 }))
      const all = yield* Effect.fork(
        Effect.all([work("a", 60), work("large", 100), work("small", 10)], { concurrency: 3 })
      )
      yield* settle
      yield* Fiber.join(all)
      assert.deepStrictEqual(log, ["+a", "-a", "+large", "-large", "+small", "-small"])
    }))

  it.effect("fails with Busy where it does not wait", () =>
    Effect.gen(function*() {
      const { work } = makeWork(make({ onFull: "fail" }))
      yield* Effect.fork(work("a", 60))
      yield* Effect.yieldNow()
      assert.strictEqual((yield* Effect.flip(work("b", 60)))._tag, "Busy")
      yield* settle
      yield* Effect.zipLeft(Effect.fork(work("c", 60)), settle)
    }))

  it.effect("gives an interrupted waiter's place to the next", () =>
    Effect.gen(function*() {
      const { log, work } = makeWork(make())
      yield* Effect.fork(work("a", 60))
      const large = yield* Effect.fork(work("large", 100))
      const small = yield* Effect.fork(work("small", 10))
      yield* Effect.yieldNow()
      assert.deepStrictEqual(log, ["+a"])
      yield* Fiber.interrupt(large)
      yield* settle
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(small)))
      assert.strictEqual(log[1], "+small")
    }))

  it.effect("keeps the permit of an interrupted fiber until its work has settled", () =>
    Effect.gen(function*() {
      const permits = make({ concurrency: 1 })
      let settled = () => {}
      const first = yield* Effect.fork(
        admission.withPermit(permits, 1, (restore, onSettled) => {
          settled = onSettled
          return restore(Effect.never)
        })
      )
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(first)
      let isAdmitted = false
      const second = yield* Effect.fork(admission.withPermit(permits, 1, (_, onSettled) =>
        Effect.sync(() => {
          isAdmitted = true
          onSettled()
        })))
      yield* Effect.yieldNow()
      assert.isFalse(isAdmitted)
      settled()
      yield* Fiber.join(second)
      assert.isTrue(isAdmitted)
    }))
})
