import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Runtime from "effect/Runtime"
import * as crowd from "../utils/crowd.js"
import { layerGated } from "../utils/gates.js"
import { type Driver, make, slotCount } from "../utils/modelDriver.js"
import { smallestNumbered } from "../utils/numberedImages.js"
import type { Image, Limits, Stage, Told } from "../utils/spoolModel.js"
import { quiet } from "../utils/spools.js"

const numberFrom = (name: string, defaultValue: number): number => Number(process.env[name] ?? defaultValue)

/** `MODEL_SEED` repeats a run. */
const seed = numberFrom("MODEL_SEED", Date.now() % 0x7fffffff)
/** The number of commands at which chance leaves no expected outcome out. */
const standardCount = 10_000
/** The number of commands of all runs. */
const commandCount = numberFrom("MODEL_COMMANDS", standardCount)
const mostPerRun = 200

const noTimeout = 0
/** Shrinking a failure takes long; its seed repeats it elsewhere. */
const endOnFailure = process.env["CI"] !== undefined

const maxBytes = 1000

const limits: FastCheck.Arbitrary<Limits> = FastCheck.record({
  maxBytesInFlight: FastCheck.constantFrom(700, 1000, 1500, 2500),
  maxBytesKept: FastCheck.constantFrom(900, 1500, 2500, 4000),
  maxFilesKept: FastCheck.integer({ min: 2, max: 9 }),
  onFull: FastCheck.constantFrom("wait", "fail"),
  maxBytes: FastCheck.constant(maxBytes)
})

const one = FastCheck.nat(1000)
const slot = FastCheck.nat(slotCount - 1)
const command = FastCheck.oneof(
  {
    weight: 8,
    arbitrary: FastCheck.record({
      type: FastCheck.constant("start" as const),
      slot: FastCheck.option(slot, { nil: undefined, freq: 3 }),
      how: FastCheck.constantFrom<Image["how"]>("payload", "stream", "frame"),
      content: FastCheck.constantFrom<Image["content"]>(
        "image",
        "image",
        "image",
        "image",
        "image",
        "none",
        "refused",
        "broken"
      ),
      size: FastCheck.oneof(
        FastCheck.integer({ min: smallestNumbered, max: 400 }),
        FastCheck.integer({ min: smallestNumbered, max: maxBytes + 100 }),
        FastCheck.constantFrom(...[700, 900, maxBytes].flatMap((limit) => [limit, limit + 1, limit + 2]))
      ),
      elsewhere: FastCheck.constantFrom(false, false, false, true),
      hold: FastCheck.constantFrom<Stage | undefined>(
        undefined,
        undefined,
        undefined,
        "source",
        "open",
        "write",
        "kept"
      )
    })
  },
  {
    weight: 4,
    arbitrary: FastCheck.record({
      type: FastCheck.constant("tell" as const),
      one,
      told: FastCheck.constantFrom<Told>("go", "go", "fault", "none", "fail", "die"),
      toItsEnd: FastCheck.boolean()
    })
  },
  { weight: 2, arbitrary: FastCheck.record({ type: FastCheck.constant("interrupt" as const), one }) },
  { weight: 2, arbitrary: FastCheck.record({ type: FastCheck.constant("lease" as const), slot }) },
  { weight: 2, arbitrary: FastCheck.record({ type: FastCheck.constant("release" as const), one }) },
  {
    weight: 3,
    arbitrary: FastCheck.record({ type: FastCheck.constant("remove" as const), one })
  },
  { weight: 1, arbitrary: FastCheck.record({ type: FastCheck.constant("clear" as const), slot }) },
  { weight: 1, arbitrary: FastCheck.record({ type: FastCheck.constant("close" as const), slot }) }
)
type Command = typeof command extends FastCheck.Arbitrary<infer A> ? A : never

const pick = <A>(all: ReadonlyArray<A>, one: number): ReadonlyArray<A> => {
  const at = one % Math.max(1, all.length)
  return all.slice(at, at + 1)
}

