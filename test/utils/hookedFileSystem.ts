import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { writeFileThrough } from "./writeFileThrough.js"

export type Operation = "open" | "writeAll" | "close" | "remove"

/** What is done in place of an operation, which is to be a form of it. */
export type Hook = <A, E>(operation: Operation, run: Effect.Effect<A, E>) => Effect.Effect<A, E>

/** The real file system, each of whose operations on an image goes through the hook. */
export const layerHooked = (hook: Hook): Layer.Layer<Layer.Layer.Success<typeof NodeContext.layer>> =>
  Layer.provideMerge(
    Layer.effect(
      FileSystem.FileSystem,
      Effect.map(FileSystem.FileSystem, (fs) => {
        const open: typeof fs.open = (path, options) =>
          Effect.gen(function*() {
            const scope = yield* Effect.scope
            const file = yield* hook("open", Scope.extend(fs.open(path, options), scope))
            yield* Effect.addFinalizer(() => hook("close", Effect.void))
            return new Proxy(file, {
              get: (target, key) =>
                key === "writeAll"
                  ? (bytes: Uint8Array) => hook("writeAll", target.writeAll(bytes))
                  : Reflect.get(target, key, target)
            })
          })
        return {
          ...fs,
          remove: (path: string, options?: FileSystem.RemoveOptions) => hook("remove", fs.remove(path, options)),
          open,
          writeFile: writeFileThrough(open)
        }
      })
    ),
    NodeContext.layer
  )
