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
import { basename, join } from "node:path"
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

/** A monotonic clock that goes when it is told to, beside a wall clock that says anything. */
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

/** Looks as often as a spool does, for so long. */
const lookFor = (
  time: ReturnType<typeof makeClock>,
  sweeper: spoolSweep.Sweeper,
  millis: number,
  between: Effect.Effect<unknown> = Effect.void
) =>
  Effect.gen(function*() {
    for (let passed = 0; passed < millis; passed += S / 10) {
      yield* sweeper.look
      yield* time.pass(S / 10)
      yield* between
    }
    yield* sweeper.look
  })

const withTime = <A, E, R>(test: (time: ReturnType<typeof makeClock>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const time = makeClock()
    return Effect.withClock(test(time), time.clock)
  })

const isRoot = process.getuid?.() === 0

/** What has been logged, without when and by whom. */
const messages = (lines: ReadonlyArray<string>) => lines.map((line) => line.slice(line.indexOf("message=")))

const leftAlone = (path: string, why: string) =>
  `message="Left in the spools' directory: ${why}" entry=${basename(path)}`

describe("the sweep", () => {
  it.live.prop(
    "removes what a dead spool left within twice staleAfter, and nothing of it before staleAfter has passed",
    { phase: FastCheck.integer({ min: 1, max: S / 10 }) },
    ({ phase }) =>
      withTime((time) =>
        Effect.gen(function*() {
          const parent = yield* makeDirectory
          const { own, sweeper } = yield* makeSweeper(parent)
          const { swept } = yield* figures
          yield* lookFor(time, sweeper, S)
          const dead = makeDead(parent, [imageName(), imageName(".jpg"), imageName(".webp"), `any_Prefix.${hex()}.png`])
          yield* time.pass(phase)
          yield* lookFor(time, sweeper, S)
          assert.lengthOf(list(dead), 5)
          // The other half is for slow disks.
          yield* lookFor(time, sweeper, S / 2)
          assert.deepStrictEqual(list(parent), [basename(own)])
          assert.deepStrictEqual(list(own), ["heartbeat"])
          assert.strictEqual((yield* figures).swept - swept, 4)
        }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))
      ),
    { fastCheck: { numRuns: 10 } }
  )

  it.live.prop(
    "never touches what a live spool has, however often it stands still for less than staleAfter, nor how long it does itself",
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
          let nextLook = 0
          let i = 0
          while (i < stalls.length) {
            const next = Math.min(nextBeat, nextLook)
            yield* time.pass(next - time.now())
            if (next === nextBeat) {
              yield* live.beat
              nextBeat += S / 10 + (stalls[i++] ?? 0)
            } else {
              yield* sweeper.look
              nextLook += S / 10 + (pauses[i % pauses.length] ?? 0)
            }
          }
          assert.strictEqual(yield* live.directory, own)
          assert.isTrue(existsSync(image))
          assert.isTrue(existsSync(join(own, "heartbeat")))
        }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))
      ),
    { fastCheck: { numRuns: 40 } }
  )

  it.scopedLive("asks no date: anybody's wall clock may jump anywhere", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const { owner: live, own } = yield* makeSweeper(parent)
        const dead = makeDead(parent)
        let jump = 0
        const dates = [0, 1e12, -1e9, 4e12, 86_400_000]
        yield* lookFor(
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

  it.scopedLive("does not count time in which it stood still itself, with its whole machine perhaps", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const other = makeDead(parent)
        yield* lookFor(time, sweeper, S / 2)
        yield* time.pass(100 * S)
        yield* sweeper.look
        assert.isTrue(existsSync(other))
        yield* lookFor(time, sweeper, 2 * S)
        assert.isFalse(existsSync(other))
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("treats a directory that was only just begun in the same way", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const begun = join(parent, ownerName())
        const completed = join(parent, ownerName())
        mkdirSync(begun)
        mkdirSync(completed)
        yield* lookFor(time, sweeper, S)
        writeFileSync(join(completed, "heartbeat"), "0000000000000000")
        assert.isTrue(existsSync(begun))
        yield* lookFor(time, sweeper, S)
        assert.isFalse(existsSync(begun))
        assert.isTrue(existsSync(completed))
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("does not look at what is not named as a spool names it", () =>
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
        yield* lookFor(time, sweeper, 3 * S)
        assert.deepStrictEqual(list(parent), [...names, basename(own)].toSorted())
        for (const name of names) assert.lengthOf(list(join(parent, name)), 2)
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("removes its own kind of files alone; what else is there stays, and is told of once", () => {
    const lines: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const elsewhere = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const { swept } = yield* figures
        writeFileSync(join(elsewhere, "precious.png"), "")
        const taken = makeDead(elsewhere)
        const foreign = [
          "notes.txt",
          `${hex()}.gif`,
          `${hex()}.png.txt`,
          `short-${hex().slice(8)}.png`,
          `spaced name ${hex()}.png`
        ]
        const dead = makeDead(parent, [imageName(), imageName(), ...foreign])
        const linked = imageName()
        symlinkSync(join(elsewhere, "precious.png"), join(dead, linked))
        const linkedDirectory = ownerName()
        symlinkSync(taken, join(dead, linkedDirectory))
        const namedAsImage = imageName()
        mkdirSync(join(dead, namedAsImage))
        yield* lookFor(time, sweeper, 2 * S)
        const left = [...foreign, linked, linkedDirectory, namedAsImage].toSorted()
        assert.deepStrictEqual(list(dead), left)
        yield* lookFor(time, sweeper, 5 * S)
        assert.deepStrictEqual(list(dead), left)
        assert.deepStrictEqual(messages(lines), [
          leftAlone(dead, "in a dead spool's directory are things that it did not make")
        ])
        assert.lengthOf(list(taken), 2)
        assert.isTrue(existsSync(join(elsewhere, "precious.png")))
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.strictEqual((yield* figures).swept - swept, 2)
      })
    ).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scopedLive("follows no symbolic link that is named like a spool's directory, and tells of it", () => {
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
        yield* lookFor(time, sweeper, 3 * S)
        assert.isTrue(lstatSync(link).isSymbolicLink())
        assert.isTrue(existsSync(file))
        assert.lengthOf(list(target), 2)
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.sameMembers(
          messages(lines),
          [link, file].map((path) => leftAlone(path, "it is named like a spool's directory, but is none"))
        )
      })
    ).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scopedLive("leaves a directory alone that has no heartbeat, or something else in its place", () => {
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
        writeFileSync(join(large, "heartbeat"), "a heartbeat is no such text")
        yield* lookFor(time, sweeper, 3 * S)
        assert.lengthOf(list(without), 1)
        assert.lengthOf(list(linked), 2)
        assert.lengthOf(list(large), 2)
        assert.strictEqual(readFileSync(join(elsewhere, "heartbeat"), "utf8"), "0000000000000007")
        assert.sameMembers(
          messages(lines),
          [without, linked, large].map((path) =>
            leftAlone(path, "it is named like a spool's directory, but has no heartbeat")
          )
        )
      })
    ).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scopedLive("sweeps what a dead spool left by a name that had been left alone and was gone in between", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const without = makeDead(parent)
        rmSync(join(without, "heartbeat"))
        yield* lookFor(time, sweeper, 2 * S)
        assert.lengthOf(list(without), 1)
        rmSync(without, { recursive: true })
        yield* sweeper.look
        renameSync(makeDead(parent), without)
        yield* lookFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(parent), [basename(own)])
      })
    ).pipe(Effect.provide(quiet), Effect.provide(NodeContext.layer)))

  it.scopedLive("gives one that was gone and is back unchanged the whole time again", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const elsewhere = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const other = makeDead(parent)
        yield* lookFor(time, sweeper, 1.4 * S)
        renameSync(other, join(elsewhere, basename(other)))
        yield* sweeper.look
        renameSync(join(elsewhere, basename(other)), other)
        yield* time.pass(S / 10)
        yield* lookFor(time, sweeper, 1.4 * S)
        assert.lengthOf(list(other), 2)
        yield* lookFor(time, sweeper, S / 5)
        assert.isFalse(existsSync(other))
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("leaves another user's alone", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const dead = makeDead(parent)
        if (isRoot) chownSync(dead, 12345, 12345)
        yield* lookFor(time, sweeper, 3 * S)
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

  it.scopedLive("may be done by any number at once: together they remove everything, once, and say nothing", () => {
    const lines: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { swept } = yield* figures
        const sweepers = yield* Effect.all(Array.from({ length: 4 }, () => makeSweeper(parent)))
        for (let i = 0; i < 10; i++) makeDead(parent, [imageName(), imageName()])
        const all: spoolSweep.Sweeper = {
          look: Effect.forEach(sweepers, ({ sweeper }) => sweeper.look, { concurrency: "unbounded", discard: true })
        }
        const beats = Effect.forEach(sweepers, ({ owner }) => Effect.orDie(owner.beat))
        yield* lookFor(time, all, 2 * S, beats)
        assert.deepStrictEqual(list(parent), sweepers.map(({ own }) => basename(own)).toSorted())
        for (const { own } of sweepers) assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.strictEqual((yield* figures).swept - swept, 20)
        assert.deepStrictEqual(lines, [])
      })
    ).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scopedLive("takes all or nothing from a spool that comes back after it was found dead, which then has a new one", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const { end, value: late } = yield* openScoped(makeSweeper(parent))
        writeFileSync(join(late.own, imageName()), "image")
        yield* lookFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(parent), [basename(own)])
        yield* late.owner.beat
        const next = yield* late.owner.directory
        assert.notStrictEqual(next, late.own)
        assert.deepStrictEqual(list(parent), [basename(own), basename(next)].toSorted())
        yield* lookFor(time, sweeper, 5 * S, Effect.orDie(late.owner.beat))
        assert.strictEqual(yield* late.owner.directory, next)
        yield* end
        assert.deepStrictEqual(list(parent), [basename(own)])
      })
    ).pipe(Effect.provide(quiet), Effect.provide(NodeContext.layer)))

  it.scopedLive("tries again what it could not remove, and counts it once", () => {
    let failing = true
    const lines: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const { swept } = yield* figures
        const dead = makeDead(parent)
        const other = makeDead(parent)
        yield* lookFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(own), ["heartbeat", basename(dead), basename(other)].toSorted())
        assert.isAtLeast(lines.length, 1)
        assert.include(lines[0], "EIO")
        failing = false
        yield* sweeper.look
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.strictEqual((yield* figures).swept - swept, 2)
      })
    ).pipe(
      Effect.provide(collecting(lines)),
      Effect.provide(layerWith((fs) => ({
        remove: (path, options) => Effect.suspend(() => failing ? diskError("remove", "EIO") : fs.remove(path, options))
      })))
    )
  })

  it.scopedLive("removes also what a dead one had begun to sweep", () =>
    withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const { swept } = yield* figures
        const outer = makeDead(parent)
        const inner = makeDead(outer)
        // A removal that was interrupted at any point.
        rmSync(join(inner, "heartbeat"))
        makeDead(inner)
        yield* lookFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(parent), [basename(own)])
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.strictEqual((yield* figures).swept - swept, 3)
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("removes also what a dead one had begun to sweep where it leaves something else", () => {
    const lines: Array<string> = []
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const { swept } = yield* figures
        const outer = makeDead(parent, [imageName(), "notes.txt"])
        makeDead(outer)
        yield* lookFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(outer), ["notes.txt"])
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.strictEqual((yield* figures).swept - swept, 2)
        assert.deepStrictEqual(messages(lines), [
          leftAlone(outer, "in a dead spool's directory are things that it did not make")
        ])
      })
    ).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scopedLive("gives back what turns out to hold something else when it has it", () => {
    let late = true
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        const dead = makeDead(parent)
        yield* lookFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(own), ["heartbeat"])
        assert.deepStrictEqual(list(dead), ["notes.txt"])
      })
    ).pipe(
      Effect.provide(quiet),
      Effect.provide(layerWith((fs) => ({
        rename: (from, to) =>
          Effect.tap(fs.rename(from, to), () => {
            if (late) writeFileSync(join(to, "notes.txt"), "")
            late = false
          })
      })))
    )
  })

  it.scopedLive("takes nobody for dead whose heartbeat it cannot read", () => {
    let failing = false
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { sweeper } = yield* makeSweeper(parent)
        const other = makeDead(parent)
        yield* lookFor(time, sweeper, S)
        failing = true
        yield* lookFor(time, sweeper, 3 * S)
        failing = false
        yield* lookFor(time, sweeper, S)
        assert.lengthOf(list(other), 2)
        yield* lookFor(time, sweeper, S)
        assert.isFalse(existsSync(other))
      })
    ).pipe(Effect.provide(layerWith((fs) => ({
      readFile: (path) => Effect.suspend(() => failing ? diskError("readFile", "EIO") : fs.readFile(path))
    }))))
  })

  it.scopedLive("says when it cannot look at all, and looks again", () => {
    const lines: Array<string> = []
    let failing = true
    return withTime((time) =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const { own, sweeper } = yield* makeSweeper(parent)
        makeDead(parent)
        yield* sweeper.look
        assert.lengthOf(lines, 1)
        assert.include(lines[0], "EIO")
        failing = false
        yield* lookFor(time, sweeper, 2 * S)
        assert.deepStrictEqual(list(parent), [basename(own)])
      })
    ).pipe(
      Effect.provide(collecting(lines)),
      Effect.provide(layerWith((fs) => ({
        readDirectory: (path, options) =>
          Effect.suspend(() => failing ? diskError("readDirectory", "EIO") : fs.readDirectory(path, options))
      })))
    )
  })
})
