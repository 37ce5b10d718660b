/** A session as an entity, on one runner in memory. */
import * as TestRunner from "@effect/cluster/TestRunner"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { InitImageApi } from "../../src/index.js"
import * as InitImageCluster from "../../src/InitImageCluster.js"
import * as InitImageStore from "../../src/InitImageStore.js"
import { list, makeDirectory } from "../utils/directory.js"
import { numbered, removing } from "../utils/references.js"
import { payloadOfSize, sizeOf } from "../utils/slots.js"
import { openScoped } from "../utils/spools.js"

/** Runs sessions, and answers their clients and the keys of the removed images. */
const start = (options?: InitImageCluster.Options) =>
  Effect.gen(function*() {
    const removed: Array<string> = []
    yield* Layer.build(Layer.provide(InitImageCluster.layerMemory(options), removing(removed)))
    const sessions = yield* InitImageCluster.client()
    // The runner takes its shards.
    yield* TestClock.adjust("1 second")
    return { removed, sessions }
  })

const isCurrent = Effect.fnUntraced(function*(session: InitImageCluster.SessionClient, expected: number | undefined) {
  const current: Option.Option<InitImageStore.ImageReference> = yield* session.current
  assert.strictEqual(Option.getOrUndefined(current)?.bytes, expected)
})

