/**
 * Turns an untrusted payload into a file that a pipeline can open by path, or into a typed error.
 *
 * {@link persist} and {@link persistScoped} run the whole pipeline. Each of its steps is exported and can be used alone:
 * `InitImagePayload.decode`, {@link checkSize}, {@link decode}, {@link verify}, {@link sink}.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Arr from "effect/Array"
import * as Channel from "effect/Channel"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { dual, identity } from "effect/Function"
import * as Inspectable from "effect/Inspectable"
import type * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as DisplayName from "./DisplayName.js"
import * as ImageFormat from "./ImageFormat.js"
import * as InitImageDialect from "./InitImageDialect.js"
import {
  BadBase64,
  type Busy,
  Empty,
  type InitImageError,
  type InvalidMime,
  TooLarge,
  TooManyImages
} from "./InitImageError.js"
import * as InitImageLimits from "./InitImageLimits.js"
import * as InitImagePayload from "./InitImagePayload.js"
import * as InitImageSpool from "./InitImageSpool.js"
import { readShapes } from "./internal/dialect/shape.js"
import * as verifier from "./internal/format/verifier.js"
import type { Verifier, VerifyError } from "./internal/format/verifier.js"
import * as verifierChannel from "./internal/format/verifierChannel.js"
import * as metrics from "./internal/metrics.js"
import { checkLength, decodedBytes, measure } from "./internal/persist/base64.js"
import * as base64Stream from "./internal/persist/base64Stream.js"
import * as imageSink from "./internal/persist/imageSink.js"
import { RawReader } from "./internal/persist/rawReader.js"
import * as sources from "./internal/persist/sources.js"
import * as tempFile from "./internal/persist/tempFile.js"
import { TextReader } from "./internal/persist/textReader.js"
import * as writer from "./internal/persist/writer.js"
import { compile, visit } from "./internal/places.js"
import * as rooms from "./internal/spool/room.js"

/**
 * An init image on disk: verified, closed, and by default readable and writable by its owner only.
 *
 * Printing, logging or stringifying it leaves out the path, so the output may be shown to the client.
 *
 * @since 0.1.0
 * @category models
 */
export class SessionInitImage extends Data.Class<{
  /** Absolute. */
  readonly path: string
  /** The client's name for the file, made safe to log; see `DisplayName`. */
  readonly displayName: string
  readonly mime: ImageFormat.Mime
  /** The file's size, in bytes. */
  readonly bytes: number
  /** In pixels, as stored: before the orientation is applied. */
  readonly width: number
  /** In pixels, as stored: before the orientation is applied. */
  readonly height: number
  /** The turn that makes the stored picture upright: EXIF 2.32 tag 0x0112, or 1 without it. */
  readonly orientation: ImageFormat.Orientation
  /** The SHA-256 of the file in lower-case hex (FIPS 180-4), if `InitImageSpool.withSha256` took it. */
  readonly sha256?: string | undefined
}> {
  /**
   * In pixels, as seen after the orientation is applied.
   *
   * @since 0.1.0
   */
  get uprightWidth(): number {
    return this.orientation >= 5 ? this.height : this.width
  }
  /**
   * In pixels, as seen after the orientation is applied.
   *
   * @since 0.1.0
   */
  get uprightHeight(): number {
    return this.orientation >= 5 ? this.width : this.height
  }
  /** @since 0.1.0 */
  toJSON(): unknown {
    const { path: _, ...shown } = this
    return shown
  }
  /** @since 0.1.0 */
  override toString(): string {
    return Inspectable.format(this.toJSON())
  }
  /** @since 0.1.0 */
  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }
}

/**
 * The file's directory, the beginning of its name, and its permissions.
 *
 * @since 0.1.0
 * @category models
 */
export interface PersistOptions {
  /** An existing directory; that of the `InitImageSpool` by default, or the system's folder for temporary files. */
  readonly directory?: string | undefined
  /** `session-init-` by default. Anything but `A-Z a-z 0-9 . _ -` in it is a `BadArgument`. */
  readonly prefix?: string | undefined
  /**
   * The file's permissions; `0o600` by default, for its owner only. For a pipeline that runs as another user add `0o040`,
   * `0o020` or `0o004`: reading and writing by the file's group, and reading by all. A mode other than the default is set
   * whatever the umask is. Anything else is a defect: no image is executable or writable by all.
   *
   * The other user must also reach the file: a spool's directory is closed to other users unless `directoryMode` of
   * `InitImageSpool.Options` opens it. Windows has no such permissions.
   */
  readonly mode?: number | undefined
}

