import * as Error from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** Implements `writeFile` by `open`, `writeAll` and `close`, each of which a hook can change. */
export const writeFileThrough =
  (open: FileSystem.FileSystem["open"]): FileSystem.FileSystem["writeFile"] => (path, bytes, options) =>
    Effect.scoped(Effect.flatMap(open(path, options), (file) => file.writeAll(bytes))).pipe(
      // A failed close is a defect of the scope.
      Effect.catchSomeDefect((defect) =>
        Error.isPlatformError(defect) ? Option.some(Effect.fail(defect)) : Option.none()
      )
    )
