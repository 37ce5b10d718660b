/**
 * What a spool puts on the disk, and how it is told from anything else that may be there.
 *
 * ```
 * <parent>/session-init-image-<32 hex digits>/                   a spool's own directory, mode 0700
 *   heartbeat                                                    16 hex digits that change while the spool lives
 *   <prefix><32 hex digits>.png|.jpg|.webp                       images
 *   session-init-image-<32 hex digits>/                          a dead spool's directory on its way out
 * ```
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"

export const heartbeatName = "heartbeat"

/** The same length every time, so that on a full disk it can still be written over. */
export const heartbeatBytes = 16

const ownerName = /^session-init-image-[0-9a-f]{32}$/
const imageName = /^[A-Za-z0-9._-]*[0-9a-f]{32}\.(?:png|jpg|webp)$/

export const isOwnerName = (name: string): boolean => ownerName.test(name)

/** 128 bits that nobody can guess. */
export const makeOwnerName = (): string =>
  `session-init-image-${Encoding.encodeHex(globalThis.crypto.getRandomValues(new Uint8Array(16)))}`

export const isNotFound = (error: PlatformError): boolean => error._tag === "SystemError" && error.reason === "NotFound"

/**
 * `stat` of what is really there: none for a symbolic link. `FileSystem` has no `lstat`; reading a link fails on all
 * that is none.
 */
export const inspect = (
  fs: FileSystem.FileSystem,
  path: string
): Effect.Effect<Option.Option<FileSystem.File.Info>, PlatformError> =>
  Effect.matchEffect(fs.readLink(path), {
    onSuccess: () => Effect.succeedNone,
    onFailure: () => Effect.asSome(fs.stat(path))
  })

/** Of any other kind or size it is nobody's heartbeat, and might not even end. */
export const isHeartbeat = (info: FileSystem.File.Info): boolean => info.type === "File" && info.size <= heartbeatBytes

/** What is in a spool's directory. */
export interface Contents {
  /** Names of what a spool made, besides its heartbeat. */
  readonly own: ReadonlyArray<string>
  /** How many files those are. */
  readonly files: number
  readonly heartbeat: boolean
  /** How many other things there are. */
  readonly foreign: number
}

/** Sorts what is in a directory. It follows no link, and takes nothing for the spool's own by its name alone. */
export const contents = (
  fs: FileSystem.FileSystem,
  paths: Path.Path,
  directory: string
): Effect.Effect<Contents, PlatformError> =>
  Effect.gen(function*() {
    const own: Array<string> = []
    let files = 0
    let heartbeat = false
    let foreign = 0
    for (const name of yield* fs.readDirectory(directory)) {
      const path = paths.join(directory, name)
      const info = Option.getOrUndefined(yield* inspect(fs, path))
      if (name === heartbeatName && info !== undefined && isHeartbeat(info)) {
        heartbeat = true
      } else if (info?.type === "File" && imageName.test(name)) {
        own.push(name)
        files++
      } else {
        const inner = info?.type === "Directory" && isOwnerName(name) ? yield* contents(fs, paths, path) : undefined
        if (inner?.foreign === 0) {
          own.push(name)
          files += inner.files
        } else {
          foreign++
        }
      }
    }
    return { own, files, heartbeat, foreign }
  })

/**
 * Removes a spool's directory and all that is in it, its heartbeat last: one that is interrupted by the end of the
 * process leaves a directory that can still be told to be a spool's.
 */
export const removeOwner = (
  fs: FileSystem.FileSystem,
  paths: Path.Path,
  directory: string
): Effect.Effect<void, PlatformError> =>
  fs.readDirectory(directory).pipe(
    Effect.flatMap(Effect.forEach(
      (name) =>
        name === heartbeatName
          ? Effect.void
          : fs.remove(paths.join(directory, name), { recursive: true, force: true }),
      { discard: true }
    )),
    // `FileSystem` can remove a directory, even an empty one, only with whatever is in it.
    Effect.zipRight(fs.remove(directory, { recursive: true, force: true }))
  )