/**
 * The options of an image that comes as base64 in a JSON value.
 *
 * @since 0.1.0
 * @category models
 */
export interface PayloadOptions extends PersistOptions {
  /** The shape of the value; `InitImageDialect.payload` by default. */
  readonly dialect?: InitImageDialect.InitImageDialect | undefined
}

/**
 * The options of a message with several images.
 *
 * @since 0.1.0
 * @category models
 */
export interface PersistAllOptions extends PayloadOptions {
  /** The way to the images' values; that of the dialect by default. */
  readonly at?: InitImageDialect.Path | undefined
}

/**
 * The declared type and name of an image that comes as its bytes.
 *
 * Without a `mime`, or with a general one (`""`, `application/octet-stream`, `binary/octet-stream` or `image/*`), the
 * bytes decide; see `InitImageLimits.DeclaredType`.
 *
 * @since 0.1.0
 * @category models
 */
export interface ImageMeta {
  readonly mime?: string | undefined
  readonly name?: string | undefined
}

const empty = new Empty()

/** The decoded size of the payload's text by its length; its first and last characters tell why a length is wrong. */
const sizeOf = (
  { alphabet, data }: InitImagePayload.InitImagePayload,
  limit: number,
  taken = 0
): Either.Either<number, TooLarge | Empty | BadBase64> => {
  const measured = measure(data, alphabet)
  if (measured.length === 0) return Either.left(empty)
  const bytes = decodedBytes(measured.length, measured.tail)
  if (!(taken + bytes <= limit)) return Either.left(new TooLarge({ bytes: taken + bytes, limit }))
  const invalid = checkLength(data, alphabet, measured)
  return invalid === undefined ? Either.right(bytes) : Either.left(new BadBase64(invalid))
}

/**
 * Checks the size of a payload by the length of its text, and answers how many bytes it decodes to. Decodes nothing and
 * takes constant time, except where its alphabet drops white space: that is counted.
 *
 * Fails with `Empty`, with `TooLarge` above `InitImageLimits.MaxBytes`, and with `BadBase64` where no base64 text has
 * that length: for a mistake in the first 1024 or the last 4 characters if there is one.
 *
 * @function
 * @since 0.1.0
 * @category steps
 */
export const checkSize: (
  payload: InitImagePayload.InitImagePayload
) => Effect.Effect<number, TooLarge | Empty | BadBase64> = Effect.fn("SessionInitImage.checkSize")(
  (payload: InitImagePayload.InitImagePayload) =>
    Effect.flatMap(InitImageLimits.MaxBytes, (limit) => sizeOf(payload, limit))
)

/**
 * Decodes a payload's text to chunks of at most 1.4 MiB: strict base64, RFC 4648 section 4, and the variants
 * that the payload's alphabet allows.
 *
 * Fails with `BadBase64` at the first character that is not, after all bytes that stand before it.
 *
 * @since 0.1.0
 * @category steps
 */
export const decode = (payload: InitImagePayload.InitImagePayload): Stream.Stream<Uint8Array, BadBase64> =>
  Stream.withSpan(base64Stream.decode(payload), "SessionInitImage.decode")

/**
 * Verifies the chunks of an image as they pass unchanged: the signature, the header, the structure up to the image's end.
 * Bytes that follow the image's end pass too.
 *
 * Fails with `ContentMismatch`, `MalformedImage` or, above `InitImageLimits.MaxPixels`, `TooManyPixels`. Without a
 * `mime` the bytes may be of any accepted type. With an {@link ImageMeta} in place of a payload, the size of the image
 * is not known beforehand: it then also fails with `TooLarge` at the first byte above `InitImageLimits.MaxBytes`, and
 * with `Empty`.
 *
 * @function
 * @since 0.1.0
 * @category steps
 */
