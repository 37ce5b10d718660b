/** Concurrent clients of shared slots and one spool, and the invariants of the spool. */
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { InitImageLimits, InitImageSpool, type SessionInitImage } from "../../src/index.js"
import { list, makeDirectory, openIn } from "./directory.js"
import { CurrentGate, type Gate, turn } from "./gates.js"
import { numbered, numberIn, smallestNumbered } from "./numberedImages.js"
import { outcomeOf, persist } from "./numberedOperations.js"
import { leaseOf, openSlot } from "./slots.js"
import type { Image, Limits, Stage, Told } from "./spoolModel.js"
import { figures, idle, openScoped } from "./spools.js"

const slotCount = 3
const slot = FastCheck.nat(slotCount - 1)
const turns = FastCheck.nat(12)

const errand = FastCheck.oneof(
  {
    weight: 6,
    arbitrary: FastCheck.record({
      type: FastCheck.constant("persist" as const),
      slot: FastCheck.option(slot, { nil: undefined, freq: 3 }),
      how: FastCheck.constantFrom<Image["how"]>("payload", "stream", "frame"),
      content: FastCheck.constantFrom<Image["content"]>(
        "image",
        "image",
        "image",
        "image",
        "none",
        "refused",
        "broken"
      ),
      size: FastCheck.integer({ min: smallestNumbered, max: 1100 }),
      /** Event-loop turns between two steps. */
      turns,
      trouble: FastCheck.option(FastCheck.constantFrom("source", "open", "write", "kept"), { nil: undefined }),
      told: FastCheck.constantFrom<Told>("none", "fail", "die"),
      interruptAfter: FastCheck.option(FastCheck.nat(60), { nil: undefined })
    })
  },
  {
    weight: 3,
    arbitrary: FastCheck.record({
      type: FastCheck.constant("lease" as const),
      slot,
      turns: FastCheck.nat(60),
      forGood: FastCheck.constantFrom(false, false, false, true)
    })
  },
  {
    weight: 2,
    arbitrary: FastCheck.record({ type: FastCheck.constant("remove" as const) })
  },
  { weight: 1, arbitrary: FastCheck.record({ type: FastCheck.constant("clear" as const), slot }) },
  { weight: 1, arbitrary: FastCheck.record({ type: FastCheck.constant("close" as const), slot }) }
)
type Errand = typeof errand extends FastCheck.Arbitrary<infer A> ? A : never

/** The operations of each client. */
export const errands = FastCheck.array(FastCheck.array(errand, { maxLength: 24, size: "max" }), {
  maxLength: 8,
  size: "max"
})

const allowed = (errand: Errand & { readonly type: "persist" }, limits: Limits): ReadonlyArray<string> => {
  const { content, how, interruptAfter, size, slot, told, trouble } = errand
  const most = Math.min(limits.maxBytes, limits.maxBytesInFlight, limits.maxBytesKept)
  return [
    ...(content === "image" && size <= most ? ["image"] : []),
    ...(content === "none" ? ["none"] : ["Busy 10"]),
    ...(content !== "none" && limits.onFull === "fail" ? ["Busy 1"] : []),
    ...(content === "refused" ? ["InvalidMime"] : []),
    ...(content === "broken" ? ["MalformedImage"] : []),
    ...(size > most ? [`TooLarge ${most}`, `TooLarge ${limits.maxBytes}`] : []),
    ...(trouble === "open" || trouble === "write" ? ["SystemError"] : []),
    ...(how !== "payload" && (trouble === "source" || trouble === "kept")
      ? [told === "none" ? "none" : told === "fail" ? "told" : "Die"]
      : []),
    // The close of its slot interrupts a set.
    ...(interruptAfter !== undefined || slot !== undefined ? ["Interrupted"] : [])
  ]
}

const pause = (turns: number) => Effect.repeatN(turn, turns)

const isWhole = (image: SessionInitImage.SessionInitImage): void => {
  const real = readFileSync(image.path)
  assert.deepStrictEqual(real, Buffer.from(numbered(numberIn(real) ?? -1, image.bytes)))
}

const bytesIn = (directory: string): number =>
  readdirSync(directory).filter((name) => name !== "heartbeat").reduce(
    (sum, name) => sum + (statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0),
    0
  )

