import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { readdirSync, readlinkSync } from "node:fs"

/** A new directory, removed with whatever is in it when the scope closes. */
export const makeDirectory = Effect.flatMap(
  FileSystem.FileSystem,
  (fs) => fs.makeTempDirectoryScoped({ prefix: "session-init-test-" })
)

/** The names in a directory, sorted. */
export const list = (directory: string): ReadonlyArray<string> => readdirSync(directory).toSorted()

/** The descriptors of this process that are open on something inside the directory, as Linux lists them. */
export const openIn = (directory: string): ReadonlyArray<string> =>
  readdirSync("/proc/self/fd").flatMap((descriptor) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${descriptor}`)
      return target.startsWith(directory) ? [target] : []
    } catch {
      // The descriptor of the listing itself is closed by now.
      return []
    }
  })
