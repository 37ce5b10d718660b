import * as NodeContext from "@effect/platform-node/NodeContext"
import { SystemError } from "@effect/platform/Error"
import { assert, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { InitImageSlot } from "../../../../src/index.js"
import * as InitImageStore from "../../../../src/InitImageStore.js"
import * as storedSessions from "../../../../src/internal/http/storedSessions.js"
import { makeDirectory } from "../../../utils/directory.js"
import { numbered } from "../../../utils/references.js"
import { payloadOfSize, sizeOf } from "../../../utils/slots.js"
import { makeImage } from "../../../utils/stored.js"

/** The images of one session in memory, and a slot of it. */
const start = Effect.fnUntraced(function*(fetchScoped: InitImageStore.Store["fetchScoped"]) {
  const directory = yield* makeDirectory
  const state = { current: Option.none<InitImageStore.ImageReference>(), reads: 0, puts: 0 }
  const sessions = yield* storedSessions.make(
    {
      put: (_sessionId, image) =>
        Effect.sync(() => {
          state.puts += 1
          const reference = numbered(image.bytes)
          state.current = Option.some(reference)
          return reference
        }),
      current: () =>
        Effect.sync(() => {
          state.reads += 1
          return state.current
        }),
      clear: () =>
        Effect.sync(() => {
          state.current = Option.none()
        }),
      fetchScoped
    },
    InitImageSlot.makeWith,
    { directory }
  )
  const slot = yield* sessions.slot("a")
  return { state, slot, directory }
})

/** Fetches an image of the size that the reference tells, after the given failures. */
const fetchAfter =
  (failures: Array<InitImageStore.ImageGone | InitImageStore.ImageChanged>): InitImageStore.Store["fetchScoped"] =>
  ({ bytes }) =>
    Effect.suspend(() => {
      const failure = failures.shift()
      return Effect.zipRight(failure === undefined ? Effect.void : Effect.fail(failure), makeImage(bytes))
    })

/** The end of an effect that may wait between its attempts. */
const exitOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(Effect.exit(effect))
    yield* Effect.repeat(Effect.zipRight(TestClock.adjust("100 millis"), Effect.yieldNow()), { times: 30 })
    return yield* Fiber.join(fiber)
  })

it.scoped("a read starts again when the image has been replaced before its fetch has ended", () =>
  Effect.gen(function*() {
    const failures = [
      new InitImageStore.ImageGone(),
      new InitImageStore.ImageChanged({ reason: "Digest" }),
      new InitImageStore.ImageChanged({ reason: "Length" })
    ]
    const { slot, state } = yield* start(fetchAfter(failures))
    state.current = Option.some(numbered(1000))
    const exit = yield* exitOf(Effect.map(slot.lease, sizeOf))
    assert.deepStrictEqual(exit, Exit.succeed(1000))
    assert.strictEqual(state.reads, 4)
    assert.strictEqual(state.puts, 0)
  }).pipe(Effect.provide(NodeContext.layer)))

it.scoped("an image that is gone for good is none, and one that is damaged dies as storage trouble", () =>
  Effect.gen(function*() {
    const gone = yield* start(() => Effect.fail(new InitImageStore.ImageGone()))
    gone.state.current = Option.some(numbered(1000))
    assert.deepStrictEqual(yield* exitOf(Effect.map(gone.slot.lease, sizeOf)), Exit.succeed(undefined))

    const damaged = yield* start(() => Effect.fail(new InitImageStore.ImageChanged({ reason: "Digest" })))
    damaged.state.current = Option.some(numbered(1000))
    const exit = yield* exitOf(damaged.slot.lease)
    const defect = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.dieOption(exit.cause)) : undefined
    assert.isTrue(defect instanceof SystemError && defect.reason === "InvalidData")
  }).pipe(Effect.provide(NodeContext.layer)))

it.scoped("an owner uses its session until its scope closes", () =>
  Effect.gen(function*() {
    const { slot, state } = yield* start(fetchAfter([]))
    const scope = yield* Scope.make()
    const owned = yield* Scope.extend(slot.own, scope)
    yield* owned.set(payloadOfSize(1000))
    yield* TestClock.adjust("5 minutes")
    assert.strictEqual(state.reads, 10)
    yield* Scope.close(scope, Exit.void)
    assert.isTrue(Option.isNone(state.current))
    yield* TestClock.adjust("5 minutes")
    assert.strictEqual(state.reads, 10)
  }).pipe(Effect.provide(NodeContext.layer)))

it.scoped("an image that has been fetched is put again when it is set", () =>
  Effect.gen(function*() {
    const { slot, state } = yield* start(fetchAfter([]))
    state.current = Option.some(numbered(1000))
    const exit = yield* exitOf(Effect.scoped(Effect.gen(function*() {
      const fetched = Option.getOrThrow(yield* slot.lease)
      assert.strictEqual(state.puts, 0)
      yield* slot.setWith(Effect.succeed(fetched))
      assert.strictEqual(state.puts, 1)
    })))
    assert.isTrue(Exit.isSuccess(exit), String(exit))
  }).pipe(Effect.provide(NodeContext.layer)))
