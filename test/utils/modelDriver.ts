/** Applies each command to real slots on a real spool and to the model, then compares the two. */
import * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { InitImageLimits, InitImageSpool, type SessionInitImage } from "../../src/index.js"
import { makeDirectory, openIn } from "./directory.js"
import { CurrentGate, type Lock, makeLock, turn } from "./gates.js"
import { numbered, numberIn } from "./numberedImages.js"
import { outcomeOf, persist } from "./numberedOperations.js"
import { leaseOf, openSlot } from "./slots.js"
import * as spoolModel from "./spoolModel.js"
import { figures, openScoped } from "./spools.js"

interface Running {
  readonly operation: spoolModel.Operation
  readonly gate: Lock
  readonly fiber: Fiber.RuntimeFiber<Option.Option<SessionInitImage.SessionInitImage>, unknown>
  exit: Exit.Exit<Option.Option<SessionInitImage.SessionInitImage>, unknown> | undefined
}

/** Turns of the event loop in which an interruption reaches its fiber. */
const interruptionTurns = 4
/** Time for the real operations to reach the stages of the model, in milliseconds. */
let settleTimeout = 20_000
/** Applies after the first timeout, while fast-check shrinks the counterexample. */
const shrinkingSettleTimeout = 500

const check = (real: Uint8Array, { image }: spoolModel.File): void =>
  assert.deepStrictEqual(Buffer.from(real), Buffer.from(numbered(image.number, image.size)))

/** The numbers of the images in a directory, ascending, with -1 for an empty file. */
const numbersIn = (directory: string): ReadonlyArray<number> =>
  readdirSync(directory).flatMap((name) =>
    name === "heartbeat" ? [] : numberIn(readFileSync(join(directory, name))) ?? -1
  ).toSorted((a, b) => a - b)

const slotCount = 4

