/**
 * The quota of bytes and files kept: a file counts from its publication until it is gone from the disk.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Busy } from "../../InitImageError.js"
import * as metrics from "../metrics.js"
import { isNotFound } from "./layout.js"

export interface Quota {
  /** Fails with `Busy` where a file of that size does not fit now. Counts nothing. */
  readonly check: (bytes: number) => Effect.Effect<void, Busy>
  /** Counts a file. Fails with `Busy` where it does not fit, and then counts nothing. */
  readonly count: (path: string, bytes: number) => Effect.Effect<void, Busy>
  /** Stops counting a file that has been removed. Does nothing for a file that is not counted. */
  readonly forget: (path: string) => Effect.Effect<void>
  /** Looks for all counted files on the disk, and forgets those that are gone. */
  readonly refresh: Effect.Effect<void>
}

/** In seconds. Sessions end less often than requests. */
const busy = new Busy({ retryAfter: 10 })

/** Without any limit there is nothing to count. */
export const unlimited: Quota = {
  check: () => Effect.void,
  count: () => Effect.void,
  forget: () => Effect.void,
  refresh: Effect.void
}

/** Counts until the scope closes: from then on every file fits and is not counted. */
export const make = (
  limits: { readonly bytes: number; readonly files: number },
  fs: FileSystem.FileSystem,
  paths: Path.Path
): Effect.Effect<Quota, never, Scope.Scope> =>
  Effect.gen(function*() {
    const sizes = new Map<string, number>()
    let total = 0
    let state: "Counting" | "Closed" = "Counting"

    const add = (path: string, bytes: number): void => {
      sizes.set(path, bytes)
      total += bytes
      metrics.add(metrics.keptBytes, bytes)
      metrics.add(metrics.keptFiles, 1)
    }

    const forget = (path: string): void => {
      const bytes = sizes.get(path)
      if (bytes === undefined) return
      sizes.delete(path)
      total -= bytes
      metrics.add(metrics.keptBytes, -bytes)
      metrics.add(metrics.keptFiles, -1)
    }

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        state = "Closed"
        for (const path of sizes.keys()) forget(path)
      })
    )

    const fits = (bytes: number): boolean => total + bytes <= limits.bytes && sizes.size + 1 <= limits.files

    /** Lists a directory once for all of its files. */
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
    /** Refreshes once for all callers that wait at the same time. */
    const refresh = Effect.suspend(() => {
      if (sizes.size === 0) return Effect.void
      const before = refreshes
      return mutex.withPermits(1)(Effect.uninterruptible(Effect.suspend(() => {
        if (refreshes > before) return Effect.void
        refreshes++
        const files = new Map<string, Array<string>>()
        for (const path of sizes.keys()) {
          const directory = paths.dirname(path)
          const others = files.get(directory)
          if (others === undefined) files.set(directory, [path])
          else others.push(path)
        }
        return Effect.forEach(files, refreshDirectory, { discard: true })
      })))
    })

    /** Files that were handed over are removed without notice, so the disk is looked at before an image is refused. */
    const whenFits = (bytes: number, onFits: () => void): Effect.Effect<void, Busy> => {
      const attempt = Effect.sync(() => {
        if (state === "Closed") return true
        if (!fits(bytes)) return false
        onFits()
        return true
      })
      return Effect.flatMap(attempt, (fitted) =>
        fitted ? Effect.void : Effect.zipRight(
          refresh,
          Effect.flatMap(attempt, (fitted) => fitted ? Effect.void : busy)
        ))
    }

    return {
      check: (bytes) => whenFits(bytes, () => {}),
      count: (path, bytes) => whenFits(bytes, () => add(path, bytes)),
      forget: (path) => Effect.sync(() => forget(path)),
      refresh
    }
  })
