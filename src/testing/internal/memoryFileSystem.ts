/**
 * A file system in memory: files and directories, without links, permissions and watchers.
 */
import * as Error from "@effect/platform/Error"
import type { PlatformError, SystemErrorReason } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { concat } from "./bytes.js"

/** Runs in place of an operation. */
export type Hook = <A>(operation: Operation, run: Effect.Effect<A, PlatformError>) => Effect.Effect<A, PlatformError>

/** An operation that is about to run, and the arguments that a test may look at. */
export interface Operation {
  readonly method: string
  /** Absolute. */
  readonly path: string
  readonly flag?: string | undefined
  readonly mode?: number | undefined
  readonly recursive?: boolean | undefined
  readonly force?: boolean | undefined
  /** The number of bytes to write. */
  readonly bytes?: number | undefined
}

interface Entry {
  readonly type: "File" | "Directory"
  readonly ino: number
  mode: number
  mtime: Date
  /** Those of a file; replaced and never changed. */
  bytes: Uint8Array
}

export interface Memory {
  readonly fileSystem: FileSystem.FileSystem
  /** The files, by their absolute path. */
  readonly files: () => ReadonlyMap<string, Uint8Array>
  /** The paths of the files that were removed, in order. */
  readonly removed: ReadonlyArray<string>
  /** The number of descriptors that are open. */
  readonly openFiles: () => number
  /** Removes all files, and forgets the removed ones. */
  readonly clear: () => void
}

const codes: Partial<Record<SystemErrorReason, string>> = {
  NotFound: "ENOENT: no such file or directory",
  AlreadyExists: "EEXIST: file already exists",
  BadResource: "ENOTDIR or EISDIR: not of the right type",
  Unknown: "EINVAL: invalid argument"
}

type Result<A> = Either.Either<A, SystemErrorReason>

const notFound = Either.left("NotFound" as const)
const badResource = Either.left("BadResource" as const)
const done: Result<void> = Either.void

/** Copied, so that neither side's buffer changes the other's. */
const copyOf = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(bytes)

