/**
 * Decodes verified images and makes them ready for a model: upright, sRGB, 8 bits per channel, of the wanted size, without
 * metadata.
 *
 * An image that `SessionInitImage` has verified is complete by its structure; its pixels may still be broken. {@link check}
 * finds out, and {@link normalizeScoped} writes a new image. Both run within limits on memory, number and time.
 *
 * An entry point of its own, `session-init-image/InitImageNormalizer`. Needs `sharp`, an optional peer dependency, when a
 * layer is built.
 *
 * @since 0.1.0
 * @module
 */
import * as PlatformErrors from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ImageFormat from "./ImageFormat.js"
import {
  type Busy,
  type DecodeTimeout,
  Empty,
  type InitImageError,
  TooLarge,
  TooManyPixels,
  UndecodableImage
} from "./InitImageError.js"
import * as InitImageLimits from "./InitImageLimits.js"
import * as InitImageSpool from "./InitImageSpool.js"
import { essenceOf } from "./internal/format/mediaType.js"
import * as childProcess from "./internal/normalizer/childProcess.js"
import * as inProcess from "./internal/normalizer/inProcess.js"
import type { Output } from "./internal/normalizer/job.js"
import * as normalizer from "./internal/normalizer/normalizer.js"
import * as plan from "./internal/normalizer/plan.js"
import * as sources from "./internal/persist/sources.js"
import * as tempFile from "./internal/persist/tempFile.js"
import * as rooms from "./internal/spool/room.js"
import * as SessionInitImage from "./SessionInitImage.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  DecodeTimeout,
  /**
   * @since 0.1.0
   * @category errors
   */
  UndecodableImage
} from "./InitImageError.js"

/**
 * A format that is read on request only, by {@link fromStreamScoped}.
 *
 * @since 0.1.0
 * @category models
 */
export type OtherFormat = "gif" | "avif"

/**
 * A decoder with its limits. Opaque: a layer makes it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Normalizer {
  /** The largest images of each other format that is accepted, in pixels. */
  readonly accept: Readonly<Partial<Record<OtherFormat, number>>>
  /** @internal */
  readonly header: normalizer.Normalizer["header"]
  /** @internal */
  readonly decode: normalizer.Normalizer["decode"]
}

/**
 * The decoder of an effect's images; see {@link layer} and {@link layerChildProcess}.
 *
 * @since 0.1.0
 * @category tags
 */
export class InitImageNormalizer
  extends Context.Tag("session-init-image/InitImageNormalizer")<InitImageNormalizer, Normalizer>()
{}

/**
 * @since 0.1.0
 * @category models
 */
export interface CheckOptions {
  /**
   * Refuses an image at a decoder's warning too, such as a bit sequence in a JPEG that is no code of its Huffman table.
   * Pillow and browsers show such images. The image is decoded at full size, which takes longer for a JPEG. `false` by
   * default.
   */
  readonly strict?: boolean | undefined
}

/**
 * The size, the format and the place of a normalised image.
 *
 * @since 0.1.0
 * @category models
 */
export interface NormalizeOptions extends CheckOptions, SessionInitImage.PersistOptions {
  /**
   * - `inside` (the default): as large as fits `width`, `height` and `maxEdge`, never enlarged
   * - `cover`: exactly `width` × `height`, enlarged if need be, with the excess cropped evenly
   * - `contain`: exactly `width` × `height`, enlarged if need be, with bars of `background`
   */
  readonly fit?: "inside" | "cover" | "contain" | undefined
  /** In pixels, of the upright image. */
  readonly width?: number | undefined
  /** In pixels, of the upright image. */
  readonly height?: number | undefined
  /** Bounds both edges, in pixels. 2048 by default if there is no width and no height. */
  readonly maxEdge?: number | undefined
  /**
   * Rounds both edges down to a multiple, by cropping; an edge that is shorter than the multiple is enlarged to it.
   */
  readonly multipleOf?: 8 | 16 | 32 | undefined
  /** `png` by default. */
  readonly format?: ImageFormat.Name | undefined
  /**
   * A colour as `#rgb` or `#rrggbb`, which replaces transparency and fills bars. Without it PNG and WebP keep
   * transparency, and JPEG and bars are black.
   */
  readonly background?: string | undefined
}

const badArgument = (description: string) =>
  new PlatformErrors.BadArgument({ module: "FileSystem", method: "InitImageNormalizer", description })

const isColour = (text: string): boolean => /^#(?:[0-9a-f]{3}|[0-9a-f]{6})$/i.test(text)

const problemOf = (options: NormalizeOptions): string | undefined =>
  options.background === undefined || isColour(options.background)
    ? plan.problemOf(options)
    : "background must be #rgb or #rrggbb"

