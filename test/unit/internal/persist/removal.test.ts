import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import * as removal from "../../../../src/internal/persist/removal.js"
import { makeDisk } from "../../../utils/fakeDisk.js"
import { collecting, diskError } from "../../../utils/spools.js"

const path = "/images/a.png"

/** A disk on which the file can be removed from the time on, in milliseconds, and what became of the file. */
const makeFile = (
  freeAt: number,
  failure: Effect.Effect<never, PlatformError> = Effect.fail(diskError("remove", "EBUSY"))
) => {
  const attempts: Array<number> = []
  const outcomes: Array<unknown> = []
  const { fs } = makeDisk({
    remove: () =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (attempts.at(-1) !== now) attempts.push(now)
        return now >= freeAt ? Effect.void : failure
      }),
    exists: () => Effect.succeed(true)
  })
  const outcome: removal.Outcome = {
    onRemoved: Effect.sync(() => void outcomes.push("removed")),
    onLeft: (path, cause) => Effect.sync(() => void outcomes.push([path, Cause.pretty(cause)]))
  }
  return { attempts, outcomes, remove: removal.remove(fs, path, outcome) }
}

describe("the removal of a file", () => {
  it.effect("ends when the file is gone", () =>
    Effect.gen(function*() {
      const { attempts, outcomes, remove } = makeFile(0)
      yield* remove
      assert.deepStrictEqual([attempts, outcomes], [[0], ["removed"]])
    }))

  const failures: Record<string, Effect.Effect<never, PlatformError>> = {
    EBUSY: Effect.fail(diskError("remove", "EBUSY")),
    EPERM: Effect.fail(diskError("remove", "EPERM")),
    EACCES: Effect.fail(diskError("remove", "EACCES")),
    EROFS: Effect.fail(diskError("remove", "EROFS")),
    "a defect": Effect.die("a bug")
  }
  for (const [title, failure] of Object.entries(failures)) {
    it.effect(`is tried again with growing pauses after ${title}, behind the effect`, () =>
      Effect.gen(function*() {
        const { attempts, outcomes, remove } = makeFile(1000, failure)
        yield* remove
        assert.deepStrictEqual([attempts, outcomes], [[0], []])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual([attempts, outcomes], [[0, 100, 300, 700, 1500], ["removed"]])
      }))
  }

  it.effect("is given up after some seconds, with the last cause", () =>
    Effect.gen(function*() {
      const { attempts, outcomes, remove } = makeFile(Infinity)
      yield* remove
      yield* TestClock.adjust("6299 millis")
      assert.deepStrictEqual(outcomes, [])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(attempts, [0, 100, 300, 700, 1500, 3100, 6300])
      assert.lengthOf(outcomes, 1)
      assert.include(String(outcomes[0]), path)
      assert.include(String(outcomes[0]), "EBUSY")
    }))

  it.effect("goes on when its caller has been interrupted, and in a scope that has closed", () =>
    Effect.gen(function*() {
      const { outcomes, remove } = makeFile(50)
      const fiber = yield* Effect.fork(Effect.uninterruptible(Effect.scoped(Effect.zipRight(remove, Effect.interrupt))))
      yield* fiber.await
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(outcomes, ["removed"])
    }))

  it.effect("runs without its caller's services", () =>
    Effect.gen(function*() {
      const User = Context.GenericTag<"User", string>("test/User")
      const seen: Array<boolean> = []
      let attempts = 0
      const { fs } = makeDisk({
        remove: () =>
          Effect.contextWithEffect((context: Context.Context<never>) => {
            seen.push(Context.getOption(context as Context.Context<unknown>, User as never)._tag === "Some")
            return ++attempts > 3 ? Effect.void : Effect.fail(diskError("remove", "EBUSY"))
          }),
        exists: () => Effect.succeed(true)
      })
      yield* Effect.provideService(
        removal.remove(fs, path, { onRemoved: Effect.void, onLeft: removal.warn }),
        User,
        "user"
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen, [true, true, true, false])
    }))

  it.effect("waits for at most 256 files at a time, and gives up others at once", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const left: Array<string> = []
      const attempts = new Map<string, number>()
      const disk: FileSystem.FileSystem = makeDisk({
        remove: (path) =>
          Effect.suspend(() => {
            const attempt = (attempts.get(path) ?? 0) + 1
            attempts.set(path, attempt)
            return attempt > 3 ? Deferred.await(gate) : Effect.fail(diskError("remove", "EBUSY"))
          }),
        exists: () => Effect.succeed(true)
      }).fs
      const outcome = { onRemoved: Effect.void, onLeft: (path: string) => Effect.sync(() => void left.push(path)) }
      for (let i = 0; i < 258; i++) yield* removal.remove(disk, String(i), outcome)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(left, ["256", "257"])
      yield* Deferred.succeed(gate, void 0)
      yield* Effect.yieldNow()
      const { outcomes, remove } = makeFile(1100)
      yield* remove
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(outcomes, ["removed"])
    }))

  it.effect("warns the operator with the path of a file that stays", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      yield* Effect.provide(removal.warn(path, Cause.fail(diskError("remove", "EIO"))), collecting(lines))
      assert.lengthOf(lines, 1)
      assert.include(lines[0], "level=WARN")
      assert.include(lines[0], "An init image could not be removed")
      assert.include(lines[0], `path=${path}`)
      assert.include(lines[0], "EIO")
    }))
})
