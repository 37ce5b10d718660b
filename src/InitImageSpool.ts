/**
 * The directory that images live in: owned by one process, swept of the files of dead processes, with limits on bytes in
 * flight and on bytes kept.
 *
 * Every image passes through the spool in the effect's context. The default spool is the operating system's folder for
 * temporary files, without limits; {@link layer} gives a server its own spool.
 *
 * @since 0.1.0
 * @module
 */
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
import type * as ImageFormat from "./ImageFormat.js"
import type { Busy } from "./InitImageError.js"
import * as InitImageLimits from "./InitImageLimits.js"
import * as metrics from "./internal/metrics.js"
import { check, sizeProblem, textProblem, timeoutProblem } from "./internal/options.js"
import * as removal from "./internal/persist/removal.js"
import { heartbeatThread } from "./internal/process.js"
import * as admission from "./internal/spool/admission.js"
import * as spoolLeftovers from "./internal/spool/leftovers.js"
import * as spoolOwner from "./internal/spool/owner.js"
import * as quotas from "./internal/spool/quota.js"
import * as room from "./internal/spool/room.js"
import * as sha256 from "./internal/spool/sha256.js"
import * as spoolSweep from "./internal/spool/sweep.js"

export type {
  /**
   * The file of a published image.
   *
   * @since 0.1.0
   * @category models
   */
  PublishedFile,
  /**
   * Room for one image: reserved, filled with a file, published, released. `SessionInitImage` makes these calls.
   *
   * @since 0.1.0
   * @category models
   */
  Room,
  /**
   * The size of the image that a room is for, in bytes.
   *
   * @since 0.1.0
   * @category models
   */
  RoomSize
} from "./internal/spool/room.js"

/**
 * The services of a spool to the effects that persist an image; `SessionInitImage` makes these calls.
 *
 * @since 0.1.0
 * @category models
 */
export interface Spool {
  /**
   * The directory of an image with no directory in its options: the spool's own, which exists, or `undefined` for the
   * operating system's folder for temporary files. To be asked for each image.
   *
   * Fails with `PlatformError` where the directory has gone and cannot be replaced.
   */
  readonly directory: Effect.Effect<string | undefined, PlatformError>
  /** Makes unreserved room for one image. The caller owns the room and releases it. */
  readonly makeRoom: (
    size: room.RoomSize,
    options?: {
      readonly directory?: string | undefined
      readonly prefix?: string | undefined
      readonly mode?: number | undefined
    }
  ) => Effect.Effect<room.Room, never, FileSystem.FileSystem | Path.Path>
  /**
   * Reserves bytes in flight for a message that is still arriving, until the scope closes. Waits or fails with `Busy` as a
   * room does. The images of the message are persisted through the returned spool, which reserves no more bytes in flight
   * for them.
   */
  readonly admit: (bytes: number) => Effect.Effect<Spool, Busy, Scope.Scope>
}

const makeSpool = (context: room.RoomContext): Spool => ({
  directory: context.directory,
  makeRoom: (size, options) => room.make(context, size, options),
  admit: (bytes) =>
    Effect.uninterruptibleMask((restore) => {
      const reserved = Math.min(bytes, context.limit)
      return Effect.zipRight(
        context.admission.acquire(reserved, restore),
        Effect.as(
          Effect.addFinalizer(() => Effect.sync(() => context.admission.giveBack(reserved))),
          makeSpool({ ...context, admission: admission.unlimited })
        )
      )
    })
})

const unlimited = makeSpool({
  directory: Effect.succeed(undefined),
  limit: Infinity,
  admission: admission.unlimited,
  quota: quotas.unlimited,
  onLeft: removal.warn
})

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
 * The limits and the spool in an effect's context.
 *
 * @internal
 */
export interface Settings {
  readonly accepted: ReadonlyArray<ImageFormat.Mime>
  readonly declaredType: "required" | "optional"
  readonly maxBytes: number
  readonly maxImages: number
  readonly maxMessageBytes: number
  readonly maxPixels: number
  readonly spool: Spool
}

