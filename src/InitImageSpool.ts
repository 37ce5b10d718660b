/**
 * The directory that images live in: owned by one process, swept of what dead ones left, with limits on the bytes in
 * flight and on what is kept.
 *
 * Everything that persists an image passes through the spool in its context. By default that is the operating system's
 * folder for temporary files, without limits; {@link layer} gives a server its own.
 *
 * @since 0.1.0
 * @module
 */
import * as Error from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import { tmpdir } from "node:os"
import { type Busy, TooLarge } from "./InitImageError.js"
import * as spoolAdmission from "./internal/spool/admission.js"
import * as metrics from "./internal/spool/metrics.js"
import * as spoolOwner from "./internal/spool/owner.js"
import * as spoolQuota from "./internal/spool/quota.js"
import * as spoolSweep from "./internal/spool/sweep.js"

/**
 * What a spool does for whoever persists an image; `SessionInitImage` makes these calls itself.
 *
 * @since 0.1.0
 * @category models
 */
export interface Spool {
  /**
   * Where an image goes when nothing else is asked for: an existing directory of the spool's own, or `undefined` for
   * the folder of temporary files. To be asked for each image.
   *
   * Fails with `PlatformError` where the directory has gone and cannot be replaced.
   */
  readonly directory: Effect.Effect<string | undefined, PlatformError>
  /**
   * Reserves the bytes of an image before it is decoded, until the scope closes.
   *
   * Waits in order or fails with `Busy`, see {@link Options}; fails with `Busy` when there is no room to keep it, and
   * with `TooLarge` when there never is. Reserving twice in one scope could wait for itself.
   */
  readonly reserve: (bytes: number) => Effect.Effect<void, Busy | TooLarge, Scope.Scope>
  /**
   * {@link reserve} for an image whose size is not known: all that it may have, `bytes` or the spool's limit if that is
   * less. Answers how many bytes those are; an image that turns out larger is `TooLarge`, with that limit.
   *
   * All at once rather than as they come: of two images that each hold a part and wait for more, neither would end.
   */
  readonly reserveUpTo: (bytes: number) => Effect.Effect<number, Busy, Scope.Scope>
  /**
   * Counts a file that is written and closed as kept, until it is gone. Fails with `Busy` when there is no room for it,
   * and then counts nothing.
   */
  readonly keep: (path: string, bytes: number) => Effect.Effect<void, Busy>
  /** Counts a file no more that is gone from the disk. */
  readonly removed: (path: string) => Effect.Effect<void>
}

const unlimited: Spool = {
  directory: Effect.succeed(undefined),
  reserve: () => Effect.void,
  reserveUpTo: Effect.succeed,
  keep: () => Effect.void,
  removed: () => Effect.void
}

/**
 * The spool that images pass through: the operating system's folder for temporary files, without limits, by default.
 *
 * @since 0.1.0
 * @category references
 */
export class InitImageSpool extends Context.Reference<InitImageSpool>()("session-init-image/InitImageSpool", {
  defaultValue: (): Spool => unlimited
}) {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * An existing directory, in which the spool makes one of its own. Spools that share it, also from other containers or
   * hosts, sweep what the dead among them left. The operating system's folder for temporary files by default.
   */
  readonly directory?: string | undefined
  /** Bytes of all images that are being persisted at a time. No limit by default. */
  readonly maxBytesInFlight?: number | undefined
  /**
   * Bytes of all images that are persisted and not yet removed. No limit by default. On the disk there is never more
   * than this and `maxBytesInFlight` together.
   */
  readonly maxBytesKept?: number | undefined
  /** How many images may be persisted and not yet removed. No limit by default. */
  readonly maxFilesKept?: number | undefined
  /**
   * For how long a process may stand still and not be taken for dead; what a dead one left is gone within twice that.
   * To be the same for all spools that share a directory. 1 minute by default, at least 10 milliseconds.
   */
  readonly staleAfter?: Duration.DurationInput | undefined
  /**
   * What an image does for which there are not enough bytes in flight: it waits until those before it have been served
   * (`"wait"`, the default) or fails with `Busy` at once (`"fail"`).
   */
  readonly onFull?: "wait" | "fail" | undefined
}

const leastStaleAfter = Duration.millis(10)

const problemOf = (options: Options): string | undefined => {
  for (const name of ["maxBytesInFlight", "maxBytesKept", "maxFilesKept"] as const) {
    const limit = options[name]
    if (limit !== undefined && !(limit >= 0)) return `${name} must not be negative`
  }
  return options.staleAfter !== undefined && Duration.lessThan(options.staleAfter, leastStaleAfter)
    ? `staleAfter must be at least ${Duration.format(leastStaleAfter)}`
    : undefined
}

