import { SystemError } from "@effect/platform/Error"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { type InitImageSlot, SessionInitImage } from "../../src/index.js"
import { makeDirectory, openIn } from "../utils/directory.js"
import { type Hook, layerHooked, type Operation } from "../utils/hookedFileSystem.js"
import { leaseOf, openSlot, payloadOfSize, sizeOf, sizes } from "../utils/slots.js"
import { eventually } from "../utils/webSocketClient.js"

/** Large enough to be written in several chunks. */
const large = 1_600_000

const noSpace = new SystemError({ module: "FileSystem", method: "any", reason: "Unknown", description: "ENOSPC" })

const quiet = Logger.replace(Logger.defaultLogger, Logger.none)

/** A file system hook that a test installs later, with the operations recorded since then. */
const makeHook = () => {
  const operations: Array<Operation> = []
  let current: ((at: number) => Hook) | undefined
  const hook: Hook = (operation, run) =>
    Effect.suspend(() => {
      operations.push(operation)
      return current === undefined ? run : current(operations.length)(operation, run)
    })
  const from = (next: (at: number) => Hook) => {
    operations.length = 0
    current = next
  }
  return { layer: layerHooked(hook), operations, from, off: () => current = undefined }
}

/** Suspends one operation before it runs until the latch opens. */
const makeLatch = (at: (operation: Operation, at: number) => boolean) =>
  Effect.gen(function*() {
    const reached = yield* Deferred.make<void>()
    const open = yield* Deferred.make<void>()
    const hook = (count: number): Hook => (operation, run) =>
      at(operation, count)
        ? Effect.zipRight(
          Effect.zipRight(Deferred.succeed(reached, undefined), Effect.uninterruptible(Deferred.await(open))),
          run
        )
        : run
    return { hook, reached: Deferred.await(reached), open: Deferred.succeed(open, undefined) }
  })

/** Asserts that a fiber is still suspended, directly or through another one, at a latch. */
const assertWaiting = Effect.fnUntraced(function*(fiber: Fiber.RuntimeFiber<unknown, unknown>) {
  yield* Effect.sleep("20 millis")
  assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
})

/** A slot with a current image of 200 bytes and a leased previous image of 100 bytes. */
const prepare = (directory: string) =>
  Effect.gen(function*() {
    const { end, slot } = yield* openSlot
    yield* slot.set(payloadOfSize(100), { directory })
    const lease = yield* leaseOf(slot)
    yield* slot.set(payloadOfSize(200), { directory })
    const untouched = Effect.gen(function*() {
      assert.deepStrictEqual(sizes(directory), [100, 200])
      assert.deepStrictEqual(openIn(directory), [])
      assert.strictEqual(sizeOf(lease.image), 100)
      assert.strictEqual(sizeOf(yield* Effect.scoped(slot.lease)), 200)
      // The reference counts are intact: another set removes the current image only.
      yield* slot.set(payloadOfSize(300), { directory })
      assert.deepStrictEqual(sizes(directory), [100, 300])
      yield* lease.release
      assert.deepStrictEqual(sizes(directory), [300])
      yield* end
      assert.deepStrictEqual(sizes(directory), [])
    })
    return { slot, end, lease, untouched }
  })

/** The operations of a set that replaces an image, before the one that removes the previous file. */
const persisting: ReadonlyArray<Operation> = await Effect.runPromise(
  Effect.scoped(Effect.gen(function*() {
    const { from, layer, operations } = makeHook()
    const directory = yield* Effect.provide(makeDirectory, layer)
    const { slot } = yield* Effect.provide(prepare(directory), layer)
    from(() => (_, run) => run)
    yield* slot.set(payloadOfSize(large), { directory })
    return operations.slice(0, operations.indexOf("remove"))
  }))
)
const cases = persisting.map((operation, index) => [operation, index + 1] as const)

