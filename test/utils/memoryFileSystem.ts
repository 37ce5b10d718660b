/** A file system in memory that counts operations and dies on each that the library must not do. */
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { writeFileThrough } from "./writeFileThrough.js"

export const directory = "/memory"

const validPath = /^\/memory\/session-init-[0-9a-f]{32}\.(?:png|jpg|webp)$/

export class MemoryFileSystem {
  readonly files = new Map<string, ReadonlyArray<Buffer>>()
  readonly #open = new Set<string>()
  opens = 0
  writes = 0
  removes = 0

  get openFiles(): number {
    return this.#open.size
  }

  get onlyFile(): Buffer | undefined {
    const [parts] = this.files.values()
    return parts === undefined ? undefined : Buffer.concat(parts)
  }

  clear(): void {
    this.files.clear()
    this.#open.clear()
    this.opens = 0
    this.writes = 0
    this.removes = 0
  }

  readonly #openFile: FileSystem.FileSystem["open"] = (path, options) =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        this.opens++
        if (options?.flag !== "wx" || options.mode !== 0o600) {
          return Effect.dieMessage("not exclusive, or not private")
        }
        if (!validPath.test(path) || this.files.has(path)) return Effect.dieMessage(`opens ${path}`)
        this.files.set(path, [])
        this.#open.add(path)
        return Effect.succeed(this.#file(path))
      }),
      () => Effect.sync(() => this.#open.delete(path))
    )

  readonly fileSystem: FileSystem.FileSystem = FileSystem.makeNoop({
    open: this.#openFile,
    writeFile: writeFileThrough(this.#openFile),
    access: (path) =>
      Effect.suspend(() =>
        this.files.has(path)
          ? Effect.void
          : new SystemError({ module: "FileSystem", method: "access", reason: "NotFound" })
      ),
    remove: (path, options) =>
      Effect.suspend(() => {
        this.removes++
        if (options?.force !== true || options.recursive === true) {
          return Effect.dieMessage("not just this file, if there")
        }
        if (this.#open.has(path)) return Effect.dieMessage("removes a file that is open")
        this.files.delete(path)
        return Effect.void
      })
  })

  #file(path: string): FileSystem.File {
    const unused = Effect.dieMessage("not an operation of this library")
    return {
      [FileSystem.FileTypeId]: FileSystem.FileTypeId,
      fd: FileSystem.FileDescriptor(-1),
      stat: unused,
      sync: unused,
      seek: () => unused,
      read: () => unused,
      readAlloc: () => unused,
      truncate: () => unused,
      write: () => unused,
      writeAll: (bytes) =>
        Effect.suspend(() => {
          this.writes++
          const parts = this.files.get(path)
          if (parts === undefined || !this.#open.has(path)) return Effect.dieMessage("writes to a closed file")
          // The platform fails in the same way.
          if (bytes.length === 0) {
            return new SystemError({ module: "FileSystem", method: "writeAll", reason: "WriteZero" })
          }
          const write = Effect.sync(() => {
            this.files.set(path, [...parts, Buffer.from(bytes)])
          })
          // A large write takes several turns, during which the buffer must not change.
          return bytes.length < 100_000 ? write : Effect.zipRight(Effect.repeatN(Effect.yieldNow(), 3), write)
        })
    }
  }
}
