import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { basename, dirname, join } from "node:path"
import * as spoolOwner from "../../../../src/internal/spool/owner.js"
import * as spoolSweep from "../../../../src/internal/spool/sweep.js"
import { list, makeDirectory } from "../../../utils/directory.js"
import {
  collecting,
  diskError,
  figures,
  hex,
  imageName,
  layerWith,
  makeDead,
  openScoped,
  ownerName,
  quiet
} from "../../../utils/spools.js"

/** `staleAfter`, in milliseconds. */
const S = 60_000

/** A monotonic clock that the test advances, and an independent wall clock that it sets. */
const makeClock = () => {
  let now = 0
  let wall = 0
  const nanos = () => BigInt(now) * 1_000_000n
  const clock = Object.assign(Clock.make(), {
    unsafeCurrentTimeNanos: nanos,
    currentTimeNanos: Effect.sync(nanos),
    unsafeCurrentTimeMillis: () => wall,
    currentTimeMillis: Effect.sync(() => wall)
  })
  return {
    clock,
    now: () => now,
    pass: (millis: number) => Effect.sync(() => now += millis),
    setWall: (millis: number) => wall = millis
  }
}

const makeSweeper = (parent: string) =>
  Effect.gen(function*() {
    const owner = yield* spoolOwner.make(parent)
    return { owner, sweeper: yield* spoolSweep.make(owner, Duration.millis(S)), own: yield* owner.directory }
  })

/** Sweeps every S/10, as a spool does, for a duration in milliseconds. */
const sweepFor = (
  time: ReturnType<typeof makeClock>,
  sweeper: spoolSweep.Sweeper,
  millis: number,
  afterEachSweep: Effect.Effect<unknown> = Effect.void
) =>
  Effect.gen(function*() {
    for (let passed = 0; passed < millis; passed += S / 10) {
      yield* sweeper.sweep
      yield* time.pass(S / 10)
      yield* afterEachSweep
    }
    yield* sweeper.sweep
  })

const withTime = <A, E, R>(test: (time: ReturnType<typeof makeClock>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const time = makeClock()
    return Effect.withClock(test(time), time.clock)
  })

const isRoot = process.getuid?.() === 0

/** Directories that the file system of a test reports as another user's. */
const foreignPaths = new Set<string>()

/** Log lines without timestamp, level and fiber. */
const messages = (lines: ReadonlyArray<string>) => lines.map((line) => line.slice(line.indexOf("message=")))

const ignoredEntry = (path: string, reason: string) =>
  `message="The spool sweep ignores an entry: ${reason}" entry=${basename(path)}`

