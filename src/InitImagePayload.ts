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
import { mimeNeighbours } from "./internal/errorText.js"
import { essenceOf, isGeneral } from "./internal/format/mediaType.js"

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
 * The base64 that a dialect accepts beyond RFC 4648 section 4. Nothing by default. Mixing the alphabets is refused.
 *
 * @since 0.1.0
 * @category models
 */
export interface Alphabet {
  /** The URL-safe alphabet too (RFC 4648 section 5). */
  readonly urlSafe?: boolean | undefined
  /** Text without the padding at its end (RFC 4648 section 3.2). */
  readonly unpadded?: boolean | undefined
  /** Tabs, line breaks, form feeds and blanks, which are dropped. */
  readonly whiteSpace?: boolean | undefined
}

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
   * The declared media type, which is an accepted one; `undefined` where the bytes decide
   * (`InitImageLimits.DeclaredType`).
   *
   * @since 0.1.0
   */
  readonly mime: ImageFormat.Mime | undefined
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
  /**
   * The base64 that the text may be beyond that, if any.
   *
   * @since 0.1.0
   */
  readonly alphabet: Alphabet | undefined

  constructor(fields: {
    readonly mime?: ImageFormat.Mime | undefined
    readonly name?: string | undefined
    readonly data: string
    readonly alphabet?: Alphabet | undefined
  }) {
    super()
    this.mime = fields.mime
    this.name = fields.name
    this.data = fields.data
    this.alphabet = fields.alphabet
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

/**
 * Tells whether a JSON value means "no init image": `null`, `undefined`, `false`, `0`, `""`, `{}` or `[]`.
 *
 * @internal
 */
export const isAbsent = (json: unknown): boolean =>
  json === null ||
  (typeof json === "object"
    ? Object.keys(json).length === 0
    : json === undefined || json === false || json === 0 || json === "")

/** Tells whether an object has no class: its prototype is that of `{}`, in any realm, or `null`. */
const isPlainObject = (u: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(u)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** @internal */
export const isJsonValue = (u: unknown): boolean => {
  switch (typeof u) {
    case "object":
      return u === null || Array.isArray(u) || isPlainObject(u)
    case "number":
      return Number.isFinite(u)
    case "bigint":
    case "function":
    case "symbol":
      return false
    default:
      return true
  }
}

const notJsonValue = new InvalidPayload({ reason: "NotJsonValue" })
const notAnObject = new InvalidPayload({ reason: "NotAnObject" })
const dataNotAString = new InvalidPayload({ reason: "DataNotAString" })

/**
 * Tells whether a media type is absent, empty or general.
 *
 * @internal
 */
export const isUnspecific = (mime: unknown): boolean =>
  mime === undefined || mime === null || typeof mime === "string" && isGeneral(mime)

/** The format of a declared media type. */
const mimeToFormat = (
  mime: unknown,
  accepted: ReadonlyArray<ImageFormat.Mime>
): Either.Either<ImageFormat.ImageFormat, InvalidMime> => {
  const format = typeof mime === "string" ? ImageFormat.fromMime(mime) : Option.none()
  return Option.isSome(format) && accepted.includes(format.value.mime)
    ? Either.right(format.value)
    : Either.left(new InvalidMime({ reason: "NotAccepted", accepted }))
}

/**
 * The declared format of an image that comes without JSON; `None` where the bytes decide: for no type or a general one, or
 * for any type where the declared type is optional.
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

const mentionsImage = (u: unknown): boolean => typeof u === "string" && essenceOf(u)?.startsWith("image/") === true

const missingMime = (
  payload: Readonly<Record<string, unknown>>,
  accepted: ReadonlyArray<ImageFormat.Mime>
): InvalidMime => {
  const field = mimeNeighbours.find((name) => Object.hasOwn(payload, name) && mentionsImage(payload[name]))
  return new InvalidMime({ reason: "Missing", accepted, ...field === undefined ? {} : { field } })
}

/**
 * The declared format of a payload; `None` where the declared type is optional.
 *
 * @internal
 */
export const payloadFormat = (
  payload: Readonly<Record<string, unknown>>,
  accepted: ReadonlyArray<ImageFormat.Mime>,
  declaredType: "required" | "optional"
): Either.Either<Option.Option<ImageFormat.ImageFormat>, InvalidMime> =>
  declaredType === "required" && isUnspecific(payload["mime"])
    ? Either.left(missingMime(payload, accepted))
    : declaredFormat(payload["mime"], accepted, declaredType)

/**
 * {@link payloadFormat} with the limits of the context.
 *
 * @internal
 */
export const decodePayloadFormat = (
  payload: Readonly<Record<string, unknown>>
): Effect.Effect<Option.Option<ImageFormat.ImageFormat>, InvalidMime> =>
  Effect.flatMap(
    Effect.all([InitImageLimits.AcceptedFormats, InitImageLimits.DeclaredType]),
    ([accepted, declaredType]) => payloadFormat(payload, accepted, declaredType)
  )

/** @internal */
export const fromUnknown = (
  payload: unknown,
  accepted: ReadonlyArray<ImageFormat.Mime>,
  declaredType: "required" | "optional"
): Either.Either<Option.Option<InitImagePayload>, InvalidPayload | InvalidMime> => {
  if (!isJsonValue(payload) && !isInitImagePayload(payload)) return Either.left(notJsonValue)
  if (isAbsent(payload)) return Either.right(Option.none())
  if (!Predicate.isRecord(payload)) return Either.left(notAnObject)
  return Either.flatMap(payloadFormat(payload, accepted, declaredType), (format) => {
    const { data, name } = payload
    return typeof data === "string"
      ? Either.right(Option.some(
        new InitImagePayload({
          mime: Option.getOrUndefined(format)?.mime,
          name: typeof name === "string" ? name : undefined,
          data
        })
      ))
      : Either.left(dataNotAString)
  })
}

/**
 * Decodes a declared media type to its format.
 *
 * Types are compared without case, without parameters and without white space around them; `image/x-png`, `image/jpg` and
 * `image/pjpeg` are aliases. Fails with `InvalidMime`: as `Missing` if the type is absent or general
 * (`application/octet-stream`, `image/*`), and as `NotAccepted` if the value is not a string, not a known type, or not in
 * `InitImageLimits.AcceptedFormats`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeMime = (mime: unknown): Effect.Effect<ImageFormat.ImageFormat, InvalidMime> =>
  Effect.flatMap(
    InitImageLimits.AcceptedFormats,
    (accepted) => isUnspecific(mime) ? new InvalidMime({ reason: "Missing", accepted }) : mimeToFormat(mime, accepted)
  )

/**
 * Decodes a payload from any JSON value. `null`, `undefined`, `false`, `0`, `""`, `{}` and `[]` decode to `None`.
 *
 * Fails with `InvalidPayload` if the value is not a JSON value, is not an object or its `data` is not a string. Fails with
 * `InvalidMime` if its `mime` is missing or general, not a string, or not accepted; with `InitImageLimits.DeclaredType`
 * `"optional"` the `mime` is not looked at. The base64 text is not read.
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
  (payload: unknown) =>
    Effect.flatMap(
      Effect.all([InitImageLimits.AcceptedFormats, InitImageLimits.DeclaredType]),
      ([accepted, declaredType]) => fromUnknown(payload, accepted, declaredType)
    )
)
