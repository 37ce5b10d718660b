import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { basename, dirname, join } from "node:path"
import * as spoolOwner from "../../../../src/internal/spool/owner.js"
import { list, makeDirectory } from "../../../utils/directory.js"
import { collecting, diskError, imageName, layerWith, openScoped, quiet } from "../../../utils/spools.js"

const signatureOf = (directory: string) =>
  Effect.gen(function*() {
    return yield* spoolOwner.signature(yield* FileSystem.FileSystem, yield* Path.Path, directory)
  })

/** As a spool itself refuses, and not the disk. */
const refused = (reason: "PermissionDenied" | "BadResource", description: string) =>
  ({ _tag: "SystemError", method: "InitImageSpool", reason, description }) as const

const replaced = refused("PermissionDenied", "something else is in place of the spool's directory")

/** Who may change the owner of a directory. */
const isRoot = process.getuid?.() === 0

describe("a spool's directory", () => {
  it.scoped("is its own, of mode 0700, with a heartbeat in it, and is gone with its scope", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      const directory = yield* owner.directory
      assert.strictEqual(dirname(directory), parent)
      assert.match(basename(directory), /^session-init-image-[0-9a-f]{32}$/)
      assert.strictEqual(statSync(directory).mode & 0o7777, 0o700)
      assert.deepStrictEqual(list(directory), ["heartbeat"])
      assert.strictEqual(statSync(join(directory, "heartbeat")).mode & 0o7777, 0o600)
      writeFileSync(join(directory, imageName()), "")
      writeFileSync(join(directory, "anything else"), "")
      yield* end
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("is another for each spool", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const one = yield* spoolOwner.make(parent)
      const other = yield* spoolOwner.make(parent)
      assert.notStrictEqual(yield* one.directory, yield* other.directory)
      assert.lengthOf(list(parent), 2)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("is really where it says, behind any symbolic link that leads to its parent", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const elsewhere = yield* makeDirectory
      symlinkSync(parent, join(elsewhere, "link"))
      const owner = yield* spoolOwner.make(join(elsewhere, "link"))
      assert.strictEqual(dirname(yield* owner.directory), parent)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("is not made in a directory that is not there", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const error = yield* Effect.flip(spoolOwner.make(join(parent, "missing")))
      assert.deepInclude(error, { _tag: "SystemError", reason: "NotFound" })
    }).pipe(Effect.provide(NodeContext.layer)))

  for (const mode of [0o777, 0o707, 0o703, 0o770, 0o775, 0o720]) {
    it.scoped(`is not made where others may write: ${mode.toString(8)}`, () =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        chmodSync(parent, mode)
        const error = yield* Effect.flip(spoolOwner.make(parent))
        assert.deepInclude(
          error,
          refused("PermissionDenied", "others may write to the spool's parent directory, which is not sticky")
        )
        assert.deepStrictEqual(list(parent), [])
      }).pipe(Effect.provide(NodeContext.layer)))
  }

  for (const mode of [0o700, 0o755, 0o1777, 0o1770]) {
    it.scoped(`is made where nobody else can replace it: ${mode.toString(8)}`, () =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        chmodSync(parent, mode)
        const owner = yield* spoolOwner.make(parent)
        assert.deepStrictEqual(list(parent), [basename(yield* owner.directory)])
      }).pipe(Effect.provide(NodeContext.layer)))
  }

  it.scoped("is not made in another user's directory, and nothing is left there", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      if (isRoot) chownSync(parent, 12345, 12345)
      const error = yield* Effect.flip(spoolOwner.make(parent))
      assert.deepInclude(error, refused("PermissionDenied", "the spool's parent directory is another user's"))
      assert.deepStrictEqual(list(parent), [])
    }).pipe(
      Effect.provide(
        isRoot ? NodeContext.layer : layerWith((fs) => ({
          stat: (path) =>
            Effect.map(fs.stat(path), (info) =>
              basename(path).startsWith("session-init-test-") ? { ...info, uid: Option.some(12345) } : info)
        }))
      )
    ))

  it.scoped("is made in a directory of root's by any user", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const owner = yield* spoolOwner.make(parent)
      assert.strictEqual(Option.getOrNull(owner.uid), 12345)
      assert.strictEqual(dirname(yield* owner.directory), parent)
    }).pipe(Effect.provide(layerWith((fs) => ({
      stat: (path) =>
        Effect.map(fs.stat(path), (info) => ({
          ...info,
          uid: Option.some(basename(path).startsWith("session-init-image-") ? 12345 : 0)
        }))
    })))))

  it.scoped("is left alone, and nothing is put into it, when it is replaced by a symbolic link", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const trap = yield* makeDirectory
      writeFileSync(join(trap, "heartbeat"), "not ours")
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      const directory = yield* owner.directory
      renameSync(directory, join(parent, "moved"))
      symlinkSync(trap, directory)
      assert.deepInclude(yield* Effect.flip(owner.directory), replaced)
      assert.deepInclude(yield* Effect.flip(owner.beat), replaced)
      yield* end
      assert.isTrue(lstatSync(directory).isSymbolicLink())
      assert.deepStrictEqual(list(trap), ["heartbeat"])
      assert.strictEqual(readFileSync(join(trap, "heartbeat"), "utf8"), "not ours")
    }).pipe(Effect.provide(quiet), Effect.provide(NodeContext.layer)))

  it.scoped("is left alone when it is replaced by another directory", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      const directory = yield* owner.directory
      renameSync(directory, join(parent, "moved"))
      mkdirSync(directory)
      writeFileSync(join(directory, "not ours"), "")
      assert.deepInclude(yield* Effect.flip(owner.directory), replaced)
      yield* end
      assert.deepStrictEqual(list(directory), ["not ours"])
    }).pipe(Effect.provide(quiet), Effect.provide(NodeContext.layer)))

  it.scoped("is left alone when another of the same number is there, on another disk", () => {
    let isOther = false
    return Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      const directory = yield* owner.directory
      isOther = true
      assert.deepInclude(yield* Effect.flip(owner.directory), replaced)
      yield* end
      assert.deepStrictEqual(list(directory), ["heartbeat"])
    }).pipe(
      Effect.provide(quiet),
      Effect.provide(layerWith((fs) => ({
        stat: (path) => Effect.map(fs.stat(path), (info) => isOther ? { ...info, dev: info.dev + 1 } : info)
      })))
    )
  })

  it.scoped("is replaced by a new one, by all that ask together, when it has gone", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      const directory = yield* owner.directory
      rmSync(directory, { recursive: true })
      const found = yield* Effect.all(Array.from({ length: 20 }, () => owner.directory), { concurrency: "unbounded" })
      assert.strictEqual(new Set(found).size, 1)
      assert.notStrictEqual(found[0], directory)
      assert.deepStrictEqual(list(parent), found.slice(0, 1).map((path) => basename(path)))
      assert.deepStrictEqual(list(found[0] ?? ""), ["heartbeat"])
      assert.lengthOf(lines, 1)
      yield* end
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scoped("fails while its parent has gone, and closes all the same", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      const parent = join(yield* makeDirectory, "parent")
      mkdirSync(parent)
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      rmSync(parent, { recursive: true })
      assert.deepInclude(yield* Effect.flip(owner.directory), { _tag: "SystemError", reason: "NotFound" })
      mkdirSync(parent)
      assert.strictEqual(dirname(yield* owner.directory), parent)
      assert.lengthOf(lines, 1)
      rmSync(parent, { recursive: true })
      yield* end
      assert.lengthOf(lines, 1)
    }).pipe(Effect.provide(collecting(lines)), Effect.provide(NodeContext.layer))
  })

  it.scoped("is not made again once its scope has closed", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      yield* end
      const closed = refused("BadResource", "the spool has been closed")
      assert.deepInclude(yield* Effect.flip(owner.directory), closed)
      assert.deepInclude(yield* Effect.flip(owner.beat), closed)
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("is gone again when its heartbeat cannot be written", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const error = yield* Effect.flip(spoolOwner.make(parent))
      assert.deepInclude(error, { _tag: "SystemError", description: "ENOSPC: injected" })
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.provide(layerWith(() => ({ writeFile: () => diskError("writeFile", "ENOSPC") })))))

  it.scoped("says what is the matter when it cannot be removed, and does not fail its scope", () => {
    const lines: Array<string> = []
    let failing = false
    return Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { end } = yield* openScoped(spoolOwner.make(parent))
      failing = true
      yield* end
      failing = false
      assert.lengthOf(lines, 1)
      assert.include(lines[0], "EIO")
    }).pipe(
      Effect.provide(collecting(lines)),
      Effect.provide(layerWith((fs) => ({
        remove: (path, options) => Effect.suspend(() => failing ? diskError("remove", "EIO") : fs.remove(path, options))
      })))
    )
  })

  it.scoped("loses its heartbeat last, so that what an interrupted end leaves can be told to be a spool's", () => {
    const removed: Array<string> = []
    return Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      const directory = yield* owner.directory
      const names = [imageName(), imageName(".webp"), "a", "z"]
      for (const name of names) writeFileSync(join(directory, name), "")
      yield* end
      assert.deepStrictEqual(
        removed.slice(0, 4).map((path) => basename(path)).toSorted(),
        names.toSorted()
      )
      assert.deepStrictEqual(removed.slice(4), [directory])
    }).pipe(Effect.provide(layerWith((fs) => ({
      remove: (path, options) => Effect.suspend(() => (removed.push(path), fs.remove(path, options)))
    }))))
  })
})

