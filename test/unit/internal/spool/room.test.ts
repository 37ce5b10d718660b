import { SystemError } from "@effect/platform/Error"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { createHash } from "node:crypto"
import { Busy, TooLarge } from "../../../../src/InitImageError.js"
import * as InitImageSpool from "../../../../src/InitImageSpool.js"
import * as admissions from "../../../../src/internal/spool/admission.js"
import * as rooms from "../../../../src/internal/spool/room.js"
import { makeDisk } from "../../../utils/fakeDisk.js"
import { atEachStep, interruptAt } from "../../../utils/interruptions.js"
import { collecting, diskError } from "../../../utils/spools.js"

const bytes = new Uint8Array(10).fill(7)
const open = { flag: "wx", mode: 0o600 }
const force = { force: true }
const busy = new Busy({ retryAfter: 10 })

interface Options {
  readonly size?: rooms.RoomSize
  readonly context?: Partial<rooms.RoomContext>
  readonly disk?: Parameters<typeof makeDisk>
}

/** A room on a recording disk, in a spool that records the bytes in flight and the files that it counts. */
const makeRoom = ({ context, disk = [], size = { maxBytes: 100, bytes: 20 } }: Options = {}) =>
  Effect.gen(function*() {
    const { layer, operations } = makeDisk(...disk)
    const reservations: Array<number> = []
    const checked: Array<number> = []
    const counted = new Map<string, number>()
    const left: Array<string> = []
    const room = yield* Effect.provide(
      rooms.make(
        {
          directory: Effect.succeed("/spool"),
          limit: Infinity,
          admission: {
            acquire: (bytes) => Effect.sync(() => void reservations.push(bytes)),
            giveBack: (bytes) => void reservations.push(-bytes)
          },
          quota: {
            check: (bytes) => Effect.sync(() => void checked.push(bytes)),
            count: (path, bytes) => Effect.sync(() => void counted.set(path, bytes)),
            forget: (path) => Effect.sync(() => void counted.delete(path))
          },
          onLeft: (path) => Effect.sync(() => void left.push(path)),
          ...context
        },
        size,
        {}
      ),
      layer
    )
    const inFlight = () => reservations.reduce((sum, bytes) => sum + bytes, 0)
    return { room, operations, reservations, inFlight, checked, counted, left }
  })

const path = /^\/spool\/session-init-[0-9a-f]{32}\.png$/

const owners = { kept: rooms.kept, scoped: rooms.scoped }

