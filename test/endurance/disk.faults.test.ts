import * as NodeContext from "@effect/platform-node/NodeContext"
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as TestServices from "effect/TestServices"
import { readFileSync } from "node:fs"
import { list, makeDirectory, openIn } from "../utils/directory.js"
import { turn } from "../utils/gates.js"
import { atNth, type Operation } from "../utils/hookedFileSystem.js"
import { pngOfSize } from "../utils/images.js"
import { assertDiskError, assertNothingIn, diskError, layerChanged, logging, scopedWays, ways } from "./disks.js"

/** An image of two writes. */
const image = pngOfSize(2_500_000)

/** Passes time until all retries of a removal are over; each of them also waits for the disk. */
const passRetries = (logged: ReadonlyArray<string>) =>
  Effect.zipRight(TestClock.adjust("1 second"), TestServices.provideLive(Effect.sleep(1))).pipe(
    Effect.repeat({ until: () => logged.length > 0 }),
    Effect.zipRight(TestClock.adjust("10 seconds"))
  )

const allWays = Object.entries(ways)

const codes: ReadonlyArray<readonly [Operation, nth: number, code: string]> = [
  ["open", 1, "ENOSPC"],
  ["open", 1, "EROFS"],
  ["open", 1, "EACCES"],
  ["open", 1, "EMFILE"],
  ["open", 1, "ENOENT"],
  ["writeAll", 1, "ENOSPC"],
  ["writeAll", 2, "EDQUOT"],
  ["writeAll", 2, "EFBIG"],
  ["writeAll", 2, "EIO"],
  ["close", 1, "EDQUOT"],
  ["close", 1, "EIO"],
  ["access", 1, "ENOENT"],
  ["access", 1, "ESTALE"]
]

describe("a disk that fails", () => {
  it.scopedLive.each(codes)(
    "at %s number %i with %s fails every way to persist with that error, and leaves no file or descriptor",
    (
      [operation, nth, code]
    ) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        for (const [, persist] of allWays) {
          const scope = yield* Scope.make()
          const change = atNth(operation, nth, () => Effect.fail(diskError(operation, code)))
          const error = yield* persist(directory, image).pipe(
            Scope.extend(scope),
            Effect.flip,
            Effect.provide(layerChanged(change))
          )
          assertDiskError(error, [operation], code, directory)
          assertNothingIn(directory)
          yield* Scope.close(scope, Exit.void)
        }
      }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scoped.each(allWays)(
    "on the removal after a refusal of %s does not hide the refusal, and is logged once",
    ([, persist]) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const logged: Array<string> = []
        const error = yield* persist(directory, image.subarray(0, -5)).pipe(
          Effect.scoped,
          Effect.flip,
          Effect.provide([
            layerChanged((operation, run) => operation === "remove" ? Effect.fail(diskError("remove", "EBUSY")) : run),
            logging(logged)
          ])
        )
        assert.strictEqual(error._tag, "MalformedImage")
        yield* passRetries(logged)
        assert.lengthOf(logged, 1)
        assert.include(logged[0], "EBUSY")
        assert.include(logged[0], directory, "the log names the directory")
        assert.include(logged[0], directory)
      }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scoped.each(scopedWays)(
    "on the removal of the image of %s lets the scope close, and is logged once",
    ([, persist]) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const logged: Array<string> = []
        const exit = yield* persist(directory, image).pipe(
          Effect.scoped,
          Effect.exit,
          Effect.provide([
            layerChanged((operation, run) => operation === "remove" ? Effect.fail(diskError("remove", "EBUSY")) : run),
            logging(logged)
          ])
        )
        assert.isTrue(Exit.isSuccess(exit))
        yield* passRetries(logged)
        assert.lengthOf(logged, 1)
        assert.include(logged[0], "EBUSY")
        assert.include(logged[0], directory, "the log names the directory")
        assert.include(logged[0], directory)
        assert.lengthOf(list(directory), 1)
      }).pipe(Effect.provide(NodeContext.layer))
  )
})

/** Writes the bytes in pieces, and waits before each. */
const inPieces = (wait: Effect.Effect<void>) => (file: FileSystem.File, bytes: Uint8Array) => {
  const size = 300_000
  const writeFrom = (at: number): Effect.Effect<void, PlatformError> =>
    at >= bytes.length
      ? Effect.void
      : wait.pipe(
        Effect.zipRight(Effect.suspend(() => file.writeAll(bytes.subarray(at, at + size)))),
        Effect.zipRight(writeFrom(at + size))
      )
  return writeFrom(0)
}

describe("a disk that is slow", () => {
  it.scopedLive.each(allWays)(
    "stores the bytes of %s in pieces, and other fibers run meanwhile",
    ([, persist]) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        let ticks = 0
        yield* Effect.forkScoped(
          Effect.forever(Effect.zipRight(Effect.sleep("1 millis"), Effect.sync(() => ticks++)))
        )
        // Each write waits for two ticks of another fiber: a blocked event loop would hang the test.
        let waits = 0
        const others = Effect.suspend(() => {
          const until = ticks + 2
          waits++
          return Effect.repeat(turn, { until: () => ticks >= until })
        })
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const path = yield* persist(directory, image).pipe(
          Scope.extend(scope),
          Effect.provide(layerChanged((_, run) => Effect.zipRight(others, run), { writeAll: inPieces(others) }))
        )
        assert.isTrue(readFileSync(path).equals(image))
        assert.isAtLeast(waits, 12)
        assert.isAtLeast(ticks, 2 * waits)
      }).pipe(Effect.provide(NodeContext.layer))
  )

  const inFlight: ReadonlyArray<readonly [Operation, nth: number]> = [
    ["open", 1],
    ["writeAll", 1],
    ["writeAll", 2],
    ["close", 1],
    ["access", 1]
  ]
  const cases = allWays.flatMap(([way, persist]) =>
    inFlight.map(([operation, nth]) => [way, operation, nth, persist] as const)
  )

  it.scopedLive.each(cases)(
    "delays the interruption of %s until its %s number %i ends, and then leaves no file or descriptor",
    ([, operation, nth, persist]) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const started = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        let ended = false
        const change = atNth(operation, nth, (run) =>
          Deferred.succeed(started, undefined).pipe(
            Effect.zipRight(Deferred.await(gate)),
            Effect.zipRight(run),
            Effect.zipLeft(Effect.sync(() => {
              ended = true
            }))
          ))
        const scope = yield* Scope.make()
        const fiber = yield* Effect.fork(
          persist(directory, image).pipe(Scope.extend(scope), Effect.provide(layerChanged(change)))
        )
        yield* Deferred.await(started)
        const interruption = yield* Effect.fork(Fiber.interrupt(fiber))
        yield* Effect.repeatN(turn, 20)
        assert.isTrue(Option.isNone(yield* Fiber.poll(interruption)), "the interruption waits")
        assert.isFalse(ended)
        yield* Deferred.succeed(gate, undefined)
        const exit = yield* Fiber.join(interruption)
        assert.isTrue(ended)
        assert.isTrue(Exit.isInterrupted(exit))
        assertNothingIn(directory)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(openIn(directory), [])
      }).pipe(Effect.provide(NodeContext.layer))
  )
})