describe("the sweep", () => {
  it.live.prop(
    "removes a dead spool's files within twice staleAfter, and none of them before staleAfter has passed",
    { phase: FastCheck.integer({ min: 1, max: S / 10 }) },
    ({ phase }) =>
      withTime((time) =>
        Effect.gen(function*() {
          const parent = yield* makeDirectory
          const { own, sweeper } = yield* makeSweeper(parent)
          const { swept } = yield* figures
          yield* sweepFor(time, sweeper, S)
          const dead = makeDead(parent, [imageName(), imageName(".jpg"), imageName(".webp"), `any_Prefix.${hex()}.png`])
          yield* time.pass(phase)
          yield* sweepFor(time, sweeper, S)
          assert.lengthOf(list(dead), 5)
          // The remaining S/2 of the promised 2 S are for slow disks.
          yield* sweepFor(time, sweeper, S / 2)
          assert.deepStrictEqual(list(parent), [basename(own)])
          assert.deepStrictEqual(list(own), ["heartbeat"])
          assert.strictEqual((yield* figures).swept - swept, 4)
        }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))
      ),
    { fastCheck: { numRuns: 10 } }
  )

  it.live.prop(
    "never removes a live spool's files while that spool is suspended for less than staleAfter, and the sweeper for any time",
    {
      stalls: FastCheck.array(
        FastCheck.oneof(FastCheck.constant(0), FastCheck.constant(S - 1), FastCheck.integer({ min: 0, max: S - 1 })),
        { minLength: 1, maxLength: 20 }
      ),
      pauses: FastCheck.array(FastCheck.oneof(FastCheck.constant(0), FastCheck.integer({ min: 0, max: 5 * S })), {
        minLength: 1,
        maxLength: 20
      })
    },
    ({ pauses, stalls }) =>
      withTime((time) =>
        Effect.gen(function*() {
          const parent = yield* makeDirectory
          const { sweeper } = yield* makeSweeper(parent)
          const { owner: live, own } = yield* makeSweeper(parent)
          const image = join(own, imageName())
          writeFileSync(image, "image")
          let nextBeat = S / 10
          let nextSweep = 0
          let i = 0
          while (i < stalls.length) {
            const next = Math.min(nextBeat, nextSweep)
            yield* time.pass(next - time.now())
            if (next === nextBeat) {
              yield* live.beat
              nextBeat += S / 10 + (stalls[i++] ?? 0)
            } else {
              yield* sweeper.sweep
              nextSweep += S / 10 + (pauses[i % pauses.length] ?? 0)
            }
          }
          assert.strictEqual(yield* live.directory, own)
          assert.isTrue(existsSync(image))
          assert.isTrue(existsSync(join(own, "heartbeat")))
        }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))
      ),
    { fastCheck: { numRuns: 40 } }
  )

  it.scopedLive("compares no dates, so that a wall clock may jump", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const { owner: live, own } = yield* makeSweeper(parent)
        const dead = makeDead(parent)
        let jump = 0
        const dates = [0, 1e12, -1e9, 4e12, 86_400_000]
        yield* sweepFor(
          time,
          sweeper,
          2 * S,
          Effect.zipRight(
            Effect.ignore(live.beat),
            Effect.sync(() => {
              const date = dates[jump++ % dates.length] ?? 0
              time.setWall(date)
              utimesSync(own, date / 1000, date / 1000)
              if (existsSync(dead)) utimesSync(dead, date / 1000, date / 1000)
            })
          )
        )
        assert.isTrue(existsSync(join(own, "heartbeat")))
        assert.isFalse(existsSync(dead))
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("does not count the time in which the sweeper itself was suspended", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const other = makeDead(parent)
        yield* sweepFor(time, sweeper, S / 2)
        yield* time.pass(100 * S)
        yield* sweeper.sweep
        assert.isTrue(existsSync(other))
        yield* sweepFor(time, sweeper, 2 * S)
        assert.isFalse(existsSync(other))
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("removes an empty directory in the same time, and keeps it when a heartbeat appears in it", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const empty = join(parent, ownerName())
        const completed = join(parent, ownerName())
        mkdirSync(empty)
        mkdirSync(completed)
        yield* sweepFor(time, sweeper, S)
        writeFileSync(join(completed, "heartbeat"), "0000000000000000")
        assert.isTrue(existsSync(empty))
        yield* sweepFor(time, sweeper, S)
        assert.isFalse(existsSync(empty))
        assert.isTrue(existsSync(completed))
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("ignores entries without the name of a spool's directory", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const names = [
          imageName(),
          "session-init-image-",
          `session-init-image-${hex()}0`,
          `session-init-image-${hex().slice(1)}`,
          `session-init-image-${hex().toUpperCase().replace(/^0/, "A")}`,
          `my-session-init-image-${hex()}`
        ]
        for (const name of names) renameSync(makeDead(parent), join(parent, name))
        yield* sweepFor(time, sweeper, 3 * S)
        assert.deepStrictEqual(list(parent), [...names, basename(own)].toSorted())
        for (const name of names) assert.lengthOf(list(join(parent, name)), 2)
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("removes only a spool's own files, keeps foreign ones and logs them once", () => {
    const lines: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const elsewhere = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const { swept } = yield* figures
        writeFileSync(join(elsewhere, "foreign.png"), "")
        const outside = makeDead(elsewhere)
        const foreign = [
          "notes.txt",
          `${hex()}.gif`,
          `${hex()}.png.txt`,
          `short-${hex().slice(8)}.png`,
          `spaced name ${hex()}.png`
        ]
        const dead = makeDead(parent, [imageName(), imageName(), ...foreign])
        const linked = imageName()
        symlinkSync(join(elsewhere, "foreign.png"), join(dead, linked))
        const linkedDirectory = ownerName()
        symlinkSync(outside, join(dead, linkedDirectory))
        const namedAsImage = imageName()
        mkdirSync(join(dead, namedAsImage))
        yield* sweepFor(time, sweeper, 2 * S)
        const kept = [...foreign, linked, linkedDirectory, namedAsImage].toSorted()
        assert.deepStrictEqual(list(dead), kept)
        yield* sweepFor(time, sweeper, 5 * S)
        assert.deepStrictEqual(list(dead), kept)
        assert.deepStrictEqual(messages(lines), [
          ignoredEntry(dead, "it is a dead spool's directory with files that the spool did not create")
        ])
        assert.lengthOf(list(outside), 2)
        assert.isTrue(existsSync(join(elsewhere, "foreign.png")))
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.strictEqual((yield* figures).swept - swept, 2)
      })
    ).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scopedLive("follows no symbolic link with the name of a spool's directory, and logs it", () => {
    const lines: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const elsewhere = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const target = makeDead(elsewhere)
        const link = join(parent, ownerName())
        symlinkSync(target, link)
        const file = join(parent, ownerName())
        writeFileSync(file, "a file")
        yield* sweepFor(time, sweeper, 3 * S)
        assert.isTrue(lstatSync(link).isSymbolicLink())
        assert.isTrue(existsSync(file))
        assert.lengthOf(list(target), 2)
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.sameMembers(
          messages(lines),
          [link, file].map((path) =>
            ignoredEntry(path, "it has the name of a spool's directory, but is not a directory")
          )
        )
      })
    ).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scopedLive("keeps a directory without a heartbeat, or with a link or a longer file in its place, and logs it", () => {
    const lines: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const elsewhere = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const without = makeDead(parent)
        rmSync(join(without, "heartbeat"))
        const linked = makeDead(parent)
        renameSync(join(linked, "heartbeat"), join(elsewhere, "heartbeat"))
        symlinkSync(join(elsewhere, "heartbeat"), join(linked, "heartbeat"))
        const large = makeDead(parent)
        writeFileSync(join(large, "heartbeat"), "longer than sixteen bytes")
        yield* sweepFor(time, sweeper, 3 * S)
        assert.lengthOf(list(without), 1)
        assert.lengthOf(list(linked), 2)
        assert.lengthOf(list(large), 2)
        assert.strictEqual(readFileSync(join(elsewhere, "heartbeat"), "utf8"), "0000000000000007")
        assert.sameMembers(
          messages(lines),
          [without, linked, large].map((path) =>
            ignoredEntry(path, "it has the name of a spool's directory, but no heartbeat")
          )
        )
      })
    ).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scopedLive("removes a dead spool's directory whose name it ignored before that entry was removed", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const without = makeDead(parent)
        rmSync(join(without, "heartbeat"))
        yield* sweepFor(time, sweeper, 2 * S)
        assert.lengthOf(list(without), 1)
        rmSync(without, { recursive: true })
        yield* sweeper.sweep
        renameSync(makeDead(parent), without)
        yield* sweepFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(parent), [basename(own)])
      })
    ).pipe(Effect.provide(quiet), Effect.provide(NodeContext.layer)))

  it.scopedLive("observes a directory anew that was missing and is back unchanged", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const elsewhere = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const other = makeDead(parent)
        yield* sweepFor(time, sweeper, 1.4 * S)
        renameSync(other, join(elsewhere, basename(other)))
        yield* sweeper.sweep
        renameSync(join(elsewhere, basename(other)), other)
        yield* time.pass(S / 10)
        yield* sweepFor(time, sweeper, 1.4 * S)
        assert.lengthOf(list(other), 2)
        yield* sweepFor(time, sweeper, S / 5)
        assert.isFalse(existsSync(other))
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("keeps another user's directory", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const dead = makeDead(parent)
        if (isRoot) chownSync(dead, 12345, 12345)
        yield* sweepFor(time, sweeper, 3 * S)
        assert.lengthOf(list(dead), 2)
      })
    ).pipe(
      Effect.provide(
        isRoot ? NodeContext.layer : layerWith((fs) => ({
          stat: (path) =>
            Effect.map(fs.stat(path), (info) => /-0{20}[^/]*$/.test(path) ? { ...info, uid: Option.some(12345) } : info)
        }))
      )
    ))

  it.scopedLive("looks at another user's directory once, and at a bounded number of others a sweep, in turn", () => {
    const looked: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own: live, sweeper } = yield* makeSweeper(parent)
        const foreign = Array.from({ length: 3 }, () => makeDead(parent, []))
        const sweep = Effect.gen(function*() {
          looked.length = 0
          yield* sweeper.sweep
          yield* time.pass(S / 10)
          return looked.filter((path) => dirname(path) === parent && path !== live)
        })
        const isForeign = (path: string) => foreign.includes(path)
        for (const path of foreign) foreignPaths.add(path)
        assert.sameMembers(yield* sweep, foreign)
        assert.deepStrictEqual(yield* sweep, [])

        const own = Array.from({ length: spoolSweep.maxObservationsPerSweep + 40 }, () => makeDead(parent, []))
        const first = yield* sweep
        const second = yield* sweep
        assert.lengthOf(first, spoolSweep.maxObservationsPerSweep)
        assert.lengthOf(second, spoolSweep.maxObservationsPerSweep)
        assert.sameMembers([...new Set([...first, ...second])], own)
        assert.isFalse([...first, ...second].some(isForeign))
        yield* sweepFor(time, sweeper, 3 * S)
        assert.sameMembers([...list(parent)], [live, ...foreign].map((path) => basename(path)))
      })
    ).pipe(Effect.provide(layerWith((fs) => ({
      stat: (path) => {
        looked.push(path)
        return Effect.map(fs.stat(path), (info) => foreignPaths.has(path) ? { ...info, uid: Option.some(12345) } : info)
      }
    }))))
  })

  it.scopedLive("runs in several spools at once: together they remove each file once and log nothing", () => {
    const lines: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { swept } = yield* figures
        const sweepers = yield* Effect.all(Array.from({ length: 4 }, () => makeSweeper(parent)))
        for (let i = 0; i < 10; i++) makeDead(parent, [imageName(), imageName()])
        const all: spoolSweep.Sweeper = {
          sweep: Effect.forEach(sweepers, ({ sweeper }) => sweeper.sweep, { concurrency: "unbounded", discard: true })
        }
        const beats = Effect.forEach(sweepers, ({ owner }) => Effect.orDie(owner.beat))
        yield* sweepFor(time, all, 2 * S, beats)
        assert.deepStrictEqual(list(parent), sweepers.map(({ own }) => basename(own)).toSorted())
        for (const { own } of sweepers) assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.strictEqual((yield* figures).swept - swept, 20)
        assert.deepStrictEqual(lines, [])
      })
    ).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scopedLive("removes the whole directory of a spool that resumes too late, which then creates a new one", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const { end, value: resumed } = yield* openScoped(makeSweeper(parent))
        writeFileSync(join(resumed.own, imageName()), "image")
        yield* sweepFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(parent), [basename(own)])
        yield* resumed.owner.beat
        const next = yield* resumed.owner.directory
        assert.notStrictEqual(next, resumed.own)
        assert.deepStrictEqual(list(parent), [basename(own), basename(next)].toSorted())
        yield* sweepFor(time, sweeper, 5 * S, Effect.orDie(resumed.owner.beat))
        assert.strictEqual(yield* resumed.owner.directory, next)
        yield* end
        assert.deepStrictEqual(list(parent), [basename(own)])
      })
    ).pipe(Effect.provide(quiet), Effect.provide(NodeContext.layer)))

  it.scopedLive("retries a failed removal, and counts its files once", () => {
    let failing = true
    const lines: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const { swept } = yield* figures
        const dead = makeDead(parent)
        const other = makeDead(parent)
        yield* sweepFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(own), ["heartbeat", basename(dead), basename(other)].toSorted())
        assert.isAtLeast(lines.length, 1)
        assert.include(lines[0], "EIO")
        assert.notInclude(lines.join("\n"), parent)
        failing = false
        yield* sweeper.sweep
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.strictEqual((yield* figures).swept - swept, 2)
      })
    ).pipe(
      Effect.provide(collecting(lines)),
      Effect.provide(layerWith((fs) => ({
        remove: (path, options) =>
          Effect.suspend(() => failing ? diskError("remove", "EIO", path) : fs.remove(path, options))
      })))
    )
  })

  it.scopedLive("removes directories that a dead spool had evicted", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const { swept } = yield* figures
        const outer = makeDead(parent)
        const inner = makeDead(outer)
        // The state after a removal that was cut short.
        rmSync(join(inner, "heartbeat"))
        makeDead(inner)
        yield* sweepFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(parent), [basename(own)])
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.strictEqual((yield* figures).swept - swept, 3)
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("removes directories that a dead spool had evicted, and keeps foreign files beside them", () => {
    const lines: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const { swept } = yield* figures
        const outer = makeDead(parent, [imageName(), "notes.txt"])
        makeDead(outer)
        yield* sweepFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(outer), ["notes.txt"])
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.strictEqual((yield* figures).swept - swept, 2)
        assert.deepStrictEqual(messages(lines), [
          ignoredEntry(outer, "it is a dead spool's directory with files that the spool did not create")
        ])
      })
    ).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scopedLive("moves a directory back when a foreign file appears in it during eviction", () => {
    let createsFile = true
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const dead = makeDead(parent)
        yield* sweepFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.deepStrictEqual(list(dead), ["notes.txt"])
      })
    ).pipe(
      Effect.provide(quiet),
      Effect.provide(layerWith((fs) => ({
        rename: (from, to) =>
          Effect.tap(fs.rename(from, to), () => {
            if (createsFile) writeFileSync(join(to, "notes.txt"), "")
            createsFile = false
          })
      })))
    )
  })

  it.scopedLive("does not count a spool as dead while its heartbeat cannot be read", () => {
    let failing = false
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const other = makeDead(parent)
        yield* sweepFor(time, sweeper, S)
        failing = true
        yield* sweepFor(time, sweeper, 3 * S)
        failing = false
        yield* sweepFor(time, sweeper, S)
        assert.lengthOf(list(other), 2)
        yield* sweepFor(time, sweeper, S)
        assert.isFalse(existsSync(other))
      })
    ).pipe(Effect.provide(layerWith((fs) => ({
      readFile: (path) => Effect.suspend(() => failing ? diskError("readFile", "EIO") : fs.readFile(path))
    }))))
  })

  it.scopedLive("logs a failed sweep, and the next one succeeds", () => {
    const lines: Array<string> = []
    let failing = true
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        makeDead(parent)
        yield* sweeper.sweep
        assert.lengthOf(lines, 1)
        assert.include(lines[0], "EIO")
        assert.notInclude(lines.join("\n"), parent)
        failing = false
        yield* sweepFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(parent), [basename(own)])
      })
    ).pipe(
      Effect.provide(collecting(lines)),
      Effect.provide(layerWith((fs) => ({
        readDirectory: (path, options) =>
          Effect.suspend(() => failing ? diskError("readDirectory", "EIO", path) : fs.readDirectory(path, options))
      })))
    )
  })
})