/**
 * A spool that owns a directory as long as the scope is open: made with mode 0700, kept alive by a heartbeat, and
 * removed with everything in it at the end, also with files that were given away and are still there.
 *
 * Fails with `PlatformError`: `PermissionDenied` where others may write to `options.directory` and it is not sticky, as
 * `/tmp` is, or where it belongs to another user that is not root; `BadArgument` for options that make no sense; or as
 * the disk does.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (options?: Options) => Effect.Effect<
  Spool,
  PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> = Effect.fn("InitImageSpool.make")(function*(options: Options = {}) {
  const problem = problemOf(options)
  if (problem !== undefined) {
    return yield* new Error.BadArgument({ module: "FileSystem", method: "InitImageSpool", description: problem })
  }
  const maxBytesInFlight = options.maxBytesInFlight ?? Infinity
  const maxBytesKept = options.maxBytesKept ?? Infinity
  const staleAfter = Duration.decode(options.staleAfter ?? Duration.minutes(1))

  const fs = yield* FileSystem.FileSystem
  const owner = yield* spoolOwner.make(options.directory ?? tmpdir())
  const quota = yield* spoolQuota.make(
    { bytes: maxBytesKept, files: options.maxFilesKept ?? Infinity },
    fs,
    yield* Path.Path
  )
  const admission = spoolAdmission.make(maxBytesInFlight, options.onFull ?? "wait")
  const sweeper = yield* spoolSweep.make(owner, staleAfter)

  const pause = Effect.sleep(spoolSweep.interval(staleAfter))
  const beat = Effect.catchAllCause(
    owner.beat,
    (cause) => Effect.logWarning("A spool's heartbeat could not be written", cause)
  )
  // They end with the scope, also where it is opened by what cannot be interrupted, as the acquiring of a resource is.
  const repeat = (effect: Effect.Effect<void>) => Effect.forkScoped(Effect.interruptible(Effect.forever(effect)))
  // Apart, so that a sweep that takes long delays no heartbeat.
  yield* repeat(Effect.zipRight(pause, beat))
  yield* repeat(Effect.zipRight(Effect.zipRight(sweeper.look, quota.refresh), pause))

  const limit = Math.min(maxBytesInFlight, maxBytesKept)

  /** Room to keep it is looked for before it waits, and again after: it may have gone by then. */
  const admit = (inFlight: number, kept: number): Effect.Effect<void, Busy, Scope.Scope> =>
    quota.check(kept).pipe(Effect.zipRight(admission.reserve(inFlight)), Effect.zipRight(quota.check(kept)))

  return {
    directory: owner.directory,
    reserve: (bytes) => bytes > limit ? new TooLarge({ bytes, limit }) : admit(bytes, bytes),
    reserveUpTo: (bytes) => {
      const most = Math.min(bytes, limit)
      // Without any limit there is nothing to count them against.
      return Effect.as(admit(Number.isFinite(most) ? most : 0, 1), most)
    },
    keep: quota.keep,
    removed: quota.removed
  }
})

const toContext = (spool: Spool): Context.Context<never> => Context.add(Context.empty(), InitImageSpool, spool)

/**
 * Gives everything that it is provided to a spool of its own: see {@link make}, whose errors are its errors.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { NodeContext } from "@effect/platform-node"
 * import { Effect, Layer, Option } from "effect"
 * import { InitImageSpool, SessionInitImage } from "session-init-image"
 *
 * const Spool = InitImageSpool.layer({
 *   maxBytesInFlight: 64 * 1024 * 1024,
 *   maxBytesKept: 1024 * 1024 * 1024,
 *   staleAfter: "30 seconds"
 * })
 *
 * const program = (payload: unknown) =>
 *   SessionInitImage.persistScoped(payload).pipe(
 *     Effect.map(Option.map((image) => image.path)),
 *     Effect.scoped,
 *     Effect.provide(Layer.provideMerge(Spool, NodeContext.layer))
 *   )
 * ```
 */
export const layer = (
  options?: Options
): Layer.Layer<never, PlatformError, FileSystem.FileSystem | Path.Path> =>
  Layer.scopedContext(Effect.map(make(options), toContext))

/**
 * {@link layer} with its options read from `Config`. A limit that is negative or not a number, and a `staleAfter` below
 * its least, fail with a `ConfigError`.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { InitImageSpool } from "session-init-image"
 *
 * const Spool = InitImageSpool.layerConfig({
 *   directory: Config.string("INIT_IMAGE_SPOOL"),
 *   maxBytesKept: Config.integer("INIT_IMAGE_MAX_BYTES_KEPT"),
 *   staleAfter: Config.duration("INIT_IMAGE_STALE_AFTER").pipe(Config.withDefault("1 minute"))
 * })
 * ```
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<never, ConfigError.ConfigError | PlatformError, FileSystem.FileSystem | Path.Path> =>
  Config.unwrap(options).pipe(
    Config.mapOrFail((options) => {
      const problem = problemOf(options)
      return problem === undefined ? Either.right(options) : Either.left(ConfigError.InvalidData([], problem))
    }),
    Effect.flatMap(make),
    Effect.map(toContext),
    Layer.scopedContext
  )

/**
 * Bytes reserved for images that are being persisted, in all spools of the process.
 *
 * @since 0.1.0
 * @category metrics
 */
export const inFlightBytes: Metric.Metric.Gauge<number> = metrics.inFlightBytes

/**
 * Images that wait for bytes in flight, in all spools of the process.
 *
 * @since 0.1.0
 * @category metrics
 */
export const waiting: Metric.Metric.Gauge<number> = metrics.waiting

/**
 * Bytes of the images that are persisted and not yet removed, in all spools of the process. Files that were given away
 * and then removed are noticed within a tenth of `staleAfter`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const keptBytes: Metric.Metric.Gauge<number> = metrics.keptBytes

/**
 * Images that are persisted and not yet removed, counted as in {@link keptBytes}.
 *
 * @since 0.1.0
 * @category metrics
 */
export const keptFiles: Metric.Metric.Gauge<number> = metrics.keptFiles

/**
 * Files that dead processes left and that the spools of this process removed.
 *
 * @since 0.1.0
 * @category metrics
 */
export const sweptFiles: Metric.Metric.Counter<number> = metrics.sweptFiles
