import { BadArgument, type PlatformError, SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { inspect } from "node:util"
import * as tempFile from "../../../../src/internal/persist/tempFile.js"
import { collecting, diskError } from "../../../utils/spools.js"

const bytes = new Uint8Array(10).fill(7)

/** A file system of which each operation is noted, and does what is asked for in place of nothing. */
const makeDisk = (methods: Partial<FileSystem.FileSystem> = {}) => {
  const done: Array<unknown> = []
  const note = (...what: ReadonlyArray<unknown>) => Effect.sync(() => void done.push(what))
  const file = {
    writeAll: (chunk: Uint8Array) => note("writeAll", chunk.length)
    // Nothing else is asked of a file.
  } as unknown as FileSystem.File
  const fs = FileSystem.makeNoop({
    open: (_, options) => Effect.acquireRelease(Effect.as(note("open", options), file), () => note("close")),
    writeFile: (_, data, options) => note("writeFile", data.length, options),
    access: () => note("access"),
    remove: (_, options) => note("remove", options),
    ...methods
  })
  const kept = new Map<string, number>()
  const removed: Array<string> = []
  const target = (options: tempFile.Options = {}): tempFile.Target<never> => ({
    extension: ".png",
    options: { directory: "/images", ...options },
    spool: {
      directory: Effect.succeed("/spool"),
      keep: (path, bytes) => Effect.sync(() => void kept.set(path, bytes)),
      removed: (path) => Effect.sync(() => void removed.push(path))
    }
  })
  return { done, fs, kept, layer: Layer.merge(Layer.succeed(FileSystem.FileSystem, fs), Path.layer), removed, target }
}

const options = { flag: "wx", mode: 0o600 }
const pieces = (write: tempFile.Write) => Effect.as(Effect.zipRight(write(bytes), write(bytes.subarray(3))), "written")

const failing = (method: string, code = "EIO") => () => Effect.fail(diskError(method, code))

const both = (target: tempFile.Target<never>) =>
  [tempFile.createWhole(target, bytes), tempFile.create(target, pieces)].map((create) =>
    Effect.asVoid<unknown, PlatformError, FileSystem.FileSystem | Path.Path | Scope.Scope>(create)
  )

/** What it was given a scope for, and how that ended. */
const runIn = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const exit = yield* Effect.exit(Scope.extend(effect, scope))
    return { exit, close: Scope.close(scope, Exit.void) }
  })