export const verify: {
  (payload: InitImagePayload.InitImagePayload): <E, R>(
    chunks: Stream.Stream<Uint8Array, E, R>
  ) => Stream.Stream<Uint8Array, E | VerifyError, R>
  (meta: ImageMeta & { readonly mime?: ImageFormat.Mime | undefined }): <E, R>(
    chunks: Stream.Stream<Uint8Array, E, R>
  ) => Stream.Stream<Uint8Array, E | VerifyError | TooLarge | Empty, R>
  <E, R>(
    chunks: Stream.Stream<Uint8Array, E, R>,
    payload: InitImagePayload.InitImagePayload
  ): Stream.Stream<Uint8Array, E | VerifyError, R>
  <E, R>(
    chunks: Stream.Stream<Uint8Array, E, R>,
    meta: ImageMeta & { readonly mime?: ImageFormat.Mime | undefined }
  ): Stream.Stream<Uint8Array, E | VerifyError | TooLarge | Empty, R>
} = dual(2, <E, R>(
  chunks: Stream.Stream<Uint8Array, E, R>,
  meta: ImageMeta & { readonly mime?: ImageFormat.Mime | undefined }
): Stream.Stream<Uint8Array, E | VerifyError | TooLarge | Empty, R> => {
  const makeVerifier: Effect.Effect<Verifier<VerifyError | TooLarge | Empty>> = Effect.gen(function*() {
    const { accepted, declaredType, maxBytes, maxPixels } = yield* InitImageSpool.settings
    const declared = Option.map(
      Option.fromNullable(declaredType === "optional" ? undefined : meta.mime),
      (mime) => ImageFormat.byMime[mime]
    )
    const image = verifier.makeDeclared(declared, accepted, maxPixels)
    return InitImagePayload.isInitImagePayload(meta) ? image : verifier.counting(image, maxBytes)
  })
  return Stream.fromChannel(
    Stream.toChannel(chunks).pipe(
      Channel.pipeTo(
        Channel.unwrap(
          Effect.map(makeVerifier, (verifier) => verifierChannel.make<E, VerifyError | TooLarge | Empty>(verifier))
        )
      ),
      Channel.withSpan("SessionInitImage.verify")
    )
  )
})

/** @internal */
export const makeImage = (
  { bytes, format, header, path, sha256 }: writer.Written,
  name: string | undefined
): SessionInitImage =>
  new SessionInitImage({
    path,
    displayName: DisplayName.fromUnknown(name, format),
    mime: format.mime,
    bytes,
    width: header.width,
    height: header.height,
    orientation: header.orientation,
    ...sha256 === undefined ? {} : { sha256 }
  })

/** The errors of an image whose size is not known beforehand. */
type RawError = imageSink.SinkError

/** The room and the reader of an image that comes as its bytes. */
const prepareRaw = Effect.fnUntraced(function*(
  meta: ImageMeta,
  expectedBytes: number | undefined,
  options: PersistOptions | undefined
) {
  yield* tempFile.checkOptions(options)
  const { accepted, declaredType, maxBytes, maxPixels, spool } = yield* InitImageSpool.settings
  const declared = yield* InitImagePayload.declaredFormat(meta.mime, accepted, declaredType)
  return {
    makeRoom: spool.makeRoom({ maxBytes, expectedBytes }, options),
    makeReader: (room: rooms.Room) =>
      new RawReader(
        verifier.counting(verifier.makeDeclared(declared, accepted, maxPixels), room.maxBytes),
        Math.min(expectedBytes ?? Infinity, room.maxBytes)
      )
  }
})

/** A sink whose file belongs to the scope, or else to the caller. */
const makeSink = (
  name: string,
  meta: ImageMeta,
  options: PersistOptions | undefined,
  owner: Scope.Scope | undefined
): Sink.Sink<SessionInitImage, Uint8Array, never, RawError, FileSystem.FileSystem | Path.Path> =>
  imageSink.make(prepareRaw(meta, undefined, options), owner).pipe(
    Sink.map((written) => makeImage(written, meta.name)),
    (sink) => Sink.fromChannel(Channel.withSpan(Sink.toChannel(sink), name, { captureStackTrace: false }))
  )

/**
 * A sink that writes a verified image from its bytes to a new file: `Stream.run(bytes, SessionInitImage.sink(meta))`. On
 * success the file is the caller's to remove; on failure, interruption or defect it is gone.
 *
 * Fails with `InvalidMime`, `TooLarge` at the first byte above `InitImageLimits.MaxBytes`, `Empty`, `ContentMismatch`,
 * `MalformedImage`, `TooManyPixels`, `Busy`, and with `PlatformError` where the disk does.
 *
 * @since 0.1.0
 * @category steps
 * @example
 * ```ts
 * import { FileSystem } from "@effect/platform"
 * import { Effect, Stream } from "effect"
 * import { SessionInitImage } from "session-init-image"
 *
 * const copy = (path: string) =>
 *   Effect.gen(function*() {
 *     const fs = yield* FileSystem.FileSystem
 *     return yield* Stream.run(fs.stream(path), SessionInitImage.sink({ mime: "image/png" }))
 *   })
 * ```
 */
