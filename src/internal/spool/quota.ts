/**
 * Bytes and files kept: each counts from success until it is really gone from the disk.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Busy } from "../../InitImageError.js"
import { isNotFound } from "./layout.js"
import * as metrics from "./metrics.js"

export interface Quota {
  /** Fails where a file of that size could not be kept now. Counts nothing. */
  readonly check: (bytes: number) => Effect.Effect<void, Busy>
  /** Counts a file that has been written and closed. */
  readonly keep: (path: string, bytes: number) => Effect.Effect<void, Busy>
  /** Counts a file no more that is gone. Does nothing for one that is not counted. */
  readonly removed: (path: string) => Effect.Effect<void>
  /** Looks for all files that are counted. */
  readonly refresh: Effect.Effect<void>
}

/** In seconds. Sessions end less often than requests. */
const busy = new Busy({ retryAfter: 10 })

/** Counts nothing any more once the scope has closed: then nothing is the spool's to keep. */
export const make = (
  limits: { readonly bytes: number; readonly files: number },
  fs: FileSystem.FileSystem,
  paths: Path.Path
): Effect.Effect<Quota, never, Scope.Scope> =>
  Effect.gen(function*() {
    const kept = new Map<string, number>()
    let keptBytes = 0
    let closed = false

    const count = (path: string, bytes: number): void => {
      kept.set(path, bytes)
      keptBytes += bytes
      metrics.add(metrics.keptBytes, bytes)
      metrics.add(metrics.keptFiles, 1)
    }

    const forget = (path: string): void => {
      const bytes = kept.get(path)
      if (bytes === undefined) return
      kept.delete(path)
      keptBytes -= bytes
      metrics.add(metrics.keptBytes, -bytes)
      metrics.add(metrics.keptFiles, -1)
    }

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        closed = true
        for (const path of kept.keys()) forget(path)
      })
    )

    const fits = (bytes: number): boolean => keptBytes + bytes <= limits.bytes && kept.size + 1 <= limits.files

    /** One listing for all files of a directory, however many they are. */
    const refreshDirectory = ([directory, files]: readonly [string, ReadonlyArray<string>]): Effect.Effect<void> =>
      fs.readDirectory(directory).pipe(
        Effect.catchIf(isNotFound, () => Effect.succeed([])),
        Effect.map((names) => {
          const present = new Set(names)
          for (const file of files) {
            if (!present.has(paths.basename(file))) forget(file)
          }
        }),
        Effect.ignore
      )

    const mutex = yield* Effect.makeSemaphore(1)
    let refreshes = 0
    /** However many ask for it at once, it is done for all of them together. */
    const refresh = Effect.suspend(() => {
      if (kept.size === 0) return Effect.void
      const before = refreshes
      return mutex.withPermits(1)(Effect.uninterruptible(Effect.suspend(() => {
        if (refreshes > before) return Effect.void
        refreshes++
        const files = new Map<string, Array<string>>()
        for (const path of kept.keys()) {
          const directory = paths.dirname(path)
          const others = files.get(directory)
          if (others === undefined) files.set(directory, [path])
          else others.push(path)
        }
        return Effect.forEach(files, refreshDirectory, { discard: true })
      })))
    })

    /** A file that was given away is removed without a word, so before anybody is refused it is looked for. */
    const whenFits = (bytes: number, onFits: () => void): Effect.Effect<void, Busy> => {
      const attempt = Effect.sync(() => {
        if (closed) return true
        if (!fits(bytes)) return false
        onFits()
        return true
      })
      return Effect.flatMap(attempt, (done) =>
        done ? Effect.void : Effect.zipRight(
          refresh,
          Effect.flatMap(attempt, (done) => done ? Effect.void : busy)
        ))
    }

    return {
      check: (bytes) => whenFits(bytes, () => {}),
      keep: (path, bytes) => whenFits(bytes, () => count(path, bytes)),
      removed: (path) => Effect.sync(() => forget(path)),
      refresh
    }
  })
