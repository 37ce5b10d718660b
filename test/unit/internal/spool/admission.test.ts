import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Scope from "effect/Scope"
import * as spoolAdmission from "../../../../src/internal/spool/admission.js"
import { atEachStep, interruptAt } from "../../../utils/interruptions.js"
import { figures, isIdle } from "../../../utils/spools.js"

/** Runs all fibers until they wait. */
const settle = Effect.repeatN(Effect.yieldNow(), 20)

/** Acquires the bytes for as long as the scope is open, as a room does. */
const reserve = (admission: spoolAdmission.Admission, bytes: number) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.zipRight(
      admission.acquire(bytes, restore),
      Effect.addFinalizer(() => Effect.sync(() => admission.giveBack(bytes)))
    )
  )

/** Acquires bytes and holds them until it is interrupted. */
const hold = (admission: spoolAdmission.Admission, bytes: number, onAdmitted: () => void = () => {}) =>
  Effect.fork(
    Effect.scoped(Effect.zipRight(
      Effect.zipRight(reserve(admission, bytes), Effect.sync(onAdmitted)),
      Effect.never
    ))
  )

type Command =
  | { readonly type: "start"; readonly bytes: number }
  | { readonly type: "end"; readonly index: number }
  | { readonly type: "settle" }

const command: FastCheck.Arbitrary<Command> = FastCheck.oneof(
  FastCheck.record({ type: FastCheck.constant("start" as const), bytes: FastCheck.integer({ min: 1, max: 10 }) }),
  FastCheck.record({ type: FastCheck.constant("end" as const), index: FastCheck.nat(1000) }),
  FastCheck.constant({ type: "settle" as const })
)

/** The expected behaviour. */
class Model {
  readonly held = new Map<number, number>()
  waiting: Array<readonly [id: number, bytes: number]> = []
  readonly limit: number
  constructor(limit: number) {
    this.limit = limit
  }

  inFlight(): number {
    return Array.from(this.held.values()).reduce((a, b) => a + b, 0)
  }
  start(id: number, bytes: number): void {
    this.waiting.push([id, bytes])
    this.admit()
  }
  end(id: number): void {
    this.held.delete(id)
    this.waiting = this.waiting.filter(([other]) => other !== id)
    this.admit()
  }
  admit(): void {
    for (let next = this.waiting[0]; next !== undefined; next = this.waiting[0]) {
      if (this.inFlight() + next[1] > this.limit) return
      this.held.set(...next)
      this.waiting.shift()
    }
  }
}

