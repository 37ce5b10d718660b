import * as Error from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** `writeFile` by a file system's own `open`, one operation after the other as Node does it: each can fail or wait. */
export const writeFileThrough =
  (open: FileSystem.FileSystem["open"]): FileSystem.FileSystem["writeFile"] => (path, bytes, options) =>
    Effect.scoped(Effect.flatMap(open(path, options), (file) => file.writeAll(bytes))).pipe(
      // What `open` leaves no other way for when the file cannot be closed.
      Effect.catchSomeDefect((defect) =>
        Error.isPlatformError(defect) ? Option.some(Effect.fail(defect)) : Option.none()
      )
    )