/** Makes a file system that has these directories. */
export const make = (paths: Path.Path, directories: ReadonlyArray<string>, hook: Hook): Memory => {
  const entries = new Map<string, Entry>()
  const removed: Array<string> = []
  let inodes = 0
  const descriptors = new Set<number>()
  let lastDescriptor = 2

  const add = (path: string, type: Entry["type"], mode: number, bytes = new Uint8Array()): Entry => {
    const entry: Entry = { type, ino: ++inodes, mode, mtime: new Date(), bytes }
    entries.set(path, entry)
    return entry
  }

  const addDirectories = (path: string, mode: number): void => {
    if (entries.has(path)) return
    const parent = paths.dirname(path)
    if (parent !== path) addDirectories(parent, mode)
    add(path, "Directory", mode)
  }

  // The mode of a folder for temporary files: any user may write, and only a file's owner may remove it.
  for (const directory of directories) addDirectories(paths.resolve(directory), 0o1777)

  const run = <A>(
    method: string,
    path: string,
    body: (path: string) => Result<A>,
    details: Omit<Operation, "method" | "path"> = {}
  ): Effect.Effect<A, PlatformError> => {
    const absolute = paths.resolve(path)
    return hook(
      { ...details, method, path: absolute },
      Effect.suspend(() =>
        Either.mapLeft(body(absolute), (reason) =>
          new Error.SystemError({
            module: "FileSystem",
            method,
            reason,
            pathOrDescriptor: path,
            description: codes[reason]
          }))
      )
    )
  }

  const find = (path: string): Result<Entry> => {
    const entry = entries.get(path)
    return entry === undefined ? notFound : Either.right(entry)
  }

  const findOf = (type: Entry["type"]) => (path: string): Result<Entry> =>
    Either.flatMap(find(path), (entry) => entry.type === type ? Either.right(entry) : badResource)

  const findFile = findOf("File")
  const findDirectory = findOf("Directory")

  const isBelow = (path: string, directory: string): boolean => path.startsWith(paths.join(directory, paths.sep))

  const write = (entry: Entry, bytes: Uint8Array): void => {
    entry.bytes = bytes
    entry.mtime = new Date()
  }

  /** Opens as the flags of `open(2)` say: `w` and `a` create, `x` only creates, `w` truncates. */
  const openEntry = (path: string, flag: string, mode: number): Result<Entry> => {
    const entry = entries.get(path)
    if (entry?.type === "Directory") return badResource
    if (entry === undefined) {
      return flag.startsWith("r")
        ? notFound
        : Either.map(findDirectory(paths.dirname(path)), () => add(path, "File", mode))
    }
    if (flag.includes("x")) return Either.left("AlreadyExists")
    if (flag.startsWith("w")) write(entry, new Uint8Array())
    return Either.right(entry)
  }

  const infoOf = (entry: Entry): FileSystem.File.Info => ({
    type: entry.type,
    mtime: Option.some(entry.mtime),
    atime: Option.some(entry.mtime),
    birthtime: Option.none(),
    dev: 1,
    ino: Option.some(entry.ino),
    mode: entry.mode,
    nlink: Option.none(),
    uid: Option.none(),
    gid: Option.none(),
    rdev: Option.none(),
    size: FileSystem.Size(entry.bytes.length),
    blksize: Option.none(),
    blocks: Option.none()
  })

  const resized = (bytes: Uint8Array, length: number): Uint8Array => {
    const all = new Uint8Array(length)
    all.set(bytes.subarray(0, length))
    return all
  }

  const fileOf = (path: string, entry: Entry, flag: string, descriptor: number): FileSystem.File => {
    let position = 0
    // A closed descriptor answers EBADF.
    const on = <A>(method: string, body: () => Result<A>, bytes?: number) =>
      run(method, path, () => descriptors.has(descriptor) ? body() : Either.left("Unknown"), { bytes })
    const read = (length: number): Uint8Array => {
      const part = copyOf(entry.bytes.subarray(position, position + length))
      position += part.length
      return part
    }
    const append = (bytes: Uint8Array): void => {
      const start = flag.startsWith("a") ? entry.bytes.length : position
      const all = resized(entry.bytes, Math.max(entry.bytes.length, start + bytes.length))
      all.set(bytes, start)
      position = start + bytes.length
      write(entry, all)
    }
    return {
      [FileSystem.FileTypeId]: FileSystem.FileTypeId,
      fd: FileSystem.FileDescriptor(descriptor),
      stat: on("stat", () => Either.right(infoOf(entry))),
      sync: on("sync", () => done),
      seek: (offset, from) =>
        Effect.sync(() => {
          position = Number(offset) + (from === "start" ? 0 : position)
        }),
      read: (buffer) =>
        on("read", () => {
          const part = read(buffer.length)
          buffer.set(part)
          return Either.right(FileSystem.Size(part.length))
        }),
      readAlloc: (size) =>
        on("readAlloc", () => {
          const part = read(Number(size))
          return Either.right(part.length === 0 ? Option.none() : Option.some(part))
        }),
      truncate: (length) => on("truncate", () => Either.right(write(entry, resized(entry.bytes, Number(length ?? 0))))),
      write: (bytes) =>
        on("write", () => {
          append(bytes)
          return Either.right(FileSystem.Size(bytes.length))
        }, bytes.length),
      // The platform fails for no bytes.
      writeAll: (bytes) =>
        on("writeAll", () => bytes.length === 0 ? Either.left("WriteZero") : Either.right(append(bytes)), bytes.length)
    }
  }

  const open: FileSystem.FileSystem["open"] = (path, options) => {
    const flag = options?.flag ?? "r"
    const mode = options?.mode ?? 0o666
    return Effect.map(
      Effect.acquireRelease(
        Effect.map(run("open", path, (path) => openEntry(path, flag, mode), { flag, mode }), (entry) => {
          const descriptor = ++lastDescriptor
          descriptors.add(descriptor)
          return { descriptor, entry }
        }),
        ({ descriptor }) => Effect.sync(() => descriptors.delete(descriptor))
      ),
      ({ descriptor, entry }) => fileOf(path, entry, flag, descriptor)
    )
  }

  const makeDirectory: FileSystem.FileSystem["makeDirectory"] = (path, options) =>
    run("makeDirectory", path, (path) => {
      const mode = options?.mode ?? 0o777
      if (options?.recursive === true) {
        return entries.get(path)?.type === "File"
          ? Either.left("AlreadyExists")
          : Either.right(addDirectories(path, mode))
      }
      if (entries.has(path)) return Either.left("AlreadyExists")
      return Either.map(findDirectory(paths.dirname(path)), () => void add(path, "Directory", mode))
    }, { ...options })

  const removeEntry = (path: string): void => {
    if (entries.get(path)?.type === "File") removed.push(path)
    entries.delete(path)
  }

  const remove: FileSystem.FileSystem["remove"] = (path, options) =>
    run("remove", path, (path) => {
      const entry = entries.get(path)
      if (entry === undefined) return options?.force === true ? done : notFound
      if (entry.type === "Directory" && options?.recursive !== true) return Either.left("Unknown")
      for (const other of entries.keys()) if (isBelow(other, path)) removeEntry(other)
      return Either.right(removeEntry(path))
    }, { ...options })

  const copyFile: FileSystem.FileSystem["copyFile"] = (from, to) =>
    run(
      "copyFile",
      from,
      (from) =>
        Either.flatMap(findFile(from), (source) =>
          Either.map(openEntry(paths.resolve(to), "w", source.mode), (target) => write(target, source.bytes)))
    )

  const rename: FileSystem.FileSystem["rename"] = (from, to) =>
    run(
      "rename",
      from,
      (from) =>
        Either.flatMap(find(from), (entry) =>
          Either.map(findDirectory(paths.dirname(paths.resolve(to))), () => {
            const target = paths.resolve(to)
            const below = [...entries].filter(([path]) => isBelow(path, from))
            for (const [path, other] of [[from, entry] as const, ...below]) {
              entries.delete(path)
              entries.set(target + path.slice(from.length), other)
            }
          }))
    )

  const makeTempDirectory: FileSystem.FileSystem["makeTempDirectory"] = (options) =>
    Effect.suspend(() => {
      const path = paths.join(options?.directory ?? directories[0] ?? "/", `${options?.prefix ?? ""}${++inodes}`)
      return Effect.as(makeDirectory(path, { mode: 0o700 }), path)
    })

  const makeTempFile: FileSystem.FileSystem["makeTempFile"] = (options) =>
    Effect.flatMap(makeTempDirectory(options), (directory) => {
      const path = paths.join(directory, `file${options?.suffix ?? ""}`)
      return Effect.as(writeFile(path, new Uint8Array()), path)
    })

  const untilClosed = (path: string): Effect.Effect<void> =>
    Effect.orDie(remove(path, { recursive: true, force: true }))

  const writeFile: FileSystem.FileSystem["writeFile"] = (path, bytes, options) => {
    const flag = options?.flag ?? "w"
    const mode = options?.mode ?? 0o666
    return run(
      "writeFile",
      path,
      (path) =>
        Either.map(
          openEntry(path, flag, mode),
          (entry) => write(entry, flag.startsWith("a") ? concat(entry.bytes, bytes) : copyOf(bytes))
        ),
      { flag, mode, bytes: bytes.length }
    )
  }

  const unsupported = (method: string) => () => Effect.dieMessage(`the file system in memory has no ${method}`)

  const fileSystem = FileSystem.make({
    access: (path) => run("access", path, (path) => Either.map(find(path), () => {})),
    chmod: (path, mode) =>
      run("chmod", path, (path) => Either.map(find(path), (entry) => void (entry.mode = mode)), { mode }),
    chown: (path) => run("chown", path, (path) => Either.map(find(path), () => {})),
    copy: copyFile,
    copyFile,
    link: unsupported("link"),
    makeDirectory,
    makeTempDirectory,
    makeTempDirectoryScoped: (options) => Effect.acquireRelease(makeTempDirectory(options), untilClosed),
    makeTempFile,
    makeTempFileScoped: (options) => Effect.acquireRelease(makeTempFile(options), untilClosed),
    open,
    readDirectory: (path, options) =>
      run("readDirectory", path, (path) =>
        Either.map(findDirectory(path), () =>
          [...entries.keys()]
            .filter((other) => isBelow(other, path) && (options?.recursive === true || paths.dirname(other) === path))
            .map((other) => paths.relative(path, other)))),
    readFile: (path) => run("readFile", path, (path) => Either.map(findFile(path), ({ bytes }) => copyOf(bytes))),
    // There is no link.
    readLink: (path) =>
      run("readLink", path, (path) => Either.flatMap(find(path), () => Either.left("Unknown" as const))),
    realPath: (path) => run("realPath", path, (path) => Either.map(find(path), () => path)),
    remove,
    rename,
    stat: (path) => run("stat", path, (path) => Either.map(find(path), infoOf)),
    symlink: unsupported("symlink"),
    truncate: (path, length) =>
      run(
        "truncate",
        path,
        (path) => Either.map(findFile(path), (entry) => write(entry, resized(entry.bytes, Number(length ?? 0))))
      ),
    utimes: (path, _, modified) =>
      run("utimes", path, (path) =>
        Either.map(find(path), (entry) => {
          entry.mtime = typeof modified === "number" ? new Date(modified * 1000) : modified
        })),
    watch: () => Stream.dieMessage("the file system in memory has no watch"),
    writeFile
  })

  return {
    fileSystem,
    files: () =>
      new Map([...entries].flatMap(([path, { bytes, type }]) => type === "File" ? [[path, copyOf(bytes)]] : [])),
    removed,
    openFiles: () => descriptors.size,
    clear: () => {
      for (const [path, { type }] of entries) if (type === "File") entries.delete(path)
      removed.length = 0
    }
  }
}