describe("tempFile", () => {
  it.effect("makes a whole file in one call, keeps it, and removes it when the scope closes", () => {
    const { done, kept, layer, removed, target } = makeDisk()
    return Effect.gen(function*() {
      const { close, exit } = yield* runIn(tempFile.createWhole(target(), bytes))
      const path = yield* exit
      assert.match(path, /^\/images\/session-init-[0-9a-f]{32}\.png$/)
      assert.deepStrictEqual([...kept], [[path, 10]])
      assert.deepStrictEqual(done, [["writeFile", 10, options]])
      yield* close
      assert.deepStrictEqual(done.slice(1), [["remove", { force: true }]])
      assert.deepStrictEqual(removed, [path])
    }).pipe(Effect.provide(layer))
  })

  it.effect("makes a file in pieces, looks for it when it is closed, and keeps as many bytes as were written", () => {
    const { done, kept, layer, removed, target } = makeDisk()
    return Effect.gen(function*() {
      const { close, exit } = yield* runIn(tempFile.create(target({ prefix: "a_1." }), pieces))
      const { path, value } = yield* exit
      assert.match(path, /^\/images\/a_1\.[0-9a-f]{32}\.png$/)
      assert.strictEqual(value, "written")
      assert.deepStrictEqual([...kept], [[path, 17]])
      assert.deepStrictEqual(done, [["open", options], ["writeAll", 10], ["writeAll", 7], ["close"], ["access"]])
      yield* close
      assert.deepStrictEqual(removed, [path])
    }).pipe(Effect.provide(layer))
  })

  it.effect("asks the spool for a directory, and gives no name twice", () => {
    const { layer, target } = makeDisk()
    return Effect.gen(function*() {
      const paths = new Set<string>()
      for (let i = 0; i < 300; i++) {
        paths.add(yield* Effect.scoped(tempFile.createWhole({ ...target(), options: undefined }, bytes)))
      }
      assert.lengthOf([...paths], 300)
      for (const path of paths) assert.match(path, /^\/spool\/session-init-[0-9a-f]{32}\.png$/)
    }).pipe(Effect.provide(layer))
  })

  it.effect("takes no prefix that leads elsewhere", () =>
    Effect.gen(function*() {
      for (const prefix of ["", "a", "A.z_0-9"]) yield* tempFile.checkOptions({ prefix })
      yield* tempFile.checkOptions(undefined)
      yield* tempFile.checkOptions({})
      for (const prefix of ["/", "../", "a b", "ä", "a\n", "a\0"]) {
        const error = yield* Effect.flip(tempFile.checkOptions({ prefix }))
        assert.strictEqual(error.method, "open")
        assert.include(error.message, "a prefix may hold only A-Z, a-z, 0-9, '.', '_' and '-'")
      }
    }))

  it.effect("tells what the disk says without its path", () =>
    Effect.gen(function*() {
      const secret = "/secret/place"
      const system = (cause: unknown) =>
        new SystemError({
          module: "FileSystem",
          method: "open",
          reason: "Unknown",
          syscall: "open",
          pathOrDescriptor: secret,
          description: secret,
          cause
        })
      const cases = [
        [system(Object.assign(new Error(secret), { code: "EIO", path: secret })), "EIO"],
        [system(Object.assign(new Error(secret), { code: 5 })), undefined],
        [system(secret), undefined],
        [system(undefined), undefined],
        [new BadArgument({ module: "FileSystem", method: "open", description: secret }), undefined]
      ] as const
      for (const [error, description] of cases) {
        const { layer, target } = makeDisk({ writeFile: () => Effect.fail(error), open: () => Effect.fail(error) })
        for (const create of both(target())) {
          const told = yield* Effect.flip(Effect.scoped(Effect.provide(create, layer)))
          assert.strictEqual(told._tag, error._tag)
          assert.strictEqual(told.module, "FileSystem")
          assert.strictEqual(told.method, "open")
          assert.strictEqual(told.description, description)
          if (told._tag === "SystemError") assert.deepInclude(told, { reason: "Unknown", syscall: "open" })
          assert.notInclude(inspect(told, { depth: 9 }) + JSON.stringify(told) + String(told), secret)
        }
      }
    }))

  it.effect("removes what may have been created, and nothing that was there before", () =>
    Effect.gen(function*() {
      const exists = new SystemError({ module: "FileSystem", method: "open", reason: "AlreadyExists" })
      for (
        const [failure, removals] of [
          [Effect.fail(diskError("open", "ENOSPC")), 1],
          [Effect.die("open"), 1],
          [Effect.fail(exists), 0]
        ] as const
      ) {
        const { done, kept, layer, target } = makeDisk({ writeFile: () => failure, open: () => failure })
        for (const create of both(target())) {
          done.length = 0
          const { close, exit } = yield* Effect.provide(runIn(create), layer)
          assert.isTrue(Exit.isFailure(exit))
          assert.lengthOf(done, removals)
          yield* close
          assert.lengthOf(done, removals)
          assert.strictEqual(kept.size, 0)
        }
      }
    }))

  it.effect("tries a removal again, and says where a file is that cannot be removed", () =>
    Effect.gen(function*() {
      for (
        const [failures, exists, isGone] of [
          [2, Effect.succeed(true), true],
          [3, Effect.succeed(true), false],
          [3, Effect.succeed(false), true],
          [3, Effect.fail(diskError("exists", "EIO")), false]
        ] as const
      ) {
        const lines: Array<string> = []
        let left: number = failures
        const { layer, removed, target } = makeDisk({
          remove: () => Effect.suspend(() => left-- > 0 ? Effect.fail(diskError("remove", "EIO")) : Effect.void),
          exists: () => exists
        })
        const { close, exit } = yield* Effect.provide(runIn(tempFile.createWhole(target(), bytes)), layer)
        const path = yield* exit
        yield* Effect.provide(close, collecting(lines))
        assert.deepStrictEqual(removed, isGone ? [path] : [])
        assert.lengthOf(lines, isGone ? 0 : 1)
        if (!isGone) {
          assert.include(lines[0], `path=${path}`)
          assert.include(lines[0], "EIO")
        }
      }
    }))

  it.effect("says that a file could not be closed only where something else is what is wrong", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const closing = makeDisk({
        open: () =>
          Effect.acquireRelease(
            // Nothing else is asked of a file.
            Effect.succeed({ writeAll: failing("writeAll", "ENOSPC") } as unknown as FileSystem.File),
            () => Effect.die(diskError("close", "EIO"))
          )
      })
      const created = Effect.scoped(tempFile.create(closing.target(), pieces))
      const error = yield* Effect.flip(Effect.provide(created, [closing.layer, collecting(lines)]))
      assert.strictEqual(error.description, "ENOSPC")
      assert.lengthOf(lines, 1)
      assert.include(lines[0], "could not be closed")
      assert.include(lines[0], "EIO")

      const unwritten = Effect.scoped(tempFile.create(closing.target(), () => Effect.void))
      const alone = yield* Effect.flip(Effect.provide(unwritten, [closing.layer, collecting(lines)]))
      assert.strictEqual(alone.description, "EIO")
      assert.lengthOf(lines, 1)
    }))

  it.effect("ends as interrupted where its scope is closed in the middle, and leaves nothing", () =>
    Effect.gen(function*() {
      // What cannot be removed is still there, and still counts.
      for (const [remove, removals] of [[Effect.void, 2], [Effect.fail(diskError("remove", "EIO")), 0]] as const) {
        const gate = yield* Deferred.make<void>()
        const begun = yield* Deferred.make<void>()
        const { done, kept, layer, removed, target } = makeDisk({
          remove: () => remove,
          exists: () => Effect.succeed(true)
        })
        const scope = yield* Scope.make()
        const created = tempFile.create(
          target(),
          (write) =>
            Deferred.succeed(begun, void 0).pipe(Effect.zipRight(Deferred.await(gate)), Effect.zipRight(pieces(write)))
        )
        const fiber = yield* Effect.fork(Effect.provide(Scope.extend(created, scope), layer))
        yield* Deferred.await(begun)
        yield* Effect.provide(Scope.close(scope, Exit.void), collecting([]))
        yield* Deferred.succeed(gate, void 0)
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))
        assert.deepStrictEqual(done.at(-2), ["close"])
        assert.strictEqual(kept.size, 1)
        assert.lengthOf(removed, removals)
      }
    }))
})
