import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { type InitImageSlot, SessionInitImage } from "../../src/index.js"
import { list, makeDirectory } from "../utils/directory.js"
import { layerHooked } from "../utils/hookedFileSystem.js"
import { brokenOfSize, leaseOf, openSlot, payloadOfSize, sizeOf, sizes } from "../utils/slots.js"

const outcomes = ["image", "none", "fail", "die", "interrupt"] as const
type Outcome = (typeof outcomes)[number]

interface Running {
  readonly size: number
  readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
  /** Ends the set with the outcome and waits for its exit. */
  readonly finish: (outcome: Outcome) => Effect.Effect<Exit.Exit<unknown, unknown>>
}

/** Starts a set that writes its image and then waits for its outcome. */
const start = Effect.fnUntraced(function*(slot: InitImageSlot.InitImageSlot, directory: string, size: number) {
  const persisted = yield* Deferred.make<void>()
  const decision = yield* Deferred.make<Exclude<Outcome, "interrupt">>()
  const persist = Effect.gen(function*() {
    const image = yield* SessionInitImage.persistScoped(payloadOfSize(size), { directory })
    yield* Deferred.succeed(persisted, undefined)
    const outcome = yield* Deferred.await(decision)
    if (outcome === "fail") return yield* Effect.fail("refused")
    if (outcome === "die") return yield* Effect.die("broken")
    return outcome === "none" ? Option.none() : image
  })
  const fiber = yield* Effect.fork(slot.setWith(persist))
  // A set on a slot that has ended never writes an image.
  yield* Effect.raceFirst(Deferred.await(persisted), Fiber.await(fiber))
  const running: Running = {
    size,
    fiber,
    finish: (outcome) =>
      outcome === "interrupt"
        ? Fiber.interrupt(fiber)
        : Effect.zipRight(Deferred.succeed(decision, outcome), Fiber.await(fiber))
  }
  return running
})

const permutations = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] as const

const ascending = (sizes: ReadonlyArray<number>) => sizes.toSorted((a, b) => a - b)

describe("concurrent sets", () => {
  it.scopedLive.each(permutations)(
    "take effect in the order of their calls when they complete in the order %i, %i, %i",
    (order) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        for (const first of outcomes) {
          for (const second of outcomes) {
            for (const third of outcomes) {
              const { end, slot } = yield* openSlot
              yield* slot.set(payloadOfSize(100), { directory })
              const running = yield* Effect.forEach([200, 300, 400], (size) => start(slot, directory, size))

              let current = [100]
              let latest = -1
              const pending = new Set(running)
              for (const call of order) {
                const outcome = ([first, second, third] as const)[call]
                const set = running[call]
                assert(set !== undefined)
                const exit = yield* set.finish(outcome)
                assert.strictEqual(Exit.isSuccess(exit), outcome === "image" || outcome === "none")
                pending.delete(set)
                if (Exit.isSuccess(exit) && call > latest) {
                  latest = call
                  current = outcome === "image" ? [set.size] : []
                }
                assert.deepStrictEqual(
                  sizes(directory),
                  ascending([...current, ...[...pending].map(({ size }) => size)])
                )
                assert.strictEqual(sizeOf(yield* Effect.scoped(slot.lease)), current[0])
              }
              yield* end
              assert.deepStrictEqual(list(directory), [])
            }
          }
        }
      }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("do not wait for each other, and a superseded one returns its own image", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const opening = yield* Deferred.make<void>()
      const opened = yield* Deferred.make<void>()
      let opens = 0
      const layer = layerHooked((operation, run) => {
        if (operation !== "open" || ++opens > 1) return run
        return Deferred.succeed(opening, undefined).pipe(Effect.zipRight(Deferred.await(opened)), Effect.zipRight(run))
      })
      const { slot } = yield* Effect.provide(openSlot, layer)
      const early = yield* Effect.fork(slot.set(payloadOfSize(100), { directory }))
      yield* Deferred.await(opening)
      assert.strictEqual((yield* Effect.flip(slot.set(brokenOfSize(200), { directory })))._tag, "MalformedImage")
      const late = yield* slot.set(payloadOfSize(300), { directory })
      yield* Deferred.succeed(opened, undefined)
      assert.strictEqual(Option.getOrThrow(yield* Fiber.join(early)).bytes, 100)
      assert.deepStrictEqual(sizes(directory), [300])
      assert.deepStrictEqual(yield* slot.lease, late)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("are ordered by the time of their calls", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      const [early, late] = yield* Effect.all([start(slot, directory, 100), start(slot, directory, 200)], {
        concurrency: "unbounded"
      })
      yield* late.finish("image")
      yield* early.finish("image")
      assert.deepStrictEqual(sizes(directory), [200])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("are superseded by clear, which waits for no set", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      const early = yield* start(slot, directory, 100)
      yield* slot.clear
      const late = yield* start(slot, directory, 200)
      assert.isTrue(Exit.isSuccess(yield* early.finish("image")))
      assert.deepStrictEqual(sizes(directory), [200])
      assert.isTrue(Option.isNone(yield* Effect.scoped(slot.lease)))
      yield* late.finish("image")
      assert.strictEqual(sizeOf(yield* slot.lease), 200)
    }).pipe(Effect.provide(NodeContext.layer)))
})