export const sink = (
  meta: ImageMeta,
  options?: PersistOptions
): Sink.Sink<SessionInitImage, Uint8Array, never, RawError, FileSystem.FileSystem | Path.Path> =>
  makeSink("SessionInitImage.sink", meta, options, undefined)

/**
 * {@link sink}, with a file that lives as long as the scope.
 *
 * Succeeds with the sink, and does not need the scope when the sink runs: `Stream.run` leaves a sink's `Scope` out of its
 * type.
 *
 * @since 0.1.0
 * @category steps
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { SessionInitImage } from "session-init-image"
 *
 * const save = (bytes: Stream.Stream<Uint8Array>) =>
 *   Effect.flatMap(SessionInitImage.sinkScoped({ mime: "image/png" }), (sink) => Stream.run(bytes, sink))
 * ```
 */
export const sinkScoped = (
  meta: ImageMeta,
  options?: PersistOptions
): Effect.Effect<
  Sink.Sink<SessionInitImage, Uint8Array, never, RawError, FileSystem.FileSystem | Path.Path>,
  never,
  Scope.Scope
> => Effect.map(Effect.scope, (scope) => makeSink("SessionInitImage.sinkScoped", meta, options, scope))

/** The room and the work of a payload, of which `taken` bytes of its message's limit are taken by other images. */
const preparePayload = (
  { accepted, maxBytes, maxPixels, spool }: InitImageSpool.Settings,
  payload: InitImagePayload.InitImagePayload,
  taken: number,
  options: PersistOptions | undefined
) =>
  Either.map(sizeOf(payload, maxBytes, taken), (bytes) => {
    const { alphabet, data, mime, name } = payload
    const declared = Option.map(Option.fromNullable(mime), (mime) => ImageFormat.byMime[mime])
    return {
      bytes,
      makeRoom: spool.makeRoom({ maxBytes: maxBytes - taken, bytes }, options),
      use: (room: rooms.Room) =>
        Effect.map(
          writer.write(
            new TextReader(verifier.makeDeclared(declared, accepted, maxPixels), bytes, alphabet),
            sources.fromText(data),
            room
          ),
          (written) => makeImage(written, name)
        )
    }
  })

/** {@link preparePayload} of a value; `None` where it holds no image. */
const prepareText = Effect.fnUntraced(function*(value: unknown, options: PayloadOptions | undefined) {
  yield* tempFile.checkOptions(options)
  const settings = yield* InitImageSpool.settings
  const { shapes } = options?.dialect ?? InitImageDialect.payload
  const decoded = yield* readShapes(shapes, value, settings.accepted, settings.declaredType)
  if (Option.isNone(decoded)) return Option.none()
  const { makeRoom, use } = yield* preparePayload(settings, decoded.value, 0, options)
  return Option.some({ makeRoom, use: (room: rooms.Room) => Effect.asSome(use(room)) })
})

/**
 * Decodes, verifies and writes the init image in a JSON value of the dialect, and gives the file to the caller, who
 * removes it. `None` where the value holds no init image.
 *
 * On failure, interruption or defect, at any point, the file is gone before the effect ends.
 *
 * Fails with any `InitImageError`, and with `PlatformError` where the disk does.
 *
 * @since 0.1.0
 * @category persisting
 * @example
 * ```ts
 * import { FileSystem } from "@effect/platform"
 * import { Effect, Option } from "effect"
 * import { SessionInitImage } from "session-init-image"
 *
 * declare const generate: (path: string) => Effect.Effect<void>
 *
 * const run = (payload: unknown) =>
 *   Effect.gen(function*() {
 *     const fs = yield* FileSystem.FileSystem
 *     const image = yield* SessionInitImage.persist(payload)
 *     if (Option.isNone(image)) return
 *     yield* Effect.ensuring(generate(image.value.path), Effect.ignore(fs.remove(image.value.path)))
 *   })
 * ```
 */
export const persist = (
  payload: unknown,
  options?: PayloadOptions
): Effect.Effect<
  Option.Option<SessionInitImage>,
  InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path
