import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import { joinFiber } from "../../../src/internal/joinFiber.js"

const exits = {
  "succeeds": Exit.succeed("value"),
  "fails": Exit.fail("error"),
  "dies": Exit.die("defect")
}

describe("joinFiber", () => {
  for (const [title, exit] of Object.entries(exits)) {
    it.scoped(`ends like the fiber and inherits its references if it ${title}`, () =>
      Effect.gen(function*() {
        const reference = yield* FiberRef.make("before")
        const fiber = yield* Effect.fork(Effect.zipRight(FiberRef.set(reference, "after"), exit))
        assert.deepStrictEqual(yield* Effect.exit(joinFiber(fiber)), exit)
        assert.strictEqual(yield* FiberRef.get(reference), "after")
      }))
  }

  it.effect("is interrupted if the fiber is", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(Effect.interrupt)
      const exit = yield* Effect.exit(joinFiber(fiber))
      assert.isTrue(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))
    }))
})
