/**
 * A spool's own directory, and the heartbeat in it by which others tell that its owner lives.
 */
import * as Error from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { platform } from "node:os"
import * as layout from "./layout.js"

export interface Owner {
  /** Where it and those of other spools are: an absolute path without symbolic links. */
  readonly parent: string
  /** Whose directory it is, where there are users. */
  readonly uid: Option.Option<number>
  /**
   * The directory, which is there and is the spool's own. One that has gone, because the process stood still for so
   * long that others took it for dead or because somebody removed it, is replaced by a new one.
   *
   * Fails with `SystemError`: `PermissionDenied` where something else is in its place, `BadResource` once the scope has
   * closed, or as the disk does.
   */
  readonly directory: Effect.Effect<string, PlatformError>
  /** Shows that the owner lives. Uninterruptible. */
  readonly beat: Effect.Effect<void, PlatformError>
}

const directoryMode = 0o700
const fileMode = 0o600

/** Write permission for the group and for all others. */
const writableByOthers = 0o022
const sticky = 0o1000

const refused = (
  reason: Error.SystemErrorReason,
  pathOrDescriptor: string,
  description: string
): Error.SystemError =>
  new Error.SystemError({ module: "FileSystem", method: "InitImageSpool", reason, pathOrDescriptor, description })

/** Windows has no such modes and shows every directory as writable for all. */
const hasModes = platform() !== "win32"

/** Whoever may write to the parent could put something of theirs into the place of the spool's directory. */
const checkMode = (parent: string, { mode }: FileSystem.File.Info): Effect.Effect<void, PlatformError> =>
  hasModes && (mode & writableByOthers) !== 0 && (mode & sticky) === 0
    ? refused("PermissionDenied", parent, "others may write to the spool's parent directory, which is not sticky")
    : Effect.void

/** Its owner may too, whatever its mode. */
const checkUser = (
  parent: string,
  { uid }: FileSystem.File.Info,
  own: FileSystem.File.Info
): Effect.Effect<void, PlatformError> =>
  Option.isNone(uid) || uid.value === 0 || Option.contains(own.uid, uid.value)
    ? Effect.void
    : refused("PermissionDenied", parent, "the spool's parent directory is another user's")

const sameNumber = Option.getEquivalence<number>((a, b) => a === b)

interface Claim {
  readonly path: string
  readonly info: FileSystem.File.Info
}

export const make = (parentDirectory: string): Effect.Effect<
  Owner,
  PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const parent = yield* fs.realPath(parentDirectory)

    let beats = 0
    /** Different each time, in a directory's life. */
    const nextHeartbeat = (): Uint8Array =>
      new TextEncoder().encode((beats++).toString(16).padStart(layout.heartbeatBytes, "0"))

    const createHeartbeat = (directory: string): Effect.Effect<void, PlatformError> =>
      Effect.suspend(() =>
        fs.writeFile(paths.join(directory, layout.heartbeatName), nextHeartbeat(), { flag: "wx", mode: fileMode })
      )

    /** Not recursive, so that it fails where there is anything by that name, a symbolic link that leads nowhere too. */
    const claim: Effect.Effect<Claim, PlatformError> = Effect.gen(function*() {
      const parentInfo = yield* fs.stat(parent)
      yield* checkMode(parent, parentInfo)
      const path = paths.join(parent, layout.makeOwnerName())
      yield* fs.makeDirectory(path, { mode: directoryMode })
      return yield* Effect.gen(function*() {
        const info = yield* fs.stat(path)
        yield* checkUser(parent, parentInfo, info)
        yield* createHeartbeat(path)
        return { path, info }
      }).pipe(Effect.onError(() => Effect.ignore(fs.remove(path, { recursive: true, force: true }))))
    })

    /** What a symbolic link leads to is another directory than this one was. */
    const check = ({ info, path }: Claim): Effect.Effect<string, PlatformError> =>
      Effect.flatMap(fs.stat(path), (found) =>
        sameNumber(found.ino, info.ino) && found.dev === info.dev
          ? Effect.succeed(path)
          : refused("PermissionDenied", path, "something else is in place of the spool's directory"))

    const mutex = yield* Effect.makeSemaphore(1)
    let closed = false
    let current: Claim = yield* Effect.acquireRelease(
      claim,
      () =>
        mutex.withPermits(1)(Effect.suspend(() => {
          closed = true
          return check(current)
        })).pipe(
          Effect.flatMap((path) => layout.removeOwner(fs, paths, path)),
          Effect.retry({ times: 2 }),
          Effect.catchIf(layout.isNotFound, () => Effect.void),
          Effect.catchAllCause((cause) => Effect.logWarning("A spool's directory could not be removed", cause))
        )
    )

    const reclaim = mutex.withPermits(1)(Effect.uninterruptible(Effect.suspend(() =>
      closed
        ? refused("BadResource", current.path, "the spool has been closed")
        : Effect.catchIf(check(current), layout.isNotFound, () =>
          claim.pipe(
            Effect.map((next) => {
              current = next
              return next.path
            }),
            Effect.tap(() => Effect.logWarning("A spool's directory was gone and has been replaced"))
          ))
    )))

    const directory = Effect.suspend(() =>
      closed ? reclaim : Effect.catchIf(check(current), layout.isNotFound, () => reclaim)
    )

    const beat = Effect.uninterruptible(Effect.gen(function*() {
      const path = paths.join(yield* directory, layout.heartbeatName)
      const heartbeat = nextHeartbeat()
      yield* Effect.scoped(
        // Not truncated first: that would need room to be written again, which a full disk may not have.
        Effect.flatMap(fs.open(path, { flag: "r+" }), (file) => file.writeAll(heartbeat))
      ).pipe(
        Effect.catchIf(layout.isNotFound, () => Effect.flatMap(directory, createHeartbeat)),
        // A change of times alone needs no room at all, even where the disk writes to a new place each time.
        Effect.catchAll((error) => Effect.orElseFail(fs.utimes(path, beats, beats), () => error))
      )
    }))

    return { parent, uid: current.info.uid, directory, beat }
  })

/** The content of a heartbeat and its time together, of which a beat changes one at least. Another if there is none. */
export const signature = (
  fs: FileSystem.FileSystem,
  paths: Path.Path,
  directory: string
): Effect.Effect<string, PlatformError> => {
  const path = paths.join(directory, layout.heartbeatName)
  return Effect.gen(function*() {
    const info = Option.getOrUndefined(yield* layout.inspect(fs, path))
    if (info === undefined || !layout.isHeartbeat(info)) return "absent"
    const changed = Option.match(info.mtime, { onNone: () => 0, onSome: (time) => time.getTime() })
    return `${changed}:${Encoding.encodeHex(yield* fs.readFile(path))}`
  }).pipe(Effect.catchIf(layout.isNotFound, () => Effect.succeed("absent")))
}
