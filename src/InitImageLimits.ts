/**
 * The limits of an init image.
 *
 * Each limit is a `Context.Reference` with a default, so it adds nothing to an effect's requirements. Its `withX` sets
 * it for one effect, `layer` and `layerConfig` for a whole program. A limit that is out of range is a defect where it
 * is given.
 *
 * @since 0.1.0
 * @module
 */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as ImageFormat from "./ImageFormat.js"

/**
 * The largest decoded image, in bytes. Default: 32 MiB (33,554,432). `Infinity` sets no limit.
 *
 * @since 0.1.0
 * @category references
 */
export class MaxBytes extends Context.Reference<MaxBytes>()("session-init-image/InitImageLimits/MaxBytes", {
  defaultValue: (): number => 32 * 1024 * 1024
}) {}

/**
 * Sets `MaxBytes` for one effect, in bytes.
 *
 * @function
 * @since 0.1.0
 * @category combinators
 */
export const withMaxBytes: {
  (bytes: number): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, bytes: number): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, bytes: number): Effect.Effect<A, E, R> =>
    withLimits(self, { maxBytes: bytes })
)

/**
 * The largest image, in pixels: width × height as stored. Default: 89,478,485, the `MAX_IMAGE_PIXELS` of Pillow, which
 * is a quarter of a gigabyte in RGB. `Infinity` sets no limit.
 *
 * A file of a few kilobytes can declare gigapixels, which a decoder then allocates.
 *
 * @since 0.1.0
 * @category references
 */
export class MaxPixels extends Context.Reference<MaxPixels>()("session-init-image/InitImageLimits/MaxPixels", {
  defaultValue: (): number => 89_478_485
}) {}

/**
 * Sets `MaxPixels` for one effect, in pixels.
 *
 * @function
 * @since 0.1.0
 * @category combinators
 */
export const withMaxPixels: {
  (pixels: number): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, pixels: number): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, pixels: number): Effect.Effect<A, E, R> =>
    withLimits(self, { maxPixels: pixels })
)

/**
 * The accepted media types. Default: all three.
 *
 * @since 0.1.0
 * @category references
 */
export class AcceptedFormats
  extends Context.Reference<AcceptedFormats>()("session-init-image/InitImageLimits/AcceptedFormats", {
    defaultValue: (): ReadonlyArray<ImageFormat.Mime> => ImageFormat.Mime.literals
  })
{}

/**
 * Sets `AcceptedFormats` for one effect.
 *
 * @function
 * @since 0.1.0
 * @category combinators
 */
export const withAcceptedFormats: {
  (formats: ReadonlyArray<ImageFormat.Mime>): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, formats: ReadonlyArray<ImageFormat.Mime>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    formats: ReadonlyArray<ImageFormat.Mime>
  ): Effect.Effect<A, E, R> => withLimits(self, { acceptedFormats: formats })
)

/**
 * Whether an image needs a declared type. `"required"` by default:
 *
 * - `"required"`: a JSON payload without a `mime`, or with a general one such as `application/octet-stream`, is refused as
 *   `InvalidMime`, and bytes of another type than the declared one as `ContentMismatch`. Bytes that come without JSON (a
 *   body, a form's part, a stream) may have no or a general type: then the bytes decide.
 * - `"optional"`: the bytes always decide; a missing, unknown or wrong type makes no difference
 *
 * In both cases the bytes must be of one of the {@link AcceptedFormats}; where no type is declared, bytes of any other are
 * refused as `ContentMismatch` with the detected type.
 *
 * @since 0.1.0
 * @category references
 */
export class DeclaredType extends Context.Reference<DeclaredType>()("session-init-image/InitImageLimits/DeclaredType", {
  defaultValue: (): "required" | "optional" => "required"
}) {}

/**
 * Sets `DeclaredType` for one effect.
 *
 * @function
 * @since 0.1.0
 * @category combinators
 */
export const withDeclaredType: {
  (declaredType: "required" | "optional"): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, declaredType: "required" | "optional"): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, declaredType: "required" | "optional"): Effect.Effect<A, E, R> =>
    withLimits(self, { declaredType })
)

/**
 * The largest JSON message with an image, in bytes of UTF-8 without the image's data. Default: 64 KiB (65,536). `Infinity`
 * sets no limit.
 *
 * `JSON.parse` reads that much of a message at once, and other fibers wait: 64 KiB of the worst text take 3 ms, 1 MiB take
 * 70 ms.
 *
 * @since 0.1.0
 * @category references
 */
export class MaxMessageBytes
  extends Context.Reference<MaxMessageBytes>()("session-init-image/InitImageLimits/MaxMessageBytes", {
    defaultValue: (): number => 64 * 1024
  })
{}

/**
 * Sets `MaxMessageBytes` for one effect, in bytes.
 *
 * @function
 * @since 0.1.0
 * @category combinators
 */
export const withMaxMessageBytes: {
  (bytes: number): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, bytes: number): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, bytes: number): Effect.Effect<A, E, R> =>
    withLimits(self, { maxMessageBytes: bytes })
)

/**
 * The largest number of images in one message, for `persistAll` of `SessionInitImage` and `InitImageFrame`. Default: 1. A
 * message with more is refused as `TooManyImages`. {@link MaxBytes} limits all images of a message together.
 *
 * @since 0.1.0
 * @category references
 */
