/**
 * From an untrusted payload to a file that a pipeline can open by path, or a typed error that says what is wrong.
 *
 * `persist` and `persistScoped` do all of it. Every step of theirs is exported and can be used alone:
 * `InitImagePayload.decode`, {@link checkSize}, {@link decode}, {@link verify}, {@link write}.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { dual, identity } from "effect/Function"
import * as Inspectable from "effect/Inspectable"
import type * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as DisplayName from "./DisplayName.js"
import * as ImageFormat from "./ImageFormat.js"
import { BadBase64, type Busy, Empty, type InitImageError, type InvalidMime, TooLarge } from "./InitImageError.js"
import * as InitImageLimits from "./InitImageLimits.js"
import * as InitImagePayload from "./InitImagePayload.js"
import * as InitImageSpool from "./InitImageSpool.js"
import {
  make as makeVerifierOfKnownSize,
  makeCounting as makeCountingVerifier,
  type Verified,
  type Verifier,
  type VerifyError
} from "./internal/format/verifier.js"
import * as telemetry from "./internal/metrics.js"
import { decodedBytes } from "./internal/persist/base64.js"
import { inFlight } from "./internal/persist/inFlight.js"
import * as source from "./internal/persist/source.js"
import * as tempFile from "./internal/persist/tempFile.js"
import * as imageWriter from "./internal/persist/writer.js"

/**
 * An init image on disk: verified, closed, readable and writable by its owner only.
 *
 * Printing, logging or stringifying it leaves out the path, so what is left may be shown to the client.
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
  /** EXIF 2.32 tag 0x0112, 1 where there is none: how to turn the stored picture to see it upright. */
  readonly orientation: ImageFormat.Orientation
}> {
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
 * Where the file goes, and how its name begins.
 *
 * @since 0.1.0
 * @category models
 */
export interface PersistOptions {
  /** An existing directory; that of the `InitImageSpool` by default, or the system's folder for temporary files. */
  readonly directory?: string | undefined
  /** `session-init-` by default. Anything but `A-Z a-z 0-9 . _ -` in it is a `BadArgument`. */
  readonly prefix?: string | undefined
}

/**
 * What is declared of an image whose bytes come as they are.
 *
 * @since 0.1.0
 * @category models
 */
export interface ImageMeta {
  readonly mime: string
  readonly name?: string | undefined
}

const empty = new Empty()

/** How many bytes a text of that length may hold. */
const maxBytesOf = (payload: InitImagePayload.InitImagePayload): number => Math.ceil(payload.data.length / 4) * 3

const checkSizeUntraced = (
  payload: InitImagePayload.InitImagePayload
): Effect.Effect<number, TooLarge | Empty | BadBase64> =>
  Effect.flatMap(InitImageLimits.MaxBytes, (limit): Effect.Effect<number, TooLarge | Empty | BadBase64> => {
    const { data } = payload
    if (data === "") return empty
    const bytes = decodedBytes(data.length, data)
    if (!(bytes <= limit)) return new TooLarge({ bytes, limit })
    return data.length % 4 === 0 ? Effect.succeed(bytes) : new BadBase64({ reason: "Length" })
  })

/**
 * How many bytes the payload's data decodes to, from the length of the text alone: nothing is decoded, and no text is
 * too long for it to be quick.
 *
 * Fails with `Empty`, with `TooLarge` above `InitImageLimits.MaxBytes`, and with `BadBase64` where no base64 text has
 * that length.
 *
 * @since 0.1.0
 * @category steps
 */
export const checkSize: (
  payload: InitImagePayload.InitImagePayload
) => Effect.Effect<number, TooLarge | Empty | BadBase64> = Effect.fn("SessionInitImage.checkSize")(checkSizeUntraced)

/**
 * The payload's bytes, in chunks of at most 1.4 MiB: strict base64, RFC 4648 section 4.
 *
 * Fails with `BadBase64` where it comes to something that is not, after all bytes that stand before it.
 *
 * @since 0.1.0
 * @category steps
 */
export const decode = (payload: InitImagePayload.InitImagePayload): Stream.Stream<Uint8Array, BadBase64> =>
  Stream.withSpan(source.toStream(() => source.fromText(payload.data), maxBytesOf(payload)), "SessionInitImage.decode")

/**
 * @since 0.1.0
 * @category type ids
 */
export const VerifiedTypeId: unique symbol = Symbol.for("session-init-image/SessionInitImage/Verified")

/**
 * @since 0.1.0
 * @category type ids
 */
export type VerifiedTypeId = typeof VerifiedTypeId

/**
 * An image's bytes that fail before anything wrong passes: a stream like any other, and the only one that can be
 * written as an image, because it knows at its end what the image is.
 *
 * @since 0.1.0
 * @category models
 */
export interface VerifiedStream<out E = never, out R = never> extends Stream.Stream<Uint8Array, E, R> {
  readonly [VerifiedTypeId]: {
    readonly format: ImageFormat.ImageFormat
    readonly name: string | undefined
    readonly channel: Channel.Channel<
      Chunk.Chunk<Uint8Array>,
      unknown,
      E,
      unknown,
      Verified,
      unknown,
      R
    >
  }
}

/**
 * Lets the chunks of an image pass unchanged, as long as they are what was declared: the signature, the header, the
 * structure up to the image's end. Anything may follow that.
 *
 * Fails with `ContentMismatch`, `MalformedImage` or, above `InitImageLimits.MaxPixels`, `TooManyPixels`. For bytes
 * whose number is not known beforehand, which is when it is given an {@link ImageMeta} in place of a payload, also with
 * `TooLarge` at the first byte above `InitImageLimits.MaxBytes`, and with `Empty`.
 *
 * @since 0.1.0
 * @category steps
 */
export const verify: {
  (payload: InitImagePayload.InitImagePayload): <E, R>(
    chunks: Stream.Stream<Uint8Array, E, R>
  ) => VerifiedStream<E | VerifyError, R>
  (meta: ImageMeta & { readonly mime: ImageFormat.Mime }): <E, R>(
    chunks: Stream.Stream<Uint8Array, E, R>
  ) => VerifiedStream<E | VerifyError | TooLarge | Empty, R>
  <E, R>(
    chunks: Stream.Stream<Uint8Array, E, R>,
    payload: InitImagePayload.InitImagePayload
  ): VerifiedStream<E | VerifyError, R>
  <E, R>(
    chunks: Stream.Stream<Uint8Array, E, R>,
    meta: ImageMeta & { readonly mime: ImageFormat.Mime }
  ): VerifiedStream<E | VerifyError | TooLarge | Empty, R>
} = dual(2, <E, R>(
  chunks: Stream.Stream<Uint8Array, E, R>,
  meta: ImageMeta & { readonly mime: ImageFormat.Mime }
): VerifiedStream<E | VerifyError | TooLarge | Empty, R> => {
  const format = ImageFormat.byMime[meta.mime]
  // What has come before the signature is whole is held back: a few bytes, or there is no signature.
  const loop = <E2>(
    verifier: Verifier<E2>,
    held: Chunk.Chunk<Uint8Array>
  ): Channel.Channel<Chunk.Chunk<Uint8Array>, Chunk.Chunk<Uint8Array>, E | E2, E, Verified, unknown> =>
    Channel.readWithCause({
      onInput: (chunk: Chunk.Chunk<Uint8Array>) => {
        for (const bytes of chunk) {
          const error = verifier.push(bytes)
          if (error !== undefined) return Channel.fail(error)
        }
        const passing = Chunk.appendAll(held, chunk)
        return verifier.begun()
          ? Channel.zipRight(Channel.write(passing), loop(verifier, Chunk.empty()))
          : loop(verifier, passing)
      },
      onFailure: Channel.failCause,
      onDone: () => Channel.fromEffect(verifier.end())
    })
  const makeVerifier: Effect.Effect<Verifier<VerifyError | TooLarge | Empty>> =
    InitImagePayload.isInitImagePayload(meta)
      ? makeVerifierOfKnownSize(format)
      : Effect.flatMap(InitImageLimits.MaxBytes, (limit) => makeCountingVerifier(format, limit))
  const channel = Stream.toChannel(chunks).pipe(
    Channel.pipeTo(Channel.unwrap(Effect.map(makeVerifier, (verifier) => loop(verifier, Chunk.empty())))),
    Channel.withSpan("SessionInitImage.verify")
  )
  return Object.assign(Stream.fromChannel(channel), {
    [VerifiedTypeId]: { format, name: meta.name, channel }
  })
})

const isVerifiedStream = (u: unknown): u is VerifiedStream<unknown, unknown> => Predicate.hasProperty(u, VerifiedTypeId)

/** @internal */
export const makeImage = (
  path: string,
  displayName: string,
  format: ImageFormat.ImageFormat,
  { bytes, header }: Verified
): SessionInitImage =>
  new SessionInitImage({
    path,
    displayName,
    mime: format.mime,
    bytes,
    width: header.width,
    height: header.height,
    orientation: header.orientation
  })

const writeImage = <E, R, E2, E3>(
  format: ImageFormat.ImageFormat,
  name: string | undefined,
  image: Omit<imageWriter.Image<Verified, E, R, E2, E3>, "extension">
) =>
  Effect.map(
    imageWriter.write({ ...image, extension: () => format.extension }),
    ({ path, value }) => makeImage(path, DisplayName.fromUnknown(name, format), format, value)
  )

/** A step of somebody's own pipeline passes by the spool's limits; its files are counted where there is room. */
const withoutQuota = (spool: InitImageSpool.Spool): tempFile.Files<never> => ({
  ...spool,
  keep: (path, bytes) => Effect.ignore(spool.keep(path, bytes))
})

const writeUntraced = <E, R>(
  stream: VerifiedStream<E, R>,
  options: PersistOptions | undefined
) =>
  Effect.gen(function*() {
    yield* tempFile.checkOptions(options)
    const spool = withoutQuota(yield* InitImageSpool.InitImageSpool)
    const { channel, format, name } = stream[VerifiedTypeId]
    return yield* source.withPull(channel, ({ done, fill }) =>
      writeImage(format, name, {
        fill,
        // Verified as it comes: nothing is wrong with it, and what it is stands at its end.
        check: { push: () => undefined, end: () => Effect.orDie(done()) },
        maxBytes: Infinity,
        bytesAtHand: 0,
        options,
        spool
      }))
  })

/**
 * Writes a verified image to a new file and closes it; on success the file is the caller's to remove, and on failure,
 * interruption or defect it is gone.
 *
 * `<directory>/<prefix><32 hex digits><extension>`, created exclusively with mode 0600. Nothing is refused for the
 * limits of an `InitImageSpool`, as {@link persist} does.
 *
 * Fails with `PlatformError` where the disk does, and with whatever the stream fails with.
 *
 * @since 0.1.0
 * @category steps
 */
export const write: {
  (options?: PersistOptions): <E, R>(
    stream: VerifiedStream<E, R>
  ) => Effect.Effect<SessionInitImage, E | PlatformError, R | FileSystem.FileSystem | Path.Path>
  <E, R>(
    stream: VerifiedStream<E, R>,
    options?: PersistOptions
  ): Effect.Effect<SessionInitImage, E | PlatformError, R | FileSystem.FileSystem | Path.Path>
} = dual(
  (args) => isVerifiedStream(args[0]),
  <E, R>(
    stream: VerifiedStream<E, R>,
    options?: PersistOptions
  ): Effect.Effect<SessionInitImage, E | PlatformError, R | FileSystem.FileSystem | Path.Path> =>
    Effect.withSpan(tempFile.kept(writeUntraced(stream, options)), "SessionInitImage.write")
)

/**
 * {@link write}, with a file that lives as long as the scope.
 *
 * @since 0.1.0
 * @category steps
 */
export const writeScoped: {
  (options?: PersistOptions): <E, R>(
    stream: VerifiedStream<E, R>
  ) => Effect.Effect<SessionInitImage, E | PlatformError, R | FileSystem.FileSystem | Path.Path | Scope.Scope>
  <E, R>(
    stream: VerifiedStream<E, R>,
    options?: PersistOptions
  ): Effect.Effect<SessionInitImage, E | PlatformError, R | FileSystem.FileSystem | Path.Path | Scope.Scope>
} = dual(
  (args) => isVerifiedStream(args[0]),
  <E, R>(
    stream: VerifiedStream<E, R>,
    options?: PersistOptions
  ): Effect.Effect<SessionInitImage, E | PlatformError, R | FileSystem.FileSystem | Path.Path | Scope.Scope> =>
    Effect.withSpan(tempFile.scoped(writeUntraced(stream, options)), "SessionInitImage.writeScoped")
)

/** The steps from checked payload to file in one, on the same functions. */
const persistPayload = Effect.fnUntraced(function*(
  payload: InitImagePayload.InitImagePayload,
  options: PersistOptions | undefined
) {
  const bytes = yield* checkSizeUntraced(payload)
  const spool = yield* InitImageSpool.InitImageSpool
  const format = ImageFormat.byMime[payload.mime]
  const check = yield* makeVerifierOfKnownSize(format)
  return yield* inFlight((hold) =>
    Effect.zipRight(
      hold(spool.reserve(bytes)),
      writeImage(format, payload.name, {
        fill: source.fromText(payload.data),
        check,
        maxBytes: bytes,
        bytesAtHand: bytes,
        options,
        spool
      })
    )
  )
})

const persistUntraced = Effect.fnUntraced(function*(payload: unknown, options: PersistOptions | undefined) {
  yield* tempFile.checkOptions(options)
  const decoded = yield* InitImagePayload.decodeUntraced(payload)
  return Option.isNone(decoded) ? Option.none() : Option.some(yield* persistPayload(decoded.value, options))
})

/**
 * Decodes, verifies and writes whatever JSON brought as an init image, and gives the file to the caller, who removes
 * it. `None` where there is no init image.
 *
 * On failure, interruption or defect, at any point, the file is gone before the effect ends.
 *
 * Fails with any `InitImageError`, and with `PlatformError` where the disk does.
 *
 * @since 0.1.0
 * @category persisting
 */
export const persist: (
  payload: unknown,
  options?: PersistOptions
) => Effect.Effect<Option.Option<SessionInitImage>, InitImageError | PlatformError, FileSystem.FileSystem | Path.Path> =
  (payload, options) =>
    tempFile.kept(persistUntraced(payload, options)).pipe(
      telemetry.observe(identity),
      telemetry.withSpan("SessionInitImage.persist")
    )

/**
 * {@link persist}, with a file that lives as long as the scope. A failure that is caught inside a scope that stays open
 * leaves nothing in it.
 *
 * @since 0.1.0
 * @category persisting
 */
export const persistScoped: (
  payload: unknown,
  options?: PersistOptions
) => Effect.Effect<
  Option.Option<SessionInitImage>,
  InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> = (payload, options) =>
  tempFile.scoped(persistUntraced(payload, options)).pipe(
    telemetry.observe(identity),
    telemetry.withSpan("SessionInitImage.persistScoped")
  )

const persistStreamUntraced = <E, R>(
  meta: ImageMeta,
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: PersistOptions | undefined
) =>
  Effect.gen(function*() {
    yield* tempFile.checkOptions(options)
    const format = yield* InitImagePayload.decodeMime(meta.mime)
    const spool = yield* InitImageSpool.InitImageSpool
    const limit = yield* InitImageLimits.MaxBytes
    return yield* inFlight(Effect.fnUntraced(function*(hold) {
      const maxBytes = yield* hold(spool.reserveUpTo(limit))
      const check = yield* makeCountingVerifier(format, maxBytes)
      return yield* source.withPull(
        Stream.toChannel(bytes),
        ({ fill }) => writeImage(format, meta.name, { fill, check, maxBytes, bytesAtHand: 0, options, spool })
      )
    }))
  })

/**
 * {@link persist} for bytes that did not come as base64. The limit is enforced while they arrive: at the first byte
 * above it the source is stopped.
 *
 * Fails with `InvalidMime`, `TooLarge`, `Empty`, `ContentMismatch`, `MalformedImage`, `TooManyPixels`, `Busy`, with
 * `PlatformError` where the disk does, and with whatever the source fails with.
 *
 * @since 0.1.0
 * @category persisting
 */
export const persistStream: <E, R>(
  meta: ImageMeta,
  bytes: Stream.Stream<Uint8Array, E, R>,
  options?: PersistOptions
) => Effect.Effect<
  SessionInitImage,
  E | InvalidMime | VerifyError | TooLarge | Empty | Busy | PlatformError,
  R | FileSystem.FileSystem | Path.Path
> = (meta, bytes, options) =>
  tempFile.kept(persistStreamUntraced(meta, bytes, options)).pipe(
    telemetry.observe(Option.some),
    telemetry.withSpan("SessionInitImage.persistStream")
  )

/**
 * {@link persistStream}, with a file that lives as long as the scope.
 *
 * @since 0.1.0
 * @category persisting
 */
export const persistStreamScoped: <E, R>(
  meta: ImageMeta,
  bytes: Stream.Stream<Uint8Array, E, R>,
  options?: PersistOptions
) => Effect.Effect<
  SessionInitImage,
  E | InvalidMime | VerifyError | TooLarge | Empty | Busy | PlatformError,
  R | FileSystem.FileSystem | Path.Path | Scope.Scope
> = (meta, bytes, options) =>
  tempFile.scoped(persistStreamUntraced(meta, bytes, options)).pipe(
    telemetry.observe(Option.some),
    telemetry.withSpan("SessionInitImage.persistStreamScoped")
  )

/**
 * Init images by `outcome`: `persisted`, `none`, the tag of an `InitImageError`, `PlatformError`, `SourceError`,
 * `Interrupted` or `Defect`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const outcomes: Metric.Metric.Counter<number> = telemetry.outcomes

/**
 * Sizes of the images that were persisted, in bytes.
 *
 * @since 0.1.0
 * @category metrics
 */
export const imageBytes: Metric.Metric.Histogram<number> = telemetry.bytes

/**
 * Time taken to persist or refuse an image, in seconds.
 *
 * @since 0.1.0
 * @category metrics
 */
export const durationSeconds: Metric.Metric.Histogram<number> = telemetry.durationSeconds
