import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { readdirSync, readlinkSync, statSync } from "node:fs"

/** Creates a directory, which is removed with its contents when the scope closes. */
export const makeDirectory = Effect.flatMap(
  FileSystem.FileSystem,
  (fs) => fs.makeTempDirectoryScoped({ prefix: "session-init-test-" })
)

/** The names in a directory, sorted. */
export const list = (directory: string): ReadonlyArray<string> => readdirSync(directory).toSorted()

/**
 * The files in the directory that this process has open, from the descriptors that Linux lists. Directories are left
 * out: Deno keeps them open for a while after a listing.
 */
export const openIn = (directory: string): ReadonlyArray<string> =>
  readdirSync("/proc/self/fd").flatMap((descriptor) => {
    try {
      const path = `/proc/self/fd/${descriptor}`
      const target = readlinkSync(path)
      return target.startsWith(directory) && !statSync(path).isDirectory() ? [target] : []
    } catch {
      // The descriptor of the listing itself is closed.
      return []
    }
  })
