import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { writeFileSync } from "node:fs"
import * as InitImageSpool from "../../src/InitImageSpool.js"
import {
  type Head,
  InitImageStore,
  layerObjects,
  type Objects,
  type Options,
  type Store,
  StoreError
} from "../../src/InitImageStore.js"
import { atEachStep, interruptAt } from "../utils/interruptions.js"
import { bytesOf, makeImage } from "../utils/stored.js"

interface Stored {
  readonly bytes: Uint8Array
  readonly description: string
  modifiedAt: number
}

const minutes = 60_000

/** Objects in memory. Only what an implementation must have. */
const makeMemory = () => {
  const stored = new Map<string, Stored>()
  const headOf = ({ bytes, description, modifiedAt }: Stored): Head => ({
    bytes: bytes.length,
    description,
    modifiedAt,
    now: Date.now()
  })
  const find = (key: string) => Effect.sync(() => Option.fromNullable(stored.get(key)))
  const objects: Objects = {
    put: (key, body, description) =>
      Effect.map(Stream.runCollect(body.stream), (chunks) => {
        const bytes = Buffer.concat([...chunks])
        assert.strictEqual(bytes.length, body.bytes)
        const modifiedAt = Date.now()
        stored.set(key, { bytes, description, modifiedAt })
        return modifiedAt
      }),
    head: (key) => Effect.map(find(key), Option.map(headOf)),
    get: (key) =>
      Effect.map(find(key), Option.map((found) => ({ ...headOf(found), stream: Stream.succeed(found.bytes) }))),
    remove: (key) => Effect.sync(() => void stored.delete(key)),
    list: Stream.suspend(() => Stream.fromIterable(Array.from(stored, ([key, found]) => ({ ...headOf(found), key }))))
  }
  return {
    stored,
    objects,
    keys: () => [...stored.keys()].toSorted(),
    /** Makes an object older, in milliseconds. */
    age: (key: string, by: number): void => {
      const found = stored.get(key)
      if (found !== undefined) found.modifiedAt -= by
    }
  }
}

const withStore = <E, R>(
  objects: Objects,
  run: (store: Store) => Effect.Effect<void, E, R>,
  options?: Options
) =>
  Effect.flatMap(InitImageStore, (store) => Effect.scoped(run(store))).pipe(
    Effect.provide(layerObjects(Effect.succeed(objects), options)),
    Effect.provide(NodeContext.layer)
  )

const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ _tag }) => _tag)

