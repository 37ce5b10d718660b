import * as NodeContext from "@effect/platform-node/NodeContext"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { existsSync, readFileSync } from "node:fs"
import { basename, join } from "node:path"
import { InitImageSlot, InitImageSpool, SessionInitImage } from "../../src/index.js"
import { list, makeDirectory, openIn } from "../utils/directory.js"
import { numbered } from "../utils/numberedImages.js"
import { payloadOf } from "../utils/payloads.js"
import { figures, isIdle, openScoped } from "../utils/spools.js"
import { eventually } from "../utils/webSocketClient.js"
import * as children from "./killed/children.js"

/** In milliseconds. Longer than a busy machine suspends a process. */
const staleAfter = 3000

const noTimeout = 0

const lanes = 5
const perLane = 12
/** In milliseconds from readiness. */
const longestLife = 150
/** In milliseconds from the start, for a child that is killed ready or not. */
const longestStart = 600

let program: children.Program
beforeAll(async () => {
  program = await children.compile()
}, 120_000)
afterAll(() => program.remove())

/** Starts a child, which is killed when the scope closes. */
const start = (directory: string) =>
  Effect.acquireRelease(
    Effect.sync(() => children.start(program, directory, staleAfter)),
    ({ ended, process }) => Effect.zipRight(Effect.sync(() => process.kill("SIGKILL")), Effect.promise(() => ended))
  )

const ready = (child: children.Child) =>
  Effect.map(Effect.promise(() => child.ready), (directory) => {
    assert.isDefined(directory, child.output())
    return directory
  })

/** Requires that the child missed none of its files. */
const lostNothing = (child: children.Child): void => assert.match(child.output(), /^(ready .*\n)?$/)

const kill = Effect.fnUntraced(function*(child: children.Child) {
  child.process.kill("SIGKILL")
  assert.strictEqual(yield* Effect.promise(() => child.ended), "SIGKILL", child.output())
  lostNothing(child)
})

const heartbeat = (directory: string): string => readFileSync(join(directory, "heartbeat"), "latin1")

/** Waits for the next heartbeat. */
const beats = (directory: string) =>
  Effect.suspend(() => {
    const before = heartbeat(directory)
    return eventually(() => assert.notStrictEqual(heartbeat(directory), before))
  })

/** Opens a spool in this process with persisted and leased images. */
const openLiving = Effect.fnUntraced(function*(parent: string) {
  const { end, value: spool } = yield* openScoped(InitImageSpool.make({ directory: parent, staleAfter }))
  const directory = (yield* spool.directory) ?? ""
  const images = [numbered(1, 100), numbered(2, 20_000), numbered(3, 300_000)]
  const slot = yield* InitImageSlot.make
  const persisted = yield* Effect.gen(function*() {
    const [given, former, current] = images.map((bytes) => payloadOf("image/png", bytes))
    return [
      yield* SessionInitImage.persist(given),
      // Leased, but no longer current.
      yield* Effect.zipRight(slot.set(former), slot.lease),
      yield* Effect.zipRight(slot.set(current), slot.lease)
    ].flatMap(Option.toArray)
  }).pipe(Effect.provideService(InitImageSpool.InitImageSpool, spool))
  return {
    directory,
    end,
    /** Requires exactly the images of this spool. */
    check: Effect.gen(function*() {
      assert.strictEqual(yield* spool.directory, directory)
      for (const [index, { path }] of persisted.entries()) {
        assert.deepStrictEqual(readFileSync(path), Buffer.from(images[index] ?? []))
      }
      const { bytes, files } = yield* figures
      assert.deepStrictEqual({ bytes, files }, { bytes: 320_100, files: 3 })
    }),
    own: ["heartbeat", ...persisted.map(({ path }) => basename(path))].toSorted()
  }
})

describe("killed processes", () => {
  it.scopedLive(
    `leave no file after ${lanes * perLane} random kills, and live processes lose none`,
    () =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        const living = yield* openLiving(parent)
        const sibling = yield* start(parent)
        const siblingDirectory = yield* ready(sibling)
        let wereReady = 0
        let killed = 0

        const lane = (lane: number) =>
          Effect.forEach(
            Array.from({ length: perLane }),
            (_, index) =>
              Effect.scoped(Effect.gen(function*() {
                const child = yield* start(parent)
                if (index % 4 === 3) {
                  yield* Effect.sleep(Math.random() * longestStart)
                } else {
                  yield* ready(child)
                  wereReady++
                  yield* Effect.sleep(Math.random() * longestLife)
                }
                yield* kill(child)
                if (++killed % 10 === 0) process.stdout.write(`killed: ${killed} of ${lanes * perLane}\n`)
                if (index % 4 === lane % 4) yield* Effect.all([beats(living.directory), beats(siblingDirectory)])
              })),
            { discard: true }
          )
        const watch = Effect.forever(Effect.zipRight(
          Effect.sync(() => lostNothing(sibling)),
          Effect.delay(living.check, 10)
        ))
        yield* Effect.raceFirst(
          Effect.forEach(Array.from({ length: lanes }, (_, index) => index), lane, {
            concurrency: "unbounded",
            discard: true
          }),
          watch
        )
        assert.isAtLeast(wereReady, lanes * perLane / 2)

        const left = [living.directory, siblingDirectory].map((directory) => basename(directory)).toSorted()
        yield* Effect.raceFirst(eventually(() => assert.deepStrictEqual(list(parent), left)), watch)
        yield* beats(siblingDirectory)
        yield* kill(sibling)
        yield* Effect.raceFirst(
          eventually(() => {
            assert.deepStrictEqual(list(parent), [basename(living.directory)])
            assert.deepStrictEqual(list(living.directory), living.own)
          }),
          watch
        )
        yield* beats(living.directory)
        yield* living.check
        yield* living.end
        assert.deepStrictEqual(list(parent), [])
        assert.deepStrictEqual(openIn(parent), [])
        yield* isIdle
      }).pipe(Effect.provide(NodeContext.layer)),
    noTimeout
  )

  it.scopedLive(
    "keep their files when their event loop is blocked for three times staleAfter",
    () =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        yield* openLiving(parent)
        const child = yield* start(parent)
        yield* beats(yield* ready(child))
        child.process.kill("SIGUSR2")
        yield* eventually(() => assert.match(child.output(), /unblocked|lost/))
        assert.match(child.output(), /^ready .*\nunblocked\n$/)
      }).pipe(Effect.provide(NodeContext.layer)),
    noTimeout
  )

  it.scopedLive("keep their files when they are stopped for less than staleAfter", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const living = yield* openLiving(parent)
      const child = yield* start(parent)
      const directory = yield* ready(child)
      for (const part of [0.3, 0.5, 0.7]) {
        child.process.kill("SIGSTOP")
        // Ends a write in progress.
        yield* Effect.sleep(50)
        const before = heartbeat(directory)
        yield* Effect.sleep(staleAfter * part)
        assert.strictEqual(heartbeat(directory), before)
        assert.isTrue(existsSync(directory))
        child.process.kill("SIGCONT")
        yield* beats(directory)
      }
      // The child continues and finds all of its files.
      yield* Effect.sleep(staleAfter)
      yield* beats(directory)
      lostNothing(child)
      yield* living.check
      yield* kill(child)
      yield* eventually(() => assert.deepStrictEqual(list(parent), [basename(living.directory)]))
    }).pipe(Effect.provide(NodeContext.layer)))
})
