/** Does with real slots on a real spool what it does with the model, and compares the two. */
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

const turns = 4
/** In milliseconds. What has not come by then does not come; once that has been so, a failure is being made shorter. */
let patience = 20_000
const shortPatience = 500

const check = (real: Uint8Array, { image }: spoolModel.File): void =>
  assert.deepStrictEqual(Buffer.from(real), Buffer.from(numbered(image.number, image.size)))

/** Numbers of the images in a directory, -1 for files that are still empty. */
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
  // It is not to look by itself whether files that were given away are still there.
  const spool = yield* openScoped(InitImageSpool.make({ ...limits, directory: parent, staleAfter: "1 hour" }))
  const directory = (yield* spool.value.directory) ?? ""
  // Nor while its first look is still under way.
  for (let i = 0; i < 30; i++) yield* fs.stat(directory)

  const model = spoolModel.make(limits, slotCount)
  const slots = yield* Effect.forEach(Array.from({ length: slotCount }), () => openSlot)
  const running: Array<Running> = []
  const leases: Array<Effect.Effect.Success<ReturnType<typeof leaseOf>> & { held: spoolModel.Held | undefined }> = []
  /** Where what was given away is, by its number. */
  const paths = new Map<number, string>()

  /** Waits until all of these are where the model has them, and says where they are if that does not come. */
  const settleOf = Effect.fnUntraced(function*(some: ReadonlyArray<Running>) {
    const expected = {
      waiting: model.gauges().waiting,
      stages: some.map(({ operation: { outcome, stage } }) => stage ?? outcome)
    }
    const since = Date.now()
    for (;;) {
      const { waiting } = yield* figures
      const stages = some.map(({ exit, gate }) => exit === undefined ? gate.at() ?? "waiting" : outcomeOf(exit))
      if (waiting === expected.waiting && stages.every((stage, index) => stage === expected.stages[index])) break
      if (Date.now() - since > patience) {
        patience = shortPatience
        assert.fail(`${JSON.stringify({ waiting, stages })} where ${JSON.stringify(expected)} is expected`)
      }
      yield* turn
    }
    for (const ended of some.filter(({ operation }) => operation.stage === undefined)) {
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
    for (const [place, is] of [[directory, false], [elsewhere, true]] as const) {
      const there = expected.filter(({ image }) => image.elsewhere === is)
      assert.deepStrictEqual(
        numbersIn(place),
        there.map(({ image, written }) => written ? image.number : -1).toSorted((a, b) => a - b)
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

  /** Lets it go on, until it is where it is to be held, or waits, or has ended. */
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

  /** Tells what is being interrupted, and cannot be just now, to go on to where it can be. */
  const letEnd = Effect.fnUntraced(function*(one: Running, look: Effect.Effect<void>) {
    const held = one.operation.stage
    for (let i = 0; i < turns; i++) yield* turn
    model.tell(one.operation, "interrupt")
    if (held === "open" || held === "write") one.gate.tell("go")
    yield* look
    while (one.operation.stage !== undefined) {
      model.tell(one.operation, "go")
      one.gate.tell("go")
      yield* look
    }
  })

  const interrupt = Effect.fnUntraced(function*(one: Running) {
    // What another gave back may have been its turn, and its end.
    if (one.operation.stage === undefined) return
    yield* Fiber.interruptFork(one.fiber)
    yield* letEnd(one, settleAndCompare)
  })

  const close = Effect.fnUntraced(function*(index: number) {
    const own = running.filter(({ operation }) => operation.image.slot === index).toReversed()
    // Whether there is room for one that waits would depend on which file is removed first.
    if (model.gauges().waiting > 0) yield* Effect.forEach(own.splice(0), interrupt)
    const slot = slots[index]
    if (slot === undefined) return
    const closing = yield* Effect.fork(slot.end)
    // The next one may be interrupted before anybody looks.
    yield* Effect.forEach(own, (one) => letEnd(one, settleOf([one])))
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
    /** Of a file that was given away; the spool may be told, or is to notice by itself. */
    remove: Effect.fnUntraced(function*(file: spoolModel.File, tell: boolean) {
      const path = paths.get(file.image.number) ?? ""
      model.remove(file, tell)
      rmSync(path)
      if (tell) yield* spool.value.removed(path)
      yield* compare
    }),
    /** Holds nobody any more: the two have been found to differ. */
    abandon: Effect.sync(() => running.forEach(({ gate }) => gate.open())),
    /** Ends the spool too, and looks for whatever is left. */
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