const toSource = (image: SessionInitImage.SessionInitImage): normalizer.Source => ({
  path: image.path,
  format: ImageFormat.byMime[image.mime].name,
  width: image.width,
  height: image.height,
  isTurned: image.orientation !== 1
})

/**
 * Decodes all pixels of an image, and keeps nothing.
 *
 * Fails with `UndecodableImage`, `DecodeTimeout`, `Busy` if the limits do not let it wait, and `PlatformError` if the file
 * cannot be read.
 *
 * @function
 * @since 0.1.0
 * @category running
 */
export const check: (
  image: SessionInitImage.SessionInitImage,
  options?: CheckOptions
) => Effect.Effect<
  void,
  UndecodableImage | DecodeTimeout | Busy | PlatformError,
  FileSystem.FileSystem | InitImageNormalizer
> = Effect.fn("InitImageNormalizer.check")(
  (image: SessionInitImage.SessionInitImage, options: CheckOptions = {}) =>
    Effect.gen(function*() {
      const { decode } = yield* InitImageNormalizer
      yield* decode(yield* FileSystem.FileSystem, toSource(image), undefined, options.strict ?? false)
    })
)

/** An image of the normalizer's own is verified like any other, but no client's limit applies to it. */
const persist = (bytes: Uint8Array, output: Output, name: string | undefined, options: NormalizeOptions) => {
  const mime: ImageFormat.Mime = `image/${output.format}`
  return SessionInitImage.persistSourceScoped({ mime, name }, sources.fromBytes(bytes), bytes.length, options).pipe(
    InitImageLimits.withLimits({
      maxBytes: bytes.length,
      maxPixels: output.width * output.height,
      acceptedFormats: [mime]
    }),
    Effect.catchTags({
      TooLarge: ({ limit }) => badArgument(`the spool takes images of at most ${limit} bytes`),
      InvalidMime: Effect.die,
      ContentMismatch: Effect.die,
      MalformedImage: Effect.die,
      TooManyPixels: Effect.die,
      Empty: Effect.die
    })
  )
}

const normalize = Effect.fnUntraced(function*(
  source: normalizer.Source,
  [width, height]: readonly [width: number, height: number],
  name: string | undefined,
  options: NormalizeOptions
) {
  const problem = problemOf(options)
  if (problem !== undefined) return yield* badArgument(problem)
  yield* tempFile.checkOptions(options)
  const { decode } = yield* InitImageNormalizer
  const output: Output = {
    ...plan.size(width, height, options),
    format: options.format ?? "png",
    background: options.background
  }
  const bytes = yield* decode(yield* FileSystem.FileSystem, source, output, options.strict ?? false)
  return yield* persist(bytes, output, name, options)
})

/**
 * Writes a new image of the same picture: upright, sRGB with 8 bits for each of three channels or, with transparency,
 * four; without EXIF, GPS, XMP or a colour profile. Of an animation, its first frame. The file lives as long as the scope,
 * in the spool of the effect's context, and counts towards its quota. The given image stays its owner's.
 *
 * `cover` does not decode rows below the part that it keeps; {@link check} decodes all.
 *
 * Fails with `UndecodableImage`, `DecodeTimeout`, `Busy` if the limits or the spool are full, and `PlatformError`:
 * `BadArgument` for options out of range, or as the disk does.
 *
 * @function
 * @since 0.1.0
 * @category running
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { SessionInitImage } from "session-init-image"
 * import * as InitImageNormalizer from "session-init-image/InitImageNormalizer"
 *
 * declare const generate: (path: string) => Effect.Effect<void>
 *
 * const run = (payload: unknown) =>
 *   Effect.gen(function*() {
 *     const image = yield* SessionInitImage.persistScoped(payload)
 *     if (Option.isNone(image)) return
 *     const picture = yield* InitImageNormalizer.normalizeScoped(image.value, { fit: "cover", width: 1280, height: 704 })
 *     yield* generate(picture.path)
 *   }).pipe(Effect.scoped)
 * ```
 */
export const normalizeScoped: (
  image: SessionInitImage.SessionInitImage,
  options?: NormalizeOptions
) => Effect.Effect<
  SessionInitImage.SessionInitImage,
  UndecodableImage | DecodeTimeout | Busy | PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope | InitImageNormalizer
> = Effect.fn("InitImageNormalizer.normalizeScoped")(
  (image: SessionInitImage.SessionInitImage, options: NormalizeOptions = {}) =>
    normalize(toSource(image), [image.uprightWidth, image.uprightHeight], image.displayName, options)
)