> =>
  Effect.flatMap(
    prepareText(payload, options),
    Option.match({ onNone: () => Effect.succeedNone, onSome: ({ makeRoom, use }) => rooms.kept(makeRoom, use) })
  ).pipe(metrics.observe("SessionInitImage.persist", identity))

/**
 * {@link persist}, with a file that lives as long as the scope. A failure that is caught inside a scope that stays open
 * leaves nothing in it.
 *
 * @since 0.1.0
 * @category persisting
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { SessionInitImage } from "session-init-image"
 *
 * declare const generate: (path: string) => Effect.Effect<void>
 *
 * const run = (payload: unknown) =>
 *   SessionInitImage.persistScoped(payload).pipe(
 *     Effect.flatMap(Option.match({ onNone: () => Effect.void, onSome: ({ path }) => generate(path) })),
 *     Effect.scoped
 *   )
 * ```
 */
export const persistScoped = (
  payload: unknown,
  options?: PayloadOptions
): Effect.Effect<
  Option.Option<SessionInitImage>,
  InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> =>
  Effect.flatMap(
    prepareText(payload, options),
    Option.match({ onNone: () => Effect.succeedNone, onSome: ({ makeRoom, use }) => rooms.scoped(makeRoom, use) })
  ).pipe(metrics.observe("SessionInitImage.persistScoped", identity))

/** The values of a message at the places of images, in its order, with the shapes that each may be of. */
const valuesIn = (message: unknown, options: PersistAllOptions | undefined) => {
  const { at, dialect = InitImageDialect.payload } = options ?? {}
  const values: Array<readonly [value: unknown, shapes: ReadonlyArray<InitImageDialect.Shape>]> = []
  visit(message, compile(dialect.shapes, at).root, (value, { shapes }) => values.push([value, shapes]))
  return values
}

/** Persists the images of a message one after the other. */
const persistEach = (message: unknown, options: PersistAllOptions | undefined) => (own: rooms.Own) =>
  Effect.gen(function*() {
    yield* tempFile.checkOptions(options)
    const settings = yield* InitImageSpool.settings
    const { accepted, declaredType, maxImages } = settings
    const images: Array<SessionInitImage> = []
    let taken = 0
    for (const [value, shapes] of valuesIn(message, options)) {
      const decoded = yield* readShapes(shapes, value, accepted, declaredType)
      if (Option.isNone(decoded)) continue
      if (images.length === maxImages) return yield* new TooManyImages({ limit: maxImages })
      const { bytes, makeRoom, use } = yield* preparePayload(settings, decoded.value, taken, options)
      images.push(yield* Effect.flatMap(own(makeRoom), use))
      taken += bytes
    }
    return images
  })

/**
 * {@link persist} for all images in a message: a JSON value with the images at the places of the dialect. Takes up to
 * `InitImageLimits.MaxImages`, of up to `InitImageLimits.MaxBytes` together, and gives them in the order of the message.
 * Where it fails, no file is left.
 *
 * Fails as {@link persist} does, at the first image that is refused, and with `TooManyImages`.
 *
 * @since 0.1.0
 * @category persisting
 * @example
 * ```ts
 * import { InitImageDialect, InitImageLimits, SessionInitImage } from "session-init-image"
 *
 * const persistParts = (request: unknown) =>
 *   SessionInitImage.persistAll(request, { dialect: InitImageDialect.anthropic }).pipe(
 *     InitImageLimits.withMaxImages(4)
 *   )
 * ```
 */
export const persistAll = (
  message: unknown,
  options?: PersistAllOptions
): Effect.Effect<
  ReadonlyArray<SessionInitImage>,
  InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path
> => rooms.allKept(persistEach(message, options)).pipe(metrics.observe("SessionInitImage.persistAll", Arr.head))

/**
 * {@link persistAll}, with files that live as long as the scope.
 *
 * @since 0.1.0
 * @category persisting
 */
export const persistAllScoped = (
  message: unknown,
  options?: PersistAllOptions
): Effect.Effect<
  ReadonlyArray<SessionInitImage>,
  InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> => rooms.allScoped(persistEach(message, options)).pipe(metrics.observe("SessionInitImage.persistAllScoped", Arr.head))

/**
 * The image of an effect that may have none, such as {@link persist}: fails with `Empty` without one.
 *
 * @since 0.1.0
 * @category combinators
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SessionInitImage } from "session-init-image"
 *
 * declare const generate: (path: string) => Effect.Effect<void>
 *
 * const run = (payload: unknown) =>
 *   SessionInitImage.persistScoped(payload).pipe(
 *     SessionInitImage.required,
 *     Effect.flatMap(({ path }) => generate(path)),
 *     Effect.scoped
 *   )
 * ```
 */