/** Runs all clients concurrently. */
export const run = Effect.fnUntraced(function*(limits: Limits, all: ReadonlyArray<ReadonlyArray<Errand>>) {
  const parent = yield* makeDirectory
  // A short staleAfter runs the spool's own sweeps during the test.
  const spool = yield* openScoped(InitImageSpool.make({ ...limits, directory: parent, staleAfter: "100 millis" }))
  const directory = (yield* spool.value.directory) ?? ""
  const slots = yield* Effect.forEach(Array.from({ length: slotCount }), () => openSlot)
  const given: Array<SessionInitImage.SessionInitImage> = []
  const leases: Array<Effect.Effect.Success<ReturnType<typeof leaseOf>>> = []
  let number = 0

  const look = Effect.map(figures, ({ bytes, files, inFlight, waiting }) => {
    assert.isTrue(inFlight >= 0 && inFlight <= limits.maxBytesInFlight, `${inFlight} bytes in flight`)
    assert.isTrue(bytes >= 0 && bytes <= limits.maxBytesKept, `${bytes} bytes kept`)
    assert.isTrue(files >= 0 && files <= limits.maxFilesKept, `${files} files kept`)
    assert.isTrue(waiting >= 0 && (waiting === 0 || limits.onFull === "wait"), `${waiting} waiting`)
    assert.isAtMost(bytesIn(directory), inFlight + bytes)
  })

  const gateOf = ({ told, trouble, turns }: Errand & { readonly type: "persist" }): Gate => ({
    stop: (stage: Stage) =>
      Effect.zipRight(pause(turns), look).pipe(
        Effect.as(stage !== trouble ? "go" : stage === "open" || stage === "write" ? "fault" : told)
      )
  })

  const go = Effect.fnUntraced(function*(errand: Errand) {
    switch (errand.type) {
      case "persist": {
        const gate = gateOf(errand)
        const slot = errand.slot === undefined ? undefined : slots[errand.slot]?.slot
        const fiber = yield* persist({ ...errand, number: ++number, elsewhere: false }, slot, gate, {}).pipe(
          Effect.provideService(CurrentGate, gate),
          Effect.fork
        )
        if (errand.interruptAfter !== undefined) {
          yield* pause(errand.interruptAfter)
          yield* Fiber.interrupt(fiber)
        }
        const exit = yield* Fiber.await(fiber)
        const why = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
        assert.include(allowed(errand, limits), outcomeOf(exit), why)
        if (Exit.isSuccess(exit) && slot === undefined) given.push(...Option.toArray(exit.value))
        return
      }
      case "lease": {
        for (const { slot } of slots.slice(errand.slot, errand.slot + 1)) {
          const lease = yield* leaseOf(slot)
          for (let i = 0; i <= errand.turns; i += 10) {
            Option.map(lease.image, isWhole)
            yield* pause(Math.min(errand.turns, 10))
          }
          if (errand.forGood) leases.push(lease)
          else yield* lease.release
        }
        return
      }
      case "remove": {
        for (const { path } of given.splice(0, 1)) rmSync(path)
        return
      }
      case "clear":
        return yield* Effect.forEach(slots.slice(errand.slot, errand.slot + 1), ({ slot }) => slot.clear)
      case "close": {
        const [closing] = slots.splice(errand.slot, 1, yield* openSlot)
        return yield* closing?.end ?? Effect.void
      }
    }
  })

  yield* Effect.forEach(
    all,
    (errands) => Effect.forEach(errands, (errand) => Effect.zip(go(errand), look), { discard: true }),
    { concurrency: "unbounded", discard: true }
  ).pipe(
    Effect.provideService(InitImageSpool.InitImageSpool, spool.value),
    InitImageLimits.withMaxBytes(limits.maxBytes)
  )

  const current = yield* Effect.forEach(slots, ({ slot }) => Effect.scoped(slot.lease))
  const held = [...current, ...leases.map(({ image }) => image)].flatMap(Option.toArray)
  for (const image of [...held, ...given]) isWhole(image)
  const kept = new Map([...held, ...given].map((image) => [image.path, image.bytes]))
  assert.lengthOf(list(directory), kept.size + 1)
  const gauges = {
    ...idle,
    bytes: [...kept.values()].reduce((a, b) => a + b, 0),
    files: kept.size
  }
  // The spool notices removed files at its next look.
  yield* Effect.repeat(Effect.zipRight(Effect.sleep(1), figures), {
    until: ({ files }) => files <= gauges.files,
    times: 5000
  })
  const { swept: _, ...real } = yield* figures
  assert.deepStrictEqual(real, gauges)

  yield* Effect.forEach(slots, ({ end }) => end)
  for (const { release } of leases) yield* release
  assert.lengthOf(list(directory), given.length + 1)
  yield* spool.end
  const { swept: __, ...left } = yield* figures
  assert.deepStrictEqual(left, idle)
  assert.deepStrictEqual(list(parent), [])
  assert.deepStrictEqual(openIn(parent), [])
}, Effect.scoped)
