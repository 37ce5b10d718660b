import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as TestServices from "effect/TestServices"
import { chmodSync, existsSync, mkdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { InitImageError, InitImageSpool, SessionInitImage } from "../../src/index.js"
import { list, makeDirectory } from "../utils/directory.js"
import { png, pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import {
  collecting,
  diskError,
  figures,
  idle,
  isIdle,
  layerWith,
  makeDead,
  openScoped,
  quiet
} from "../utils/spools.js"

/** A room with its bytes reserved, which is released when the scope closes. */
const reserve = (spool: InitImageSpool.Spool, size: Partial<InitImageSpool.RoomSize>) =>
  Effect.tap(
    Effect.acquireRelease(spool.makeRoom({ maxBytes: Infinity, ...size }), (room) => room.release),
    (room) => room.reserve
  )

/** Publishes a file of these bytes and hands it over. */
const keep = (spool: InitImageSpool.Spool, bytes: number) =>
  Effect.gen(function*() {
    const room = yield* spool.makeRoom({ maxBytes: Infinity, bytes })
    yield* room.reserve
    const { path } = yield* room.publish(".png", new Uint8Array(bytes))
    yield* room.handOver
    return path
  })

/** Waits on the real clock for the file system. */
const until = (done: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.repeat(Effect.zipRight(TestServices.provideLive(Effect.sleep(1)), done), { until: (done) => done })

/** Advances the clock in steps, and waits after each until all due work is done. */
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
  it.effect("describes its metrics, and names them as the dashboards do", () =>
    Effect.gen(function*() {
      yield* figures
      const keys = (yield* Metric.snapshot).map(({ metricKey }) => metricKey)
      for (const name of ["in_flight_bytes", "waiting", "kept_bytes", "kept_files", "swept_files"]) {
        const key = keys.find((key) => key.name === `session_init_image_spool_${name}`)
        assert.isTrue(Option.isSome(key?.description ?? Option.none()), name)
      }
    }))

  it.effect("is the temporary directory, without limits, by default", () =>
    Effect.gen(function*() {
      const spool = yield* InitImageSpool.InitImageSpool
      assert.isUndefined(yield* spool.directory)
      for (
        const size of [{ maxBytes: Infinity, bytes: Number.MAX_SAFE_INTEGER }, { maxBytes: Infinity }, { maxBytes: 5 }]
      ) {
        const room = yield* spool.makeRoom(size)
        assert.strictEqual(room.maxBytes, size.maxBytes)
        yield* room.reserve
        yield* isIdle
        const { path } = yield* room.publish(".png", new Uint8Array(5))
        assert.strictEqual(dirname(path), tmpdir())
        yield* isIdle
        yield* room.release
        assert.isFalse(existsSync(path))
      }
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.live("gives a separate directory to its layer's users, and removes it with its content", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const directory = yield* Effect.gen(function*() {
        const spool = yield* InitImageSpool.InitImageSpool
        const directory = (yield* spool.directory) ?? ""
        assert.strictEqual(dirname(directory), parent)
        yield* keep(spool, 5)
        assert.deepInclude(yield* figures, { bytes: 5, files: 1 })
        return directory
      }).pipe(Effect.provide(InitImageSpool.layer({ directory: parent })))
      assert.isFalse(existsSync(directory))
      assert.deepStrictEqual(list(parent), [])
      yield* isIdle
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.live("ends also where it was made in an uninterruptible region", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      yield* Effect.scoped(Effect.uninterruptible(InitImageSpool.make({ directory: parent })))
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.scopedLive("makes a separate directory for each spool, in the temporary directory by default", () =>
    Effect.gen(function*() {
      const one = yield* InitImageSpool.make()
      const other = yield* InitImageSpool.make({})
      const directories = [(yield* one.directory) ?? "", (yield* other.directory) ?? ""]
      assert.strictEqual(new Set(directories).size, 2)
      for (const directory of directories) assert.strictEqual(dirname(directory), tmpdir())
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("makes images wait for bytes in flight, and admits them first-in, first-out", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 10 })
      const holder = yield* openScoped(reserve(spool, { bytes: 8 }))
      const order: Array<string> = []
      const admitted = (name: string, bytes: number) =>
        Effect.fork(Effect.scoped(Effect.andThen(reserve(spool, { bytes }), () => order.push(name))))
      const large = yield* admitted("large", 9)
      yield* until(Effect.map(figures, ({ waiting }) => waiting === 1))
      const small = yield* admitted("small", 2)
      yield* until(Effect.map(figures, ({ waiting }) => waiting === 2))
      assert.deepInclude(yield* figures, { inFlight: 8, waiting: 2 })
      yield* holder.end
      yield* Fiber.join(Fiber.zip(large, small))
      assert.deepStrictEqual(order, ["large", "small"])
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("fails with Busy at once where images do not wait", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 10, onFull: "fail" })
      yield* reserve(spool, { bytes: 8 })
      const refused = yield* Effect.flip(Effect.scoped(reserve(spool, { bytes: 3 })))
      assert.deepStrictEqual<unknown>(refused, new InitImageError.Busy({ retryAfter: 1 }))
      yield* Effect.scoped(reserve(spool, { bytes: 2 }))
    }).pipe(Effect.provide(NodeContext.layer)))

  const isWaiting = (count: number) => until(Effect.map(figures, ({ waiting }) => waiting === count))

  it.scoped("fails with Busy after the longest wait, and then takes no room from others", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      for (const [maxWait, millis] of [[undefined, 30_000], ["5 seconds", 5000]] as const) {
        const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 10, maxWait })
        const holder = yield* openScoped(reserve(spool, { bytes: 8 }))
        // An app without a router runs uninterruptibly.
        const waiting = yield* Effect.fork(Effect.uninterruptible(Effect.exit(reserve(spool, { bytes: 3 }))))
        yield* isWaiting(1)
        yield* TestClock.adjust(1000)
        const last = yield* Effect.fork(Effect.scoped(reserve(spool, { bytes: 2 })))
        yield* isWaiting(2)
        yield* TestClock.adjust(millis - 1001)
        assert.deepInclude(yield* figures, { inFlight: 8, waiting: 2 })
        yield* TestClock.adjust(1)
        const refused = Exit.fail(new InitImageError.Busy({ retryAfter: 1 }))
        assert.deepStrictEqual<unknown>(yield* Fiber.join(waiting), refused)
        yield* Fiber.join(last)
        yield* holder.end
        yield* isIdle
      }
      const patient = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 10, maxWait: Infinity })
      const holder = yield* openScoped(reserve(patient, { bytes: 8 }))
      const waiting = yield* Effect.fork(Effect.scoped(reserve(patient, { bytes: 3 })))
      yield* isWaiting(1)
      yield* TestClock.adjust("10 minutes")
      assert.deepInclude(yield* figures, { inFlight: 8, waiting: 1 })
      yield* holder.end
      yield* Fiber.join(waiting)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("reserves bytes for a message once, for all images of it", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({
        directory: parent,
        maxBytesInFlight: 10,
        onFull: "fail",
        maxFilesKept: 1
      })
      yield* Effect.scoped(Effect.gen(function*() {
        const admitted = yield* spool.admit(1000)
        assert.deepInclude(yield* figures, { inFlight: 10 })
        const busy = yield* Effect.flip(Effect.scoped(spool.admit(1)))
        assert.deepStrictEqual<unknown>(busy, new InitImageError.Busy({ retryAfter: 1 }))
        yield* Effect.scoped(Effect.gen(function*() {
          const room = yield* reserve(admitted, { bytes: 8 })
          yield* room.publish(".png", new Uint8Array(8))
          assert.deepInclude(yield* figures, { inFlight: 10, files: 1, bytes: 8 })
          const refused = yield* Effect.flip(Effect.scoped(reserve(admitted, { bytes: 8 })))
          assert.strictEqual(refused._tag, "Busy")
        }))
        const error = yield* Effect.flip(Effect.scoped(reserve(admitted, { bytes: 11 })))
        assert.deepStrictEqual<unknown>(error, new InitImageError.TooLarge({ bytes: 11, limit: 10 }))
      }))
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("fails with TooLarge, with the limit, for a size that can never be in flight or kept", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      for (
        const options of [{ maxBytesInFlight: 10 }, { maxBytesKept: 10 }, { maxBytesInFlight: 10, maxBytesKept: 11 }]
      ) {
        const spool = yield* InitImageSpool.make({ directory: parent, ...options })
        assert.deepStrictEqual<unknown>(
          yield* Effect.flip(Effect.scoped(reserve(spool, { bytes: 11 }))),
          new InitImageError.TooLarge({ bytes: 11, limit: 10 })
        )
        yield* Effect.scoped(reserve(spool, { bytes: 10 }))
        yield* isIdle
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("reserves the limit for an image of unknown size, and the expected size where it is lower", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const reserved = (spool: InitImageSpool.Spool, size: Partial<InitImageSpool.RoomSize>) =>
        Effect.scoped(
          Effect.flatMap(reserve(spool, size), ({ maxBytes }) =>
            Effect.map(figures, ({ inFlight }) => [maxBytes, inFlight]))
        )
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 100, onFull: "fail" })
      yield* Effect.scoped(Effect.gen(function*() {
        assert.strictEqual((yield* reserve(spool, { maxBytes: 60 })).maxBytes, 60)
        assert.deepInclude(yield* figures, { inFlight: 60 })
        assert.instanceOf(yield* Effect.flip(reserved(spool, { maxBytes: 41 })), InitImageError.Busy)
        assert.deepStrictEqual(yield* reserved(spool, { maxBytes: 60, expectedBytes: 40 }), [60, 100])
      }))
      assert.deepStrictEqual(yield* reserved(spool, {}), [100, 100])
      assert.deepStrictEqual(yield* reserved(spool, { expectedBytes: 30 }), [100, 30])
      assert.deepStrictEqual(yield* reserved(spool, { expectedBytes: 300 }), [100, 100])
      yield* isIdle
      const unlimited = yield* InitImageSpool.make({ directory: parent })
      assert.deepStrictEqual(yield* reserved(unlimited, {}), [Infinity, 0])
      assert.deepStrictEqual(yield* reserved(unlimited, { expectedBytes: 30 }), [Infinity, 30])
      const small = yield* InitImageSpool.make({ directory: parent, maxBytesKept: 50 })
      assert.deepStrictEqual(yield* reserved(small, {}), [50, 50])
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("fails with Busy before an image is read where the quota is full", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesKept: 10, maxFilesKept: 2 })
      const busy = new InitImageError.Busy({ retryAfter: 10 })
      const first = yield* keep(spool, 8)
      assert.deepStrictEqual<unknown>(yield* Effect.flip(Effect.scoped(reserve(spool, { bytes: 3 }))), busy)
      yield* Effect.scoped(reserve(spool, { bytes: 2 }))
      yield* Effect.scoped(reserve(spool, { maxBytes: 10 }))
      const second = yield* keep(spool, 2)
      assert.deepStrictEqual<unknown>(yield* Effect.flip(Effect.scoped(reserve(spool, { maxBytes: 10 }))), busy)
      rmSync(first)
      yield* Effect.scoped(reserve(spool, { bytes: 3 }))
      rmSync(second)
      yield* Effect.scoped(reserve(spool, { bytes: 10 }))
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("fails with Busy at once where the quota is full, also where images wait for bytes in flight", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 10, maxFilesKept: 1 })
      yield* reserve(spool, { bytes: 9 })
      yield* keep(spool, 1)
      assert.instanceOf(yield* Effect.flip(Effect.scoped(reserve(spool, { bytes: 5 }))), InitImageError.Busy)
      assert.deepInclude(yield* figures, { inFlight: 9, waiting: 0 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("fails with Busy where the quota was filled during the wait, and gives the bytes in flight back", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 10, maxBytesKept: 10 })
      yield* Effect.scoped(Effect.gen(function*() {
        const room = yield* reserve(spool, { bytes: 10 })
        const waiter = yield* Effect.fork(Effect.either(Effect.scoped(reserve(spool, { bytes: 10 }))))
        yield* until(Effect.map(figures, ({ waiting }) => waiting === 1))
        yield* room.publish(".png", new Uint8Array(10))
        assert.deepStrictEqual<unknown>(
          yield* Fiber.join(waiter),
          Either.left(new InitImageError.Busy({ retryAfter: 10 }))
        )
        assert.deepInclude(yield* figures, { inFlight: 0, waiting: 0, bytes: 10, files: 1 })
      }))
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.live.prop(
    "counts exactly, for all outcomes of concurrent images",
    {
      images: FastCheck.array(
        FastCheck.record({
          bytes: FastCheck.integer({ min: 1, max: 40 }),
          end: FastCheck.constantFrom(
            "kept",
            "fails",
            "dies",
            "interrupted",
            "released",
            "discarded",
            "handed over and removed"
          )
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
            const room = yield* reserve(spool, { bytes })
            yield* isWithin
            yield* Effect.sleep(1)
            if (end === "discarded") {
              yield* room.append(".png", new Uint8Array(bytes))
              yield* room.discard
              return undefined
            }
            const published = yield* Effect.either(room.publish(".png", new Uint8Array(bytes)))
            yield* isWithin
            if (Either.isLeft(published)) return undefined
            if (end === "fails") return yield* Effect.fail("no")
            if (end === "dies") return yield* Effect.die("no")
            if (end === "interrupted") return yield* Effect.interrupt
            if (end === "released") return undefined
            yield* room.handOver
            if (end === "kept") return bytes
            rmSync(published.right.path)
            return undefined
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

  it.scoped("writes its heartbeat and sweeps from its start on", () =>
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

  it.scopedLive("beats while the event loop is blocked", () =>
    Effect.gen(function*() {
      const spool = yield* InitImageSpool.make({ directory: yield* makeDirectory, staleAfter: "200 millis" })
      const heartbeat = join((yield* spool.directory) ?? "", "heartbeat")
      const modified = () => statSync(heartbeat).mtimeMs
      // The thread has started when a beat comes within a turn of the event loop.
      const seen = new Set<number>()
      const deadline = Date.now() + 30_000
      while (seen.size < 5 && Date.now() < deadline) {
        yield* Effect.sleep(1)
        seen.clear()
        for (let i = 0; i < 100; i++) {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
          seen.add(modified())
        }
      }
      assert.isAtLeast(seen.size, 5)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("notices the removal of files that were handed over", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, staleAfter: "10 seconds" })
      yield* passTime(0, 1, 2)
      const path = yield* keep(spool, 5)
      rmSync(path)
      assert.deepInclude(yield* figures, { bytes: 5, files: 1 })
      yield* passTime(1000, 1000, 2)
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("writes its heartbeat in an event loop that is blocked as soon as the spool is there", () =>
    Effect.gen(function*() {
      const spool = yield* InitImageSpool.make({ directory: yield* makeDirectory, staleAfter: "500 millis" })
      const heartbeat = join(Option.getOrThrow(Option.fromNullable(yield* spool.directory)), "heartbeat")
      const modified = () => statSync(heartbeat).mtimeMs
      const before = modified()
      const deadline = Date.now() + 30_000
      while (modified() === before && Date.now() < deadline);
      assert.isAbove(modified(), before)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("survives the sweeps of another spool, which remove the directories of dead ones", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const options = { directory: parent, staleAfter: "500 millis" } as const
      const one = yield* InitImageSpool.make(options)
      const { end, value: other } = yield* openScoped(InitImageSpool.make(options))
      const path = yield* keep(one, 5)
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

  it.scoped("continues, and logs a warning, when its heartbeat cannot be written", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      const parent = join(yield* makeDirectory, "parent")
      mkdirSync(parent)
      const spool = yield* InitImageSpool.make({ directory: parent, staleAfter: "10 seconds" })
      rmSync(parent, { recursive: true })
      yield* passTime(1000, 1000, 2)
      assert.isTrue(lines.some((line) => line.includes("heartbeat could not be written")))
      assert.notInclude(lines.join("\n"), parent)
      mkdirSync(parent)
      yield* passTime(1000, 1000, 2)
      assert.deepStrictEqual(list(parent), [basename((yield* spool.directory) ?? "")])
    }).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.live("refuses a directory that others may write to", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      chmodSync(parent, 0o777)
      const error = yield* Effect.flip(Effect.provide(Effect.void, InitImageSpool.layer({ directory: parent })))
      assert.deepInclude(error, { _tag: "SystemError", reason: "PermissionDenied" })
      chmodSync(parent, 0o1777)
      yield* Effect.provide(Effect.void, InitImageSpool.layer({ directory: parent }))
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.scopedLive("ends without an error when its directory cannot be removed", () =>
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

  const invalid: ReadonlyArray<readonly [InitImageSpool.Options, problem: string]> = [
    [{ maxBytesInFlight: -1 }, "maxBytesInFlight must be a number that is not negative"],
    [{ maxBytesKept: NaN }, "maxBytesKept must be a number that is not negative"],
    [{ maxFilesKept: -0.5 }, "maxFilesKept must be a number that is not negative"],
    [{ staleAfter: 9 }, "staleAfter must be at least 10ms"],
    [{ staleAfter: "0 seconds" }, "staleAfter must be a duration above zero, such as \"30 seconds\""],
    [{ staleAfter: NaN }, "staleAfter must be a duration above zero, such as \"30 seconds\""],
    ...[0o600, 0o720, 0o702, 0o1700, NaN, -1, 755].map((directoryMode) =>
      [
        { directoryMode },
        "directoryMode must be 0o700, with bits of 0o055 added: no other user may write to the directory"
      ] as const
    )
  ]
  for (const [options, problem] of invalid) {
    it.scopedLive(`refuses invalid options: ${Object.entries(options).join()}`, () =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const all = { directory: parent, ...options }
        const exit = yield* Effect.exit(InitImageSpool.make(all))
        assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", `InitImageSpool: ${problem}`)
        const error = yield* Effect.flip(Layer.build(InitImageSpool.layerConfig(Config.succeed(all))))
        assert.deepInclude(error, { _op: "InvalidData", message: problem, path: [] })
        assert.deepStrictEqual(list(parent), [])
      }).pipe(Effect.provide(NodeContext.layer)))
  }

  it.scopedLive("refuses an empty directory, and an answer that does not exist", () =>
    Effect.gen(function*() {
      for (const [options, problem] of [[{ directory: "" }, "directory"], [{ onFull: "drop" }, "onFull"]] as const) {
        // What a program without types may pass.
        const exit = yield* Effect.exit(InitImageSpool.make(options as InitImageSpool.Options))
        assert.include(String(exit), `InitImageSpool: ${problem} must`)
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("lets other users reach files of a mode in a directory of a mode, whatever the umask is", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory, directoryMode: 0o710 })
      const umask = process.umask(0o077)
      const pictures = [png(), pngOfSize(3_000_000)]
      const images = yield* Effect.forEach(
        pictures,
        (picture) => Effect.flatten(SessionInitImage.persistScoped(payloadOf("image/png", picture), { mode: 0o640 }))
      ).pipe(
        Effect.provideService(InitImageSpool.InitImageSpool, spool),
        Effect.ensuring(Effect.sync(() => process.umask(umask)))
      )
      const modeOf = (path: string) => statSync(path).mode & 0o7777
      assert.strictEqual(modeOf((yield* spool.directory) ?? ""), 0o710)
      assert.deepStrictEqual(images.map(({ path }) => modeOf(path)), [0o640, 0o640])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("removes with its sweeps a file that could not be removed for a longer time, and counts it until then", () => {
    let isBusy = true
    return Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { files } = yield* figures
      const spool = yield* InitImageSpool.make({ directory: parent })
      const directory = (yield* spool.directory) ?? ""
      yield* SessionInitImage.persistScoped(payloadOf("image/png", png())).pipe(
        Effect.provideService(InitImageSpool.InitImageSpool, spool),
        Effect.scoped
      )
      const images = () => list(directory).filter((name) => name.endsWith(".png"))
      /** Passes time in the steps of the sweeps. */
      const pass = (done: Effect.Effect<boolean>) => until(Effect.zipRight(TestClock.adjust("6 seconds"), done))
      const counted = Effect.map(figures, (now) => now.files - files)
      let steps = 0
      yield* pass(Effect.sync(() => ++steps === 5))
      assert.strictEqual(yield* counted, 1)
      assert.lengthOf(images(), 1)
      isBusy = false
      yield* pass(Effect.sync(() => images().length === 0))
      yield* pass(Effect.map(counted, (files) => files === 0))
    }).pipe(
      Effect.provide(quiet),
      Effect.provide(layerWith((fs) => ({
        remove: (path, options) =>
          isBusy && path.endsWith(".png") ? Effect.fail(diskError("remove", "EBUSY")) : fs.remove(path, options)
      })))
    )
  })

  it.scopedLive("accepts a limit of 0", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const spool = yield* InitImageSpool.make({ directory: parent, maxBytesInFlight: 0 })
      assert.deepInclude(yield* Effect.flip(reserve(spool, { bytes: 1 })), { _tag: "TooLarge", limit: 0 })
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
        yield* reserve(spool, { bytes: 10 })
        assert.instanceOf(yield* Effect.flip(Effect.scoped(reserve(spool, { bytes: 1 }))), InitImageError.Busy)
      }).pipe(Effect.scoped, Effect.provide(layer), Effect.withConfigProvider(provider))
      const missing = yield* Effect.flip(
        Effect.withConfigProvider(Layer.build(layer), ConfigProvider.fromMap(new Map()))
      )
      assert.isTrue(ConfigError.isConfigError(missing))
    }).pipe(Effect.provide(NodeContext.layer)))
})
