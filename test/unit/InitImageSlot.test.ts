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

  it.scopedLive("holds what was set last, and no file else", () =>
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

  it.scopedLive("removes the last image only when the next is whole", () => {
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

  it.scopedLive("keeps its image through a set that is refused, and says what is wrong", () =>
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

  it.scopedLive("is empty after clear, and after a set that brings no image", () =>
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
    "leaves a leased file to its leases through %s",
    (what) =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const { end, slot } = yield* openSlot
        yield* slot.set(payloadOfSize(100), { directory })
        const early = yield* leaseOf(slot)
        yield* early.release
        assert.deepStrictEqual(sizes(directory), [100])

        const leases = [yield* leaseOf(slot), yield* leaseOf(slot)] as const
        yield* what === "set" ? slot.set(payloadOfSize(200), { directory }) : what === "clear" ? slot.clear : end
        const left = what === "set" ? [200] : []
        for (const lease of leases) {
          assert.strictEqual(sizeOf(lease.image), 100)
          assert.deepStrictEqual(sizes(directory), [100, ...left])
          yield* lease.release
        }
        assert.deepStrictEqual(sizes(directory), left)
        yield* end
        assert.deepStrictEqual(sizes(directory), [])
      }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("takes nothing and gives nothing once it has ended", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { end, slot } = yield* openSlot
      yield* slot.set(payloadOfSize(100), { directory })
      yield* end
      assert.deepStrictEqual(sizes(directory), [])
      let begun = false
      const begin = Effect.sync(() => {
        begun = true
        return Option.none()
      })
      for (const set of [slot.set(payloadOfSize(200), { directory }), slot.setWith(begin)]) {
        assert.isTrue(Exit.isInterrupted(yield* Effect.exit(set)))
        assert.isTrue(Exit.isInterrupted(yield* Effect.exit(Effect.uninterruptible(set))))
      }
      assert.isFalse(begun)
      yield* slot.clear
      assert.isTrue(Option.isNone(yield* slot.lease))
      assert.deepStrictEqual(sizes(directory), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("can be used until it ends by what ends before it", () =>
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

  it.scopedLive("answers what an effect answers, and takes the image from it", () =>
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

  it.scopedLive("gives up all that an effect acquired along with its image, or at once where there is none", () =>
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

  it.scopedLive("logs what dies when it is given up, and goes on", () =>
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

  it.scopedLive("has the file system of its making, and the settings of it where the caller has none", () => {
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

  it.scopedLive("runs an effect as its caller would", () =>
    Effect.gen(function*() {
      const { slot } = yield* openSlot
      const ref = yield* FiberRef.make(0)
      yield* slot.setWith(Effect.zipRight(FiberRef.set(ref, 1), Effect.succeedNone))
      assert.strictEqual(yield* FiberRef.get(ref), 1)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("shows as spans that hold no contents", () =>
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

  it("asks for no more than it needs", () => {
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
    // @ts-expect-error there is no image in a number
    const wrong = (slot: InitImageSlot.InitImageSlot) => slot.setWith(Effect.succeed(1))
    expectTypeOf(wrong).toBeFunction()
  })
})

describe("slots by key in an RcMap", () => {
  const makeSlots = Effect.gen(function*() {
    const ended = yield* Deferred.make<void>()
    const slots = yield* RcMap.make({
      lookup: (_sessionId: string) =>
        Effect.zipRight(Effect.addFinalizer(() => Deferred.succeed(ended, undefined)), InitImageSlot.make),
      idleTimeToLive: "5 minutes"
    })
    return { slots, ended: Deferred.await(ended) }
  })

  it.scoped("keep their image until they have been idle for long enough", () =>
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

  it.scoped("leave a leased file to its lease when they expire", () =>
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
