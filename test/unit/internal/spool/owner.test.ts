import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import {
  chmodSync,
  chownSync,
  linkSync,
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

/** An error that the spool raises, as opposed to the disk. */
const refused = (reason: "PermissionDenied" | "BadResource", description: string) =>
  ({ _tag: "SystemError", method: "InitImageSpool", reason, description }) as const

const wayOut =
  "create a directory in it that belongs to this process's user, with mode 0700, and use that as the parent"

const replaced = refused("PermissionDenied", "the spool's directory has been replaced")

/** Only root may change the owner of a directory. */
const isRoot = process.getuid?.() === 0

describe("a spool's directory", () => {
  it.scoped("has mode 0700, holds a heartbeat, and is removed when the scope closes", () =>
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
      writeFileSync(join(directory, "foreign.txt"), "")
      yield* end
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("differs for each spool", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const one = yield* spoolOwner.make(parent)
      const other = yield* spoolOwner.make(parent)
      assert.notStrictEqual(yield* one.directory, yield* other.directory)
      assert.lengthOf(list(parent), 2)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("has a path without symbolic links, though its parent is given as one", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const elsewhere = yield* makeDirectory
      symlinkSync(parent, join(elsewhere, "link"))
      const owner = yield* spoolOwner.make(join(elsewhere, "link"))
      assert.strictEqual(dirname(yield* owner.directory), parent)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("is not created when the parent is missing", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const error = yield* Effect.flip(spoolOwner.make(join(parent, "missing")))
      assert.deepInclude(error, { _tag: "SystemError", reason: "NotFound" })
    }).pipe(Effect.provide(NodeContext.layer)))

  for (const mode of [0o777, 0o707, 0o703, 0o770, 0o775, 0o720]) {
    it.scoped(`is not created where other users may write: ${mode.toString(8)}`, () =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        chmodSync(parent, mode)
        const error = yield* Effect.flip(spoolOwner.make(parent))
        assert.deepInclude(
          error,
          refused(
            "PermissionDenied",
            `the spool's parent directory is writable by other users and is not sticky, like an emptyDir of Kubernetes: ${wayOut}`
          )
        )
        assert.deepStrictEqual(list(parent), [])
      }).pipe(Effect.provide(NodeContext.layer)))
  }

  for (const mode of [0o700, 0o755, 0o1777, 0o1770]) {
    it.scoped(`is created where only its owner can replace it: ${mode.toString(8)}`, () =>
      Effect.gen(function*() {
        const parent = yield* makeDirectory
        chmodSync(parent, mode)
        const owner = yield* spoolOwner.make(parent)
        assert.deepStrictEqual(list(parent), [basename(yield* owner.directory)])
      }).pipe(Effect.provide(NodeContext.layer)))
  }

  it.scoped("is not created in another user's directory, and leaves nothing there", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      if (isRoot) chownSync(parent, 12345, 12345)
      const error = yield* Effect.flip(spoolOwner.make(parent))
      assert.deepInclude(
        error,
        refused("PermissionDenied", `the spool's parent directory belongs to another user (id 12345): ${wayOut}`)
      )
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

  it.scoped("is not created in a directory of a user outside of the user namespace", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const error = yield* Effect.flip(spoolOwner.make(parent))
      assert.deepInclude(
        error,
        refused(
          "PermissionDenied",
          `the spool's parent directory belongs to a user outside of the user namespace (id 65534): ${wayOut}`
        )
      )
      assert.deepStrictEqual(list(parent), [])
      mkdirSync(join(parent, "own"), { mode: 0o700 })
      yield* spoolOwner.make(join(parent, "own"))
    }).pipe(Effect.provide(layerWith((fs) => ({
      stat: (path) =>
        Effect.map(fs.stat(path), (info) =>
          basename(path).startsWith("session-init-test-") ? { ...info, uid: Option.some(65534) } : info)
    })))))

  it.scoped("may be created by a process without a user of its own in a directory of the same id", () =>
    Effect.gen(function*() {
      yield* spoolOwner.make(yield* makeDirectory)
    }).pipe(Effect.provide(layerWith((fs) => ({
      stat: (path) => Effect.map(fs.stat(path), (info) => ({ ...info, uid: Option.some(65534) }))
    })))))

  it.scoped("is created in a directory of its own in one that other users may write to, like an emptyDir", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      chmodSync(parent, 0o2777)
      mkdirSync(join(parent, "images"), { mode: 0o700 })
      chmodSync(join(parent, "images"), 0o2700)
      const owner = yield* spoolOwner.make(join(parent, "images"))
      assert.strictEqual(dirname(yield* owner.directory), join(parent, "images"))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("has the mode that lets other users in, whatever the umask is, and its parent's group", () =>
    Effect.gen(function*() {
      for (const mode of [0o710, 0o750, 0o711, 0o755]) {
        const parent = yield* makeDirectory
        if (isRoot) chownSync(parent, 0, 12345)
        chmodSync(parent, 0o2700)
        const umask = process.umask(0o077)
        const owner = yield* Effect.ensuring(spoolOwner.make(parent, mode), Effect.sync(() => process.umask(umask)))
        const info = statSync(yield* owner.directory)
        assert.strictEqual(info.mode & 0o7777, mode | 0o2000)
        if (isRoot) assert.strictEqual(info.gid, 12345)
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("may be created by any user in a directory that belongs to root", () =>
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

  it.scoped("fails, and the target stays untouched, when a symbolic link replaces it", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const target = yield* makeDirectory
      writeFileSync(join(target, "heartbeat"), "foreign")
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      const directory = yield* owner.directory
      renameSync(directory, join(parent, "moved"))
      symlinkSync(target, directory)
      assert.deepInclude(yield* Effect.flip(owner.directory), replaced)
      assert.deepInclude(yield* Effect.flip(owner.beat), replaced)
      yield* end
      assert.isTrue(lstatSync(directory).isSymbolicLink())
      assert.deepStrictEqual(list(target), ["heartbeat"])
      assert.strictEqual(readFileSync(join(target, "heartbeat"), "utf8"), "foreign")
    }).pipe(Effect.provide(quiet), Effect.provide(NodeContext.layer)))

  it.scoped("fails, and the other directory stays untouched, when another directory replaces it", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      const directory = yield* owner.directory
      renameSync(directory, join(parent, "moved"))
      mkdirSync(directory)
      writeFileSync(join(directory, "foreign"), "")
      assert.deepInclude(yield* Effect.flip(owner.directory), replaced)
      yield* end
      assert.deepStrictEqual(list(directory), ["foreign"])
    }).pipe(Effect.provide(quiet), Effect.provide(NodeContext.layer)))

  it.scoped("fails when a directory with the same inode on another device replaces it", () => {
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

  it.scoped("is replaced once when it is missing, for all concurrent callers", () => {
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

  it.scoped("fails while its parent is missing, and its scope still closes", () => {
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

  it.scoped("is not created again after its scope has closed", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const { end, value: owner } = yield* openScoped(spoolOwner.make(parent))
      yield* end
      const closed = refused("BadResource", "the spool is closed")
      assert.deepInclude(yield* Effect.flip(owner.directory), closed)
      assert.deepInclude(yield* Effect.flip(owner.beat), closed)
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("is removed when its heartbeat cannot be written", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const error = yield* Effect.flip(spoolOwner.make(parent))
      assert.deepInclude(error, { _tag: "SystemError", description: "ENOSPC: injected" })
      assert.deepStrictEqual(list(parent), [])
    }).pipe(Effect.provide(layerWith(() => ({ open: () => diskError("open", "ENOSPC") })))))

  it.scoped("logs a failed removal, and its scope still closes", () => {
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
      assert.notInclude(lines.join("\n"), parent)
    }).pipe(
      Effect.provide(collecting(lines)),
      Effect.provide(layerWith((fs) => ({
        remove: (path, options) =>
          Effect.suspend(() => failing ? diskError("remove", "EIO", path) : fs.remove(path, options))
      })))
    )
  })

  it.scoped("loses its heartbeat last, so that a sweep recognizes a directory whose removal was cut short", () => {
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
  it.scoped("changes its content at each beat and keeps its length", () =>
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

  it.scoped("is created again when it is missing", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const owner = yield* spoolOwner.make(parent)
      const directory = yield* owner.directory
      rmSync(join(directory, "heartbeat"))
      yield* owner.beat
      assert.strictEqual(yield* owner.directory, directory)
      assert.match(readFileSync(join(directory, "heartbeat"), "utf8"), /^[0-9a-f]{16}$/)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("replaces a link or another file that has its name, and writes to neither", () =>
    Effect.gen(function*() {
      const parent = yield* makeDirectory
      const elsewhere = yield* makeDirectory
      const owner = yield* spoolOwner.make(parent)
      const heartbeat = join(yield* owner.directory, "heartbeat")
      const target = join(elsewhere, "target")
      writeFileSync(target, "0".repeat(16))
      const { mtimeMs } = statSync(target)
      const plants: ReadonlyArray<() => void> = [
        () => symlinkSync(join(elsewhere, "not there"), heartbeat),
        () => symlinkSync(target, heartbeat),
        () => linkSync(target, heartbeat),
        () => writeFileSync(heartbeat, "")
      ]
      for (const plant of plants) {
        rmSync(heartbeat)
        plant()
        assert.strictEqual(yield* owner.beat, heartbeat)
        assert.isTrue(lstatSync(heartbeat).isFile())
        assert.match(readFileSync(heartbeat, "utf8"), /^[0-9a-f]{16}$/)
        assert.deepStrictEqual(list(elsewhere), ["target"])
        assert.strictEqual(readFileSync(target, "utf8"), "0".repeat(16))
        assert.strictEqual(statSync(target).mtimeMs, mtimeMs)
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("continues in the new directory when the old one is missing", () =>
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
    it.scoped(`changes its signature on a full disk: ${method} fails`, () => {
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

  it.scoped("fails with the first disk error when neither content nor time can be changed", () => {
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

  it.scoped("has a signature of its content alone on a disk without times", () =>
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

  it.scoped("is absent when a symbolic link, a directory or a longer file has its name", () =>
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