export const required = <E, R>(
  self: Effect.Effect<Option.Option<SessionInitImage>, E, R>
): Effect.Effect<SessionInitImage, E | Empty, R> =>
  Effect.flatMap(self, (image): Either.Either<SessionInitImage, Empty> => Either.fromOption(image, () => empty))

/** Writes the image that a source brings as its bytes. */
const writeRaw = <E, R>(
  reader: RawReader,
  source: sources.Source<Uint8Array, E, R>,
  room: rooms.Room,
  name: string | undefined
) => Effect.map(writer.write(reader, source, room), (written) => makeImage(written, name))

const prepareStream = <E, R>(
  meta: ImageMeta,
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: PersistOptions | undefined
) =>
  Effect.map(prepareRaw(meta, undefined, options), ({ makeReader, makeRoom }) => ({
    makeRoom,
    use: (room: rooms.Room) =>
      Effect.scopedWith((scope) =>
        Effect.flatMap(
          Scope.extend(sources.fromStream(bytes), scope),
          (source) => writeRaw(makeReader(room), source, room, meta.name)
        )
      )
  }))

/**
 * {@link persist} for an image that does not come as base64. The limit is enforced as the bytes arrive: the source is
 * stopped at the first byte above it.
 *
 * Fails with `InvalidMime`, `TooLarge`, `Empty`, `ContentMismatch`, `MalformedImage`, `TooManyPixels`, `Busy`, with
 * `PlatformError` where the disk does, and with the source's own errors.
 *
 * @since 0.1.0
 * @category persisting
 */
export const persistStream = <E, R>(
  meta: ImageMeta,
  bytes: Stream.Stream<Uint8Array, E, R>,
  options?: PersistOptions
): Effect.Effect<
  SessionInitImage,
  E | InvalidMime | VerifyError | TooLarge | Empty | Busy | PlatformError,
  R | FileSystem.FileSystem | Path.Path
> =>
  Effect.flatMap(prepareStream(meta, bytes, options), ({ makeRoom, use }) => rooms.kept(makeRoom, use)).pipe(
    metrics.observe("SessionInitImage.persistStream", Option.some)
  )

/**
 * {@link persistStream}, with a file that lives as long as the scope.
 *
 * @since 0.1.0
 * @category persisting
 */
export const persistStreamScoped = <E, R>(
  meta: ImageMeta,
  bytes: Stream.Stream<Uint8Array, E, R>,
  options?: PersistOptions
): Effect.Effect<
  SessionInitImage,
  E | InvalidMime | VerifyError | TooLarge | Empty | Busy | PlatformError,
  R | FileSystem.FileSystem | Path.Path | Scope.Scope
> =>
  Effect.flatMap(prepareStream(meta, bytes, options), ({ makeRoom, use }) => rooms.scoped(makeRoom, use)).pipe(
    metrics.observe("SessionInitImage.persistStreamScoped", Option.some)
  )

/**
 * {@link persistStreamScoped} for a request's body, of `expectedBytes` where that is declared. Records nothing: the caller
 * does.
 *
 * @internal
 */
export const persistSourceScoped = <E, R>(
  meta: ImageMeta,
  source: sources.Source<Uint8Array, E, R>,
  expectedBytes: number | undefined,
  options: PersistOptions | undefined
) =>
  Effect.flatMap(
    prepareRaw(meta, expectedBytes, options),
    ({ makeReader, makeRoom }) => rooms.scoped(makeRoom, (room) => writeRaw(makeReader(room), source, room, meta.name))
  )

/**
 * Init images by `outcome`: `persisted`, `none`, the tag of an `InitImageError`, `PlatformError`, `SourceError`,
 * `Interrupted` or `Defect`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const outcomes: Metric.Metric.Counter<number> = metrics.outcomes

/**
 * Sizes of the images that were persisted, in bytes.
 *
 * @since 0.1.0
 * @category metrics
 */
export const imageBytes: Metric.Metric.Histogram<number> = metrics.bytes

/**
 * Time taken to persist or refuse an image, in seconds.
 *
 * @since 0.1.0
 * @category metrics
 */
export const durationSeconds: Metric.Metric.Histogram<number> = metrics.durationSeconds
