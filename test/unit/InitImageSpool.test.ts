import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as TestServices from "effect/TestServices"
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { InitImageError, InitImageSpool } from "../../src/index.js"
import { list, makeDirectory } from "../utils/directory.js"
import {
  collecting,
  figures,
  idle,
  imageName,
  isIdle,
  layerWith,
  makeDead,
  openScoped,
  quiet
} from "../utils/spools.js"

const write = (directory: string, bytes: number): string => {
  const path = join(directory, imageName())
  writeFileSync(path, new Uint8Array(bytes))
  return path
}

/** Waits on the real clock, for what the file system does. */
const until = (done: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.repeat(Effect.zipRight(TestServices.provideLive(Effect.sleep(1)), done), { until: (done) => done })

/** Lets time pass in small steps, and what is due at each of them be done to its end. */
const passTime = (millis: number, step: number, sleepers: number) =>
  Effect.gen(function*() {
    const asleep = until(Effect.map(TestClock.sleeps(), (sleeps) => Chunk.size(sleeps) === sleepers))
    yield* asleep
    for (let passed = 0; passed < millis; passed += step) {
      yield* TestClock.adjust(step)
      yield* asleep
    }
  })

describe("InitImageSpool", () => {
  it.effect("has metrics by the names that dashboards know, and tells what they are", () =>
    Effect.gen(function*() {
      yield* figures
      const keys = (yield* Metric.snapshot).map(({ metricKey }) => metricKey)
      for (const name of ["in_flight_bytes", "waiting", "kept_bytes", "kept_files", "swept_files"]) {
        const key = keys.find((key) => key.name === `session_init_image_spool_${name}`)
        assert.isTrue(Option.isSome(key?.description ?? Option.none()), name)
      }
    }))

  it.effect("is the folder of temporary files, without limits, where nobody says otherwise", () =>
    Effect.gen(function*() {
      const spool = yield* InitImageSpool.InitImageSpool
      assert.isUndefined(yield* spool.directory)
      yield* Effect.scoped(spool.reserve(Number.MAX_SAFE_INTEGER))
      assert.strictEqual(yield* Effect.scoped(spool.reserveUpTo(Infinity)), Infinity)
      assert.strictEqual(yield* Effect.scoped(spool.reserveUpTo(5)), 5)
      yield* spool.keep("/nowhere", Number.MAX_SAFE_INTEGER)
      yield* spool.removed("/nowhere")
      yield* isIdle
    }))

  it.live("gives what its layer is provided to a directory of its own, and removes it with all that is in it", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const directory = yield* Effect.gen(function*() {
        const spool = yield* InitImageSpool.InitImageSpool
        const directory = (yield* spool.directory) ?? ""
        assert.strictEqual(dirname(directory), parent)
        yield* spool.keep(write(directory, 5), 5)
        assert.deepInclude(yield* figures, { bytes: 5, files: 1 })
        return directory
      }).pipe(Effect.provide(InitImageSpool.layer({ directory: parent })))
      assert.isFalse(existsSync(directory))
      assert.deepStrictEqual(list(parent), [])
      yield* isIdle
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.live("ends also where it was made by what cannot be interrupted", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      yield* Effect.scoped(Effect.uninterruptible(InitImageSpool.make({ directory: parent })))
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.scopedLive("is in the folder of temporary files by default, and one for each layer", () =>
    Effect.gen(function*() {
      const one = yield* InitImageSpool.make()
      const other = yield* InitImageSpool.make({})
      const directories = [(yield* one.directory) ?? "", (yield* other.directory) ?? ""]
      assert.strictEqual(new Set(directories).size, 2)
      for (const directory of directories) assert.strictEqual(dirname(directory), tmpdir())
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("makes an image wait for bytes in flight, in order, and lets it go on as they are given back", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 10 })
      const scope = yield* Scope.make()
      yield* Scope.extend(spool.reserve(8), scope)
      const order: Array<string> = []
      const large = yield* Effect.fork(Effect.scoped(Effect.andThen(spool.reserve(9), () => order.push("large"))))
      yield* Effect.yieldNow()
      const small = yield* Effect.fork(Effect.scoped(Effect.andThen(spool.reserve(2), () => order.push("small"))))
      yield* until(Effect.map(figures, ({ waiting }) => waiting === 2))
      assert.deepInclude(yield* figures, { inFlight: 8, waiting: 2 })
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      yield* Fiber.join(Fiber.zip(large, small))
      assert.deepStrictEqual(order, ["large", "small"])
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("is Busy at once when it is not to wait", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 10, onFull: "fail" })
      yield* spool.reserve(8)
      const refused = yield* Effect.flip(Effect.scoped(spool.reserve(3)))
      assert.deepStrictEqual(refused, new InitImageError.Busy({ retryAfter: 1 }))
      yield* Effect.scoped(spool.reserve(2))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("is TooLarge, with the limit, for what could never be in flight or kept", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      for (
        const options of [{ maxBytesInFlight: 10 }, { maxBytesKept: 10 }, { maxBytesInFlight: 10, maxBytesKept: 11 }]
      ) {
        const spool = yield* InitImageSpool.make({ directory: parent, ...options })
        assert.deepStrictEqual<unknown>(
          yield* Effect.flip(Effect.scoped(spool.reserve(11))),
          new InitImageError.TooLarge({ bytes: 11, limit: 10 })
        )
        yield* Effect.scoped(spool.reserve(10))
        yield* isIdle
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("reserves for an image of unknown size all that it may have, and says how much that is", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 100, onFull: "fail" })
      yield* Effect.scoped(Effect.gen(function*() {
        assert.strictEqual(yield* spool.reserveUpTo(60), 60)
        assert.deepInclude(yield* figures, { inFlight: 60 })
        assert.instanceOf(yield* Effect.flip(Effect.scoped(spool.reserveUpTo(41))), InitImageError.Busy)
      }))
      yield* Effect.scoped(Effect.gen(function*() {
        assert.strictEqual(yield* spool.reserveUpTo(Infinity), 100)
        assert.deepInclude(yield* figures, { inFlight: 100 })
      }))
      yield* isIdle
      const unlimited = yield* InitImageSpool.make({ directory: parent })
      assert.strictEqual(yield* Effect.scoped(unlimited.reserveUpTo(Infinity)), Infinity)
      const small = yield* InitImageSpool.make({ directory: parent, maxBytesKept: 50 })
      assert.strictEqual(yield* Effect.scoped(small.reserveUpTo(Infinity)), 50)
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("is Busy before anything is done for an image that there is no room to keep", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesKept: 10, maxFilesKept: 2 })
      const directory = (yield* spool.directory) ?? ""
      const busy = new InitImageError.Busy({ retryAfter: 10 })
      const path = write(directory, 8)
      yield* spool.keep(path, 8)
      assert.deepStrictEqual<unknown>(yield* Effect.flip(Effect.scoped(spool.reserve(3))), busy)
      yield* Effect.scoped(spool.reserve(2))
      yield* Effect.scoped(spool.reserveUpTo(10))
      const full = write(directory, 2)
      yield* spool.keep(full, 2)
      assert.deepStrictEqual<unknown>(yield* Effect.flip(Effect.scoped(spool.reserveUpTo(10))), busy)
      rmSync(path)
      yield* spool.removed(path)
      yield* Effect.scoped(spool.reserve(3))
      rmSync(full)
      yield* Effect.scoped(spool.reserve(10))
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("does not make an image wait that there is no room to keep", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 10, maxFilesKept: 1 })
      yield* spool.reserve(10)
      yield* spool.keep(write((yield* spool.directory) ?? "", 1), 1)
      assert.instanceOf(yield* Effect.flip(Effect.scoped(spool.reserve(1))), InitImageError.Busy)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("is Busy for one that waited while the room to keep it went, and gives back what it had got", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 10, maxBytesKept: 10 })
      const directory = (yield* spool.directory) ?? ""
      const scope = yield* Scope.make()
      yield* Scope.extend(spool.reserve(10), scope)
      const waiter = yield* Effect.fork(Effect.either(Effect.scoped(spool.reserve(10))))
      yield* until(Effect.map(figures, ({ waiting }) => waiting === 1))
      yield* spool.keep(write(directory, 10), 10)
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      assert.deepStrictEqual<unknown>(
        yield* Fiber.join(waiter),
        Either.left(new InitImageError.Busy({ retryAfter: 10 }))
      )
      assert.deepInclude(yield* figures, { inFlight: 0, waiting: 0, bytes: 10, files: 1 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.live.prop(
    "counts exactly, through any outcome of any number of images at once",
    {
      images: FastCheck.array(
        FastCheck.record({
          bytes: FastCheck.integer({ min: 1, max: 40 }),
          end: FastCheck.constantFrom("kept", "fails", "dies", "interrupted", "removed", "given away and removed")
        }),
        { maxLength: 30, size: "max" }
      )
    },
    ({ images }) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const limits = { maxBytesInFlight: 50, maxBytesKept: 100, maxFilesKept: 5 }
        const spool = yield* InitImageSpool.make({ directory: parent, staleAfter: "100 millis", ...limits })
        const directory = (yield* spool.directory) ?? ""
        const isWithin = Effect.map(figures, ({ bytes, files, inFlight }) => {
          assert.isTrue(inFlight >= 0 && inFlight <= limits.maxBytesInFlight)
          assert.isTrue(bytes >= 0 && bytes <= limits.maxBytesKept)
          assert.isTrue(files >= 0 && files <= limits.maxFilesKept)
        })
        const persist = ({ bytes, end }: (typeof images)[number]) =>
          Effect.gen(function*() {
            const path = join(directory, imageName())
            yield* spool.reserve(bytes)
            yield* isWithin
            yield* Effect.sleep(1)
            writeFileSync(path, new Uint8Array(bytes))
            const kept = yield* Effect.either(spool.keep(path, bytes))
            yield* isWithin
            const remove = Effect.sync(() => rmSync(path))
            if (Either.isLeft(kept) || end !== "kept") yield* remove
            if (Either.isRight(kept) && end !== "kept" && end !== "given away and removed") yield* spool.removed(path)
            if (end === "fails") return yield* Effect.fail("no")
            if (end === "dies") return yield* Effect.die("no")
            if (end === "interrupted") return yield* Effect.interrupt
            return Either.isRight(kept) && end === "kept" ? bytes : undefined
          }).pipe(Effect.scoped, Effect.exit)
        const exits = yield* Effect.forEach(images, persist, { concurrency: "unbounded" })
        const kept = exits.flatMap((exit) => exit._tag === "Success" && exit.value !== undefined ? [exit.value] : [])
        yield* until(Effect.map(figures, ({ files }) => files === kept.length))
        const { swept: _, ...gauges } = yield* figures
        assert.deepStrictEqual(gauges, {
          ...idle,
          bytes: kept.reduce((a, b) => a + b, 0),
          files: kept.length
        })
        assert.lengthOf(list(directory), kept.length + 1)
      }).pipe(Effect.scoped, Effect.zipRight(isIdle), Effect.provide(NodeContext.layer)),
    { fastCheck: { numRuns: 30 } }
  )

  it.scoped("beats and sweeps by itself, from its start on and without being asked", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const dead = makeDead(parent)
      const one = yield* InitImageSpool.make({ directory: parent, staleAfter: "10 seconds" })
      const other = yield* InitImageSpool.make({ directory: parent, staleAfter: "10 seconds" })
      const names = [basename((yield* one.directory) ?? ""), basename((yield* other.directory) ?? "")]
      yield* passTime(10_000, 500, 4)
      assert.isTrue(existsSync(dead))
      yield* passTime(10_000, 500, 4)
      assert.deepStrictEqual(list(parent), names.toSorted())
      const later = makeDead(parent)
      yield* passTime(20_000, 500, 4)
      assert.isFalse(existsSync(later))
      yield* passTime(100_000, 1000, 4)
      assert.deepStrictEqual(list(parent), names.toSorted())
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("notices by itself that files which were given away have gone", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, staleAfter: "10 seconds" })
      const path = write((yield* spool.directory) ?? "", 5)
      yield* passTime(0, 1, 2)
      yield* spool.keep(path, 5)
      rmSync(path)
      assert.deepInclude(yield* figures, { bytes: 5, files: 1 })
      yield* passTime(1000, 1000, 2)
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("lives on, in real time, beside another that sweeps, and what is dead goes", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const options = { directory: parent, staleAfter: "500 millis" } as const
      const one = yield* InitImageSpool.make(options)
      const { end, value: other } = yield* openScoped(InitImageSpool.make(options))
      const path = write((yield* one.directory) ?? "", 5)
      const dead = makeDead(parent)
      yield* Effect.repeat(Effect.sync(() => existsSync(dead)), {
        while: (exists) => Effect.delay(Effect.succeed(exists), "10 millis")
      })
      yield* Effect.sleep("1 second")
      assert.isTrue(existsSync(path))
      assert.isTrue(existsSync((yield* other.directory) ?? ""))
      yield* end
      assert.deepStrictEqual(list(parent), [basename((yield* one.directory) ?? "")])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("goes on, and says so, when its heartbeat cannot be written", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      const parent = join(yield* makeDirectory, "parent")
      mkdirSync(parent)
      const spool = yield* InitImageSpool.make({ directory: parent, staleAfter: "10 seconds" })
      rmSync(parent, { recursive: true })
      yield* passTime(1000, 1000, 2)
      assert.isTrue(lines.some((line) => line.includes("heartbeat could not be written")))
      mkdirSync(parent)
      yield* passTime(1000, 1000, 2)
      assert.deepStrictEqual(list(parent), [basename((yield* spool.directory) ?? "")])
    }).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.live("does not begin where others may write", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      chmodSync(parent, 0o777)
      const error = yield* Effect.flip(Effect.provide(Effect.void, InitImageSpool.layer({ directory: parent })))
      assert.deepInclude(error, { _tag: "SystemError", reason: "PermissionDenied" })
      chmodSync(parent, 0o1777)
      yield* Effect.provide(Effect.void, InitImageSpool.layer({ directory: parent }))
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.scopedLive("ends in peace when its directory cannot be removed", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { end } = yield* openScoped(InitImageSpool.make({ directory: parent }))
      yield* end
      assert.lengthOf(list(parent), 1)
      rmSync(join(parent, list(parent)[0] ?? ""), { recursive: true })
    }).pipe(
      Effect.provide(quiet),
      Effect.provide(layerWith((fs) => ({
        remove: (path, options) => path.includes("session-init-image-") ? Effect.die("no") : fs.remove(path, options)
      })))
    ))

  const senseless: ReadonlyArray<readonly [InitImageSpool.Options, problem: string]> = [
    [{ maxBytesInFlight: -1 }, "maxBytesInFlight must not be negative"],
    [{ maxBytesKept: NaN }, "maxBytesKept must not be negative"],
    [{ maxFilesKept: -0.5 }, "maxFilesKept must not be negative"],
    [{ staleAfter: 9 }, "staleAfter must be at least 10ms"],
    [{ staleAfter: "0 seconds" }, "staleAfter must be at least 10ms"]
  ]
  for (const [options, problem] of senseless) {
    it.scopedLive(`takes no options that make no sense: ${Object.entries(options).join()}`, () =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const all = { directory: parent, ...options }
        assert.deepInclude(yield* Effect.flip(InitImageSpool.make(all)), { _tag: "BadArgument", description: problem })
        const error = yield* Effect.flip(Layer.build(InitImageSpool.layerConfig(Config.succeed(all))))
        assert.deepInclude(error, { _op: "InvalidData", message: problem, path: [] })
        assert.deepStrictEqual(list(parent), [])
      }).pipe(Effect.provide(NodeContext.layer)))
  }

  it.scopedLive("may have no room at all", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 0 })
      assert.deepInclude(yield* Effect.flip(spool.reserve(1)), { _tag: "TooLarge", limit: 0 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("reads its options from Config", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const layer = InitImageSpool.layerConfig({
        directory: Config.string("DIRECTORY"),
        maxBytesInFlight: Config.integer("IN_FLIGHT"),
        staleAfter: Config.duration("STALE_AFTER"),
        onFull: Config.literal("wait", "fail")("ON_FULL")
      })
      const provider = ConfigProvider.fromMap(
        new Map([["DIRECTORY", parent], ["IN_FLIGHT", "10"], ["STALE_AFTER", "5 seconds"], ["ON_FULL", "fail"]])
      )
      yield* Effect.gen(function*() {
        const spool = yield* InitImageSpool.InitImageSpool
        assert.strictEqual(dirname((yield* spool.directory) ?? ""), parent)
        yield* spool.reserve(10)
        assert.instanceOf(yield* Effect.flip(Effect.scoped(spool.reserve(1))), InitImageError.Busy)
      }).pipe(Effect.scoped, Effect.provide(layer), Effect.withConfigProvider(provider))
      const missing = yield* Effect.flip(
        Effect.withConfigProvider(Layer.build(layer), ConfigProvider.fromMap(new Map()))
      )
      assert.isTrue(ConfigError.isConfigError(missing))
    }).pipe(Effect.provide(NodeContext.layer)))
})
