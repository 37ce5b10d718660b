/** A file system without a disk, which records its operations. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** Records each operation, with its arguments except for the path. `methods` replace the operations of their names. */
export const makeDisk = (methods: Partial<FileSystem.FileSystem> = {}, writeAll?: FileSystem.File["writeAll"]) => {
  const operations: Array<ReadonlyArray<unknown>> = []
  const record = (...operation: ReadonlyArray<unknown>) => Effect.sync(() => void operations.push(operation))
  const file = {
    writeAll: writeAll ?? ((bytes: Uint8Array) => record("writeAll", bytes.length))
    // The tested modules call no other method of a file.
  } as unknown as FileSystem.File
  const fs = FileSystem.makeNoop({
    open: (_, options) => Effect.acquireRelease(Effect.as(record("open", options), file), () => record("close")),
    writeFile: (_, bytes, options) => record("writeFile", bytes.length, options),
    access: () => record("access"),
    remove: (_, options) => record("remove", options),
    ...methods
  })
  return { operations, file, fs, layer: Layer.merge(Layer.succeed(FileSystem.FileSystem, fs), Path.layer) }
}
