/** Ways to persist an image, disks that misbehave, and what must be true afterwards. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import type { PlatformError } from "@effect/platform/Error"
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { inspect } from "node:util"
import type { InitImageError } from "../../src/index.js"
import { InitImageFrame, SessionInitImage } from "../../src/index.js"
import { list, openIn } from "../utils/directory.js"
import { payloadOf } from "../utils/payloads.js"
import { writeFileThrough } from "../utils/writeFileThrough.js"

/** Persists a PNG in the directory and answers its path. */
export type Persist = (
  directory: string,
  png: Uint8Array
) => Effect.Effect<
  string,
  InitImageError.InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
>

const meta = { mime: "image/png", name: "ref" }
const pathOf = (image: Option.Option<SessionInitImage.SessionInitImage>) => Option.getOrThrow(image).path
const streamOf = (all: Uint8Array) =>
  Stream.make(all.subarray(0, 700_000), all.subarray(700_000, 1_600_001), all.subarray(1_600_001))

const frameOf = (png: Uint8Array) => JSON.stringify({ image: payloadOf("image/png", png) })
const at = { at: ["image"] }

/** Each entry to the pipeline; those that are scoped keep nothing behind the scope's end. */
export const ways: Readonly<Record<string, Persist>> = {
  "persist": (directory, png) =>
    Effect.map(SessionInitImage.persist(payloadOf("image/png", png), { directory }), pathOf),
  "persistScoped": (directory, png) =>
    Effect.map(SessionInitImage.persistScoped(payloadOf("image/png", png), { directory }), pathOf),
  "persistStream": (directory, png) =>
    Effect.map(SessionInitImage.persistStream(meta, streamOf(png), { directory }), ({ path }) => path),
  "persistStreamScoped": (directory, png) =>
    Effect.map(SessionInitImage.persistStreamScoped(meta, streamOf(png), { directory }), ({ path }) => path),
  "a frame's text": (directory, png) =>
    Effect.map(InitImageFrame.persist(frameOf(png), at, { directory }), ({ image }) => pathOf(image)),
  "a frame's bytes": (directory, png) =>
    Effect.map(InitImageFrame.persist(Buffer.from(frameOf(png)), at, { directory }), ({ image }) => pathOf(image)),
  "a frame's stream": (directory, png) =>
    Effect.map(
      InitImageFrame.persist(streamOf(Buffer.from(frameOf(png))), at, { directory }),
      ({ image }) => pathOf(image)
    ),
  "a scoped frame": (directory, png) =>
    Effect.map(InitImageFrame.persistScoped(frameOf(png), at, { directory }), ({ image }) => pathOf(image))
}

export const scopedWays = Object.entries(ways).filter(([name]) => /scoped/i.test(name))

export type Operation = "open" | "writeAll" | "writeFile" | "close" | "access" | "remove"

/** What is done in place of an operation. Only a defect can come out of `close`, as with the platform's. */
export type Change = (
  operation: Operation,
  run: Effect.Effect<void, PlatformError>
) => Effect.Effect<void, PlatformError>

export interface Changes {
  readonly change?: Change
  /** In place of a file's own. */
  readonly writeAll?: (file: FileSystem.File, bytes: Uint8Array) => Effect.Effect<void, PlatformError>
}

/** The real file system, whose operations on images go another way. */
export const layerChanged = ({ change = (_, run) => run, writeAll = (file, bytes) => file.writeAll(bytes) }: Changes) =>
  Layer.provideMerge(
    Layer.effect(
      FileSystem.FileSystem,
      Effect.map(FileSystem.FileSystem, (fs): FileSystem.FileSystem => {
        const open: typeof fs.open = (path, options) =>
          Effect.gen(function*() {
            const scope = yield* Effect.scope
            let opened = Option.none<FileSystem.File>()
            yield* change(
              "open",
              Effect.map(Scope.extend(fs.open(path, options), scope), (file) => {
                opened = Option.some(file)
              })
            )
            const file = yield* Effect.orDie(opened)
            yield* Effect.addFinalizer(() => Effect.orDie(change("close", Effect.void)))
            return new Proxy(file, {
              get: (target, key) =>
                key === "writeAll"
                  ? (bytes: Uint8Array) => change("writeAll", writeAll(target, bytes))
                  : Reflect.get(target, key, target)
            })
          })
        return {
          ...fs,
          access: (path, options) => change("access", fs.access(path, options)),
          remove: (path, options) => change("remove", fs.remove(path, options)),
          open,
          writeFile: writeFileThrough(open)
        }
      })
    ),
    NodeContext.layer
  )

/** Does something else at the n-th of these operations. */
export const atNth = (
  operation: Operation,
  nth: number,
  change: (run: Effect.Effect<void, PlatformError>) => Effect.Effect<void, PlatformError>
): Change => {
  let count = 0
  return (actual, run) => Effect.suspend(() => actual === operation && ++count === nth ? change(run) : run)
}

export const noPath = "/secret/place"

/** As Node reports it, with paths wherever they can be. */
export const diskError = (method: Operation, code: string): SystemError =>
  new SystemError({
    module: "FileSystem",
    method,
    reason: "Unknown",
    syscall: method,
    pathOrDescriptor: noPath,
    description: `${code}: injected, ${method} '${noPath}'`,
    cause: Object.assign(new Error(`${code}: '${noPath}'`), { code, path: noPath })
  })

/** The disk's own error, with its code, and nowhere a path. */
export const assertDiskError = (
  error: InitImageError.InitImageError | PlatformError,
  method: Operation,
  code: string,
  directory: string
): void => {
  if (error._tag !== "SystemError") return assert.fail(`${error._tag} in place of ${code}`)
  assert.deepStrictEqual({ method: error.method, code: error.description }, { method, code })
  const said = inspect(error, { depth: 9 }) + JSON.stringify(error) + Cause.pretty(Cause.fail(error))
  assert.notInclude(said, directory)
  assert.notInclude(said, noPath)
}

export const assertNothingIn = (directory: string): void => {
  assert.deepStrictEqual(list(directory), [], "no file is left")
  assert.deepStrictEqual(openIn(directory), [], "no descriptor is open")
}

/** Collects what is logged, causes and annotations with it. */
export const logging = (lines: Array<string>) =>
  Logger.replace(Logger.defaultLogger, Logger.map(Logger.logfmtLogger, (line) => void lines.push(line)))