const otherFormats: Readonly<Record<string, OtherFormat>> = { "image/gif": "gif", "image/avif": "avif" }

/** Writes the bytes to the room; answers the file's path. */
const receive = Effect.fnUntraced(function*<E, R>(
  room: rooms.Room,
  format: OtherFormat,
  bytes: Stream.Stream<Uint8Array, E, R>
) {
  const extension = `.${format}`
  yield* room.reserve
  const received = yield* Stream.runFoldEffect(
    bytes,
    0,
    (before, chunk): Effect.Effect<number, TooLarge | PlatformError> => {
      const total = before + chunk.length
      return total > room.maxBytes
        ? new TooLarge({ bytes: total, limit: room.maxBytes })
        : Effect.as(chunk.length === 0 ? Effect.void : room.append(extension, chunk), total)
    }
  )
  if (received === 0) return yield* new Empty()
  const { path } = yield* room.publish(extension, new Uint8Array())
  return path
})

/**
 * {@link normalizeScoped} for an image that comes as its bytes, also of a format that the layer accepts besides: GIF or
 * AVIF, which must be declared. The file of the given bytes is removed before this ends.
 *
 * Fails with the errors of `SessionInitImage.persistStream` and {@link normalizeScoped}. A GIF or AVIF of more pixels than
 * `accept` allows is refused with `TooManyPixels`.
 *
 * @function
 * @since 0.1.0
 * @category running
 */
export const fromStreamScoped: <E, R>(
  meta: SessionInitImage.ImageMeta,
  bytes: Stream.Stream<Uint8Array, E, R>,
  options?: NormalizeOptions
) => Effect.Effect<
  SessionInitImage.SessionInitImage,
  E | InitImageError | UndecodableImage | DecodeTimeout | PlatformError,
  R | FileSystem.FileSystem | Path.Path | Scope.Scope | InitImageNormalizer
> = Effect.fn("InitImageNormalizer.fromStreamScoped")(function*<E, R>(
  meta: SessionInitImage.ImageMeta,
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: NormalizeOptions = {}
) {
  const scope = yield* Effect.scope
  const { accept, header } = yield* InitImageNormalizer
  const format = otherFormats[essenceOf(meta.mime ?? "") ?? ""]
  const maxPixels = format === undefined ? undefined : accept[format]
  return yield* Effect.scoped(Effect.gen(function*() {
    if (format === undefined || maxPixels === undefined) {
      const image = yield* SessionInitImage.persistStreamScoped(meta, bytes, options)
      return yield* Effect.provideService(normalizeScoped(image, options), Scope.Scope, scope)
    }
    const { maxBytes, spool } = yield* InitImageSpool.settings
    yield* tempFile.checkOptions(options)
    const path = yield* rooms.scoped(spool.makeRoom({ maxBytes }, options), (room) => receive(room, format, bytes))
    const { height, width } = yield* header(yield* FileSystem.FileSystem, path, format)
    if (width === 0 || height === 0) return yield* new UndecodableImage({ format, reason: "Corrupt" })
    if (width * height > maxPixels) return yield* new TooManyPixels({ width, height, limit: maxPixels })
    return yield* Effect.provideService(
      normalize({ path, format, width, height, isTurned: format === "avif" }, [width, height], meta.name, options),
      Scope.Scope,
      scope
    )
  }))
})

/**
 * The limits of a normalizer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The decodes that run at a time. In this process 2 by default, or 1 if `UV_THREADPOOL_SIZE` is below 4: file operations
   * share the threads of libuv with decodes, and wait for one if all are taken. In child processes 1 by default, with a
   * child of about 70 MiB for each.
   */
  readonly concurrency?: number | undefined
  /**
   * The bytes of memory that all running decodes may take, by an estimate from format, coding and size. 1 GiB by
   * default, enough for one image of the default `InitImageLimits.MaxPixels` in any coding. An image that takes more by
   * itself is refused with `UndecodableImage`.
   */
  readonly maxMemory?: number | undefined
  /**
   * The answer to an image while these limits are reached: it waits first-in, first-out (`"wait"`, the default) or fails
   * with `Busy` at once (`"fail"`).
   */
  readonly onFull?: "wait" | "fail" | undefined
  /** The time that one decode may take, without the wait for its turn. 10 seconds by default. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Formats that {@link fromStreamScoped} reads besides PNG, JPEG and WebP, each with the largest images, in pixels. None
   * by default. An AVIF of 12 megapixels took 2 seconds and 227 MiB.
   */
  readonly accept?: Partial<Record<OtherFormat, { readonly maxPixels: number }>> | undefined
}