describe("InitImageSlot with disk errors", () => {
  it("performs the operations that these tests interrupt", () => {
    assert.deepStrictEqual([...new Set(persisting)], ["open", "writeAll", "close"])
    assert.isAbove(persisting.length, 3)
  })

  for (const dies of [false, true]) {
    it.scopedLive.each(cases)(
      `keeps the current image and every lease when the %s (operation %i) of a set ${dies ? "dies" : "fails"}`,
      ([, at]) => {
        const { from, layer, off } = makeHook()
        return Effect.gen(function*() {
          const directory = yield* makeDirectory
          const { slot, untouched } = yield* prepare(directory)
          from((count) => (operation, run) =>
            count !== at ? run : dies || operation === "close" ? Effect.die(noSpace) : Effect.zipRight(
              run,
              // Every file operation may fail with a `PlatformError`, but a hook's error type is generic.
              Effect.fail(noSpace as never)
            )
          )
          assert.isTrue(Exit.isFailure(yield* Effect.exit(slot.set(payloadOfSize(large), { directory }))))
          off()
          yield* untouched
        }).pipe(Effect.provide([layer, quiet]))
      }
    )
  }

  it.scopedLive.each(cases)(
    "keeps the current image and every lease when a set is interrupted in its %s (operation %i), and writes no more",
    ([operation, at]) => {
      const { from, layer, off, operations } = makeHook()
      return Effect.gen(function*() {
        const directory = yield* makeDirectory
        const { slot, untouched } = yield* prepare(directory)
        const latch = yield* makeLatch((_, count) => count === at)
        from(latch.hook)
        const set = yield* Effect.fork(slot.set(payloadOfSize(large), { directory }))
        yield* latch.reached
        const interruption = yield* Effect.fork(Fiber.interrupt(set))
        yield* assertWaiting(interruption)
        yield* latch.open
        assert.isTrue(Exit.isInterrupted(yield* Fiber.join(interruption)))
        assert.strictEqual(operations[at - 1], operation)
        assert.deepStrictEqual(
          operations.slice(at),
          operation === "close" ? ["remove"] : ["close", "remove"]
        )
        off()
        yield* untouched
      }).pipe(Effect.provide(layer))
    }
  )

  it.scopedLive("keeps the current image when a set is interrupted before its first operation", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot, untouched } = yield* prepare(directory)
      const set = yield* Effect.fork(slot.set(payloadOfSize(large), { directory }))
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(set)))
      yield* untouched
    }).pipe(Effect.provide(makeHook().layer)))

  it.scopedLive("holds the next image when the previous file cannot be removed", () => {
    const { from, layer, off } = makeHook()
    return Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { slot } = yield* prepare(directory)
      from(() => (operation, run) => operation === "remove" ? Effect.die("the disk is on fire") : run)
      yield* slot.set(payloadOfSize(300), { directory })
      yield* slot.clear
      yield* slot.set(payloadOfSize(400), { directory })
      assert.strictEqual(sizeOf(yield* Effect.scoped(slot.lease)), 400)
      assert.deepStrictEqual(sizes(directory), [100, 200, 300, 400])
      off()
      yield* slot.clear
      // The first one is leased.
      yield* eventually(() => assert.deepStrictEqual(sizes(directory), [100]))
    }).pipe(Effect.provide([layer, quiet]))
  })

  const removing: Record<
    string,
    (slot: InitImageSlot.InitImageSlot, end: Effect.Effect<void>, directory: string) => Effect.Effect<unknown, unknown>
  > = {
    "set": (slot, _, directory) => slot.set(payloadOfSize(300), { directory }),
    "setWith": (slot) => slot.setWith(Effect.succeedNone),
    "clear": (slot) => slot.clear,
    "the slot's end": (_, end) => end
  }

  it.scopedLive.each(Object.entries(removing))(
    "removes the current image before %s ends, interrupted or not",
    ([name, remove]) => {
      const { from, layer } = makeHook()
      return Effect.gen(function*() {
        for (const interrupted of [false, true]) {
          const directory = yield* makeDirectory
          const { end, lease, slot } = yield* prepare(directory)
          yield* lease.release
          const latch = yield* makeLatch((operation) => operation === "remove")
          from(latch.hook)
          const fiber = yield* Effect.fork(remove(slot, end, directory))
          yield* latch.reached
          const last = yield* Effect.fork(interrupted ? Fiber.interrupt(fiber) : Fiber.await(fiber))
          yield* assertWaiting(last)
          yield* latch.open
          yield* Fiber.join(last)
          assert.deepStrictEqual(sizes(directory), name === "set" ? [300] : [])
          assert.strictEqual(sizeOf(yield* Effect.scoped(slot.lease)), name === "set" ? 300 : undefined)
        }
      }).pipe(Effect.provide(layer))
    }
  )

  it.scopedLive("releases all resources of an image even when the releasing call is interrupted", () =>
    Effect.gen(function*() {
      const released: Array<string> = []
      for (const name of ["setWith", "clear", "the slot's end"]) {
        const directory = yield* makeDirectory
        const { end, slot } = yield* openSlot
        const latch = yield* makeLatch(() => true)
        yield* slot.setWith(Effect.gen(function*() {
          const scope = yield* Effect.scope
          yield* Scope.addFinalizer(scope, Effect.sync(() => released.push(name)))
          const image = yield* SessionInitImage.persistScoped(payloadOfSize(100), { directory })
          yield* Scope.addFinalizer(scope, latch.hook(0)("remove", Effect.void))
          return image
        }))
        const fiber = yield* Effect.fork(removing[name]?.(slot, end, directory) ?? Effect.void)
        yield* latch.reached
        const interruption = yield* Effect.fork(Fiber.interrupt(fiber))
        yield* assertWaiting(interruption)
        yield* latch.open
        yield* Fiber.join(interruption)
        assert.deepStrictEqual(sizes(directory), [])
        assert.include(released, name)
      }
    }).pipe(Effect.provide(makeHook().layer)))

  it.scopedLive("removes a replaced file before its last lease ends, interrupted or not", () => {
    const { from, layer } = makeHook()
    return Effect.gen(function*() {
      for (const interrupted of [false, true]) {
        const directory = yield* makeDirectory
        const { lease } = yield* prepare(directory)
        const latch = yield* makeLatch((operation) => operation === "remove")
        from(latch.hook)
        const fiber = yield* Effect.fork(lease.release)
        yield* latch.reached
        const last = yield* Effect.fork(interrupted ? Fiber.interrupt(fiber) : Fiber.await(fiber))
        yield* assertWaiting(last)
        yield* latch.open
        yield* Fiber.join(last)
        assert.deepStrictEqual(sizes(directory), [200])
      }
    }).pipe(Effect.provide(layer))
  })
})