/** Reads all settings at once. @internal */
export const settings: Effect.Effect<Settings> = Effect.map(Effect.context<never>(), (context) => ({
  accepted: Context.get(context, InitImageLimits.AcceptedFormats),
  declaredType: Context.get(context, InitImageLimits.DeclaredType),
  maxBytes: Context.get(context, InitImageLimits.MaxBytes),
  maxImages: Context.get(context, InitImageLimits.MaxImages),
  maxMessageBytes: Context.get(context, InitImageLimits.MaxMessageBytes),
  maxPixels: Context.get(context, InitImageLimits.MaxPixels),
  spool: Context.get(context, InitImageSpool)
}))

/**
 * Takes the SHA-256 of the images of the effect while their files are written: `SessionInitImage.sha256`. For images that
 * go on to an `InitImageStore`, which otherwise reads each file once more for it.
 *
 * @function
 * @since 0.1.0
 * @category combinators
 */
export const withSha256: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = sha256.withSha256

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * An existing directory, in which the spool makes its own. Spools that share it, also from other containers or hosts,
   * sweep the files of dead ones. The operating system's folder for temporary files by default.
   *
   * No other user may be able to replace the spool's directory in it. So an `emptyDir` of Kubernetes is refused, which
   * every user may write to, and so is a directory of a user outside of the container's user namespace. There, create a
   * directory of the server's own in it: with the volume at `/spool`, start the container by
   * `mkdir -p -m 700 /spool/images && exec node server.js`, and set `directory` to `/spool/images`.
   */
  readonly directory?: string | undefined
  /**
   * The permissions of the spool's own directory; `0o700` by default, for its owner only. For files that another user
   * reads, see `mode` of `SessionInitImage.PersistOptions`, it needs `0o010` added for the directory's group or `0o001`
   * for all users: entering it by the file's path, and `0o040` or `0o004` to list it. The files and the directory have
   * the group of the process, or that of `directory` where that has the set-group-ID bit. No other user may write to
   * it.
   */
  readonly directoryMode?: number | undefined
  /** The bytes of all images that are being persisted at a time. No limit by default. */
  readonly maxBytesInFlight?: number | undefined
  /**
   * The bytes of all images that are persisted and not yet removed. No limit by default. The disk never holds more than
   * `maxBytesKept` and `maxBytesInFlight` together.
   */
  readonly maxBytesKept?: number | undefined
  /** The number of images that are persisted and not yet removed. No limit by default. */
  readonly maxFilesKept?: number | undefined
  /**
   * The time for which a live process may be suspended without being taken for dead; a blocked event loop does not
   * count, because a thread writes the heartbeat too. The files of a dead process are gone within twice that. The same
   * for all spools that share a directory. 1 minute by default, at least 10 milliseconds.
   */
  readonly staleAfter?: Duration.DurationInput | undefined
  /**
   * The answer to an image that exceeds the bytes in flight: it waits first-in, first-out for at most `maxWait`
   * (`"wait"`, the default) or fails with `Busy` at once (`"fail"`).
   */
  readonly onFull?: "wait" | "fail" | undefined
  /**
   * The longest wait of an image that exceeds the bytes in flight, which then fails with `Busy`. 30 seconds by default;
   * `Duration.infinity` for no limit.
   */
  readonly maxWait?: Duration.DurationInput | undefined
}

const defaultMaxWait: Duration.DurationInput = "30 seconds"

const leastStaleAfter = Duration.millis(10)

/** The bits that a directory's mode may add to those of its owner: listing and entering. */
const addableDirectoryMode = 0o055

const directoryModeProblem = (mode: unknown): string | undefined =>
  mode === undefined
    || (typeof mode === "number" && (mode & ~addableDirectoryMode) === spoolOwner.defaultDirectoryMode
      && (mode >>> 0) === mode)
    ? undefined
    : "directoryMode must be 0o700, with bits of 0o055 added: no other user may write to the directory"

const problemOf = (options: Options): string | undefined =>
  textProblem("directory", options.directory)
    ?? sizeProblem("maxBytesInFlight", options.maxBytesInFlight)
    ?? sizeProblem("maxBytesKept", options.maxBytesKept)
    ?? sizeProblem("maxFilesKept", options.maxFilesKept)
    ?? timeoutProblem("staleAfter", options.staleAfter, leastStaleAfter)
    ?? timeoutProblem("maxWait", options.maxWait)
    ?? (options.onFull === undefined || options.onFull === "wait" || options.onFull === "fail"
      ? undefined
      : "onFull must be \"wait\" or \"fail\"")
    ?? directoryModeProblem(options.directoryMode)

