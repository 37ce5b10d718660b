import { BadArgument, SystemError } from "@effect/platform/Error"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { tmpdir } from "node:os"
import { inspect } from "node:util"
import * as tempFile from "../../../../src/internal/persist/tempFile.js"
import { makeDisk } from "../../../utils/fakeDisk.js"
import { diskError } from "../../../utils/spools.js"

const bytes = new Uint8Array(10).fill(7)

const path = "/images/a.png"

const options = { flag: "wx", mode: 0o600 }

describe("tempFile", () => {
  it.effect("names a file by the directory, the prefix, 32 hex digits and the extension", () =>
    Effect.gen(function*() {
      const paths = yield* Path.Path
      const name = (directory: string | undefined, options?: tempFile.Options) =>
        tempFile.newPath(paths, directory, options, ".png")
      assert.match(name("/images"), /^\/images\/session-init-[0-9a-f]{32}\.png$/)
      assert.match(name("/images", { prefix: "a_1." }), /^\/images\/a_1\.[0-9a-f]{32}\.png$/)
      assert.match(name("/images", { prefix: "" }), /^\/images\/[0-9a-f]{32}\.png$/)
      assert.match(name("images"), new RegExp(`^${process.cwd()}/images/session-init-[0-9a-f]{32}\\.png$`))
      assert.isTrue(name(undefined).startsWith(`${tmpdir()}/session-init-`))
      assert.strictEqual(new Set(Array.from({ length: 300 }, () => name("/images"))).size, 300)
    }).pipe(Effect.provide(Path.layer)))

  it.effect("refuses a prefix that leads out of the directory", () =>
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

  it.effect("creates a whole file in one call, exclusively and for its owner only", () =>
    Effect.gen(function*() {
      const { fs, operations } = makeDisk()
      yield* tempFile.createWhole(fs, path, bytes)
      assert.deepStrictEqual(operations, [["writeFile", 10, options]])
    }))

  it.effect("creates a file in pieces, exclusively and for its owner only", () =>
    Effect.gen(function*() {
      const { fs, operations } = makeDisk()
      const open = yield* tempFile.open(fs, path)
      yield* tempFile.append(open, bytes)
      yield* tempFile.append(open, bytes.subarray(3))
      yield* tempFile.close(open)
      yield* tempFile.checkExists(fs, path)
      assert.deepStrictEqual(operations, [["open", options], ["writeAll", 10], ["writeAll", 7], ["close"], ["access"]])
      yield* tempFile.close(open)
      assert.lengthOf(operations, 5)
    }))

  it.effect("reports errors of the disk without a path", () =>
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
        const fail = () => Effect.fail(error)
        const failing = makeDisk({ writeFile: fail, open: fail, access: fail })
        const writing = makeDisk({}, fail)
        const closing = makeDisk({
          open: () => Effect.acquireRelease(Effect.succeed(writing.file), () => Effect.die(error))
        })
        const open = yield* tempFile.open(writing.fs, path)
        const attempts = [
          tempFile.createWhole(failing.fs, path, bytes),
          Effect.asVoid(tempFile.open(failing.fs, path)),
          tempFile.checkExists(failing.fs, path),
          tempFile.append(open, bytes),
          tempFile.close(yield* tempFile.open(closing.fs, path))
        ]
        for (const attempt of attempts) {
          const reported = yield* Effect.flip(attempt)
          assert.strictEqual(reported._tag, error._tag)
          assert.strictEqual(reported.module, "FileSystem")
          assert.strictEqual(reported.method, "open")
          assert.strictEqual(reported.description, description)
          if (reported._tag === "SystemError") assert.deepInclude(reported, { reason: "Unknown", syscall: "open" })
          assert.notInclude(inspect(reported, { depth: 9 }) + JSON.stringify(reported) + String(reported), secret)
        }
      }
    }))

  it.effect("keeps a defect that is no error of the disk", () =>
    Effect.gen(function*() {
      const { file, fs } = makeDisk({
        open: () => Effect.acquireRelease(Effect.succeed(file), () => Effect.die("a bug"))
      })
      const exit = yield* Effect.exit(tempFile.close(yield* tempFile.open(fs, path)))
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
    }))

  it.effect("closes the descriptor of an open that fails after it", () =>
    Effect.gen(function*() {
      const closed: Array<string> = []
      const { fs } = makeDisk({
        open: () =>
          Effect.zipRight(
            Effect.addFinalizer(() => Effect.sync(() => closed.push("closed"))),
            Effect.fail(diskError("open", "EIO"))
          )
      })
      assert.strictEqual((yield* Effect.flip(tempFile.open(fs, path))).description, "EIO")
      assert.deepStrictEqual(closed, ["closed"])
    }))

  it.live("loses no interruption that comes while it closes", () =>
    Effect.gen(function*() {
      for (const finalizers of [0, 1, 2]) {
        const { file, fs } = makeDisk({
          open: () =>
            Effect.zipLeft(
              Effect.acquireRelease(Effect.succeed(file), () => Effect.sleep(5)),
              // Run before the descriptor is closed.
              Effect.repeatN(Effect.addFinalizer(() => Effect.void), finalizers)
            )
        })
        const closing = yield* Effect.fork(
          Effect.uninterruptible(Effect.flatMap(tempFile.open(fs, path), tempFile.close))
        )
        yield* Effect.sleep(1)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(closing)), `after ${finalizers} finalizers`)
      }
    }))

  it("tells a name that is taken from other failed creations, which may have left a file", () => {
    const error = (reason: SystemError["reason"]) => new SystemError({ module: "FileSystem", method: "open", reason })
    assert.isTrue(tempFile.isCollision(error("AlreadyExists")))
    assert.isFalse(tempFile.isCollision(error("Unknown")))
    assert.isFalse(tempFile.isCollision(new BadArgument({ module: "FileSystem", method: "open" })))
  })

  it.effect("retries a removal, and fails where the file is still there", () =>
    Effect.gen(function*() {
      for (
        const [failures, exists, expected] of [
          [0, Effect.die("not asked"), true],
          [2, Effect.die("not asked"), true],
          [3, Effect.succeed(true), false],
          [3, Effect.succeed(false), true],
          [3, Effect.fail(diskError("exists", "EIO")), false]
        ] as const
      ) {
        const removals: Array<unknown> = []
        const { fs } = makeDisk({
          remove: (_, options) =>
            Effect.suspend(() =>
              removals.push(options) <= failures ? Effect.fail(diskError("remove", "EIO")) : Effect.void
            ),
          exists: () => exists
        })
        const removed = yield* Effect.either(tempFile.remove(fs, path))
        assert.strictEqual(Either.isRight(removed), expected)
        assert.deepStrictEqual(removals, Array.from({ length: Math.min(failures + 1, 3) }, () => ({ force: true })))
        if (Either.isLeft(removed)) assert.strictEqual(removed.left.description, "EIO")
      }
    }))

  const modes = { "0o600": true, "0o640": true, "0o660": true, "0o604": true, "0o644": true, "0o664": true }
  const nonsense = [
    NaN,
    Infinity,
    -1,
    0,
    640,
    0o400,
    0o602,
    0o606,
    0o666,
    0o700,
    0o610,
    0o601,
    0o1600,
    0o4644,
    384.5,
    2 ** 32 + 0o600,
    "640",
    null
  ]

  it.effect("refuses a mode that makes the file executable, writable by all or unusable, and other options without sense", () =>
    Effect.gen(function*() {
      for (const mode of Object.keys(modes)) yield* tempFile.checkOptions({ mode: Number(mode) })
      const dies = (options: unknown, problem: string) =>
        Effect.map(
          // What a program without types may pass.
          Effect.exit(tempFile.checkOptions(options as tempFile.Options)),
          (exit) => {
            assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause), String(options))
            assert.include(String(exit), `PersistOptions: ${problem}`)
          }
        )
      for (const mode of nonsense) yield* dies({ mode }, "mode must be 0o600, with 0o040, 0o020 or 0o004 added")
      yield* dies({ directory: "" }, "directory must not be empty")
    }))

  it.effect("sets a mode other than the default after the creation, and closes the descriptor where that fails", () =>
    Effect.gen(function*() {
      const fail = Effect.fail(diskError("chmod", "EPERM"))
      const chmods: Array<unknown> = []
      const chmod = (_: string, mode: number) => Effect.sync(() => void chmods.push(mode))
      const { fs } = makeDisk({ chmod })
      yield* tempFile.createWhole(fs, path, bytes, 0o640)
      yield* tempFile.open(fs, path, 0o660)
      assert.deepStrictEqual(chmods, [0o640, 0o660])
      const failing = makeDisk({ chmod: () => fail })
      assert.strictEqual(
        (yield* Effect.flip(tempFile.createWhole(failing.fs, path, bytes, 0o640))).description,
        "EPERM"
      )
      assert.strictEqual((yield* Effect.flip(tempFile.open(failing.fs, path, 0o640))).description, "EPERM")
      assert.deepStrictEqual(failing.operations.at(-1), ["close"])
    }))

  it.effect("finishes each system call before it is interrupted", () =>
    Effect.gen(function*() {
      const gates: Array<Deferred.Deferred<void>> = []
      const finished: Array<string> = []
      const gated = (name: string) =>
        Effect.gen(function*() {
          const gate = yield* Deferred.make<void>()
          gates.push(gate)
          yield* Deferred.await(gate)
          finished.push(name)
        })
      const { file, fs } = makeDisk({
        open: () => Effect.as(gated("open"), file),
        writeFile: () => gated("writeFile"),
        access: () => gated("access"),
        remove: () => gated("remove")
      }, () => gated("writeAll"))
      const operations = {
        open: tempFile.open(fs, path),
        writeFile: tempFile.createWhole(fs, path, bytes),
        writeAll: tempFile.append({ file, descriptor: yield* Scope.make() }, bytes),
        access: tempFile.checkExists(fs, path),
        remove: tempFile.remove(fs, path)
      }
      for (const [name, operation] of Object.entries(operations)) {
        const fiber = yield* Effect.fork(Effect.asVoid<unknown, unknown, never>(operation))
        yield* Effect.yieldNow()
        const interruption = yield* Effect.fork(Fiber.interrupt(fiber))
        yield* Effect.yieldNow()
        assert.isNull(fiber.unsafePoll(), name)
        for (const gate of gates.splice(0)) yield* Deferred.succeed(gate, void 0)
        yield* Fiber.join(interruption)
      }
      assert.deepStrictEqual(finished, Object.keys(operations))
    }))
})