describe("admission", () => {
  it.live.prop(
    "admits in order, stays within the limit and takes all bytes back, whatever starts, ends and is interrupted",
    { commands: FastCheck.array(command, { maxLength: 60, size: "max" }) },
    ({ commands }) =>
      Effect.gen(function*() {
        const limit = 12
        const admission = spoolAdmission.make(limit, Duration.infinity)
        const model = new Model(limit)
        const admitted: Array<number> = []
        const expected: Array<number> = []
        const running = new Map<number, Fiber.RuntimeFiber<unknown, unknown>>()
        const compare = Effect.gen(function*() {
          yield* settle
          const { inFlight, waiting } = yield* figures
          assert.deepStrictEqual({ inFlight, waiting }, { inFlight: model.inFlight(), waiting: model.waiting.length })
          assert.isAtMost(inFlight, limit)
          for (const id of model.held.keys()) {
            if (!expected.includes(id)) expected.push(id)
          }
          assert.deepStrictEqual(admitted.filter((id) => expected.includes(id)), expected)
        })
        for (const [id, command] of commands.entries()) {
          if (command.type === "start") {
            running.set(id, yield* hold(admission, command.bytes, () => admitted.push(id)))
            // Acquires before the next command.
            yield* settle
            model.start(id, command.bytes)
          } else if (command.type === "end") {
            const entry = Array.from(running)[command.index % Math.max(1, running.size)]
            if (entry === undefined) continue
            running.delete(entry[0])
            yield* Fiber.interruptFork(entry[1])
            model.end(entry[0])
          } else {
            yield* compare
          }
        }
        yield* compare
        yield* Fiber.interruptAll(Array.from(running.values()))
        yield* isIdle
      }),
    { fastCheck: { numRuns: 200 } }
  )

  it.effect("admits no image before the first that waits, even if it would fit", () =>
    Effect.gen(function*() {
      const admission = spoolAdmission.make(10, Duration.seconds(30))
      const order: Array<string> = []
      const first = yield* hold(admission, 6, () => order.push("first"))
      yield* settle
      const large = yield* hold(admission, 8, () => order.push("large"))
      yield* settle
      const small = yield* hold(admission, 1, () => order.push("small"))
      yield* settle
      assert.deepStrictEqual(order, ["first"])
      yield* Fiber.interrupt(first)
      yield* settle
      assert.deepStrictEqual(order, ["first", "large", "small"])
      yield* Fiber.interruptAll([large, small])
      yield* isIdle
    }))

  it.effect("admits the images behind a waiting one that is interrupted", () =>
    Effect.gen(function*() {
      const admission = spoolAdmission.make(10, Duration.seconds(30))
      const order: Array<string> = []
      const holder = yield* hold(admission, 6)
      yield* settle
      const large = yield* hold(admission, 8, () => order.push("large"))
      yield* settle
      const small = yield* hold(admission, 4, () => order.push("small"))
      yield* settle
      assert.deepInclude(yield* figures, { inFlight: 6, waiting: 2 })
      yield* Fiber.interrupt(large)
      yield* settle
      assert.deepStrictEqual(order, ["small"])
      assert.deepInclude(yield* figures, { inFlight: 10, waiting: 0 })
      yield* Fiber.interruptAll([holder, small])
      yield* isIdle
    }))

  it.effect("takes back bytes that were given at the moment of an interruption", () =>
    Effect.gen(function*() {
      const admission = spoolAdmission.make(10, Duration.seconds(30))
      const order: Array<string> = []
      const scope = yield* Scope.make()
      yield* Scope.extend(reserve(admission, 10), scope)
      const waiter = yield* hold(admission, 10, () => order.push("waiter"))
      yield* settle
      const last = yield* hold(admission, 10, () => order.push("last"))
      yield* settle
      // Both happen before the waiter runs again.
      yield* Scope.close(scope, Exit.void)
      waiter.unsafeInterruptAsFork(FiberId.none)
      yield* settle
      assert.deepStrictEqual(order, ["last"])
      assert.deepInclude(yield* figures, { inFlight: 10, waiting: 0 })
      yield* Fiber.interrupt(last)
      yield* isIdle
    }))

  it.effect("fails with Busy at once, and takes nothing, where images do not wait", () =>
    Effect.gen(function*() {
      const admission = spoolAdmission.make(10, Duration.zero)
      const holder = yield* hold(admission, 7)
      yield* settle
      const refused = yield* Effect.either(Effect.scoped(reserve(admission, 4)))
      assert(Either.isLeft(refused))
      assert.deepInclude(refused.left, { _tag: "Busy", retryAfter: 1 })
      assert.deepInclude(yield* figures, { inFlight: 7, waiting: 0 })
      yield* Effect.scoped(reserve(admission, 3))
      yield* Fiber.interrupt(holder)
      yield* isIdle
    }))

  it.effect("counts given back bytes once, however the work ends", () =>
    Effect.gen(function*() {
      const admission = spoolAdmission.make(10, Duration.seconds(30))
      for (const work of [Effect.void, Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
        yield* Effect.exit(Effect.scoped(Effect.zipRight(reserve(admission, 10), work)))
        yield* isIdle
      }
    }))

  it.effect("gives nothing to an effect that is interrupted at any step of its wait", () =>
    Effect.gen(function*() {
      const steps = yield* atEachStep((at) =>
        Effect.gen(function*() {
          const admission = spoolAdmission.make(10, Duration.seconds(30))
          const holder = yield* hold(admission, 6)
          yield* settle
          yield* Effect.fork(Effect.zipRight(Effect.repeatN(Effect.yieldNow(), 3), Fiber.interrupt(holder)))
          const { isReached } = yield* interruptAt(at, Effect.scoped(reserve(admission, 8)))
          yield* settle
          yield* isIdle
          return isReached
        })
      )
      assert.isAbove(steps, 20)
    }))

  it.effect("admits everything at once without a limit", () =>
    Effect.gen(function*() {
      for (const bytes of [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]) {
        yield* spoolAdmission.unlimited.acquire(bytes, (effect) => effect)
      }
      spoolAdmission.unlimited.giveBack(1)
      yield* isIdle
    }))
})