/**
 * Makes a spool that owns a directory as long as the scope is open: kept alive by a heartbeat, and removed with all of its
 * files at the end, also those that were handed over and still exist. A file that could not be removed when its time was
 * over is tried again with each sweep, every tenth of `staleAfter`.
 *
 * Fails with `PlatformError`: `PermissionDenied` where others may write to `options.directory` and it is not sticky, as
 * `/tmp` is, or where it belongs to another user that is not root; or as the disk does. Options that make no sense are a
 * defect.
 *
 * @function
 * @since 0.1.0
 * @category constructors
 */
export const make: (options?: Options) => Effect.Effect<
  Spool,
  PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> = Effect.fn("InitImageSpool.make")(function*(options: Options = {}) {
  check("InitImageSpool", problemOf(options))
  const maxBytesInFlight = options.maxBytesInFlight ?? Infinity
  const maxBytesKept = options.maxBytesKept ?? Infinity
  const staleAfter = Duration.decode(options.staleAfter ?? Duration.minutes(1))

  const maxWait = options.onFull === "fail" ? Duration.zero : Duration.decode(options.maxWait ?? defaultMaxWait)

  const fs = yield* FileSystem.FileSystem
  const leftovers = yield* spoolLeftovers.make(fs)
  const owner = yield* spoolOwner.make(options.directory ?? tmpdir(), options.directoryMode)
  const quota = yield* quotas.make(
    { bytes: maxBytesKept, files: options.maxFilesKept ?? Infinity },
    fs,
    yield* Path.Path
  )
  const sweeper = yield* spoolSweep.make(owner, staleAfter)

  const interval = spoolSweep.interval(staleAfter)
  const pause = Effect.sleep(interval)
  const beatInThread = yield* makeThreadBeat(interval)
  const beat = Effect.catchAllCause(
    Effect.mapError(Effect.flatMap(owner.beat, beatInThread), spoolOwner.withoutPath),
    (cause) => Effect.logWarning("A spool's heartbeat could not be written", cause)
  )
  // A fiber inherits an uninterruptible region from the acquisition that forks it, and would never end.
  const repeat = (effect: Effect.Effect<void>) => Effect.forkScoped(Effect.interruptible(Effect.forever(effect)))
  const sweep = Effect.all([sweeper.sweep, leftovers.sweep, quota.refresh], { discard: true })
  // Before the spool is used: its user may block the event loop at once, and the thread beats from then on.
  yield* beat
  // In two fibers, so that a long sweep delays no heartbeat.
  yield* repeat(Effect.zipRight(pause, beat))
  yield* repeat(Effect.zipRight(sweep, pause))

  return makeSpool({
    directory: owner.directory,
    limit: Math.min(maxBytesInFlight, maxBytesKept),
    admission: admission.make(maxBytesInFlight, maxWait),
    quota,
    onLeft: leftovers.add
  })
})

/** Lets the process's thread beat too, on the path that the event loop has beaten last. */
const makeThreadBeat = (interval: Duration.Duration) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => heartbeatThread.makeId()),
      (id) => Effect.sync(() => heartbeatThread.stop(id))
    ),
    (id) => (path: string) => Effect.sync(() => heartbeatThread.start(id, path, Duration.toMillis(interval)))
  )

const toContext = (spool: Spool): Context.Context<never> => Context.add(Context.empty(), InitImageSpool, spool)

/**
 * Provides a spool; see {@link make} for its errors.
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
 * {@link layer} with options from `Config`. Fails with a `ConfigError` for a limit that is negative or not a number, and
 * for a `staleAfter` below its minimum.
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
 * Images that wait for admission, in all spools of the process.
 *
 * @since 0.1.0
 * @category metrics
 */
export const waiting: Metric.Metric.Gauge<number> = metrics.waiting

/**
 * Bytes of the images that are persisted and not yet removed, in all spools of the process. The removal of a file that
 * was handed over is noticed within a tenth of `staleAfter`.
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
 * Files of dead processes that the spools of this process removed.
 *
 * @since 0.1.0
 * @category metrics
 */
export const sweptFiles: Metric.Metric.Counter<number> = metrics.sweptFiles
