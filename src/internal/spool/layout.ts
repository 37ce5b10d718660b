/**
 * The files of a spool on disk, and how they are told apart from foreign files.
 *
 * ```
 * <parent>/session-init-image-<32 hex digits>/    a spool's own directory, mode 0700
 *   heartbeat                                     16 hex digits that change while the spool is alive
 *   <prefix><32 hex digits>.png|.jpg|.webp        images
 *   session-init-image-<32 hex digits>/           a dead spool's directory, moved here to be removed
 * ```
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"

export const heartbeatName = "heartbeat"

/** A constant length, so that a heartbeat can be overwritten in place on a full disk. */
export const heartbeatBytes = 16

const ownerName = /^session-init-image-[0-9a-f]{32}$/
const imageName = /^[A-Za-z0-9._-]*[0-9a-f]{32}\.(?:png|jpg|webp)$/

export const isOwnerName = (name: string): boolean => ownerName.test(name)

/** Contains 128 random bits, so that the name cannot be guessed. */
export const makeOwnerName = (): string =>
  `session-init-image-${Encoding.encodeHex(globalThis.crypto.getRandomValues(new Uint8Array(16)))}`

export const isNotFound = (error: PlatformError): boolean => error._tag === "SystemError" && error.reason === "NotFound"

/**
 * `stat` that answers `None` for a symbolic link. `FileSystem` has no `lstat`, but `readLink` fails on every other kind
 * of entry.
 */
export const statUnlessLink = (
  fs: FileSystem.FileSystem,
  path: string
): Effect.Effect<Option.Option<FileSystem.File.Info>, PlatformError> =>
  Effect.matchEffect(fs.readLink(path), {
    onSuccess: () => Effect.succeedNone,
    onFailure: () => Effect.asSome(fs.stat(path))
  })

/** Checked before a heartbeat is read: reading a FIFO, a device or a very large file might never end. */
export const isHeartbeat = (info: FileSystem.File.Info): boolean => info.type === "File" && info.size <= heartbeatBytes

export interface Contents {
  /** Names of the images and of the directories moved from dead spools. Excludes the heartbeat. */
  readonly ownEntries: ReadonlyArray<string>
  /** Number of images, including those in moved directories. */
  readonly imageCount: number
  readonly hasHeartbeat: boolean
  /** Number of entries that a spool did not create. */
  readonly foreignCount: number
}

/** Sorts a directory's entries by name and type. Counts symbolic links as foreign. */
export const readContents = (
  fs: FileSystem.FileSystem,
  paths: Path.Path,
  directory: string
): Effect.Effect<Contents, PlatformError> =>
  Effect.gen(function*() {
    const ownEntries: Array<string> = []
    let imageCount = 0
    let hasHeartbeat = false
    let foreignCount = 0
    for (const name of yield* fs.readDirectory(directory)) {
      const path = paths.join(directory, name)
      const info = Option.getOrUndefined(yield* statUnlessLink(fs, path))
      if (name === heartbeatName && info !== undefined && isHeartbeat(info)) {
        hasHeartbeat = true
      } else if (info?.type === "File" && imageName.test(name)) {
        ownEntries.push(name)
        imageCount++
      } else {
        const moved = info?.type === "Directory" && isOwnerName(name) ? yield* readContents(fs, paths, path) : undefined
        if (moved?.foreignCount === 0) {
          ownEntries.push(name)
          imageCount += moved.imageCount
        } else {
          foreignCount++
        }
      }
    }
    return { ownEntries, imageCount, hasHeartbeat, foreignCount }
  })

/**
 * Removes a spool's directory with all its contents. The heartbeat is removed last, so that a removal cut short by the
 * end of the process leaves a directory that a sweep still recognizes.
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
    // `FileSystem.remove` removes a directory, even an empty one, only with `recursive`.
    Effect.zipRight(fs.remove(directory, { recursive: true, force: true }))
  )