const index = FastCheck.nat(20)
const command = FastCheck.oneof(
  FastCheck.record({ type: FastCheck.constant("set" as const) }),
  FastCheck.record({ type: FastCheck.constant("start" as const) }),
  FastCheck.record({
    type: FastCheck.constant("finish" as const),
    index,
    outcome: FastCheck.constantFrom(...outcomes)
  }),
  FastCheck.record({ type: FastCheck.constant("refuse" as const) }),
  FastCheck.record({ type: FastCheck.constant("lease" as const) }),
  FastCheck.record({ type: FastCheck.constant("release" as const), index }),
  FastCheck.record({ type: FastCheck.constant("clear" as const) })
)
const commands = FastCheck.record({
  before: FastCheck.array(command, { minLength: 10, maxLength: 40 }),
  after: FastCheck.array(command, { maxLength: 5 })
})
type Commands = typeof commands extends FastCheck.Arbitrary<infer A> ? A : never

/** Runs the commands against a slot and a model of its documentation, and compares them after each command. */
const check = Effect.fnUntraced(function*({ after, before }: Commands) {
  const directory = yield* makeDirectory
  const { end, slot } = yield* openSlot
  let calls = 0
  let ended = false
  let latest = 0
  let current: number | undefined
  const pending: Array<Running & { readonly call: number }> = []
  const leases: Array<Effect.Effect.Success<ReturnType<typeof leaseOf>> & { readonly size: number | undefined }> = []

  const apply = (call: number, size: number | undefined) => {
    if (call < latest) return
    latest = call
    current = size
  }
  const compare = Effect.gen(function*() {
    const kept = new Set([current, ...leases.map(({ size }) => size), ...pending.map(({ size }) => size)])
    kept.delete(undefined)
    assert.deepStrictEqual(sizes(directory), ascending([...kept].flatMap((size) => size ?? [])))
    for (const { image, size } of leases) {
      assert.strictEqual(sizeOf(image), size)
    }
    assert.strictEqual(sizeOf(yield* Effect.scoped(slot.lease)), current)
  })

  const run = Effect.fnUntraced(function*(command: (typeof before)[number]) {
    const size = 100 + ++calls
    switch (command.type) {
      case "set": {
        const exit = yield* Effect.exit(slot.set(payloadOfSize(size), { directory }))
        assert.strictEqual(Exit.isSuccess(exit), !ended)
        if (!ended) apply(calls, size)
        break
      }
      case "start": {
        const running = yield* start(slot, directory, size)
        if (!ended) pending.push({ ...running, call: calls })
        break
      }
      case "finish": {
        const [set] = pending.splice(command.index % Math.max(1, pending.length), 1)
        if (set === undefined) break
        const exit = yield* set.finish(command.outcome)
        if (Exit.isSuccess(exit)) apply(set.call, command.outcome === "image" ? set.size : undefined)
        break
      }
      case "refuse": {
        const exit = yield* Effect.exit(slot.set(brokenOfSize(size), { directory }))
        assert.strictEqual(Exit.isInterrupted(exit), ended)
        assert.isTrue(Exit.isFailure(exit))
        break
      }
      case "lease": {
        leases.push({ ...(yield* leaseOf(slot)), size: current })
        break
      }
      case "release": {
        const [lease] = leases.splice(command.index % Math.max(1, leases.length), 1)
        if (lease !== undefined) yield* lease.release
        break
      }
      case "clear": {
        yield* slot.clear
        apply(calls, undefined)
        break
      }
    }
    yield* compare
  })

  yield* Effect.forEach(before, run)
  yield* end
  ended = true
  current = undefined
  for (const { fiber } of pending.splice(0)) {
    assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
  }
  yield* compare
  yield* Effect.forEach(after, run)
  for (const { release } of leases.splice(0)) {
    yield* release
  }
  assert.deepStrictEqual(list(directory), [])
}, Effect.scoped)

describe("a model of InitImageSlot", () => {
  it.live.prop(
    "agrees with the slot on every file and every lease after each command",
    [commands],
    ([commands]) => check(commands).pipe(Effect.provide(NodeContext.layer)),
    { fastCheck: { numRuns: 60 } }
  )
})