describe("InitImageCluster", () => {
  it.scoped("a session has the reference that was set last, and none after a clear", () =>
    Effect.gen(function*() {
      const { sessions } = yield* start()
      const session = sessions("a")
      yield* isCurrent(session, undefined)
      yield* session.set(numbered(1))
      yield* session.set(numbered(2))
      yield* sessions("b").set(numbered(3))
      assert.deepStrictEqual(Option.getOrThrow(yield* session.current), numbered(2))
      yield* session.clear()
      yield* isCurrent(session, undefined)
      yield* isCurrent(sessions("b"), 3)
    }).pipe(Effect.provide(TestRunner.layer)))

  it.scoped("a clear of one reference keeps another", () =>
    Effect.gen(function*() {
      const { sessions } = yield* start()
      const session = sessions("a")
      yield* session.set(numbered(1))
      yield* session.clear(numbered(2))
      yield* isCurrent(session, 1)
      yield* session.clear(numbered(1))
      yield* isCurrent(session, undefined)
    }).pipe(Effect.provide(TestRunner.layer)))

  it.scoped("a change that is delivered twice takes effect once", () =>
    Effect.gen(function*() {
      const { sessions } = yield* start()
      const entity = (yield* InitImageCluster.Session.client)("an entity")
      yield* entity.set({ changeId: "1", reference: numbered(1) })
      yield* entity.clear({ changeId: "2", only: Option.none() })
      yield* entity.set({ changeId: "3", reference: numbered(3) })
      yield* entity.set({ changeId: "1", reference: numbered(1) })
      yield* entity.clear({ changeId: "2", only: Option.none() })
      assert.strictEqual(Option.getOrThrow(yield* entity.current()).bytes, 3)
      yield* isCurrent(sessions("an entity"), undefined)
    }).pipe(Effect.provide(TestRunner.layer)))

  it.scoped("a replaced and a cleared image is removed after the grace, one that is current again is not", () =>
    Effect.gen(function*() {
      const { removed, sessions } = yield* start({ timeToLive: "1 day", grace: "1 minute" })
      const session = sessions("a")
      for (const n of [1, 2, 1, 3]) yield* session.set(numbered(n))
      yield* session.clear()
      yield* session.set(numbered(2))
      yield* TestClock.adjust("58 seconds")
      assert.deepStrictEqual(removed, [])
      yield* TestClock.adjust("11 seconds")
      assert.deepStrictEqual([...new Set(removed)].toSorted(), [numbered(1).key, numbered(3).key])
      yield* isCurrent(session, 2)
    }).pipe(Effect.provide(TestRunner.layer)))

  it.scoped("a session ends when it has not been used for its time to live, and a read is a use", () =>
    Effect.gen(function*() {
      const { removed, sessions } = yield* start({ timeToLive: "1 minute" })
      yield* sessions("a").set(numbered(1))
      yield* sessions("b").set(numbered(2))
      yield* TestClock.adjust("40 seconds")
      yield* isCurrent(sessions("a"), 1)
      yield* TestClock.adjust("40 seconds")
      yield* isCurrent(sessions("a"), 1)
      yield* isCurrent(sessions("b"), undefined)
      assert.deepStrictEqual(removed, [numbered(2).key])
    }).pipe(Effect.provide(TestRunner.layer)))

  it.scoped("a call that its runner has interrupted is sent again", () =>
    Effect.gen(function*() {
      let calls = 0
      yield* Layer.build(InitImageCluster.Session.toLayer({
        set: () => Effect.void,
        clear: () => Effect.interrupt,
        current: () => Effect.suspend(() => ++calls < 3 ? Effect.interrupt : Effect.succeedSome(numbered(calls)))
      }))
      const sessions = yield* InitImageCluster.client({ timeout: "10 seconds" })
      yield* TestClock.adjust("1 second")
      const read = yield* Effect.fork(isCurrent(sessions("a"), 3))
      const cleared = yield* Effect.fork(Effect.flip(sessions("a").clear()))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(read)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual((yield* Fiber.join(cleared)).reason, "Timeout")
    }).pipe(Effect.provide(TestRunner.layer)))

  it.scoped("a call fails after its timeout where no runner answers", () =>
    Effect.gen(function*() {
      const sessions = yield* InitImageCluster.client({ timeout: "10 seconds" })
      const call = yield* Effect.fork(Effect.flip(sessions("a").set(numbered(1))))
      yield* TestClock.adjust("10 seconds")
      const error = yield* Fiber.join(call)
      assert.deepStrictEqual({ ...error }, { _tag: "SessionUnavailable", reason: "Timeout" })
    }).pipe(Effect.provide(TestRunner.layer)))

  it.scopedLive("the API's sessions keep their images in the store and their references in the cluster", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const images = yield* makeDirectory
      const context = yield* Layer.build(
        Layer.merge(InitImageCluster.layerSessions({ directory: images }), InitImageCluster.layerMemory()).pipe(
          Layer.provide(InitImageStore.layerFileSystem({ directory }))
        )
      )
      const sessions = Context.get(context, InitImageApi.Sessions)
      const references = yield* InitImageCluster.client()
      const slot = yield* sessions.slot("a")
      const owner = yield* openScoped(slot.own)
      yield* owner.value.set(payloadOfSize(1000))
      yield* isCurrent(references("a"), 1000)
      yield* references("a").clear()
      assert.isTrue(Option.isNone(yield* slot.lease))
      yield* owner.value.set(payloadOfSize(2000))
      yield* owner.end
      yield* isCurrent(references("a"), undefined)
      const another = yield* openScoped(slot.own)
      yield* another.value.set(payloadOfSize(3000))
      yield* slot.set(payloadOfSize(4000))
      yield* another.end
      assert.strictEqual(sizeOf(yield* slot.lease), 4000)
      // Replaced images are kept for the grace.
      assert.lengthOf(list(directory), 4)
    }).pipe(Effect.provide([TestRunner.layer, NodeContext.layer])))

  it.effect("refuses options that make no sense", () =>
    Effect.gen(function*() {
      for (const options of [{ timeToLive: 0 }, { grace: "-1 minute" }, { removalInterval: Number.NaN }]) {
        // A program without types can give any value.
        const layer = InitImageCluster.layerMemory(options as InitImageCluster.Options)
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(Layer.provide(layer, removing([]))))).pipe(
          Effect.provide(TestRunner.layer)
        )
        assert.isTrue(exit._tag === "Failure" && String(exit.cause).includes("InitImageCluster.layerMemory"))
      }
    }))
})