describe("closing the scope of an InitImageSlot", () => {
  it.scopedLive.each(cases)("interrupts a set in its %s (operation %i), and waits for its cleanup", ([, at]) => {
    const { from, layer, off, operations } = makeHook()
    return Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { end, lease, slot } = yield* prepare(directory)
      const latch = yield* makeLatch((_, count) => count === at)
      from(latch.hook)
      const set = yield* Effect.fork(slot.set(payloadOfSize(large), { directory }))
      yield* latch.reached
      const ending = yield* Effect.fork(end)
      yield* assertWaiting(ending)
      yield* latch.open
      yield* Fiber.join(ending)
      assert.deepStrictEqual(sizes(directory), [100])
      assert.notInclude(operations.slice(at), "writeAll")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(set)))
      off()
      assert.isTrue(Option.isNone(yield* slot.lease))
      yield* lease.release
      assert.deepStrictEqual(sizes(directory), [])
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("waits for an uninterruptible set, and lets no later set take effect", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { end, lease, slot } = yield* prepare(directory)
      const start = Effect.fnUntraced(function*(size: number) {
        const persisted = yield* Deferred.make<void>()
        const ready = yield* Deferred.make<void>()
        const persist = SessionInitImage.persistScoped(payloadOfSize(size), { directory }).pipe(
          Effect.tap(Effect.zipRight(Deferred.succeed(persisted, undefined), Deferred.await(ready)))
        )
        const fiber = yield* Effect.fork(Effect.uninterruptible(slot.setWith(persist)))
        yield* Deferred.await(persisted)
        return { fiber, finish: Effect.zipRight(Deferred.succeed(ready, undefined), Fiber.await(fiber)) }
      })
      const before = yield* start(300)
      const ending = yield* Effect.fork(end)
      yield* assertWaiting(ending)
      assert.strictEqual(sizeOf(yield* Effect.scoped(slot.lease)), 200)

      const late = yield* start(400)
      assert.isTrue(Exit.isSuccess(yield* before.finish))
      yield* Fiber.join(ending)
      assert.deepStrictEqual(sizes(directory), [100, 400])

      assert.isTrue(Exit.isInterrupted(yield* late.finish))
      assert.isTrue(Option.isNone(yield* Effect.scoped(slot.lease)))
      assert.deepStrictEqual(sizes(directory), [100])
      yield* lease.release
      assert.deepStrictEqual(sizes(directory), [])
    }).pipe(Effect.provide(makeHook().layer)))
})