describe("a room", () => {
  describe("reserve", () => {
    it.effect("reserves the exact size, the expected size or the limit, whichever is known", () =>
      Effect.gen(function*() {
        const cases: ReadonlyArray<readonly [rooms.RoomSize, limit: number, reserved: number, checked: number]> = [
          [{ maxBytes: 100, bytes: 20 }, Infinity, 20, 20],
          [{ maxBytes: 100, expectedBytes: 30 }, Infinity, 30, 1],
          [{ maxBytes: 100, expectedBytes: 300 }, Infinity, 100, 1],
          [{ maxBytes: 100, expectedBytes: 300 }, 50, 50, 1],
          [{ maxBytes: 100 }, Infinity, 100, 1],
          [{ maxBytes: 100 }, 50, 50, 1],
          [{ maxBytes: Infinity }, Infinity, 0, 1],
          [{ maxBytes: Infinity, expectedBytes: 30 }, Infinity, 30, 1]
        ]
        for (const [size, limit, reserved, bytesChecked] of cases) {
          const { checked, reservations, room } = yield* makeRoom({ size, context: { limit } })
          assert.strictEqual(room.maxBytes, Math.min(size.maxBytes, limit))
          yield* room.reserve
          assert.deepStrictEqual(reservations, [reserved])
          // Once before the wait and once after it.
          assert.deepStrictEqual(checked, [bytesChecked, bytesChecked])
          yield* room.release
          assert.deepStrictEqual(reservations, [reserved, -reserved])
        }
      }))

    it.effect("refuses a known size above the limit with TooLarge, before it asks for anything", () =>
      Effect.gen(function*() {
        for (const [maxBytes, limit] of [[19, Infinity], [100, 19]] as const) {
          const { checked, reservations, room } = yield* makeRoom({ size: { maxBytes, bytes: 20 }, context: { limit } })
          assert.deepStrictEqual(yield* Effect.flip(room.reserve), new TooLarge({ bytes: 20, limit: 19 }))
          yield* room.release
          assert.deepStrictEqual([checked, reservations], [[], []])
        }
      }))

    it.effect("gives the bytes in flight back when the quota is full after the wait", () =>
      Effect.gen(function*() {
        for (const checks of [0, 1]) {
          let remaining = checks
          const { inFlight, reservations, room } = yield* makeRoom({
            context: {
              quota: {
                check: () => Effect.suspend(() => remaining-- > 0 ? Effect.void : busy),
                count: () => Effect.void,
                forget: () => Effect.void
              }
            }
          })
          assert.strictEqual(yield* Effect.flip(room.reserve), busy)
          assert.lengthOf(reservations, checks)
          yield* room.release
          assert.strictEqual(inFlight(), 0)
        }
      }))

    it.effect("gives nothing back that it did not get", () =>
      Effect.gen(function*() {
        const refused = new Busy({ retryAfter: 1 })
        const given: Array<number> = []
        const { room } = yield* makeRoom({
          context: { admission: { acquire: () => refused, giveBack: (bytes) => void given.push(bytes) } }
        })
        assert.strictEqual(yield* Effect.flip(room.reserve), refused)
        yield* room.release
        assert.deepStrictEqual(given, [])
      }))
  })

  describe("publish", () => {
    it.effect("creates a whole file in one call, counts it and gives the bytes in flight back", () =>
      Effect.gen(function*() {
        const { counted, operations, reservations, room } = yield* makeRoom()
        yield* room.reserve
        assert.isFalse(room.isPublished())
        const { path: published } = yield* room.publish(".png", bytes)
        assert.isTrue(room.isPublished())
        assert.match(published, path)
        assert.deepStrictEqual(operations, [["writeFile", 10, open]])
        assert.deepStrictEqual([...counted], [[published, 10]])
        assert.deepStrictEqual(reservations, [20, -20])
        yield* room.release
        assert.isFalse(room.isPublished())
        assert.deepStrictEqual(operations.slice(1), [["remove", force]])
        assert.strictEqual(counted.size, 0)
        assert.deepStrictEqual(reservations, [20, -20])
      }))

    it.effect("answers the SHA-256 of all bytes where the effect takes it, and of none that were discarded", () =>
      Effect.gen(function*() {
        const sha256 = (...parts: ReadonlyArray<Uint8Array>) =>
          createHash("sha256").update(Buffer.concat(parts)).digest("hex")
        const publish = (room: rooms.Room) => Effect.map(room.publish(".png", bytes), ({ sha256 }) => sha256)
        const whole = yield* InitImageSpool.withSha256(makeRoom())
        yield* whole.room.reserve
        assert.strictEqual(yield* publish(whole.room), sha256(bytes))
        const pieces = yield* InitImageSpool.withSha256(makeRoom())
        yield* pieces.room.reserve
        yield* pieces.room.append(".png", bytes.subarray(5))
        yield* pieces.room.discard
        yield* pieces.room.append(".png", bytes.subarray(3))
        yield* pieces.room.append(".png", bytes.subarray(7))
        assert.strictEqual(yield* publish(pieces.room), sha256(bytes.subarray(3), bytes.subarray(7), bytes))
        const { room } = yield* makeRoom()
        yield* room.reserve
        assert.isUndefined(yield* publish(room))
      }))

    it.effect("closes a file that was appended to, looks for it, and counts all of its bytes", () =>
      Effect.gen(function*() {
        for (const last of [bytes.subarray(3), bytes.subarray(10)]) {
          const { counted, operations, reservations, room } = yield* makeRoom()
          yield* room.reserve
          yield* room.append(".png", bytes)
          assert.isFalse(room.isPublished())
          yield* room.append(".png", bytes)
          assert.deepStrictEqual(reservations, [20])
          const { path: published } = yield* room.publish(".png", last)
          assert.match(published, path)
          assert.deepStrictEqual(operations, [
            ["open", open],
            ["writeAll", 10],
            ["writeAll", 10],
            ...(last.length > 0 ? [["writeAll", last.length]] : []),
            ["close"],
            ["access"]
          ])
          assert.deepStrictEqual([...counted], [[published, 20 + last.length]])
          assert.deepStrictEqual(reservations, [20, -20])
          yield* room.release
          assert.deepStrictEqual(operations.at(-1), ["remove", force])
          assert.strictEqual(counted.size, 0)
        }
      }))

    it.effect("removes the file and gives everything back when the quota is full by then", () =>
      Effect.gen(function*() {
        for (const isAppended of [false, true]) {
          const { inFlight, operations, room } = yield* makeRoom({
            context: {
              quota: {
                check: () => Effect.void,
                count: () => busy,
                forget: () => Effect.void
              }
            }
          })
          yield* room.reserve
          if (isAppended) yield* room.append(".png", bytes)
          assert.strictEqual(yield* Effect.flip(room.publish(".png", bytes)), busy)
          assert.isFalse(room.isPublished())
          assert.strictEqual(inFlight(), 20)
          yield* room.release
          assert.deepStrictEqual(operations.filter(([name]) => name === "remove"), [["remove", force]])
          assert.strictEqual(operations.filter(([name]) => name === "close").length, isAppended ? 1 : 0)
          assert.strictEqual(inFlight(), 0)
        }
      }))

    it.effect("observes an interruption before the file is counted", () =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const { counted, inFlight, room } = yield* makeRoom({ disk: [{ writeFile: () => Deferred.await(gate) }] })
        yield* room.reserve
        const fiber = yield* Effect.fork(room.publish(".png", bytes))
        yield* Effect.yieldNow()
        yield* Fiber.interruptFork(fiber)
        yield* Effect.yieldNow()
        yield* Deferred.succeed(gate, void 0)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
        assert.strictEqual(counted.size, 0)
        assert.isFalse(room.isPublished())
        yield* room.release
        assert.strictEqual(inFlight(), 0)
      }))
  })

  it.effect("asks for the directory of the options first, and of the spool otherwise", () =>
    Effect.gen(function*() {
      const { layer } = makeDisk()
      const context: rooms.RoomContext = {
        directory: Effect.fail(
          new SystemError({ module: "FileSystem", method: "open", reason: "NotFound", pathOrDescriptor: "/secret" })
        ),
        limit: Infinity,
        admission: admissions.unlimited,
        quota: { check: () => Effect.void, count: () => Effect.void, forget: () => Effect.void },
        onLeft: () => Effect.void
      }
      const publish = (options: { readonly directory?: string; readonly prefix?: string }) =>
        Effect.provide(
          Effect.flatMap(
            rooms.make(context, { maxBytes: 100 }, options),
            (room) => Effect.map(room.publish(".jpg", bytes), ({ path }) => path)
          ),
          layer
        )
      assert.match(yield* publish({ directory: "/images", prefix: "a" }), /^\/images\/a[0-9a-f]{32}\.jpg$/)
      const error = yield* Effect.flip(publish({}))
      assert.deepInclude(error, { _tag: "SystemError", reason: "NotFound" })
      assert.notInclude(JSON.stringify(error) + String(error), "secret")
    }))

  it.effect("removes a file that a failed creation may have left, and none that was there before", () =>
    Effect.gen(function*() {
      const exists = new SystemError({ module: "FileSystem", method: "open", reason: "AlreadyExists" })
      for (
        const [failure, removals] of [
          [Effect.fail(diskError("open", "ENOSPC")), 1],
          [Effect.die("open"), 1],
          [Effect.fail(exists), 0]
        ] as const
      ) {
        for (const method of ["publish", "append"] as const) {
          const { counted, inFlight, operations, room } = yield* makeRoom({
            disk: [{ writeFile: () => failure, open: () => failure }]
          })
          yield* room.reserve
          assert.isTrue(Exit.isFailure(yield* Effect.exit(Effect.asVoid(room[method](".png", bytes)))))
          assert.lengthOf(operations, 0)
          yield* room.release
          assert.lengthOf(operations, removals)
          assert.strictEqual(inFlight(), 0)
          yield* room.release
          assert.lengthOf(operations, removals)
          assert.strictEqual(counted.size, 0)
        }
      }
    }))

  it.effect("gives everything back once, from each state, however often it is released", () =>
    Effect.gen(function*() {
      type Room = Effect.Effect.Success<ReturnType<typeof makeRoom>>["room"]
      const append = (room: Room) => Effect.zipRight(room.reserve, room.append(".png", bytes))
      const states: Record<string, (room: Room) => Effect.Effect<unknown, unknown>> = {
        Unreserved: () => Effect.void,
        Reserved: (room) => room.reserve,
        Writing: append,
        Discarded: (room) => Effect.zipRight(append(room), room.discard),
        Published: (room) => Effect.zipRight(room.reserve, room.publish(".png", bytes)),
        "Published in pieces": (room) => Effect.zipRight(append(room), room.publish(".png", bytes))
      }
      for (const [state, reach] of Object.entries(states)) {
        const { counted, inFlight, operations, room } = yield* makeRoom()
        yield* reach(room)
        const before = operations.length
        const isFile = state !== "Unreserved" && state !== "Reserved" && state !== "Discarded"
        for (const _ of [1, 2, 3]) {
          yield* room.release
          const after = operations.slice(before).map(([name]) => name)
          assert.deepStrictEqual(
            after,
            [...(state === "Writing" ? ["close"] : []), ...(isFile ? ["remove"] : [])],
            state
          )
          assert.strictEqual(inFlight(), 0, state)
          assert.strictEqual(counted.size, 0, state)
          assert.isFalse(room.isPublished())
        }
      }
    }))

  it.effect("leaves a file that was handed over, and still counts it", () =>
    Effect.gen(function*() {
      const { counted, inFlight, operations, room } = yield* makeRoom()
      yield* room.reserve
      yield* room.publish(".png", bytes)
      yield* room.handOver
      assert.isFalse(room.isPublished())
      yield* room.release
      yield* room.release
      assert.lengthOf(operations, 1)
      assert.strictEqual(counted.size, 1)
      assert.strictEqual(inFlight(), 0)
    }))

  it.effect("still counts a file until it can be removed, and gives its bytes in flight back at once", () =>
    Effect.gen(function*() {
      for (const retries of [1, Infinity]) {
        let failures = 3 * retries
        const disk = {
          remove: () => Effect.suspend(() => failures-- > 0 ? Effect.fail(diskError("remove", "EBUSY")) : Effect.void),
          exists: () => Effect.succeed(true)
        }
        const { counted, inFlight, left, room } = yield* makeRoom({ disk: [disk] })
        yield* room.reserve
        const { path: published } = yield* room.publish(".png", bytes)
        yield* room.release
        assert.strictEqual(counted.size, 1)
        assert.strictEqual(inFlight(), 0)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(counted.size, retries === 1 ? 0 : 1)
        assert.deepStrictEqual(left, retries === 1 ? [] : [published])
      }
    }))

  it.effect("gives its bytes in flight back where a file that is being written cannot be removed", () =>
    Effect.gen(function*() {
      const disk = { remove: () => Effect.fail(diskError("remove", "EIO")), exists: () => Effect.succeed(true) }
      for (const end of ["release", "discard"] as const) {
        const { counted, inFlight, left, room } = yield* makeRoom({ disk: [disk] })
        yield* room.reserve
        yield* room.append(".png", bytes)
        yield* room[end]
        assert.strictEqual(inFlight(), end === "release" ? 0 : 20)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(counted.size, 0)
        assert.lengthOf(left, 1)
      }
    }))

  it.effect("gives its file the mode of the options", () =>
    Effect.gen(function*() {
      const { layer, operations } = makeDisk({
        chmod: (path, mode) => Effect.sync(() => void operations.push(["chmod", path.slice(0, 7), mode]))
      })
      const context: rooms.RoomContext = {
        directory: Effect.succeed("/images"),
        limit: Infinity,
        admission: admissions.unlimited,
        quota: { check: () => Effect.void, count: () => Effect.void, forget: () => Effect.void },
        onLeft: () => Effect.void
      }
      const make = Effect.provide(rooms.make(context, { maxBytes: 100 }, { mode: 0o640 }), layer)
      const whole = yield* make
      yield* whole.publish(".jpg", bytes)
      const pieces = yield* make
      yield* pieces.append(".jpg", bytes)
      assert.deepStrictEqual(operations, [
        ["writeFile", 10, { flag: "wx", mode: 0o640 }],
        ["chmod", "/images", 0o640],
        ["open", { flag: "wx", mode: 0o640 }],
        ["chmod", "/images", 0o640],
        ["writeAll", 10]
      ])
    }))

  it.effect("keeps its reservation when its file is discarded, and takes a new file", () =>
    Effect.gen(function*() {
      const { counted, operations, reservations, room } = yield* makeRoom()
      yield* room.discard
      yield* room.reserve
      yield* room.discard
      assert.deepStrictEqual(operations, [])
      yield* room.append(".png", bytes)
      yield* room.discard
      yield* room.discard
      assert.deepStrictEqual(operations, [["open", open], ["writeAll", 10], ["close"], ["remove", force]])
      assert.deepStrictEqual(reservations, [20])
      const { path: published } = yield* room.publish(".jpg", bytes)
      assert.isTrue(published.endsWith(".jpg"))
      assert.deepStrictEqual([...counted.values()], [10])
      assert.deepStrictEqual(reservations, [20, -20])
    }))

  it.effect("reports a failed close as an error, and logs it where an earlier error counts", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const dying = (file: ReturnType<typeof makeDisk>["file"]) => ({
        open: () => Effect.acquireRelease(Effect.succeed(file), () => Effect.die(diskError("close", "EIO")))
      })
      let writes = 0
      const failing = makeDisk(
        {},
        () => Effect.suspend(() => writes++ === 0 ? Effect.void : Effect.fail(diskError("writeAll", "ENOSPC")))
      )
      const both = yield* makeRoom({ disk: [dying(failing.file)] })
      yield* both.room.reserve
      yield* both.room.append(".png", bytes)
      const error = yield* Effect.provide(Effect.flip(both.room.publish(".png", bytes)), collecting(lines))
      assert.deepInclude(error, { _tag: "SystemError", description: "ENOSPC" })
      assert.lengthOf(lines, 1)
      assert.include(lines[0], "could not be closed")
      assert.include(lines[0], "EIO")

      const only = yield* makeRoom({ disk: [dying(makeDisk().file)] })
      yield* only.room.reserve
      yield* only.room.append(".png", bytes)
      const alone = yield* Effect.provide(Effect.flip(only.room.publish(".png", bytes)), collecting(lines))
      assert.deepInclude(alone, { _tag: "SystemError", description: "EIO" })
      assert.lengthOf(lines, 1)
      yield* only.room.release
      assert.deepStrictEqual(only.operations, [["remove", force]])
      assert.strictEqual(only.inFlight(), 0)

      const released = yield* makeRoom({ disk: [dying(makeDisk().file)] })
      yield* released.room.reserve
      yield* released.room.append(".png", bytes)
      yield* Effect.provide(released.room.release, collecting(lines))
      assert.lengthOf(lines, 2)
      assert.deepStrictEqual(released.operations, [["remove", force]])
    }))

  it.effect("fails to publish a file that was removed meanwhile", () =>
    Effect.gen(function*() {
      const gone = new SystemError({ module: "FileSystem", method: "access", reason: "NotFound" })
      const { counted, inFlight, room } = yield* makeRoom({ disk: [{ access: () => Effect.fail(gone) }] })
      yield* room.reserve
      yield* room.append(".png", bytes)
      assert.deepInclude(yield* Effect.flip(room.publish(".png", bytes)), { _tag: "SystemError", reason: "NotFound" })
      yield* room.release
      assert.strictEqual(counted.size, 0)
      assert.strictEqual(inFlight(), 0)
    }))

  describe("runs an effect", () => {
    const limit = 20
    /** Runs `use` in a room that has to wait for its bytes. Answers the exit and the state after it. */
    const run = (
      run: (
        makeRoom: Effect.Effect<rooms.Room>,
        use: (room: rooms.Room) => Effect.Effect<void, unknown>
      ) => Effect.Effect<unknown, unknown, Scope.Scope>,
      use: (room: rooms.Room) => Effect.Effect<void, unknown>,
      at = Infinity
    ) =>
      Effect.gen(function*() {
        const admission = admissions.make(limit, Duration.infinity)
        let inFlight = 0
        const made = yield* makeRoom({
          context: {
            admission: {
              acquire: (bytes, restore) =>
                Effect.map(admission.acquire(bytes, restore), () => {
                  inFlight += bytes
                }),
              giveBack: (bytes) => {
                inFlight -= bytes
                admission.giveBack(bytes)
              }
            }
          },
          // Each operation takes a while, so that it is also interrupted while it runs.
          disk: [{}, () => Effect.yieldNow()]
        })
        yield* admission.acquire(limit, (effect) => effect)
        yield* Effect.fork(
          Effect.zipRight(Effect.repeatN(Effect.yieldNow(), 3), Effect.sync(() => admission.giveBack(limit)))
        )
        const scope = yield* Scope.make()
        let isHandedOver = false
        const handOver = Effect.map(made.room.handOver, () => {
          isHandedOver = true
        })
        const { exit, isReached } = yield* interruptAt(
          at,
          Scope.extend(run(Effect.as(Effect.yieldNow(), { ...made.room, handOver }), use), scope)
        )
        yield* Effect.repeatN(Effect.yieldNow(), 5)
        const files = made.operations.filter(([name]) => name === "open" || name === "writeFile").length -
          made.operations.filter(([name]) => name === "remove").length
        const descriptors = made.operations.filter(([name]) => name === "open").length -
          made.operations.filter(([name]) => name === "close").length
        return {
          exit,
          isReached,
          isHandedOver,
          scope,
          files,
          descriptors,
          inFlight,
          counted: made.counted.size,
          operations: made.operations,
          room: made.room
        }
      })

    const publish = (room: rooms.Room) => Effect.asVoid(room.publish(".png", bytes))
    const append = (room: rooms.Room) => Effect.zipRight(room.reserve, room.append(".png", bytes))
    const whole = (room: rooms.Room) => Effect.zipRight(room.reserve, publish(room))
    const inPieces = (room: rooms.Room) => Effect.zipRight(append(room), publish(room))
    const discarding = (room: rooms.Room) => Effect.zipRight(append(room), room.discard)
    const uses = [["whole", whole], ["in pieces", inPieces], ["discarding", discarding]] as const

    for (const [name, use] of uses) {
      it.effect(`and leaves nothing of it when it is interrupted at any step (${name})`, () =>
        Effect.gen(function*() {
          for (const how of ["kept", "scoped"] as const) {
            let published = 0
            const steps = yield* atEachStep((at) =>
              Effect.gen(function*() {
                const result = yield* run(owners[how], use, at)
                const { counted, descriptors, files, inFlight, isHandedOver, isReached, operations, room, scope } =
                  result
                // The last steps come after the room has changed its owner.
                const expected = isHandedOver || room.isPublished() ? 1 : 0
                published += expected
                assert.deepStrictEqual(
                  { counted, descriptors, files, inFlight },
                  { counted: expected, descriptors: 0, files: expected, inFlight: 0 },
                  `${how} ${at}`
                )
                assert.strictEqual(isHandedOver, how === "kept" && expected === 1)
                yield* Scope.close(scope, Exit.void)
                assert.isFalse(room.isPublished())
                if (how === "scoped" && expected === 1) assert.deepStrictEqual(operations.at(-1), ["remove", force])
                return isReached
              })
            )
            assert.isAtMost(published, use === discarding ? 0 : steps / 3)
            assert.isAbove(steps, 50)
          }
        }))
    }

    it.effect("and gives everything back when it fails or dies, whether it has published or not", () =>
      Effect.gen(function*() {
        for (const end of [Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
          for (const use of [whole, inPieces, discarding, (room: rooms.Room) => room.reserve]) {
            for (const how of ["kept", "scoped"] as const) {
              const { counted, descriptors, files, inFlight, room } = yield* run(
                owners[how],
                (room) => Effect.zipRight(use(room), end)
              )
              assert.deepStrictEqual({ counted, descriptors, files, inFlight }, {
                counted: 0,
                descriptors: 0,
                files: 0,
                inFlight: 0
              })
              assert.isFalse(room.isPublished())
            }
          }
        }
      }))

    it.effect("and hands a published file over to the caller", () =>
      Effect.gen(function*() {
        const { exit, operations, room, scope } = yield* run(rooms.kept, whole)
        assert.isTrue(Exit.isSuccess(exit))
        yield* Scope.close(scope, Exit.void)
        yield* room.release
        assert.lengthOf(operations, 1)
      }))

    it.effect("and keeps a published file as long as the caller's scope is open", () =>
      Effect.gen(function*() {
        const { counted, exit, operations, scope } = yield* run(rooms.scoped, whole)
        assert.isTrue(Exit.isSuccess(exit))
        assert.strictEqual(counted, 1)
        assert.lengthOf(operations, 1)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(operations.at(-1), ["remove", force])
        yield* Scope.close(scope, Exit.void)
        assert.lengthOf(operations, 2)
      }))

    it.effect("and ends as interrupted, with nothing left, where the caller's scope was closed meanwhile", () =>
      Effect.gen(function*() {
        const closed = yield* Scope.make()
        yield* Scope.close(closed, Exit.void)
        const { counted, exit, files, inFlight } = yield* run(
          (makeRoom, use) => Scope.extend(rooms.scoped(makeRoom, use), closed),
          inPieces
        )
        assert.isTrue(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))
        assert.deepStrictEqual({ counted, files, inFlight }, { counted: 0, files: 0, inFlight: 0 })
      }))

    it.effect("and answers the error of the room that could not be made", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(rooms.kept(Effect.fail("no room"), () => Effect.void))
        assert.strictEqual(
          Option.getOrNull(Option.flatMap(Exit.causeOption(exit), Cause.failureOption)),
          "no room"
        )
      }))
  })
})