export const make = Effect.fnUntraced(function*(limits: spoolModel.Limits, seen: Set<string>) {
  const fs = yield* FileSystem.FileSystem
  const files = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
  const parent = yield* makeDirectory
  const elsewhere = yield* makeDirectory
  // A long `staleAfter`, so that the spool does not check for removed files during the test.
  const spool = yield* openScoped(InitImageSpool.make({ ...limits, directory: parent, staleAfter: "1 hour" }))
  const directory = (yield* spool.value.directory) ?? ""
  // Waits for the sweep and the file check that the spool performs at its start.
  for (let i = 0; i < 30; i++) yield* fs.stat(directory)

  const model = spoolModel.make(limits, slotCount)
  const slots = yield* Effect.forEach(Array.from({ length: slotCount }), () => openSlot)
  const running: Array<Running> = []
  const leases: Array<Effect.Effect.Success<ReturnType<typeof leaseOf>> & { held: spoolModel.Held | undefined }> = []
  /** The paths of the files that the test owns, by image number. */
  const paths = new Map<number, string>()

  /** Waits until the operations have reached the stages of the model. Fails with both after the timeout. */
  const settleOf = Effect.fnUntraced(function*(operations: ReadonlyArray<Running>) {
    const expected = {
      waiting: model.gauges().waiting,
      stages: operations.map(({ operation: { outcome, stage } }) => stage ?? outcome)
    }
    const startedAt = Date.now()
    for (;;) {
      const { waiting } = yield* figures
      const stages = operations.map(({ exit, gate }) => exit === undefined ? gate.at() ?? "waiting" : outcomeOf(exit))
      if (waiting === expected.waiting && stages.every((stage, index) => stage === expected.stages[index])) break
      if (Date.now() - startedAt > settleTimeout) {
        settleTimeout = shrinkingSettleTimeout
        assert.fail(`expected ${JSON.stringify(expected)}, got ${JSON.stringify({ waiting, stages })}`)
      }
      yield* turn
    }
    for (const ended of operations.filter(({ operation }) => operation.stage === undefined)) {
      running.splice(running.indexOf(ended), 1)
      const { exit, operation } = ended
      seen.add(`${operation.image.how} ${operation.outcome}`)
      if (operation.outcome === "image" && operation.image.slot === undefined && exit?._tag === "Success") {
        paths.set(operation.image.number, Option.getOrThrow(exit.value).path)
      }
    }
  })

  const settle = Effect.suspend(() => settleOf([...running]))

  const compare = Effect.gen(function*() {
    const { bytes, files, inFlight, waiting } = yield* figures
    assert.deepStrictEqual({ inFlight, waiting, bytes, files }, model.gauges())
    const expected = [...model.files].filter(({ stale }) => !stale)
    for (const [place, isElsewhere] of [[directory, false], [elsewhere, true]] as const) {
      const files = expected.filter(({ image }) => image.elsewhere === isElsewhere)
      assert.deepStrictEqual(
        numbersIn(place),
        files.map(({ image, written }) => written ? image.number : -1).toSorted((a, b) => a - b)
      )
    }
    for (const file of model.given) check(readFileSync(paths.get(file.image.number) ?? ""), file)
    const current = yield* Effect.forEach(slots, ({ slot }) => Effect.scoped(slot.lease))
    const real = [...leases.map(({ image }) => image), ...current]
    const held = [...leases.map(({ held }) => held), ...model.slots.map(({ current }) => current)]
    for (const [index, image] of real.entries()) {
      const file = held[index]?.file
      assert.strictEqual(Option.isSome(image), file !== undefined)
      if (Option.isSome(image) && file !== undefined) check(readFileSync(image.value.path), file)
    }
    const writing = model.operations.filter(({ stage }) => stage === "write").length
    const open = [...openIn(parent), ...openIn(elsewhere)]
    assert.lengthOf(open, writing, open.join(" "))
  })

  const settleAndCompare = Effect.zipRight(settle, compare)

  const tell = Effect.fnUntraced(function*({ gate, operation }: Running, told: spoolModel.Told) {
    model.tell(operation, told)
    gate.tell(told)
    yield* settleAndCompare
  })

  /** Resumes an operation until it reaches `hold`, waits for admission or ends. */
  const proceed = Effect.fnUntraced(function*(one: Running, hold: spoolModel.Stage | undefined) {
    const { operation } = one
    while (operation.stage !== undefined && operation.stage !== "waiting" && operation.stage !== hold) {
      yield* tell(one, "go")
    }
  })

  const start = Effect.fnUntraced(function*(image: spoolModel.Image, hold: spoolModel.Stage | undefined) {
    const gate = makeLock()
    const operation = model.start(image)
    const slot = image.slot === undefined ? undefined : slots[image.slot]?.slot
    const fiber = yield* persist(image, slot, gate, image.elsewhere ? { directory: elsewhere } : {}).pipe(
      Effect.provideService(CurrentGate, gate),
      Effect.provideService(InitImageSpool.InitImageSpool, spool.value),
      InitImageLimits.withMaxBytes(limits.maxBytes),
      Effect.provide(files),
      Effect.fork
    )
    const one: Running = { operation, gate, fiber, exit: undefined }
    fiber.addObserver((exit) => {
      one.exit = exit
    })
    running.push(one)
    yield* settleAndCompare
    yield* proceed(one, hold)
  })

  /** Resumes an operation under interruption through its uninterruptible stages to its end, with checks in between. */
  const runToEnd = Effect.fnUntraced(function*(one: Running, verify: Effect.Effect<void>) {
    const held = one.operation.stage
    for (let i = 0; i < interruptionTurns; i++) yield* turn
    model.tell(one.operation, "interrupt")
    if (held === "open" || held === "write") one.gate.tell("go")
    yield* verify
    while (one.operation.stage !== undefined) {
      model.tell(one.operation, "go")
      one.gate.tell("go")
      yield* verify
    }
  })

  const interrupt = Effect.fnUntraced(function*(one: Running) {
    // A reservation released by another operation may have admitted this one and led to its end.
    if (one.operation.stage === undefined) return
    yield* Fiber.interruptFork(one.fiber)
    yield* runToEnd(one, settleAndCompare)
  })

  const close = Effect.fnUntraced(function*(index: number) {
    const own = running.filter(({ operation }) => operation.image.slot === index).toReversed()
    // Interrupted one by one: otherwise the order of removals decides which waiting operation is admitted.
    if (model.gauges().waiting > 0) yield* Effect.forEach(own.splice(0), interrupt)
    const slot = slots[index]
    if (slot === undefined) return
    const closing = yield* Effect.fork(slot.end)
    // Checks each operation alone: the next one may already be interrupted.
    yield* Effect.forEach(own, (one) => runToEnd(one, settleOf([one])))
    yield* Fiber.join(closing)
    yield* settle
    model.reopen(index)
    assert.strictEqual(outcomeOf(yield* Effect.exit(slot.slot.set({}))), "Interrupted")
    slots[index] = yield* openSlot
  })

  return {
    running,
    leases,
    given: model.given,
    start,
    tell,
    proceed,
    interrupt,
    close: (index: number) => Effect.zipRight(close(index), compare),
    clear: Effect.fnUntraced(function*(index: number) {
      model.clear(index)
      yield* Effect.forEach(slots.slice(index, index + 1), ({ slot }) => slot.clear)
      yield* compare
    }),
    lease: Effect.fnUntraced(function*(index: number) {
      for (const { slot } of slots.slice(index, index + 1)) {
        leases.push({ ...(yield* leaseOf(slot)), held: model.lease(index) })
      }
      yield* compare
    }),
    release: Effect.fnUntraced(function*(index: number) {
      for (const { held, release } of leases.splice(index, 1)) {
        model.release(held)
        yield* release
      }
      yield* compare
    }),
    /** Removes a file that the test owns. */
    remove: Effect.fnUntraced(function*(file: spoolModel.File) {
      const path = paths.get(file.image.number) ?? ""
      model.remove(file)
      rmSync(path)
      yield* compare
    }),
    /** Opens all gates, after a difference has been found. */
    abandon: Effect.sync(() => running.forEach(({ gate }) => gate.open())),
    /** Ends all operations, slots and the spool, then checks that no files, descriptors or counts remain. */
    end: Effect.fnUntraced(function*(leasesLast: boolean) {
      for (let one = running[0]; one !== undefined; one = running[0]) yield* interrupt(one)
      for (let index = 0; index < slotCount; index++) yield* close(index)
      yield* compare
      const release = Effect.suspend(() => Effect.forEach(leases.splice(0), ({ release }) => release))
      if (!leasesLast) yield* release
      for (const { image } of model.given.filter(({ image }) => image.elsewhere)) rmSync(paths.get(image.number) ?? "")
      yield* spool.end
      yield* release
      const { swept: _, ...gauges } = yield* figures
      assert.deepStrictEqual(gauges, { inFlight: 0, waiting: 0, bytes: 0, files: 0 })
      assert.isFalse(existsSync(directory))
      assert.deepStrictEqual([...readdirSync(parent), ...readdirSync(elsewhere)], [])
      assert.deepStrictEqual([...openIn(parent), ...openIn(elsewhere)], [])
    })
  }
})

export type Driver = Effect.Effect.Success<ReturnType<typeof make>>
export { slotCount }