/**
 * Reports that sharp cannot be loaded: it is an optional peer dependency, and has to be installed by the application.
 *
 * @since 0.1.0
 * @category errors
 */
export class SharpNotAvailable
  extends Schema.TaggedError<SharpNotAvailable>("session-init-image/InitImageNormalizer/SharpNotAvailable")(
    "SharpNotAvailable",
    {}
  )
{
  /** @since 0.1.0 */
  override get message(): string {
    return "The package sharp cannot be loaded. InitImageNormalizer needs it: npm install sharp"
  }
}

const defaultMaxMemory = 1024 * 1024 * 1024
const defaultTimeout = Duration.seconds(10)

/** The threads of libuv that decodes leave to file operations. */
const threadsLeft = 2

const defaultConcurrency = (): number => {
  const threads = Number(process.env["UV_THREADPOOL_SIZE"] ?? 4)
  return threads >= 2 + threadsLeft ? 2 : 1
}

const limitProblemOf = ({ accept = {}, concurrency = 1, maxMemory = 1, timeout = 1 }: Options): string | undefined => {
  if (!Number.isInteger(concurrency) || concurrency < 1) return "concurrency must be a whole number above 0"
  if (!(maxMemory > 0)) return "maxMemory must be above 0"
  if (!Duration.greaterThan(timeout, Duration.zero)) return "timeout must be above 0"
  return Object.values(accept).some(({ maxPixels }) => !(maxPixels > 0)) ? "maxPixels must be above 0" : undefined
}

/** The options with their defaults. */
const resolve = (options: Options, concurrency: number) => ({
  concurrency: options.concurrency ?? concurrency,
  maxMemory: options.maxMemory ?? defaultMaxMemory,
  onFull: options.onFull ?? "wait",
  timeout: options.timeout ?? defaultTimeout,
  accept: options.accept ?? {}
})

const makeLayer = <E>(
  options: Options,
  concurrency: number,
  makeDecoder: (
    options: ReturnType<typeof resolve>
  ) => Effect.Effect<Parameters<typeof normalizer.make>[1], E, Scope.Scope>
) =>
  Layer.scoped(
    InitImageNormalizer,
    Effect.gen(function*() {
      const problem = limitProblemOf(options)
      if (problem !== undefined) return yield* badArgument(problem)
      const resolved = resolve(options, concurrency)
      const decoder = yield* makeDecoder(resolved)
      const accept: { [F in OtherFormat]?: number } = {}
      for (const format of ["gif", "avif"] as const) {
        const other = resolved.accept[format]
        if (other !== undefined) accept[format] = other.maxPixels
      }
      return { ...normalizer.make(resolved, decoder), accept }
    })
  )

/**
 * Decodes in this process. sharp cannot cancel a decode: one that is timed out or interrupted is answered at once, runs to
 * its end, and holds its memory and its place until then. A picture that crashes sharp ends the process.
 *
 * Fails with {@link SharpNotAvailable}, and with `BadArgument` for options out of range.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<InitImageNormalizer, SharpNotAvailable | PlatformError> =>
  makeLayer(options, defaultConcurrency(), ({ timeout }) =>
    Effect.map(
      Effect.tryPromise({ try: () => import("sharp"), catch: () => new SharpNotAvailable() }),
      (sharp) => inProcess.make(sharp.default, timeout)
    ))

/**
 * {@link Options}, and the child's program.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChildProcessOptions extends Options {
  /**
   * The program of a child, where a bundler has moved it: `dist/internal/normalizer/child.js` of this package, which
   * imports sharp. Found beside this module by default.
   */
  readonly entry?: URL | undefined
}

/**
 * Decodes in child processes, which are started with the layer and end with it. A decode that is timed out or interrupted
 * is killed with its child, and another child is started. A child has of the environment only `PATH`, `TMPDIR`,
 * `LD_LIBRARY_PATH` and `SystemRoot`, writes no file, and can load no format but the accepted ones.
 *
 * Fails with {@link SharpNotAvailable}, and with `BadArgument` for options out of range.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerChildProcess = (
  options: ChildProcessOptions = {}
): Layer.Layer<InitImageNormalizer, SharpNotAvailable | PlatformError> =>
  makeLayer(options, 1, ({ accept, concurrency, timeout }) =>
    childProcess.make({
      entry: options.entry ?? new URL("internal/normalizer/child.js", import.meta.url),
      accept: ["png", "jpeg", "webp", ...(["gif", "avif"] as const).filter((format) => accept[format] !== undefined)],
      concurrency,
      timeout
    }).pipe(Effect.mapError(() => new SharpNotAvailable())))
