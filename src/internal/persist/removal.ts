/**
 * The removal of an image's file, now or soon: a virus scanner, a backup or a remount keeps a file from being removed for
 * a while. Never fails, so it hides no earlier error.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { removals } from "../process.js"
import * as tempFile from "./tempFile.js"

/** The final state of the file. */
export interface Outcome {
  readonly onRemoved: Effect.Effect<void>
  /** Called with a file that still cannot be removed after all retries. */
  readonly onLeft: (path: string, cause: Cause.Cause<PlatformError>) => Effect.Effect<void>
}

/** Retries after 0.1, 0.3, 0.7, 1.5, 3.1 and 6.3 seconds. */
const firstPause = "100 millis"
const pauses = { schedule: Schedule.exponential("200 millis"), times: 5 }

/**
 * Removes the file. One that cannot be removed now is tried again behind this effect, in a fiber with none of the
 * caller's services.
 */
export const remove = (
  fs: FileSystem.FileSystem,
  path: string,
  { onLeft, onRemoved }: Outcome
): Effect.Effect<void> => {
  const now = Effect.sandbox(tempFile.remove(fs, path))
  const soon = Effect.delay(Effect.retry(now, pauses), firstPause)
  const later = (cause: Cause.Cause<PlatformError>) =>
    removals.withPermitsIfAvailable(1)(Effect.matchEffect(Effect.interruptible(soon), {
      onFailure: (cause) => onLeft(path, cause),
      onSuccess: () => onRemoved
    })).pipe(
      Effect.flatMap((ran) => Option.isSome(ran) ? Effect.void : onLeft(path, cause)),
      Effect.mapInputContext<never, never>(Context.empty),
      Effect.forkDaemon,
      Effect.asVoid
    )
  return Effect.uninterruptible(Effect.matchEffect(now, { onFailure: later, onSuccess: () => onRemoved }))
}

/** Tells the operator, as only the operator can remove the file from here on; the one place that names a path. */
export const warn = (path: string, cause: Cause.Cause<PlatformError>): Effect.Effect<void> =>
  Effect.annotateLogs(Effect.logWarning("An init image could not be removed", cause), "path", path)
