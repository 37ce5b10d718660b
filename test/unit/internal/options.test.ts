import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as options from "../../../src/internal/options.js"

const bad: ReadonlyArray<unknown> = [
  NaN,
  -1,
  -1n,
  -Infinity,
  "-1 seconds",
  " -1 seconds",
  "soon",
  "",
  [-1, 0],
  [0, NaN],
  {},
  null,
  true
]
const zero: ReadonlyArray<unknown> = [0, 0n, "0 millis", [0, 0], Duration.zero]
const good: ReadonlyArray<unknown> = [1, 1n, 0.5, Infinity, "1 second", [0, 1], Duration.infinity, Duration.millis(1)]

describe("the checks of options", () => {
  it("take a duration that is not negative", () => {
    for (const input of [...good, ...zero, undefined]) assert.isUndefined(options.durationProblem("a", input))
    for (const input of bad) assert.include(options.durationProblem("a", input) ?? "", "a must be a duration")
  })

  it("take a timeout above zero, and above a least one", () => {
    for (const input of [...good, undefined]) assert.isUndefined(options.timeoutProblem("a", input))
    for (const input of [...bad, ...zero]) {
      assert.include(options.timeoutProblem("a", input) ?? "", "a must be a duration above zero")
    }
    const least = Duration.millis(10)
    assert.isUndefined(options.timeoutProblem("a", 10, least))
    assert.strictEqual(options.timeoutProblem("a", 9, least), "a must be at least 10ms")
  })

  it("take a size that is not negative", () => {
    for (const input of [0, 1.5, Infinity, undefined]) assert.isUndefined(options.sizeProblem("a", input))
    for (const input of [-1, NaN, "1", null]) {
      assert.strictEqual(options.sizeProblem("a", input), "a must be a number that is not negative")
    }
  })

  it("take a text that is not empty, and a function", () => {
    for (const input of ["a", undefined]) assert.isUndefined(options.textProblem("a", input))
    for (const input of ["", 1, null]) assert.strictEqual(options.textProblem("a", input), "a must not be empty")
    assert.isUndefined(options.functionProblem("a", () => {}))
    assert.strictEqual(options.functionProblem("a", undefined), "a must be a function")
  })

  it.effect("are a defect with the first problem, and with the place of the option", () =>
    Effect.gen(function*() {
      options.check("Module.make", undefined)
      const exit = yield* Effect.exit(Effect.sync(() => options.check("Module.make", undefined, "a", "b")))
      assert.deepStrictEqual(exit, Exit.die(new Cause.IllegalArgumentException("Module.make: a")))
    }))
})
