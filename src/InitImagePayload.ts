/**
 * The payload of an init image, `{ "mime": "image/png", "name": "ref.png", "data": "<base64>" }`, and its decoder.
 *
 * @since 0.1.0
 * @module
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as ImageFormat from "./ImageFormat.js"
import { InvalidMime, InvalidPayload } from "./InitImageError.js"
import * as InitImageLimits from "./InitImageLimits.js"
import { isGeneral } from "./internal/format/mediaType.js"

/**
 * The type id of `InitImagePayload`.
 *
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: unique symbol = Symbol.for("session-init-image/InitImagePayload")

/**
 * The type of `TypeId`.
 *
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * An init image as the client declared it. Unverified: `mime` and `name` are the client's claims.
 *
 * Its printed, logged and stringified forms have the type and the length of the text, never the name or the data.
 *
 * @since 0.1.0
 * @category models
 */
export class InitImagePayload extends Inspectable.Class {
  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId
  /**
   * The declared media type, which is an accepted one.
   *
   * @since 0.1.0
   */
  readonly mime: ImageFormat.Mime
  /**
   * The client's name for the file, unchanged. `DisplayName` makes it safe to log.
   *
   * @since 0.1.0
   */
  readonly name: string | undefined
  /**
   * The image as base64 text (RFC 4648 section 4), not yet validated.
   *
   * @since 0.1.0
   */
  readonly data: string

  constructor(fields: {
    readonly mime: ImageFormat.Mime
    readonly name?: string | undefined
    readonly data: string
  }) {
    super()
    this.mime = fields.mime
    this.name = fields.name
    this.data = fields.data
  }

  /** @since 0.1.0 */
  toJSON(): unknown {
    return { _id: "InitImagePayload", mime: this.mime, dataLength: this.data.length }
  }
}

/**
 * Tells whether a value is an `InitImagePayload`.
 *
 * @since 0.1.0
 * @category guards
 */
export const isInitImagePayload = (u: unknown): u is InitImagePayload => Predicate.hasProperty(u, TypeId)

/** Tells whether a payload means "no init image": `null`, `undefined`, `false`, `0`, `""`, `{}` or `[]`. */
const isAbsent = (u: unknown): boolean =>
  u === null ||
  (typeof u === "object" ? Object.keys(u).length === 0 : u === undefined || u === false || u === 0 || u === "")

const notAnObject = new InvalidPayload({ reason: "NotAnObject" })
const dataNotAString = new InvalidPayload({ reason: "DataNotAString" })

/** @internal */
export const mimeToFormat = (
  mime: unknown,
  accepted: ReadonlyArray<ImageFormat.Mime>
): Either.Either<ImageFormat.ImageFormat, InvalidMime> => {
  const format = typeof mime === "string" ? ImageFormat.fromMime(mime) : Option.none()
  return Option.isSome(format) && accepted.includes(format.value.mime)
    ? Either.right(format.value)
    : Either.left(new InvalidMime({ reason: "NotAccepted", accepted }))
}

/**
 * The declared format of an image; `None` where the bytes decide: for no type or a general one, or for any type where the
 * declared type is optional.
 *
 * @internal
 */
export const declaredFormat = (
  mime: unknown,
  accepted: ReadonlyArray<ImageFormat.Mime>,
  declaredType: "required" | "optional"
): Either.Either<Option.Option<ImageFormat.ImageFormat>, InvalidMime> =>
  declaredType === "optional" || isUnspecific(mime)
    ? Either.right(Option.none())
    : Either.map(mimeToFormat(mime, accepted), Option.some)

/** Tells whether a media type is absent, empty or general. */
const isUnspecific = (mime: unknown): boolean =>
  mime === undefined || mime === null || typeof mime === "string" && isGeneral(mime)

/** @internal */
export const fromUnknown = (
  payload: unknown,
  accepted: ReadonlyArray<ImageFormat.Mime>
): Either.Either<Option.Option<InitImagePayload>, InvalidPayload | InvalidMime> => {
  if (isAbsent(payload)) return Either.right(Option.none())
  if (!Predicate.isRecord(payload)) return Either.left(notAnObject)
  return Either.flatMap(mimeToFormat(payload["mime"], accepted), ({ mime }) => {
    const { data, name } = payload
    return typeof data === "string"
      ? Either.right(Option.some(
        new InitImagePayload({ mime, name: typeof name === "string" ? name : undefined, data })
      ))
      : Either.left(dataNotAString)
  })
}

/**
 * Decodes a declared media type to its format.
 *
 * Types are compared without case; `image/jpg` is an alias of `image/jpeg`; a type with parameters is refused. Fails with
 * `InvalidMime` if the value is not a string, not a known type, or not in `InitImageLimits.AcceptedFormats`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeMime = (mime: unknown): Effect.Effect<ImageFormat.ImageFormat, InvalidMime> =>
  Effect.flatMap(InitImageLimits.AcceptedFormats, (accepted) => mimeToFormat(mime, accepted))

/**
 * Decodes a payload from any JSON value. `null`, `undefined`, `false`, `0`, `""`, `{}` and `[]` decode to `None`.
 *
 * Fails with `InvalidPayload` if the value is not an object or its `data` is not a string, and with `InvalidMime` if its
 * `mime` is missing, not a string, or not accepted. The base64 text is not read.
 *
 * @function
 * @since 0.1.0
 * @category decoding
 */
export const decode: (
  payload: unknown
) => Effect.Effect<Option.Option<InitImagePayload>, InvalidPayload | InvalidMime> = Effect.fn(
  "InitImagePayload.decode"
)(
  (payload: unknown) => Effect.flatMap(InitImageLimits.AcceptedFormats, (accepted) => fromUnknown(payload, accepted))
)