export class MaxImages extends Context.Reference<MaxImages>()("session-init-image/InitImageLimits/MaxImages", {
  defaultValue: (): number => 1
}) {}

/**
 * Sets `MaxImages` for one effect.
 *
 * @function
 * @since 0.1.0
 * @category combinators
 */
export const withMaxImages: {
  (images: number): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, images: number): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, images: number): Effect.Effect<A, E, R> =>
    withLimits(self, { maxImages: images })
)

/**
 * All limits. An omitted limit keeps its current value.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limits {
  /** See {@link MaxBytes}: bytes, decoded. */
  readonly maxBytes?: number | undefined
  /** See {@link MaxPixels}: pixels. */
  readonly maxPixels?: number | undefined
  /** See {@link MaxMessageBytes}: bytes. */
  readonly maxMessageBytes?: number | undefined
  /** See {@link MaxImages}. */
  readonly maxImages?: number | undefined
  /** See {@link AcceptedFormats}. */
  readonly acceptedFormats?: ReadonlyArray<ImageFormat.Mime> | undefined
  /** See {@link DeclaredType}. */
  readonly declaredType?: "required" | "optional" | undefined
}

/** The mistake in limits that are out of range. */
const problemOf = ({ acceptedFormats, declaredType, maxBytes, maxImages, maxMessageBytes, maxPixels }: Limits) => {
  for (const [name, size] of Object.entries({ maxBytes, maxPixels, maxMessageBytes })) {
    if (size !== undefined && !(size >= 0)) return `${name} must be a number that is not negative`
  }
  if (maxImages !== undefined && !(Number.isSafeInteger(maxImages) && maxImages >= 1)) {
    return "maxImages must be a whole number above zero"
  }
  if (acceptedFormats !== undefined) {
    const { literals } = ImageFormat.Mime
    if (acceptedFormats.length === 0 || !acceptedFormats.every((mime) => literals.includes(mime))) {
      return `acceptedFormats must be one or more of ${literals.join(", ")}`
    }
  }
  return declaredType === undefined || declaredType === "required" || declaredType === "optional"
    ? undefined
    : "declaredType must be required or optional"
}

const checked = (limits: Limits): Effect.Effect<Context.Context<never>> => {
  const problem = problemOf(limits)
  return problem === undefined
    ? Effect.succeed(toContext(limits))
    : Effect.die(new Cause.IllegalArgumentException(`InitImageLimits: ${problem}`))
}

const toContext = (limits: Limits): Context.Context<never> => {
  let context = Context.empty()
  if (limits.maxBytes !== undefined) context = Context.add(context, MaxBytes, limits.maxBytes)
  if (limits.maxPixels !== undefined) context = Context.add(context, MaxPixels, limits.maxPixels)
  if (limits.maxMessageBytes !== undefined) context = Context.add(context, MaxMessageBytes, limits.maxMessageBytes)
  if (limits.maxImages !== undefined) context = Context.add(context, MaxImages, limits.maxImages)
  if (limits.acceptedFormats !== undefined) context = Context.add(context, AcceptedFormats, limits.acceptedFormats)
  if (limits.declaredType !== undefined) context = Context.add(context, DeclaredType, limits.declaredType)
  return context
}

/**
 * Sets any of the limits for one effect. Dies with an `IllegalArgumentException` if a limit is out of range: a size
 * that is negative or not a number, or an empty list of formats.
 *
 * @function
 * @since 0.1.0
 * @category combinators
 * @example
 * ```ts
 * import { InitImageLimits, SessionInitImage } from "session-init-image"
 *
 * const persistAvatar = (payload: unknown) =>
 *   SessionInitImage.persist(payload).pipe(
 *     InitImageLimits.withLimits({ maxBytes: 1024 * 1024, acceptedFormats: ["image/jpeg"] })
 *   )
 * ```
 */
export const withLimits: {
  (limits: Limits): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, limits: Limits): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, limits: Limits): Effect.Effect<A, E, R> =>
    Effect.flatMap(checked(limits), (context) => Effect.provide(self, context))
)

/**
 * Sets any of the limits for every effect that the layer is provided to. Dies as {@link withLimits} does.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (limits: Limits): Layer.Layer<never> => Layer.effectContext(checked(limits))

/**
 * Reads the limits from `Config`. Fails with a `ConfigError` if a limit is out of range; see {@link withLimits}.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { InitImageLimits } from "session-init-image"
 *
 * const Limits = InitImageLimits.layerConfig({
 *   maxBytes: Config.integer("INIT_IMAGE_MAX_BYTES").pipe(Config.withDefault(8 * 1024 * 1024))
 * })
 * ```
 */
export const layerConfig = (
  limits: Config.Config.Wrap<Limits>
): Layer.Layer<never, ConfigError.ConfigError> =>
  Config.unwrap(limits).pipe(
    Config.mapOrFail((limits) => {
      const problem = problemOf(limits)
      return problem === undefined ? Either.right(limits) : Either.left(ConfigError.InvalidData([], problem))
    }),
    Effect.map(toContext),
    Layer.effectContext
  )
