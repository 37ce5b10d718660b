/** The real file system with a hook around each operation on an image's file: the tests' one double for faults. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { writeFileThrough } from "./writeFileThrough.js"

export type Operation = "open" | "writeAll" | "close" | "access" | "remove"

/** Runs in place of an operation, with the operation's own errors. */
export type Hook = <A, E>(operation: Operation, run: Effect.Effect<A, E>) => Effect.Effect<A, E>

/** A hook that may also fail. An error of `close` becomes a defect, as on the platform. */
export type FaultHook = <A>(
  operation: Operation,
  run: Effect.Effect<A, PlatformError>
) => Effect.Effect<A, PlatformError>

export interface Options {
  /** Whether `access` goes through the hook. */
  readonly access?: boolean
  /** Replaces `writeAll` of an open file. */
  readonly writeAll?: (file: FileSystem.File, bytes: Uint8Array) => Effect.Effect<void, PlatformError>
}

export const layerHooked = (
  hook: FaultHook,
  { access = false, writeAll = (file, bytes) => file.writeAll(bytes) }: Options = {}
): Layer.Layer<Layer.Layer.Success<typeof NodeContext.layer>> =>
  Layer.provideMerge(
    Layer.effect(
      FileSystem.FileSystem,
      Effect.map(FileSystem.FileSystem, (fs): FileSystem.FileSystem => {
        const open: typeof fs.open = (path, options) =>
          Effect.gen(function*() {
            const scope = yield* Effect.scope
            const file = yield* hook("open", Scope.extend(fs.open(path, options), scope))
            yield* Effect.addFinalizer(() => Effect.orDie(hook("close", Effect.void)))
            return new Proxy(file, {
              get: (target, key) =>
                key === "writeAll"
                  ? (bytes: Uint8Array) => hook("writeAll", writeAll(target, bytes))
                  : Reflect.get(target, key, target)
            })
          })
        return {
          ...fs,
          access: (path, options) => access ? hook("access", fs.access(path, options)) : fs.access(path, options),
          remove: (path, options) => hook("remove", fs.remove(path, options)),
          open,
          writeFile: writeFileThrough(open)
        }
      })
    ),
    NodeContext.layer
  )

/** Changes the n-th of these operations. */
export const atNth = (
  operation: Operation,
  nth: number,
  change: <A>(run: Effect.Effect<A, PlatformError>) => Effect.Effect<A, PlatformError>
): FaultHook => {
  let count = 0
  return (actual, run) => Effect.suspend(() => actual === operation && ++count === nth ? change(run) : run)
}
