/** Every way to persist an image, a failing disk, and assertions on the result. */
import type { PlatformError } from "@effect/platform/Error"
import { SystemError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { inspect } from "node:util"
import type { InitImageError } from "../../src/index.js"
import { InitImageFrame, SessionInitImage } from "../../src/index.js"
import { list, openIn } from "../utils/directory.js"
import { type FaultHook, layerHooked, type Operation, type Options } from "../utils/hookedFileSystem.js"
import { payloadOf } from "../utils/payloads.js"

/** Persists a PNG in the directory and returns its path. */
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

/** Every entry point of the pipeline. */
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

/** The real file system with a hook around every operation, `access` included. */
export const layerChanged = (hook: FaultHook, options: Options = {}) => layerHooked(hook, { access: true, ...options })

export const noPath = "/secret/place"

/** An error as Node reports it, with a path in every field that can hold one. */
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

/** Requires the disk's error with its code, by one of the methods, and without any path. */
export const assertDiskError = (
  error: InitImageError.InitImageError | PlatformError,
  methods: ReadonlyArray<Operation | "writeFile">,
  code: string,
  directory: string
): void => {
  if (error._tag !== "SystemError") return assert.fail(`${error._tag} in place of ${code}`)
  assert.include(methods, error.method)
  assert.strictEqual(error.description, code)
  const text = inspect(error, { depth: 9 }) + JSON.stringify(error) + Cause.pretty(Cause.fail(error))
  assert.notInclude(text, directory)
  assert.notInclude(text, noPath)
}

export const assertNothingIn = (directory: string): void => {
  assert.deepStrictEqual(list(directory), [], "the directory is empty")
  assert.deepStrictEqual(openIn(directory), [], "every descriptor is closed")
}

/** Collects log lines with their causes and annotations. */
export const logging = (lines: Array<string>) =>
  Logger.replace(Logger.defaultLogger, Logger.map(Logger.logfmtLogger, (line) => void lines.push(line)))
