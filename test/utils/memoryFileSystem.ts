/** The file system in memory of `session-init-image/testing`, which dies on each operation that the library must not do. */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as memory from "../../src/testing/internal/memoryFileSystem.js"

export const directory = "/memory"

const validPath = /^\/memory\/session-init-[0-9a-f]{32}\.(?:png|jpg|webp)$/

const paths = Effect.runSync(Effect.provide(Path.Path, Path.layer))

const create = new Set(["open", "writeFile"])
const write = new Set(["writeAll", "writeFile"])

const isLarge = (bytes: number): boolean => bytes >= 100_000

export class MemoryFileSystem {
  readonly #memory = memory.make(paths, [directory], (operation, run) =>
    Effect.suspend(() => {
      const { bytes = 0, method } = operation
      if (create.has(method)) this.opens++
      if (write.has(method)) this.writes++
      if (method === "remove") this.removes++
      const misuse = this.#misuse(operation)
      if (misuse !== undefined) return Effect.dieMessage(misuse)
      // A large write takes several turns, during which the buffer must not change.
      return isLarge(bytes) ? Effect.zipRight(Effect.repeatN(Effect.yieldNow(), 3), run) : run
    }))
  readonly fileSystem: FileSystem.FileSystem = this.#memory.fileSystem
  opens = 0
  writes = 0
  removes = 0

  get openFiles(): number {
    return this.#memory.openFiles()
  }

  get files(): ReadonlyMap<string, Uint8Array> {
    return this.#memory.files()
  }

  clear(): void {
    this.#memory.clear()
    this.opens = 0
    this.writes = 0
    this.removes = 0
  }

  #misuse({ flag, force, method, mode, path, recursive }: memory.Operation): string | undefined {
    if (create.has(method)) {
      if (flag !== "wx" || mode !== 0o600) return "not exclusive, or not private"
      return validPath.test(path) ? undefined : `opens ${path}`
    }
    if (method === "remove") {
      if (force !== true || recursive === true) return "not just this file, if there"
      return this.openFiles > 0 ? "removes a file that is open" : undefined
    }
    return method === "writeAll" || method === "access" ? undefined : `${method} is not an operation of this library`
  }
}
