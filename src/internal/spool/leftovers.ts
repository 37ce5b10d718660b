/** A spool's files that could not be removed when their time was over: each sweep tries again. */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as removal from "../persist/removal.js"
import * as tempFile from "../persist/tempFile.js"

export interface Leftovers {
  /** Takes over a file. */
  readonly add: (path: string, cause: Cause.Cause<PlatformError>) => Effect.Effect<void>
  /** Tries to remove all of them. */
  readonly sweep: Effect.Effect<void>
}

/** On a disk that fails, each refused image may add one. */
const maxFiles = 1000

/**
 * Takes files until the scope closes, tries a last time to remove them, and warns of those that stay. To be made before
 * the spool's directory, which goes first and takes most of them with it.
 */
export const make = (fs: FileSystem.FileSystem): Effect.Effect<Leftovers, never, Scope.Scope> =>
  Effect.gen(function*() {
    const files = new Map<string, Cause.Cause<PlatformError>>()
    let state: "Open" | "Closed" = "Open"

    const sweep = Effect.suspend(() =>
      Effect.forEach([...files.keys()], (path) =>
        Effect.matchCause(tempFile.remove(fs, path), {
          onFailure: (cause) => void files.set(path, cause),
          onSuccess: () => void files.delete(path)
        }), { discard: true })
    )

    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        state = "Closed"
        return Effect.zipRight(
          sweep,
          Effect.forEach(files, ([path, cause]) => removal.warn(path, cause), { discard: true })
        )
      })
    )

    return {
      sweep: Effect.uninterruptible(sweep),
      add: (path, cause) =>
        Effect.suspend(() => {
          if (state === "Closed" || files.size >= maxFiles) return removal.warn(path, cause)
          files.set(path, cause)
          return Effect.logWarning("An init image could not be removed yet; its spool tries again", cause)
        })
    }
  })
