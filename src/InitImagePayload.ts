/**
 * What a client sends: `{ "mime": "image/png", "name": "ref.png", "data": "<base64>" }`, and its decoder.
 *
 * @since 0.1.0
 * @module
 */
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as ImageFormat from "./ImageFormat.js"
import { InvalidMime, InvalidPayload } from "./InitImageError.js"
import * as InitImageLimits from "./InitImageLimits.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: unique symbol = Symbol.for("session-init-image/InitImagePayload")

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * An init image as its client declared it: nothing in it is to be believed yet.
 *
 * Printing, logging or stringifying it shows its type and how long its text is, and neither name nor data.
 *
 * @since 0.1.0
 * @category models
 */
export class InitImagePayload extends Inspectable.Class {
  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId
  /**
   * The declared type, one of the accepted ones.
   *
   * @since 0.1.0
   */
  readonly mime: ImageFormat.Mime
  /**
   * The client's name for the file, as it came; see `DisplayName`.
   *
   * @since 0.1.0
   */
  readonly name: string | undefined
  /**
   * The image as base64 text.
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
 * @since 0.1.0
 * @category guards
 */
export const isInitImagePayload = (u: unknown): u is InitImagePayload => Predicate.hasProperty(u, TypeId)

/** `null`, `undefined`, `false`, `0`, `""`, `{}` and `[]`: no init image. */
const isNothing = (u: unknown): boolean =>
  u === null ||
  (typeof u === "object" ? Object.keys(u).length === 0 : u === undefined || u === false || u === 0 || u === "")

const notAnObject = new InvalidPayload({ reason: "NotAnObject" })
const dataNotAString = new InvalidPayload({ reason: "DataNotAString" })

/**
 * The accepted format that a declared type names: compared without case, without parameters, `image/jpg` taken for
 * `image/jpeg`.
 *
 * Fails with `InvalidMime` for anything else, and for a type that `InitImageLimits.AcceptedFormats` leaves out.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeMime = (mime: unknown): Effect.Effect<ImageFormat.ImageFormat, InvalidMime> =>
  Effect.flatMap(InitImageLimits.AcceptedFormats, (accepted) => {
    const format = typeof mime === "string" ? ImageFormat.fromMime(mime) : Option.none()
    return Option.isSome(format) && accepted.includes(format.value.mime)
      ? Effect.succeed(format.value)
      : new InvalidMime({ accepted })
  })

/** @internal */
export const decodeUntraced = Effect.fnUntraced(function*(payload: unknown) {
  if (isNothing(payload)) return Option.none<InitImagePayload>()
  if (!Predicate.isRecord(payload)) return yield* notAnObject
  const format = yield* decodeMime(payload["mime"])
  const { data, name } = payload
  if (typeof data !== "string") return yield* dataNotAString
  return Option.some(
    new InitImagePayload({ mime: format.mime, name: typeof name === "string" ? name : undefined, data })
  )
})

/**
 * The payload in whatever JSON brought; `None` for `null`, `undefined`, `false`, `0`, `""`, `{}` and `[]`.
 *
 * Fails with `InvalidPayload` where it is not an object or its `data` is not a string, and with `InvalidMime` where its
 * `mime` is missing, not a string or not accepted. The base64 text is not looked at.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decode: (
  payload: unknown
) => Effect.Effect<Option.Option<InitImagePayload>, InvalidPayload | InvalidMime> = Effect.fn(
  "InitImagePayload.decode"
)(
  decodeUntraced
)