/** The instructions that an operation accepts at each stage. */
const possible: Record<Stage, ReadonlyArray<Told>> = {
  waiting: [],
  source: ["go", "fail"],
  open: ["go", "fault"],
  write: ["go", "fault"],
  kept: ["go", "none", "fail", "die"],
  removing: []
}

/** Outcomes that every run of full length must produce. The rarest comes some 13 times in 10,000 commands. */
const expected = ["payload", "stream", "frame"].flatMap((how) =>
  ["image", "none", "Interrupted", "Busy 1", "Busy 10", "InvalidMime", "MalformedImage", "SystemError"].map((outcome) =>
    `${how} ${outcome}`
  )
)

const run = Effect.fnUntraced(function*(driver: Driver, command: Command, number: number) {
  switch (command.type) {
    case "start": {
      const { hold, type: _, ...image } = command
      return yield* driver.start({ ...image, number }, hold)
    }
    case "tell": {
      for (const running of pick(driver.running, command.one)) {
        const { stage } = running.operation
        if (stage !== undefined && possible[stage].includes(command.told)) yield* driver.tell(running, command.told)
        const next = running.operation.stage
        yield* driver.proceed(running, command.toItsEnd || next === "removing" ? undefined : next)
      }
      return
    }
    case "interrupt":
      return yield* Effect.forEach(pick(driver.running, command.one), driver.interrupt)
    case "lease":
      return yield* driver.lease(command.slot)
    case "release":
      return yield* driver.release(command.one % Math.max(1, driver.leases.length))
    case "remove":
      return yield* Effect.forEach(pick(driver.given, command.one), (file) => driver.remove(file))
    case "clear":
      return yield* driver.clear(command.slot)
    case "close":
      return yield* driver.close(command.slot)
  }
})

describe("slots on a spool with tight limits", () => {
  it.live(
    `agree with the model on files, leases, gauges and outcomes after each of ${commandCount} commands (MODEL_SEED=${seed})`,
    () =>
      Effect.gen(function*() {
        const runtime = yield* Effect.runtime<FileSystem.FileSystem | Path.Path>()
        const seen = new Set<string>()
        let done = 0
        let failed = false
        const property = FastCheck.asyncProperty(
          limits,
          FastCheck.array(command, { maxLength: mostPerRun, size: "max" }),
          FastCheck.boolean(),
          (limits, commands, leasesLast) =>
            Effect.gen(function*() {
              // Skips the remaining runs, but not those that shrink a failure.
              if (done >= commandCount && !failed) return
              const driver = yield* make(limits, seen)
              yield* Effect.gen(function*() {
                for (const [number, command] of commands.entries()) yield* run(driver, command, number)
                yield* driver.end(leasesLast)
              }).pipe(Effect.onError(() => {
                failed = true
                return driver.abandon
              }))
              done += commands.length
            }).pipe(Effect.scoped, Runtime.runPromise(runtime))
        )
        yield* Effect.promise(() => FastCheck.assert(property, { seed, numRuns: commandCount, endOnFailure }))
        assert.isAtLeast(done, commandCount)
        if (commandCount >= standardCount) assert.includeMembers([...seen], [...expected])
      }).pipe(Effect.provide(layerGated), Effect.provide(quiet)),
    noTimeout
  )

  it.live(
    `stay within their limits and lose no image under concurrent use (MODEL_SEED=${seed})`,
    () =>
      Effect.gen(function*() {
        const runtime = yield* Effect.runtime<FileSystem.FileSystem | Path.Path>()
        const property = FastCheck.asyncProperty(
          limits,
          crowd.errands,
          (limits, errands) => Runtime.runPromise(runtime)(crowd.run(limits, errands))
        )
        yield* Effect.promise(() =>
          FastCheck.assert(property, { seed, numRuns: Math.ceil(commandCount / 200), endOnFailure })
        )
      }).pipe(Effect.provide(layerGated), Effect.provide(quiet)),
    noTimeout
  )
})
