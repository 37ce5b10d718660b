/**
 * A spool's own directory, and the heartbeat in it that shows other processes that its owner is alive.
 */
import * as Error from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import { platform } from "node:os"
import * as tempFile from "../persist/tempFile.js"
import * as layout from "./layout.js"

export interface Owner {
  /** The directory that holds the directories of all spools: an absolute path without symbolic links. */
  readonly parent: string
  /** The user that owns the spool's directory, on systems with numeric user ids. */
  readonly uid: Option.Option<number>
  /**
   * The spool's directory, after a check that it exists and is the one that the spool created. A missing directory is
   * replaced by a new one: another spool removes it after this process was suspended for too long.
   *
   * Fails with `SystemError`: `PermissionDenied` when another file or directory has replaced it, `BadResource` after
   * the scope has closed, or the disk's own error.
   */
  readonly directory: Effect.Effect<string, PlatformError>
  /** Changes the heartbeat and answers its path. Uninterruptible. */
  readonly beat: Effect.Effect<string, PlatformError>
}

/** For its owner only. */
export const defaultDirectoryMode = 0o700

const fileMode = 0o600

/** Write permission for the group and for other users. */
const writableByOthers = 0o022
const sticky = 0o1000

const method = "InitImageSpool"

const refused = (
  reason: Error.SystemErrorReason,
  pathOrDescriptor: string,
  description: string
): Error.SystemError => new Error.SystemError({ module: "FileSystem", method, reason, pathOrDescriptor, description })

/** The error for the log: without its path. The descriptions of this module contain no path. */
export const withoutPath = (error: PlatformError): PlatformError =>
  error._tag === "SystemError" && error.method === method
    ? new Error.SystemError({ ...error, pathOrDescriptor: undefined })
    : tempFile.withoutPath(error)

/** Windows has no POSIX modes and reports every directory as writable by all users. */
const hasModes = platform() !== "win32"

const wayOut =
  "create a directory in it that belongs to this process's user, with mode 0700, and use that as the parent"

/** A user with write permission on a parent without the sticky bit can replace the spool's directory. */
const checkMode = (parent: string, { mode }: FileSystem.File.Info): Effect.Effect<void, PlatformError> =>
  hasModes && (mode & writableByOthers) !== 0 && (mode & sticky) === 0
    ? refused(
      "PermissionDenied",
      parent,
      `the spool's parent directory is writable by other users and is not sticky, like an emptyDir of Kubernetes: ${wayOut}`
    )
    : Effect.void

/** The id that stands for every user that a user namespace does not map (user_namespaces(7)). */
const overflowUid = 65534

/**
 * The parent's owner can replace the spool's directory, in any mode. In a user namespace that may be any user of the host,
 * root among them: they all have the same id.
 */
const checkUser = (
  parent: string,
  { uid }: FileSystem.File.Info,
  own: FileSystem.File.Info
): Effect.Effect<void, PlatformError> =>
  Option.isNone(uid) || uid.value === 0 || Option.contains(own.uid, uid.value)
    ? Effect.void
    : refused(
      "PermissionDenied",
      parent,
      uid.value === overflowUid
        ? `the spool's parent directory belongs to a user outside of the user namespace (id ${overflowUid}): ${wayOut}`
        : `the spool's parent directory belongs to another user (id ${uid.value}): ${wayOut}`
    )

const sameNumber = Option.getEquivalence<number>((a, b) => a === b)

const isSame = (a: FileSystem.File.Info, b: FileSystem.File.Info): boolean =>
  sameNumber(a.ino, b.ino) && a.dev === b.dev

/** Another file has the heartbeat's name. */
class ForeignHeartbeat extends Data.TaggedError("ForeignHeartbeat") {}

interface Directory {
  readonly path: string
  /** Identifies the directory by its inode and device. */
  readonly info: FileSystem.File.Info
}

type State = Data.TaggedEnum<{
  Owned: { readonly directory: Directory }
  /** Holds the directory that is being removed, or is removed already. */
  Closed: { readonly directory: Directory }
}>
const { Closed, Owned } = Data.taggedEnum<State>()

/** The bits of a directory's mode that `chmod` would drop: its files get its group, not the process's. */
const setGroupId = 0o2000

/**
 * Owns a new directory until the scope closes. A mode that lets other users in is set regardless of the umask.
 */
