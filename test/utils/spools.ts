/** Helpers for spool tests. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { InitImageSpool } from "../../src/index.js"

export interface Figures {
  readonly inFlight: number
  readonly waiting: number
  readonly bytes: number
  readonly files: number
  readonly swept: number
}

/** The current metric values. Metrics are global to the process, so a test compares them with earlier values. */
export const figures: Effect.Effect<Figures> = Effect.all({
  inFlight: Effect.map(Metric.value(InitImageSpool.inFlightBytes), (gauge) => gauge.value),
  waiting: Effect.map(Metric.value(InitImageSpool.waiting), (gauge) => gauge.value),
  bytes: Effect.map(Metric.value(InitImageSpool.keptBytes), (gauge) => gauge.value),
  files: Effect.map(Metric.value(InitImageSpool.keptFiles), (gauge) => gauge.value),
  swept: Effect.map(Metric.value(InitImageSpool.sweptFiles), (counter) => counter.count)
})

/** The gauges of idle spools. The counter `swept` never decreases. */
export const idle = { inFlight: 0, waiting: 0, bytes: 0, files: 0 } as const

export const isIdle = Effect.map(
  figures,
  ({ bytes, files, inFlight, waiting }) => assert.deepStrictEqual({ bytes, files, inFlight, waiting }, idle)
)

export const quiet = Logger.replace(Logger.defaultLogger, Logger.none)

/** Appends each log entry to the array as a line, with its annotations and cause. */
export const collecting = (lines: Array<string>) =>
  Logger.replace(Logger.defaultLogger, Logger.map(Logger.logfmtLogger, (line) => void lines.push(line)))

/** A resource in a separate scope, which `end` closes. */
export const openScoped = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const scope = yield* Effect.acquireRelease(Scope.make(), Scope.close)
    const value = yield* Scope.extend(effect, scope)
    return { value, end: Scope.close(scope, Exit.void) }
  })

let hexCount = 0

/** 32 hex digits in the shape of a random name, unique in the process. */
export const hex = (): string => (++hexCount).toString(16).padStart(32, "0")

export const ownerName = (): string => `session-init-image-${hex()}`

export const imageName = (extension = ".png"): string => `session-init-${hex()}${extension}`

/** Creates the directory that a killed spool leaves behind. */
export const makeDead = (parent: string, images: ReadonlyArray<string> = [imageName()]): string => {
  const directory = join(parent, ownerName())
  mkdirSync(directory, { mode: 0o700 })
  writeFileSync(join(directory, "heartbeat"), "0000000000000007")
  for (const image of images) writeFileSync(join(directory, image), "image")
  return directory
}

/** The real file system with some methods overridden. */
export const layerWith = (
  change: (fs: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>
): Layer.Layer<Layer.Layer.Success<typeof NodeContext.layer>> =>
  Layer.provideMerge(
    Layer.effect(FileSystem.FileSystem, Effect.map(FileSystem.FileSystem, (fs) => ({ ...fs, ...change(fs) }))),
    NodeContext.layer
  )

/** A disk error in the form in which `@effect/platform-node` reports it. */
export const diskError = (method: string, code: string, path?: string) =>
  new SystemError({
    module: "FileSystem",
    method,
    reason: "Unknown",
    description: path === undefined ? `${code}: injected` : `${code}: injected, ${path}`,
    pathOrDescriptor: path,
    cause: Object.assign(new Error(code), { code })
  })