const reasonOf = <A, R>(effect: Effect.Effect<A, StoreError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("a store over objects of the caller's", () => {
  it.live("fetches an image as it was put, and removes it", () => {
    const { keys, objects } = makeMemory()
    return withStore(
      objects,
      Effect.fnUntraced(function*(store) {
        const image = yield* makeImage(2_000_000, { fill: 7, name: "a.png" })
        const reference = yield* store.put(image)
        assert.deepStrictEqual(keys(), [reference.key])
        const fetched = yield* store.fetchScoped(reference)
        assert.deepStrictEqual({ ...fetched, path: "" }, { ...image, path: "" })
        assert.isTrue(Buffer.from(yield* bytesOf(fetched)).equals(yield* bytesOf(image)))
        yield* store.remove(reference)
        yield* store.remove(reference)
        assert.strictEqual(yield* tagOf(store.fetchScoped(reference)), "ImageGone")
        const scoped = yield* Effect.scoped(store.putScoped(image))
        assert.strictEqual(yield* tagOf(store.fetchScoped(scoped)), "ImageGone")
        assert.deepStrictEqual(keys(), [])
      })
    )
  })

  it.live("has at most one image of a name, records its use, and removes it", () => {
    const { age, keys, objects, stored } = makeMemory()
    return withStore(
      objects,
      Effect.fnUntraced(function*({ fetchScoped, named }) {
        const first = yield* named.put("a", yield* makeImage(1000, { fill: 1 }))
        const second = yield* named.put("a", yield* makeImage(2000, { fill: 2, name: "second.png" }))
        assert.deepStrictEqual(keys(), [second.key])
        assert.strictEqual(yield* tagOf(fetchScoped(first)), "ImageChanged")
        age(second.key, 59 * minutes)
        const got = Option.getOrThrow(yield* named.get("a"))
        assert.strictEqual(got.displayName, "second.png")
        assert.strictEqual((yield* fetchScoped(got)).bytes, 2000)
        assert.deepStrictEqual(keys(), [second.key, `${second.key}.used`])
        assert.strictEqual(stored.get(`${second.key}.used`)?.bytes.length, 0)
        yield* named.remove("a")
        assert.isTrue(Option.isNone(yield* named.get("a")))
        assert.deepStrictEqual(keys(), [])
      })
    )
  })

  it.live("sweeps what has expired, and what objects were left incomplete", () => {
    const { age, keys, objects } = makeMemory()
    const ages: Array<number> = []
    const sweepParts = (age: number) => Effect.sync(() => ages.push(age) + 2)
    const put = Effect.fnUntraced(function*(store: Store) {
      const [old, young] = yield* Effect.all([store.put(yield* makeImage(1000)), store.put(yield* makeImage(1000))])
      yield* store.named.put("idle", yield* makeImage(1000))
      yield* objects.put("another-library's", { bytes: 0, sha256: "", mime: "", stream: Stream.empty }, "")
      for (const key of keys()) if (key !== young.key) age(key, 60 * minutes)
      return { old, young }
    })
    return Effect.gen(function*() {
      yield* withStore(
        objects,
        Effect.fnUntraced(function*(store) {
          const { young } = yield* put(store)
          assert.strictEqual(yield* store.sweep, 2)
          assert.deepStrictEqual(keys(), ["another-library's", young.key].toSorted())
          yield* store.remove(young)
        })
      )
      yield* withStore(
        { ...objects, sweepParts },
        Effect.fnUntraced(function*(store) {
          assert.strictEqual(yield* store.sweep, 3)
          assert.deepStrictEqual(ages, [30 * minutes])
        }),
        { timeToLive: "30 minutes" }
      )
    })
  })

  it.live("leaves nothing when putScoped is interrupted at any of its steps", () =>
    Effect.gen(function*() {
      const image = yield* makeImage(1000)
      const steps = yield* atEachStep((at) => {
        const { keys, objects } = makeMemory()
        return Effect.gen(function*() {
          const { isReached } = yield* Effect.flatMap(
            InitImageStore,
            (store) => interruptAt(at, Effect.scoped(store.putScoped(image)))
          ).pipe(Effect.provide(layerObjects(Effect.succeed(objects))))
          assert.deepStrictEqual(keys(), [], `step ${at}`)
          return isReached
        })
      })
      assert.isAbove(steps, 50)
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)), 60_000)

  it.live("removes an image that was stored after the interruption, before the objects are released", () => {
    const { keys, objects } = makeMemory()
    const events: Array<string> = []
    const slow: Objects = {
      ...objects,
      put: (key, body, description) =>
        Effect.zipRight(
          Effect.zipRight(Stream.runDrain(body.stream), Effect.sync(() => events.push("read"))),
          Effect.uninterruptible(Effect.delay(objects.put(key, body, description), "100 millis"))
        ),
      remove: (key) => Effect.tap(objects.remove(key), () => events.push("removed"))
    }
    const acquired = Effect.acquireRelease(Effect.succeed(slow), () => Effect.sync(() => events.push("released")))
    return Effect.gen(function*() {
      const image = yield* makeImage(1000)
      yield* Effect.gen(function*() {
        const store = yield* InitImageStore
        const fiber = yield* Effect.fork(store.put(image))
        yield* Effect.repeat(Effect.sleep("5 millis"), { until: () => events.length > 0 })
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(events, ["read"], "the interruption returns at once")
      }).pipe(Effect.provide(layerObjects(acquired)))
      assert.deepStrictEqual(events, ["read", "removed", "released"])
      assert.deepStrictEqual(keys(), [])
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))
  })

  it.live("tries again what is unavailable, and nothing else", () => {
    const { keys, objects } = makeMemory()
    let reason: StoreError["reason"] = "Unavailable"
    let calls: Array<StoreError["operation"]> = []
    let failures = 0
    const flaky = <A, R>(operation: StoreError["operation"], effect: Effect.Effect<A, StoreError, R>) =>
      Effect.suspend(() => {
        calls.push(operation)
        return failures-- > 0 ? Effect.fail(new StoreError({ operation, reason })) : effect
      })
    const broken: Objects = {
      put: (key, body, description) => flaky("put", objects.put(key, body, description)),
      head: (key) => flaky("get", objects.head(key)),
      get: (key) => flaky("get", objects.get(key)),
      remove: (key) => flaky("remove", objects.remove(key)),
      list: objects.list
    }
    const failing = <A, E, R>(times: number, effect: Effect.Effect<A, E, R>) =>
      Effect.suspend(() => {
        failures = times
        calls = []
        return effect
      })
    return withStore(
      broken,
      Effect.fnUntraced(function*(store) {
        const image = yield* makeImage(1000)
        const reference = yield* failing(1, store.put(image))
        assert.deepStrictEqual(calls, ["put", "put"])
        assert.strictEqual((yield* failing(1, store.fetchScoped(reference))).bytes, 1000)
        yield* store.named.put("a", image)
        assert.isTrue(Option.isSome(yield* failing(1, store.named.get("a"))))
        assert.deepStrictEqual(calls, ["get", "get"])
        yield* store.named.remove("a")
        yield* failing(1, store.remove(reference))
        assert.deepStrictEqual(calls, ["remove", "remove"])
        assert.strictEqual(yield* reasonOf(failing(9, store.put(image))), "Unavailable")
        assert.deepStrictEqual(calls, ["put", "put", "put", "put", "put"])
        reason = "Denied"
        assert.strictEqual(yield* reasonOf(failing(1, store.put(image))), "Denied")
        assert.deepStrictEqual(calls, ["put"])
        assert.deepStrictEqual(keys(), [])
      })
    )
  })

  it.live("gives no last chunk of a file that has changed since its SHA-256 was taken", () => {
    const { keys, objects } = makeMemory()
    let given = 0
    const counting: Objects = {
      ...objects,
      put: (key, body, description) => {
        const stream = Stream.tap(body.stream, (chunk) =>
          Effect.sync(() => {
            given += chunk.length
          }))
        return objects.put(key, { ...body, stream }, description)
      }
    }
    return withStore(
      counting,
      Effect.fnUntraced(function*(store) {
        const image = yield* InitImageSpool.withSha256(makeImage(1_000_000, { fill: 1 }))
        writeFileSync(image.path, yield* bytesOf(yield* makeImage(1_000_000, { fill: 2 })))
        assert.strictEqual(yield* reasonOf(store.put(image)), "FileUnreadable")
        assert.isBelow(given, 1_000_000)
        assert.deepStrictEqual(keys(), [])
      })
    )
  })

  it.live("has URLs if the objects have", () => {
    const { objects } = makeMemory()
    const asked: Array<readonly [string, number]> = []
    const presign = (key: string, seconds: number) =>
      Effect.sync(() => {
        asked.push([key, seconds])
        return Redacted.make("https://example.com")
      })
    return Effect.gen(function*() {
      yield* withStore(
        objects,
        Effect.fnUntraced(function*(store) {
          const reference = yield* store.put(yield* makeImage(1000))
          assert.strictEqual(yield* reasonOf(store.presign(reference, "1 hour")), "Unsupported")
        })
      )
      yield* withStore(
        { ...objects, presign },
        Effect.fnUntraced(function*(store) {
          const reference = yield* store.put(yield* makeImage(1000))
          assert.strictEqual(Redacted.value(yield* store.presign(reference, "7 days")), "https://example.com")
          for (const duration of ["8 days", "500 millis", 0, -1] as const) {
            const exit = yield* Effect.exit(store.presign(reference, duration))
            assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause), String(duration))
          }
          assert.deepStrictEqual(asked, [[reference.key, 7 * 24 * 60 * 60]])
        })
      )
    })
  })

  it.live("fails as the effect of its objects does", () =>
    Effect.gen(function*() {
      const layer = layerObjects(Effect.fail("no bucket"))
      assert.strictEqual(yield* Effect.flip(Effect.scoped(Layer.build(layer))), "no bucket")
    }).pipe(Effect.provide(NodeContext.layer)))
})