export const make = (
  parentDirectory: string,
  directoryMode: number = defaultDirectoryMode
): Effect.Effect<
  Owner,
  PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const parent = yield* fs.realPath(parentDirectory)

    let heartbeatCount = 0
    const nextHeartbeat = (): Uint8Array =>
      new TextEncoder().encode((heartbeatCount++).toString(16).padStart(layout.heartbeatBytes, "0"))

    /** Identifies the heartbeat: a file that has replaced it, also by a link, is never written. */
    let heartbeatInfo: FileSystem.File.Info | undefined

    const createHeartbeat = (directory: string): Effect.Effect<void, PlatformError> =>
      Effect.scoped(Effect.gen(function*() {
        const file = yield* fs.open(paths.join(directory, layout.heartbeatName), { flag: "wx", mode: fileMode })
        heartbeatInfo = yield* file.stat
        yield* file.writeAll(nextHeartbeat())
      }))

    /** `FileSystem` cannot open a file without following a link, so the file is compared after it has been opened. */
    const writeHeartbeat = (path: string): Effect.Effect<void, PlatformError | ForeignHeartbeat> =>
      Effect.scoped(Effect.gen(function*() {
        if (Option.isNone(yield* layout.statUnlessLink(fs, path))) return yield* new ForeignHeartbeat()
        // Not truncated: a truncated file may find no free block on a full disk.
        const file = yield* fs.open(path, { flag: "r+" })
        if (heartbeatInfo === undefined || !isSame(yield* file.stat, heartbeatInfo)) {
          return yield* new ForeignHeartbeat()
        }
        yield* file.writeAll(nextHeartbeat())
      }))

    const createDirectory: Effect.Effect<Directory, PlatformError> = Effect.gen(function*() {
      const parentInfo = yield* fs.stat(parent)
      yield* checkMode(parent, parentInfo)
      const path = paths.join(parent, layout.makeOwnerName())
      // Not recursive, so that it fails on any existing entry, a dangling symbolic link included.
      yield* fs.makeDirectory(path, { mode: directoryMode })
      return yield* Effect.gen(function*() {
        const info = yield* fs.stat(path)
        yield* checkUser(parent, parentInfo, info)
        if (directoryMode !== defaultDirectoryMode) yield* fs.chmod(path, directoryMode | (info.mode & setGroupId))
        yield* createHeartbeat(path)
        return { path, info }
      }).pipe(Effect.onError(() => Effect.ignore(fs.remove(path, { recursive: true, force: true }))))
    })

    /** Detects a symbolic link too: `stat` answers the inode and device of its target. */
    const checkIdentity = ({ info, path }: Directory): Effect.Effect<string, PlatformError> =>
      Effect.flatMap(fs.stat(path), (found) =>
        isSame(found, info)
          ? Effect.succeed(path)
          : refused("PermissionDenied", path, "the spool's directory has been replaced"))

    /** Serializes the transitions of `state`: one fiber at a time replaces a missing directory. */
    const mutex = yield* Effect.makeSemaphore(1)
    const state = yield* Effect.acquireRelease(
      Effect.flatMap(createDirectory, (directory) => Ref.make<State>(Owned({ directory }))),
      (state) =>
        mutex.withPermits(1)(Ref.updateAndGet(state, ({ directory }) => Closed({ directory }))).pipe(
          Effect.flatMap(({ directory }) => checkIdentity(directory)),
          Effect.flatMap((path) => layout.removeOwner(fs, paths, path)),
          Effect.retry({ times: 2 }),
          Effect.catchIf(layout.isNotFound, () => Effect.void),
          Effect.mapError(withoutPath),
          Effect.catchAllCause((cause) => Effect.logWarning("Cannot remove the spool's directory", cause))
        )
    )
    const { directory: { info: { uid } } } = yield* Ref.get(state)

    const replaceDirectory = createDirectory.pipe(
      Effect.tap((directory) => Ref.set(state, Owned({ directory }))),
      Effect.tap(() => Effect.logWarning("The spool's directory was missing and has been replaced by a new one")),
      Effect.map(({ path }) => path)
    )

    const pathOrElse = (onMissing: Effect.Effect<string, PlatformError>): Effect.Effect<string, PlatformError> =>
      Effect.flatMap(Ref.get(state), ({ _tag, directory }) =>
        _tag === "Closed"
          ? refused("BadResource", directory.path, "the spool is closed")
          : Effect.catchIf(checkIdentity(directory), layout.isNotFound, () => onMissing))

    const directory = pathOrElse(mutex.withPermits(1)(Effect.uninterruptible(pathOrElse(replaceDirectory))))

    const beat = Effect.uninterruptible(Effect.gen(function*() {
      const path = paths.join(yield* directory, layout.heartbeatName)
      yield* writeHeartbeat(path).pipe(
        Effect.catchTag(
          "ForeignHeartbeat",
          () => Effect.zipRight(fs.remove(path), Effect.flatMap(directory, createHeartbeat))
        ),
        Effect.catchIf(layout.isNotFound, () => Effect.flatMap(directory, createHeartbeat)),
        // Needs no free block, even on a file system that writes each change to a new block.
        Effect.catchAll((error) => Effect.orElseFail(fs.utimes(path, heartbeatCount, heartbeatCount++), () => error))
      )
      return path
    }))

    return { parent, uid, directory, beat }
  })

/**
 * The heartbeat's modification time and content, of which each beat changes at least one; `"absent"` when there is no
 * heartbeat.
 */
export const signature = (
  fs: FileSystem.FileSystem,
  paths: Path.Path,
  directory: string
): Effect.Effect<string, PlatformError> => {
  const path = paths.join(directory, layout.heartbeatName)
  return Effect.gen(function*() {
    const info = Option.getOrUndefined(yield* layout.statUnlessLink(fs, path))
    if (info === undefined || !layout.isHeartbeat(info)) return "absent"
    const modified = Option.match(info.mtime, { onNone: () => 0, onSome: (time) => time.getTime() })
    return `${modified}:${Encoding.encodeHex(yield* fs.readFile(path))}`
  }).pipe(Effect.catchIf(layout.isNotFound, () => Effect.succeed("absent")))
}
