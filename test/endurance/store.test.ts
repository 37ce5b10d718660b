import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { InitImageStore, type Store } from "../../src/InitImageStore.js"
import type * as cephs from "../utils/ceph.js"
import { isInstalled, useCeph } from "../utils/cephTests.js"
import { list, makeDirectory } from "../utils/directory.js"
import { type Fault, make as makeProxy } from "../utils/faultyProxy.js"
import { leaveOut } from "../utils/peers.js"
import * as programs from "../utils/programs.js"
import * as s3 from "../utils/s3.js"
import { bytesOf, makeImage } from "../utils/stored.js"
import { forCase } from "./random.js"

const seed = Number(process.env["SEED"] ?? 1)

if (!isInstalled) leaveOut("Ceph", "a store leaves nothing after interruptions, kills and faults")

describe.skipIf(!isInstalled)("a store in Ceph", () => {
  const { bucket, keys, server, uploads } = useCeph()

  const withStore = <E, R>(
    run: (store: Store) => Effect.Effect<void, E, R>,
    options: Parameters<typeof s3.layer>[1] & Partial<cephs.Ceph> = {}
  ) =>
    Effect.flatMap(InitImageStore, run).pipe(
      Effect.scoped,
      Effect.provide(Layer.suspend(() => s3.layer({ ...server(), ...options }, options)))
    )

  const isEmpty = Effect.map(Effect.all([keys, uploads]), (left) => assert.deepStrictEqual(left, [[], []]))

  it.live("leaves nothing after 100 interruptions at random moments", () =>
    Effect.gen(function*() {
      const random = forCase(seed, "interruptions", 0)
      let interrupted = 0
      yield* withStore(Effect.fnUntraced(function*(store) {
        const image = yield* makeImage(3_000_000)
        const once = (i: number) => i % 2 === 0 ? Effect.scoped(store.putScoped(image)) : store.put(image)
        const finish = Effect.flatMap(store.put(image), store.remove)
        yield* finish
        const [duration] = yield* Effect.timed(Effect.all([finish, finish, finish], { concurrency: 3 }))
        yield* Effect.iterate(0, {
          while: () => interrupted < 100,
          body: (i) =>
            Effect.forEach(
              [i, i + 1, i + 2],
              Effect.fnUntraced(function*(i) {
                const fiber = yield* Effect.fork(once(i))
                yield* Effect.sleep(random.below(Duration.toMillis(duration)))
                const exit = yield* Fiber.interrupt(fiber)
                if (Exit.isInterrupted(exit)) interrupted += 1
                else if (Exit.isSuccess(exit)) yield* store.remove(exit.value)
              }),
              { concurrency: "unbounded", discard: true }
            ).pipe(Effect.as(i + 3))
        })
      }))
      yield* isEmpty
    }))

  it.live("holds only whole images after 20 kills, which one sweep removes", () =>
    Effect.gen(function*() {
      const random = forCase(seed, "kills", 0)
      const program = yield* programs.compile(join(import.meta.dirname, "store/child.ts"))
      for (let i = 0; i < 20; i++) {
        yield* Effect.promise(async () => {
          const child = spawn(process.execPath, [program, JSON.stringify(server())], {
            stdio: ["ignore", "pipe", "inherit"]
          })
          const exit = once(child, "exit")
          await once(child.stdout, "data")
          await new Promise((resolve) => setTimeout(resolve, random.below(300)))
          child.kill("SIGKILL")
          await exit
        })
      }
      yield* Effect.sleep("1 second")
      const stored = yield* keys
      assert.isAbove(stored.length, 20)
      for (const key of stored) {
        const { bytes } = yield* Effect.promise(() => bucket().read(key))
        assert.strictEqual(bytes.length, 2_000_000)
        assert.isTrue(bytes.subarray(100).every((byte) => byte === 5))
      }
      yield* Effect.sleep("2 seconds")
      yield* withStore(
        Effect.fnUntraced(function*(store) {
          assert.strictEqual(yield* store.sweep, stored.length)
          assert.strictEqual(yield* store.sweep, 0)
        }),
        { timeToLive: "1 second" }
      )
      yield* isEmpty
    }).pipe(Effect.scoped))

  it.live("gives the right image or a typed error in 300 requests through a faulty proxy, and leaves nothing", () =>
    Effect.gen(function*() {
      const random = forCase(seed, "faults", 0)
      const faults: ReadonlyArray<Fault> = [
        "cutRequest",
        "loseResponse",
        "cutResponse",
        "slow",
        "stall",
        500,
        503,
        429
      ]
      let requests = 0
      const removals = new Map<string | undefined, number>()
      const endpoint = yield* makeProxy(server().endpoint, ({ method, url }) => {
        requests += 1
        const fault = random.chance(0.6) ? random.pick(faults) : "pass"
        if (method !== "DELETE") return fault
        // A removal is tried five times, and then left to a sweep.
        const tries = (removals.get(url) ?? 0) + 1
        removals.set(url, tries)
        return tries < 5 ? fault : "pass"
      })
      const outcomes = new Map<string, number>()
      const count = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      const directory = yield* makeDirectory
      yield* withStore(
        Effect.fnUntraced(function*(store) {
          const images = yield* Effect.forEach([1, 2, 3], (fill) => makeImage(300_000 * fill, { fill }))
          const expected = yield* Effect.forEach(images, bytesOf)
          const round = (i: number) =>
            Effect.scoped(Effect.gen(function*() {
              const n = i % images.length
              const image = images[n] ?? (yield* Effect.dieMessage("no image"))
              const reference = yield* store.putScoped(image)
              const fetched = yield* store.fetchScoped(reference, { directory })
              assert.isTrue(Buffer.from(yield* bytesOf(fetched)).equals(expected[n] ?? new Uint8Array()))
              yield* store.named.put(`name ${i}`, image)
              const named = Option.getOrThrow(yield* store.named.get(`name ${i}`))
              assert.strictEqual((yield* store.fetchScoped(named, { directory })).bytes, image.bytes)
            }))
          yield* Effect.iterate(0, {
            while: () => requests < 300,
            body: (i) =>
              Effect.forEach(
                [i, i + 1, i + 2],
                (i) =>
                  Effect.map(Effect.either(round(i)), (result) => {
                    if (Either.isRight(result)) return count("right")
                    assert.strictEqual(result.left._tag, "StoreError")
                    return count(result.left._tag === "StoreError" ? result.left.reason : result.left._tag)
                  }).pipe(Effect.zipRight(Effect.ignore(Effect.retry(store.named.remove(`name ${i}`), { times: 9 })))),
                { concurrency: "unbounded", discard: true }
              ).pipe(Effect.as(i + 3))
          })
        }),
        { endpoint, timeout: "1 second" }
      )
      assert.deepStrictEqual(list(directory), [])
      assert.isAbove(outcomes.get("right") ?? 0, 10)
      process.stdout.write(`${requests} requests: ${JSON.stringify([...outcomes])}\n`)
      yield* isEmpty
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.live("refuses every change of a byte and every truncation of an object", () =>
    withStore(Effect.fnUntraced(function*(store) {
      const directory = yield* makeDirectory
      const image = yield* makeImage(160, { fill: 3 })
      const reference = yield* store.putScoped(image)
      const original = Uint8Array.from(yield* bytesOf(image))
      const changed = [
        ...Array.from(original, (_, at) => original.map((byte, i) => i === at ? byte ^ 1 : byte)),
        ...Array.from(original, (_, length) => original.slice(0, length))
      ]
      for (const bytes of changed) {
        yield* Effect.promise(() => bucket().write(`${s3.prefix}${reference.key}`, bytes))
        const { _tag } = yield* Effect.flip(store.fetchScoped(reference, { directory }))
        assert.include(["ImageChanged", "ContentMismatch", "MalformedImage"], _tag)
        assert.deepStrictEqual(list(directory), [])
      }
    })))

  it.live("sweeps more images than a listing shows at a time, and no others", () =>
    withStore(
      Effect.fnUntraced(function*(store) {
        const key = (i: number) => i.toString(16).padStart(32, "0")
        yield* Effect.forEach(
          Array.from({ length: 2100 }, (_, i) => `${s3.prefix}${key(i)}`).concat(`${s3.prefix}a + ü.txt`, key(1)),
          (key) => Effect.promise(() => bucket().write(encodeURI(key).replace("+", "%2B"), new Uint8Array(1))),
          { concurrency: 16, discard: true }
        )
        yield* Effect.sleep("3 seconds")
        assert.strictEqual(yield* store.sweep, 2100)
        assert.deepStrictEqual(yield* keys, [key(1), `${s3.prefix}a + ü.txt`])
      }),
      { timeToLive: "2 seconds" }
    ))
})
