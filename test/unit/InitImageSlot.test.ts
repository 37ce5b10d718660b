import * as NodeContext from "@effect/platform-node/NodeContext"
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as RcMap from "effect/RcMap"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { InitImageLimits, InitImageSlot, SessionInitImage } from "../../src/index.js"
import type { InitImageError } from "../../src/index.js"
import { makeDirectory } from "../utils/directory.js"
import { layerHooked } from "../utils/hookedFileSystem.js"
import { pngOfSize } from "../utils/images.js"
import { brokenOfSize, leaseOf, openSlot, payloadOfSize, sizeOf, sizes } from "../utils/slots.js"
import { withSpans } from "../utils/tracing.js"

describe("InitImageSlot", () => {
  it.scopedLive("is empty at first", () =>
    Effect.gen(function*() {
      const { slot } = yield* openSlot
      assert.isTrue(Option.isNone(yield* slot.lease))
      yield* slot.clear
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("keeps the file of the last set only", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      for (const size of [100, 200, 300]) {
        const image = yield* slot.set(payloadOfSize(size), { directory, prefix: "mine-" })
        assert.strictEqual(sizeOf(image), size)
        assert.deepStrictEqual(sizes(directory), [size])
        const leased = yield* Effect.scoped(slot.lease)
        assert.deepStrictEqual(leased, image)
        assert.include(Option.getOrThrow(leased).path, `${directory}/mine-`)
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("removes the previous image only after the next one is complete", () => {
    const atRemoval: Array<ReadonlyArray<number>> = []
    let directory = ""
    const layer = layerHooked((operation, run) => {
      if (operation === "remove") atRemoval.push(sizes(directory))
      return run
    })
    return Effect.gen(function*() {
      directory = yield* makeDirectory
      const { slot } = yield* openSlot
      yield* slot.set(payloadOfSize(100), { directory })
      yield* slot.set(payloadOfSize(200), { directory })
      assert.deepStrictEqual(atRemoval, [[100, 200]])
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("keeps the current image when a set is refused, and reports the error", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      yield* slot.set(payloadOfSize(100), { directory })
      for (const payload of [7, { mime: [] }, brokenOfSize(200), brokenOfSize(1_600_000)]) {
        const error = yield* Effect.flip(slot.set(payload, { directory }))
        assert.include(["InvalidPayload", "InvalidMime", "MalformedImage"], error._tag)
        assert.deepStrictEqual(sizes(directory), [100])
      }
      assert.strictEqual(sizeOf(yield* slot.lease), 100)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("is empty after clear, and after a set without an image", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      const sets = [null, undefined, false, 0, "", {}, []].map((none) => slot.set(none))
      for (const empty of [...sets, slot.setWith(Effect.succeedNone), Effect.as(slot.clear, Option.none())]) {
        yield* slot.set(payloadOfSize(100), { directory })
        assert.isTrue(Option.isNone(yield* empty))
        assert.deepStrictEqual(sizes(directory), [])
        assert.isTrue(Option.isNone(yield* Effect.scoped(slot.lease)))
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive.each(["set", "clear", "end"])(
    "keeps a leased file through %s until its last lease ends",
    (operation) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const { end, slot } = yield* openSlot
        yield* slot.set(payloadOfSize(100), { directory })
        const early = yield* leaseOf(slot)
        yield* early.release
        assert.deepStrictEqual(sizes(directory), [100])

        const leases = [yield* leaseOf(slot), yield* leaseOf(slot)] as const
        yield* operation === "set"
          ? slot.set(payloadOfSize(200), { directory })
          : operation === "clear"
          ? slot.clear
          : end
        const remaining = operation === "set" ? [200] : []
        for (const lease of leases) {
          assert.strictEqual(sizeOf(lease.image), 100)
          assert.deepStrictEqual(sizes(directory), [100, ...remaining])
          yield* lease.release
        }
        assert.deepStrictEqual(sizes(directory), remaining)
        yield* end
        assert.deepStrictEqual(sizes(directory), [])
      }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("interrupts a set and returns no lease after it has ended", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { end, slot } = yield* openSlot
      yield* slot.set(payloadOfSize(100), { directory })
      yield* end
      assert.deepStrictEqual(sizes(directory), [])
      let started = false
      const start = Effect.sync(() => {
        started = true
        return Option.none()
      })
      for (const set of [slot.set(payloadOfSize(200), { directory }), slot.setWith(start)]) {
        assert.isTrue(Exit.isInterrupted(yield* Effect.exit(set)))
        assert.isTrue(Exit.isInterrupted(yield* Effect.exit(Effect.uninterruptible(set))))
      }
      assert.isFalse(started)
      yield* slot.clear
      assert.isTrue(Option.isNone(yield* slot.lease))
      assert.deepStrictEqual(sizes(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("stays usable in finalizers that run before its own", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      let last: Option.Option<unknown> = Option.none()
      yield* Effect.scoped(Effect.gen(function*() {
        const slot = yield* InitImageSlot.make
        yield* Effect.addFinalizer(() =>
          Effect.map(Effect.orDie(slot.set(payloadOfSize(100), { directory })), (image) => {
            last = image
          })
        )
      }))
      assert.isTrue(Option.isSome(last))
      assert.deepStrictEqual(sizes(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("returns the result of an effect, and takes the image from it", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      const frame = Effect.map(
        SessionInitImage.persistScoped(payloadOfSize(100), { directory }),
        (image) => ({ message: "hello", image })
      )
      assert.strictEqual((yield* slot.setWith(frame)).message, "hello")
      assert.strictEqual(sizeOf(yield* Effect.scoped(slot.lease)), 100)

      const bytes = Stream.make(pngOfSize(200))
      const image = yield* slot.setWith(
        SessionInitImage.persistStreamScoped({ mime: "image/png" }, bytes, { directory })
      )
      assert.strictEqual(image.bytes, 200)
      assert.strictEqual(sizeOf(yield* Effect.scoped(slot.lease)), 200)

      assert.isTrue(Option.isNone((yield* slot.setWith(Effect.succeed({ image: Option.none() }))).image))
      assert.deepStrictEqual(sizes(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("takes a SessionInitImage for the image itself, even with an image property", () =>
    Effect.gen(function*() {
      class Annotated extends SessionInitImage.SessionInitImage {
        readonly image = "annotation"
      }
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      const image = yield* slot.setWith(
        Effect.map(
          SessionInitImage.persistScoped(payloadOfSize(100), { directory }),
          (image) => new Annotated(Option.getOrThrow(image))
        )
      )
      assert.strictEqual(Option.getOrThrow(yield* slot.lease), image)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("releases the resources of an effect with its image, or at once without an image", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      const log: Array<string> = []
      const acquiring = (name: string, payload: unknown) =>
        slot.setWith(Effect.zipRight(
          Effect.addFinalizer((exit) => Effect.sync(() => log.push(`${name} ${exit._tag}`))),
          SessionInitImage.persistScoped(payload, { directory })
        ))
      yield* acquiring("image", payloadOfSize(100))
      yield* Effect.exit(acquiring("broken", brokenOfSize(200)))
      assert.deepStrictEqual(log.splice(0), ["broken Failure"])
      yield* acquiring("none", null)
      assert.deepStrictEqual(log.toSorted(), ["image Success", "none Success"])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("logs a defect of a finalizer and continues", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      const logged: Array<unknown> = []
      const logger = Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => logged.push(message)))
      const fragile = (payload: unknown) =>
        slot.setWith(Effect.zipRight(
          Effect.addFinalizer(() => Effect.die("fragile")),
          SessionInitImage.persistScoped(payload, { directory })
        ))
      yield* fragile(payloadOfSize(100))
      yield* slot.set(payloadOfSize(200), { directory }).pipe(Effect.provide(logger))
      assert.lengthOf(logged, 1)
      const error = yield* Effect.flip(Effect.provide(fragile(brokenOfSize(300)), logger))
      assert.strictEqual(error._tag, "MalformedImage")
      assert.lengthOf(logged, 2)
      assert.strictEqual(sizeOf(yield* slot.lease), 200)
      assert.deepStrictEqual(sizes(directory), [200])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("uses the file system of make, and its settings where the caller has none", () => {
    let opened = 0
    const layer = layerHooked((operation, run) => {
      if (operation === "open") opened += 1
      return run
    })
    return Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot.pipe(Effect.provide(layer), InitImageLimits.withMaxBytes(150))
      yield* slot.set(payloadOfSize(100), { directory })
      assert.strictEqual(opened, 1)
      assert.strictEqual((yield* Effect.flip(slot.set(payloadOfSize(200), { directory })))._tag, "TooLarge")
      yield* slot.set(payloadOfSize(200), { directory }).pipe(InitImageLimits.withMaxBytes(250))
      assert.deepStrictEqual(sizes(directory), [200])
    }).pipe(Effect.provide(NodeContext.layer))
  })

  it.scopedLive("keeps the changes that an effect makes to FiberRefs", () =>
    Effect.gen(function*() {
      const { slot } = yield* openSlot
      const ref = yield* FiberRef.make(0)
      yield* slot.setWith(Effect.zipRight(FiberRef.set(ref, 1), Effect.succeedNone))
      assert.strictEqual(yield* FiberRef.get(ref), 1)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("creates spans without attributes", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      const spans = yield* slot.set(payloadOfSize(100), { directory }).pipe(
        Effect.zipRight(slot.lease),
        Effect.zipRight(slot.clear),
        Effect.zipRight(slot.setWith(Effect.succeedNone)),
        withSpans
      )
      const own = spans.filter(({ name }) => name.startsWith("InitImageSlot"))
      assert.deepStrictEqual(own.map(({ name }) => name), [
        "InitImageSlot.set",
        "InitImageSlot.lease",
        "InitImageSlot.clear",
        "InitImageSlot.setWith"
      ])
      assert.deepStrictEqual(own.flatMap(({ attributes }) => [...attributes]), [])
      const inner = spans.find(({ name }) => name === "SessionInitImage.persistScoped")
      assert.strictEqual(Option.getOrThrow(inner?.parent ?? Option.none()).spanId, own[0]?.spanId)
    }).pipe(Effect.provide(NodeContext.layer)))

  it("has exact types", () => {
    class Source {
      readonly _tag = "Source"
    }
    type Files = FileSystem.FileSystem | Path.Path
    expectTypeOf(InitImageSlot.make).toEqualTypeOf<
      Effect.Effect<InitImageSlot.InitImageSlot, never, Files | Scope.Scope>
    >()
    const uses = (
      slot: InitImageSlot.InitImageSlot,
      frame: Effect.Effect<
        { readonly message: unknown; readonly image: Option.Option<SessionInitImage.SessionInitImage> },
        Source,
        Files | Source | Scope.Scope
      >
    ) => [slot.set({}), slot.setWith(frame), slot.lease, slot.clear] as const
    expectTypeOf(uses).returns.toEqualTypeOf<
      readonly [
        Effect.Effect<
          Option.Option<SessionInitImage.SessionInitImage>,
          InitImageError.InitImageError | PlatformError
        >,
        Effect.Effect<Effect.Effect.Success<Parameters<typeof uses>[1]>, Source, Files | Source>,
        Effect.Effect<Option.Option<SessionInitImage.SessionInitImage>, never, Scope.Scope>,
        Effect.Effect<void>
      ]
    >()
    // @ts-expect-error a number holds no image
    const wrong = (slot: InitImageSlot.InitImageSlot) => slot.setWith(Effect.succeed(1))
    expectTypeOf(wrong).toBeFunction()
  })

  it.scopedLive("removes an owner's image when its scope closes, and keeps that of another user", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* openSlot
      const own = Effect.gen(function*() {
        const scope = yield* Effect.acquireRelease(Scope.make(), Scope.close)
        return { owned: yield* Scope.extend(slot.own, scope), end: Scope.close(scope, Exit.void) }
      })
      const size = Effect.scoped(Effect.map(slot.lease, sizeOf))
      const first = yield* own
      const second = yield* own
      yield* first.owned.set(payloadOfSize(100), { directory })
      assert.strictEqual(yield* size, 100)
      yield* second.owned.set(payloadOfSize(200), { directory })
      yield* first.end
      assert.strictEqual(yield* size, 200)
      yield* slot.set(payloadOfSize(300), { directory })
      yield* second.end
      assert.deepStrictEqual(sizes(directory), [300])
      assert.strictEqual(yield* size, 300)

      const third = yield* own
      yield* third.owned.set(payloadOfSize(400), { directory })
      yield* third.end
      assert.isUndefined(yield* size)
      yield* slot.set(payloadOfSize(500), { directory })
      yield* third.owned.set(payloadOfSize(600), { directory })
      assert.strictEqual(yield* size, 500)
    }).pipe(Effect.provide(NodeContext.layer)))
})

describe("keyed slots in an RcMap", () => {
  const makeSlots = Effect.gen(function*() {
    const ended = yield* Deferred.make<void>()
    const slots = yield* RcMap.make({
      lookup: (_sessionId: string) =>
        Effect.zipRight(Effect.addFinalizer(() => Deferred.succeed(ended, undefined)), InitImageSlot.make),
      idleTimeToLive: "5 minutes"
    })
    return { slots, ended: Deferred.await(ended) }
  })

  it.scoped("keep their image until they expire", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { ended, slots } = yield* makeSlots
      const set = (key: string, size: number) =>
        Effect.scoped(Effect.flatMap(RcMap.get(slots, key), (slot) => slot.set(payloadOfSize(size), { directory })))
      yield* set("a", 100)
      yield* TestClock.adjust("4 minutes")
      yield* set("b", 200)
      assert.deepStrictEqual(sizes(directory), [100, 200])
      yield* TestClock.adjust("1 minutes")
      yield* ended
      assert.deepStrictEqual(sizes(directory), [200])
      assert.deepStrictEqual(yield* RcMap.keys(slots), ["b"])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("keep a leased file until its lease ends when they expire", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { ended, slots } = yield* makeSlots
      const scope = yield* Effect.scope
      const lease = yield* Effect.scoped(Effect.gen(function*() {
        const slot = yield* RcMap.get(slots, "a")
        yield* slot.set(payloadOfSize(100), { directory })
        return yield* Scope.extend(leaseOf(slot), scope)
      }))
      yield* TestClock.adjust("5 minutes")
      yield* ended
      assert.deepStrictEqual(yield* RcMap.keys(slots), [])
      assert.strictEqual(sizeOf(lease.image), 100)
      yield* lease.release
      assert.deepStrictEqual(sizes(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))
})
