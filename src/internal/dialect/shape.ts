/**
 * The shapes of images in messages: where they stand, and how a value becomes a payload. Runs in browsers too.
 *
 * `InitImageDialect` exports the types that have `@category`.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as ImageFormat from "../../ImageFormat.js"
import { type InvalidMime, InvalidPayload, type RemoteImage } from "../../InitImageError.js"
import * as InitImagePayload from "../../InitImagePayload.js"
import * as places from "../places.js"
import { asBase64, mimeOf, readText } from "./text.js"

const notJsonValue = new InvalidPayload({ reason: "NotJsonValue" })
const notAnObject = new InvalidPayload({ reason: "NotAnObject" })
const notAString = new InvalidPayload({ reason: "NotAString" })
const dataNotAString = new InvalidPayload({ reason: "DataNotAString" })
const ambiguousData = new InvalidPayload({ reason: "AmbiguousData" })

/** The value of no image. */
export const none: Either.Either<Option.Option<never>> = Either.right(Option.none())

/**
 * What an image's value says of the image.
 *
 * @since 0.1.0
 * @category models
 */
export interface Description {
  /** The declared media type; a data URL has one too, which must be the same. */
  readonly mime?: unknown
  /** The client's name for the file. Ignored where it is not a string. */
  readonly name?: unknown
  /**
   * Whether an image without a declared type is refused, where `InitImageLimits.DeclaredType` is `"required"`; `true` by
   * default.
   */
  readonly needsMime?: boolean | undefined
}

/**
 * The errors of a dialect.
 *
 * @since 0.1.0
 * @category models
 */
export type DecodeError = InvalidPayload | InvalidMime | RemoteImage

export type Decoded<E> = Either.Either<Option.Option<InitImagePayload.InitImagePayload>, E>

/**
 * One shape of an image.
 *
 * @since 0.1.0
 * @category models
 */
export interface Shape extends places.ShapePlaces {
  /** Reads a value; see `decode` of `InitImageDialect`. */
  readonly read: (
    value: unknown,
    accepted: ReadonlyArray<ImageFormat.Mime>,
    declaredType: "required" | "optional"
  ) => Decoded<DecodeError>
}

/**
 * The options of a dialect of one shape.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The place of the image in a message; options of the same name of the functions that read one replace it. */
  readonly at: places.Path
  /** The places of the image's text, from there. A value with texts in two of them is refused as `AmbiguousData`. */
  readonly data: ReadonlyArray<places.TextPlace>
  /**
   * The places of the other fields that `decode` reads. None of the fields, and none of the keys that lead to the text,
   * may occur twice in a message (`DuplicateKey`).
   */
  readonly fields?: ReadonlyArray<ReadonlyArray<string>> | undefined
  /** The base64 that is accepted beyond RFC 4648 section 4. */
  readonly alphabet?: InitImagePayload.Alphabet | undefined
  /**
   * Tells whether a value is an image: `None` where it is anything else. Gets an object, or a string where the value is
   * the text. Must not depend on the image's text.
   */
  readonly decode: (value: unknown) => Either.Either<Option.Option<Description>, InvalidPayload | RemoteImage>
}

/** The text of an image: at the first of the shape's places that has a value. */
const findText = (
  value: unknown,
  data: ReadonlyArray<places.TextPlace>
): readonly [text: unknown, form: places.Form] => {
  for (const { at, form } of data) {
    const text = places.fieldOf(value, at)
    if (text !== undefined && text !== null) return [text, form]
  }
  return [undefined, "base64"]
}

/** Makes a shape. A total one takes every value that has a text. */
export const makeShape = (
  { alphabet, at, data, decode, fields = [] }: Options,
  isTotal = false
): Shape => {
  const isText = data.some(({ at }) => at.length === 0)
  /** The type is in the text. */
  const isUrl = data.every(({ form }) => form === "dataUrl")
  const read: Shape["read"] = (value, accepted, declaredType) => {
    if (!InitImagePayload.isJsonValue(value)) return Either.left(notJsonValue)
    if (InitImagePayload.isAbsent(value)) return none
    if (isText ? typeof value !== "string" : !Predicate.isRecord(value) || Array.isArray(value)) {
      return Either.left(isText ? notAString : notAnObject)
    }
    return Either.flatMap(decode(value), (description): Decoded<DecodeError> => {
      if (Option.isNone(description)) return none
      const { mime, name, needsMime = true } = description.value
      const [text, form] = findText(value, data)
      if (isUrl && typeof text !== "string") return Either.left(dataNotAString)
      const content = typeof text === "string" ? readText(text, form) : Either.right(asBase64(""))
      if (Either.isLeft(content)) return Either.left(content.left)
      const declared = declaredType === "optional" ? Either.right(undefined) : mimeOf(mime, content.right.mime)
      return Either.flatMap(declared, (mime): Decoded<DecodeError> =>
        Either.flatMap(
          needsMime
            ? InitImagePayload.payloadFormat({ mime }, accepted, declaredType)
            : InitImagePayload.declaredFormat(mime, accepted, declaredType),
          (format): Decoded<InvalidPayload> =>
            typeof text === "string"
              ? Either.right(Option.some(
                new InitImagePayload.InitImagePayload({
                  mime: Option.getOrUndefined(format)?.mime,
                  name: typeof name === "string" ? name : content.right.name,
                  data: content.right.data,
                  alphabet
                })
              ))
              : Either.left(dataNotAString)
        ))
    })
  }
  return { at, data, fields, alphabet, isTotal, read }
}

const isOfAnotherKind = (error: DecodeError): boolean =>
  error._tag === "InvalidPayload" && (error.reason === "NotAnObject" || error.reason === "NotAString")

const isText = (value: unknown): boolean => typeof value === "string"

/** Reads a value by the first of the shapes that recognises it. */
export const readShapes = (
  shapes: ReadonlyArray<Shape>,
  value: unknown,
  accepted: ReadonlyArray<ImageFormat.Mime>,
  declaredType: "required" | "optional"
): Decoded<DecodeError> => {
  let unrecognised: Decoded<DecodeError> = none
  for (const { read } of shapes) {
    const decoded = read(value, accepted, declaredType)
    if (Either.isLeft(decoded)) {
      if (!isOfAnotherKind(decoded.left)) return decoded
      unrecognised = decoded
    } else if (Option.isSome(decoded.right)) {
      // Of all shapes: a reader of the message takes the text before it knows which shape it is of.
      const keys = new Set(shapes.flatMap(({ data }) => data).map(({ at }) => JSON.stringify(at)))
      const texts = keys.size < 2 ? [] : [...keys].filter((at) => isText(places.fieldOf(value, JSON.parse(at))))
      return texts.length > 1 ? Either.left(ambiguousData) : decoded
    }
  }
  return unrecognised
}
