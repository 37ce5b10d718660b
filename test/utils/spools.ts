/** What tests of the spool share. */
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

/** What the gauges say now. They are the process's: a test compares with what they said before. */
export const figures: Effect.Effect<Figures> = Effect.all({
  inFlight: Effect.map(Metric.value(InitImageSpool.inFlightBytes), (gauge) => gauge.value),
  waiting: Effect.map(Metric.value(InitImageSpool.waiting), (gauge) => gauge.value),
  bytes: Effect.map(Metric.value(InitImageSpool.keptBytes), (gauge) => gauge.value),
  files: Effect.map(Metric.value(InitImageSpool.keptFiles), (gauge) => gauge.value),
  swept: Effect.map(Metric.value(InitImageSpool.sweptFiles), (counter) => counter.count)
})

/** The gauges that go back to nothing. */
export const idle = { inFlight: 0, waiting: 0, bytes: 0, files: 0 } as const

export const isIdle = Effect.map(
  figures,
  ({ bytes, files, inFlight, waiting }) => assert.deepStrictEqual({ bytes, files, inFlight, waiting }, idle)
)

export const quiet = Logger.replace(Logger.defaultLogger, Logger.none)

/** Collects what is logged, with its annotations and causes, as lines. */
export const collecting = (lines: Array<string>) =>
  Logger.replace(Logger.defaultLogger, Logger.map(Logger.logfmtLogger, (line) => void lines.push(line)))

/** A spool, or whatever else lives in a scope, that can be ended before the test does. */
export const openScoped = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const scope = yield* Effect.acquireRelease(Scope.make(), Scope.close)
    const value = yield* Scope.extend(effect, scope)
    return { value, end: Scope.close(scope, Exit.void) }
  })

let made = 0

/** As long and as unlikely as a random one, and different each time. */
export const hex = (): string => (++made).toString(16).padStart(32, "0")

export const ownerName = (): string => `session-init-image-${hex()}`

export const imageName = (extension = ".png"): string => `session-init-${hex()}${extension}`

/** What a spool leaves that is killed. */
export const makeDead = (parent: string, images: ReadonlyArray<string> = [imageName()]): string => {
  const directory = join(parent, ownerName())
  mkdirSync(directory, { mode: 0o700 })
  writeFileSync(join(directory, "heartbeat"), "0000000000000007")
  for (const image of images) writeFileSync(join(directory, image), "image")
  return directory
}

/** The real file system, changed in some of its methods. */
export const layerWith = (
  change: (fs: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>
): Layer.Layer<Layer.Layer.Success<typeof NodeContext.layer>> =>
  Layer.provideMerge(
    Layer.effect(FileSystem.FileSystem, Effect.map(FileSystem.FileSystem, (fs) => ({ ...fs, ...change(fs) }))),
    NodeContext.layer
  )

/** As Node reports it. */
export const diskError = (method: string, code: string) =>
  new SystemError({
    module: "FileSystem",
    method,
    reason: "Unknown",
    description: `${code}: injected`,
    cause: Object.assign(new Error(code), { code })
  })
