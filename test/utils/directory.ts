import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { readdirSync, readlinkSync, statSync } from "node:fs"

/** A new directory, removed with whatever is in it when the scope closes. */
export const makeDirectory = Effect.flatMap(
  FileSystem.FileSystem,
  (fs) => fs.makeTempDirectoryScoped({ prefix: "session-init-test-" })
)

/** The names in a directory, sorted. */
export const list = (directory: string): ReadonlyArray<string> => readdirSync(directory).toSorted()

/**
 * The files inside the directory that this process has open, as Linux lists its descriptors. Not the directories: those
 * are open while somebody lists them, and for a while longer on Deno.
 */
export const openIn = (directory: string): ReadonlyArray<string> =>
  readdirSync("/proc/self/fd").flatMap((descriptor) => {
    try {
      const path = `/proc/self/fd/${descriptor}`
      const target = readlinkSync(path)
      return target.startsWith(directory) && !statSync(path).isDirectory() ? [target] : []
    } catch {
      // The descriptor of the listing itself is closed by now.
      return []
    }
  })