describe("a heartbeat", () => {
  it.scoped("changes at each beat, in its content and not only in its time, and keeps its length", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const owner = yield* spoolOwner.make(parent)
      const heartbeat = join(yield* owner.directory, "heartbeat")
      const seen = new Set<string>()
      for (let i = 0; i < 20; i++) {
        seen.add(readFileSync(heartbeat, "utf8"))
        yield* owner.beat
      }
      assert.strictEqual(seen.size, 20)
      for (const content of seen) assert.match(content, /^[0-9a-f]{16}$/)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("is made again when it has gone", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const owner = yield* spoolOwner.make(parent)
      const directory = yield* owner.directory
      rmSync(join(directory, "heartbeat"))
      yield* owner.beat
      assert.strictEqual(yield* owner.directory, directory)
      assert.match(readFileSync(join(directory, "heartbeat"), "utf8"), /^[0-9a-f]{16}$/)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("is not made where a symbolic link leads that has taken its place", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const elsewhere = yield* makeDirectory
      const owner = yield* spoolOwner.make(parent)
      const heartbeat = join(yield* owner.directory, "heartbeat")
      rmSync(heartbeat)
      symlinkSync(join(elsewhere, "not there"), heartbeat)
      assert.deepInclude(yield* Effect.flip(owner.beat), { _tag: "SystemError", reason: "AlreadyExists" })
      assert.deepStrictEqual(list(elsewhere), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("goes on in the new directory when the old one has gone", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const owner = yield* spoolOwner.make(parent)
      rmSync(yield* owner.directory, { recursive: true })
      yield* owner.beat
      const [name = ""] = readdirSync(parent)
      const before = yield* signatureOf(join(parent, name))
      yield* owner.beat
      assert.notStrictEqual(yield* signatureOf(join(parent, name)), before)
    }).pipe(Effect.provide(quiet), Effect.provide(NodeContext.layer)))

  for (const method of ["open", "writeAll"] as const) {
    it.scoped(`can be seen to change on a disk without room: ${method} fails`, () => {
      let full = false
      return Effect.gen(function*() {
        const parent = yield* makeDirectory
        const owner = yield* spoolOwner.make(parent)
        const directory = yield* owner.directory
        full = true
        const seen = new Set<string>()
        for (let i = 0; i < 5; i++) {
          seen.add(yield* signatureOf(directory))
          yield* owner.beat
        }
        assert.strictEqual(seen.size, 5)
      }).pipe(Effect.provide(layerWith((fs) => ({
        open: (path, options) =>
          full && method === "open" ? diskError("open", "ENOSPC") : Effect.map(
            fs.open(path, options),
            (file) =>
              new Proxy(file, {
                get: (target, key) =>
                  full && key === "writeAll"
                    ? () => diskError("write", "ENOSPC")
                    : Reflect.get(target, key, target)
              })
          )
      }))))
    })
  }

  it.scoped("fails with what the disk said first when nothing can be changed", () => {
    let readOnly = false
    return Effect.gen(function*() {
      const parent = yield* makeDirectory
      const owner = yield* spoolOwner.make(parent)
      readOnly = true
      const error = yield* Effect.flip(owner.beat)
      assert.deepInclude(error, { _tag: "SystemError", description: "EROFS: injected", method: "open" })
    }).pipe(Effect.provide(layerWith((fs) => ({
      open: (path, options) => readOnly ? diskError("open", "EROFS") : fs.open(path, options),
      utimes: () => diskError("utimes", "EROFS")
    }))))
  })

  it.scoped("is known by its content alone where the disk tells no times", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const owner = yield* spoolOwner.make(parent)
      const directory = yield* owner.directory
      const before = yield* signatureOf(directory)
      assert.match(before, /^0:[0-9a-f]{32}$/)
      utimesSync(join(directory, "heartbeat"), 1, 1)
      assert.strictEqual(yield* signatureOf(directory), before)
      yield* owner.beat
      assert.notStrictEqual(yield* signatureOf(directory), before)
    }).pipe(Effect.provide(layerWith((fs) => ({
      stat: (path) => Effect.map(fs.stat(path), (info) => ({ ...info, mtime: Option.none() }))
    })))))

  it.scoped("is none that is a symbolic link, a directory, or too long to be one", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const heartbeat = join(directory, "heartbeat")
      assert.strictEqual(yield* signatureOf(directory), "absent")
      mkdirSync(heartbeat)
      assert.strictEqual(yield* signatureOf(directory), "absent")
      rmSync(heartbeat, { recursive: true })
      writeFileSync(heartbeat, "0".repeat(17))
      assert.strictEqual(yield* signatureOf(directory), "absent")
      renameSync(heartbeat, join(directory, "target"))
      writeFileSync(join(directory, "target"), "0".repeat(16))
      symlinkSync("target", heartbeat)
      assert.strictEqual(yield* signatureOf(directory), "absent")
      rmSync(heartbeat)
      renameSync(join(directory, "target"), heartbeat)
      assert.notStrictEqual(yield* signatureOf(directory), "absent")
    }).pipe(Effect.provide(NodeContext.layer)))
})
