/**
 * The shapes in which clients send images: the messages of other APIs, and data URLs.
 *
 * A dialect knows where the images stand in a message, and reads an `InitImagePayload` from each of them. All checks of
 * a payload hold for it: the accepted types, the declared type against the bytes, strict base64 and the limits. An
 * image that is not in the message itself is refused as `RemoteImage`; nothing is ever fetched.
 *
 * Pure. Runs in browsers too.
 *
 * @since 0.1.0
 * @module
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as ImageFormat from "./ImageFormat.js"
import { type InvalidMime, InvalidPayload, RemoteImage } from "./InitImageError.js"
import * as InitImageLimits from "./InitImageLimits.js"
import * as InitImagePayload from "./InitImagePayload.js"
import { readHead } from "./internal/dataUrl.js"
import { essenceOf, nameOf } from "./internal/format/mediaType.js"
import { check, functionProblem } from "./internal/options.js"
import * as places from "./internal/places.js"

/**
 * Stands for every item of an array in a {@link Path}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const each: typeof places.each = places.each

/**
 * The way to a value in a message: the keys of objects, and the indices of arrays or {@link each} for all items.
 *
 * @since 0.1.0
 * @category models
 */
export type Path = places.Path

/**
 * Where an image's text stands, by keys from the image's value (none where the value is the text), and how it holds the
 * image:
 *
 * - `base64`
 * - `dataUrl`: a data URL with `;base64` (RFC 2397). Its scheme is read as URL parsers read it: without case, and behind
 *   control characters and blanks. A URL of another scheme is a `RemoteImage`; any other text is `BadDataUrl`
 * - `either`: a data URL, or base64 where the text begins with no scheme
 *
 * @since 0.1.0
 * @category models
 */
export type TextPlace = places.TextPlace

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

type Decoded<E> = Either.Either<Option.Option<InitImagePayload.InitImagePayload>, E>

/**
 * One shape of an image, which {@link make} makes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Shape extends places.ShapePlaces {
  /** Reads a value; see `decode` of {@link InitImageDialect}. */
  readonly read: (
    value: unknown,
    accepted: ReadonlyArray<ImageFormat.Mime>,
    declaredType: "required" | "optional"
  ) => Decoded<DecodeError>
}

/**
 * Where images stand in a message, and how each becomes a payload.
 *
 * @since 0.1.0
 * @category models
 */
export interface InitImageDialect {
  /** The dialect's shapes, in the order in which they are tried. */
  readonly shapes: ReadonlyArray<Shape>
  /**
   * Reads the value of one image. `None` where the value holds none: it is `null`, `undefined`, `false`, `0`, `""`,
   * `{}` or `[]`, or an object of another kind, such as a text. The base64 text is not read, and `data` is a view of
   * it.
   *
   * @since 0.1.0
   */
  readonly decode: (
    value: unknown
  ) => Effect.Effect<Option.Option<InitImagePayload.InitImagePayload>, DecodeError>
}

const notJsonValue = new InvalidPayload({ reason: "NotJsonValue" })
const notAnObject = new InvalidPayload({ reason: "NotAnObject" })
const notAString = new InvalidPayload({ reason: "NotAString" })
const dataNotAString = new InvalidPayload({ reason: "DataNotAString" })
const badDataUrl = new InvalidPayload({ reason: "BadDataUrl" })
const mimeConflict = new InvalidPayload({ reason: "MimeConflict" })
const ambiguousData = new InvalidPayload({ reason: "AmbiguousData" })

const none: Either.Either<Option.Option<never>> = Either.right(Option.none())

const remote = (scheme: RemoteImage["scheme"]): Either.Either<never, RemoteImage> =>
  Either.left(new RemoteImage({ scheme }))

const remoteUrl = (scheme: string): Either.Either<never, RemoteImage> =>
  remote(scheme === "http" || scheme === "https" ? "http" : scheme === "file" ? "file" : "other")

/** A text without what its form puts around the base64. */
interface Content {
  readonly data: string
  readonly mime: string
  readonly name: string | undefined
}

const asBase64 = (data: string): Content => ({ data, mime: "", name: undefined })

const readText = (text: string, form: places.Form): Either.Either<Content, InvalidPayload | RemoteImage> => {
  if (form === "base64") return Either.right(asBase64(text))
  const head = readHead(text, true)
  switch (head._tag) {
    case "Base64Url":
      return Either.right({ data: text.slice(head.start), mime: head.mime, name: head.name })
    case "Url":
      return head.scheme === "data" ? Either.left(badDataUrl) : remoteUrl(head.scheme)
    default:
      return form === "either" ? Either.right(asBase64(text)) : Either.left(badDataUrl)
  }
}

const isSameType = (a: string, b: string): boolean => (nameOf(a) ?? essenceOf(a)) === (nameOf(b) ?? essenceOf(b))

/** The declared type, or else that of the data URL. */
const mimeOf = (declared: unknown, url: string): Either.Either<unknown, InvalidPayload> => {
  if (InitImagePayload.isUnspecific(declared)) return Either.right(url)
  return typeof declared !== "string" || InitImagePayload.isUnspecific(url) || isSameType(declared, url)
    ? Either.right(declared)
    : Either.left(mimeConflict)
}

/**
 * The options of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The place of the image in a message; options of the same name of the functions that read one replace it. */
  readonly at: Path
  /** The places of the image's text, from there. A value with texts in two of them is refused as `AmbiguousData`. */
  readonly data: ReadonlyArray<TextPlace>
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
const findText = (value: unknown, data: ReadonlyArray<TextPlace>): readonly [text: unknown, form: places.Form] => {
  for (const { at, form } of data) {
    const text = places.fieldOf(value, at)
    if (text !== undefined && text !== null) return [text, form]
  }
  return [undefined, "base64"]
}

const makeShape = (
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

/**
 * Reads a value by the first of the shapes that recognises it.
 *
 * @internal
 */
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

/** One dialect of several shapes. */
const fromShapes = (shapes: ReadonlyArray<Shape>): InitImageDialect => ({
  shapes,
  decode: Effect.fn("InitImageDialect.decode")((value: unknown) =>
    Effect.flatMap(
      Effect.all([InitImageLimits.AcceptedFormats, InitImageLimits.DeclaredType]),
      ([accepted, declaredType]) => readShapes(shapes, value, accepted, declaredType)
    )
  )
})

/**
 * Makes a dialect of one shape.
 *
 * Throws for a dialect without `data`, or with a text in a text.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { Either, Option, Predicate } from "effect"
 * import { InitImageDialect, SessionInitImage } from "session-init-image"
 *
 * // { "kind": "photo", "type": "image/png", "body": "..." }
 * const photos = InitImageDialect.make({
 *   at: ["photos", InitImageDialect.each],
 *   data: [{ at: ["body"], form: "base64" }],
 *   fields: [["kind"], ["type"]],
 *   decode: (value) =>
 *     Either.right(
 *       Predicate.isRecord(value) && value["kind"] === "photo" ? Option.some({ mime: value["type"] }) : Option.none()
 *     )
 * })
 *
 * const persist = (photo: unknown) => SessionInitImage.persist(photo, { dialect: photos })
 * ```
 */
export const make = (options: Options): InitImageDialect => {
  check(
    "InitImageDialect.make",
    functionProblem("decode", options.decode),
    options.data.length === 0 ? "data must have a place" : undefined,
    options.data.length > 1 && options.data.some(({ at }) => at.length === 0)
      ? "data must have one place where the value is the text"
      : undefined
  )
  return fromShapes([makeShape(options)])
}

const isPrefix = (a: Path, b: Path): boolean => a.length < b.length && a.every((step, i) => step === b[i])

/** `JSON.parse` puts such keys first: the images would not be in the order of the message. */
const isWholeNumber = (step: Path[number]): boolean => typeof step === "string" && /^\d+$/.test(step)

const isSameText = (a: Shape, b: Shape): boolean =>
  a.data.some((text) => b.data.some((other) => text.at.join("\0") === other.at.join("\0")))

const isSameAlphabet = (
  a: InitImagePayload.Alphabet | undefined,
  b: InitImagePayload.Alphabet | undefined
): boolean =>
  (["urlSafe", "unpadded", "whiteSpace"] as const).every((rule) => (a?.[rule] ?? false) === (b?.[rule] ?? false))

/**
 * Joins dialects: the first that recognises a value reads it. {@link payload} recognises every object, so it comes last.
 *
 * Throws where the images of one dialect stand inside those of another, where two alphabets are given for one text, and
 * for a key of digits on the way to an image.
 *
 * @since 0.1.0
 * @category combinators
 */
export const any = (...dialects: ReadonlyArray<InitImageDialect>): InitImageDialect => {
  const shapes = dialects.flatMap(({ shapes }) => shapes)
  check(
    "InitImageDialect.any",
    shapes.some((a) => shapes.some((b) => isPrefix(a.at, b.at)))
      ? "the images of one dialect must not stand inside those of another"
      : undefined,
    shapes.some(({ at }) => at.some(isWholeNumber))
      ? "a key on the way to an image must not be a whole number"
      : undefined,
    shapes.some((a) => shapes.some((b) => isSameText(a, b) && !isSameAlphabet(a.alphabet, b.alphabet)))
      ? "one text must not be of two alphabets"
      : undefined
  )
  return fromShapes(shapes)
}

const typeOf = (value: unknown): unknown => places.fieldOf(value, ["type"])

const has = (value: unknown, ...keys: ReadonlyArray<string>): boolean =>
  Predicate.isRecord(value) && keys.some((key) => Object.hasOwn(value, key))

const firstOf = (value: unknown, ...keys: ReadonlyArray<string>): unknown =>
  keys.map((key) => places.fieldOf(value, [key])).find((field) => field !== undefined && field !== null)

const image = (description: Description): Either.Either<Option.Option<Description>> =>
  Either.right(Option.some(description))

/** Whether a media type is one of something else than an image. */
const isOtherMedia = (mime: unknown): boolean => {
  const essence = typeof mime === "string" && !InitImagePayload.isUnspecific(mime) ? essenceOf(mime) : undefined
  return essence !== undefined && !essence.startsWith("image/")
}

/** Refuses what stands in the place of an image's text: a URL, or an id. */
const refuseRemote = (url: unknown): Either.Either<never, RemoteImage> => {
  const head = typeof url === "string" ? readHead(url, true) : undefined
  return head?._tag === "Url" ? remoteUrl(head.scheme) : remote(head === undefined ? "id" : "other")
}

/** Where the parts of a message stand in most APIs. */
const messageParts: Path = ["messages", each, "content", each]

const isRemoteId = (id: unknown): boolean => typeof id === "string" && id !== ""

/**
 * This library's own: `{ mime, name?, data }`, as {@link InitImagePayload.decode} reads it. The message is the payload.
 *
 * @since 0.1.0
 * @category dialects
 */
export const payload: InitImageDialect = fromShapes([{
  at: [],
  data: [{ at: ["data"], form: "base64" }],
  fields: [["mime"], ["name"]],
  isTotal: true,
  read: InitImagePayload.fromUnknown
}])

/**
 * `{ mime_type?, data_url, name? }` as `initial_image`, of FastVideo's apps/dreamverse. White space in the base64 is
 * dropped, and an empty `data_url` is no image.
 *
 * @since 0.1.0
 * @category dialects
 */
export const dreamverse: InitImageDialect = make({
  at: ["initial_image"],
  data: [{ at: ["data_url"], form: "dataUrl" }],
  fields: [["mime_type"], ["name"]],
  alphabet: { whiteSpace: true },
  decode: (value) =>
    places.fieldOf(value, ["data_url"]) === ""
      ? none
      : image({ mime: places.fieldOf(value, ["mime_type"]), name: places.fieldOf(value, ["name"]) })
})

/**
 * A string with a data URL (RFC 2397). Parameters such as `charset` are ignored, but for `name`; `;base64` is required.
 * The message is the string.
 *
 * @since 0.1.0
 * @category dialects
 */
export const dataUrl: InitImageDialect = fromShapes([
  makeShape({ at: [], data: [{ at: [], form: "dataUrl" }], decode: () => image({}) }, true)
])

/**
 * `{ type: "image_url", image_url: { url, detail? } }` in the content of OpenAI's chat completions
 * (https://platform.openai.com/docs/api-reference/chat/create).
 *
 * @since 0.1.0
 * @category dialects
 */
export const openAiChat: InitImageDialect = make({
  at: messageParts,
  data: [{ at: ["image_url", "url"], form: "dataUrl" }],
  fields: [["type"]],
  decode: (value) => typeOf(value) === "image_url" ? image({}) : none
})

/** `image_url` with a data URL, or `file_id`. */
const readImageUrl = (value: unknown): Either.Either<Option.Option<Description>, RemoteImage> =>
  firstOf(value, "image_url") === undefined && isRemoteId(firstOf(value, "file_id")) ? remote("id") : image({})

const openAiInput = (at: Path): Shape =>
  makeShape({
    at,
    data: [{ at: ["image_url"], form: "dataUrl" }],
    fields: [["type"], ["file_id"]],
    decode: (value) => typeOf(value) === "input_image" ? readImageUrl(value) : none
  })

/**
 * `{ type: "input_image", image_url }` in the input of OpenAI's Responses
 * (https://platform.openai.com/docs/api-reference/responses/create) and in the item of a Realtime client event
 * (https://platform.openai.com/docs/api-reference/realtime-client-events).
 *
 * @since 0.1.0
 * @category dialects
 */
export const openAiResponses: InitImageDialect = fromShapes([
  openAiInput(["input", each, "content", each]),
  openAiInput(["item", "content", each])
])

/**
 * `input_reference: { image_url }` of OpenAI's Videos (https://platform.openai.com/docs/api-reference/videos/create).
 *
 * @since 0.1.0
 * @category dialects
 */
export const openAiVideo: InitImageDialect = make({
  at: ["input_reference"],
  data: [{ at: ["image_url"], form: "dataUrl" }],
  fields: [["file_id"]],
  decode: readImageUrl
})

/**
 * `{ type: "image", source: { type: "base64", media_type, data } }` in the content of Anthropic's Messages
 * (https://docs.anthropic.com/en/api/messages).
 *
 * @since 0.1.0
 * @category dialects
 */
export const anthropic: InitImageDialect = make({
  at: messageParts,
  data: [{ at: ["source", "data"], form: "base64" }],
  fields: [["type"], ["source", "type"], ["source", "media_type"], ["source", "url"], ["source", "file_id"]],
  decode: (value) => {
    if (typeOf(value) !== "image") return none
    const source = places.fieldOf(value, ["source"])
    if (source === undefined && has(value, "data", "image", "url", "base64", "source_type")) return none
    switch (typeOf(source)) {
      case "url":
        return refuseRemote(firstOf(source, "url"))
      case "file":
        return remote("id")
      default:
        return image({ mime: places.fieldOf(source, ["media_type"]) })
    }
  }
})

/** The object of a Gemini part that holds bytes, in its two spellings. */
const geminiBlobs = ["inlineData", "inline_data"] as const
const geminiFiles = ["fileData", "file_data"] as const

const geminiAlphabet: InitImagePayload.Alphabet = { urlSafe: true, unpadded: true }

/**
 * `{ inlineData: { mimeType, data, displayName? } }` in the parts of Google's Gemini API
 * (https://ai.google.dev/api/caching#Part), its snake case, and `{ imageBytes, mimeType }` as `image`
 * (https://googleapis.github.io/js-genai). The base64 may be URL-safe, as the Python client sends it, and unpadded, as
 * proto3's JSON allows it. A part of another media type, such as audio, is no image.
 *
 * @since 0.1.0
 * @category dialects
 */
export const gemini: InitImageDialect = fromShapes([
  makeShape({
    at: ["contents", each, "parts", each],
    data: geminiBlobs.map((blob) => ({ at: [blob, "data"], form: "base64" })),
    fields: [...geminiBlobs, ...geminiFiles].flatMap((key) =>
      ["mimeType", "mime_type", "displayName", "display_name", "fileUri", "file_uri"].map((field) => [key, field])
    ),
    alphabet: geminiAlphabet,
    decode: (value) => {
      const blob = firstOf(value, ...geminiBlobs)
      const file = firstOf(value, ...geminiFiles)
      const mime = firstOf(blob ?? file, "mimeType", "mime_type")
      if ((blob === undefined && file === undefined) || isOtherMedia(mime)) return none
      if (blob === undefined) return refuseRemote(firstOf(file, "fileUri", "file_uri"))
      return image({ mime, name: firstOf(blob, "displayName", "display_name") })
    }
  }),
  makeShape({
    at: ["image"],
    data: [{ at: ["imageBytes"], form: "base64" }],
    fields: [["mimeType"], ["gcsUri"]],
    alphabet: geminiAlphabet,
    decode: (value) => {
      if (firstOf(value, "imageBytes") !== undefined) return image({ mime: firstOf(value, "mimeType") })
      return has(value, "gcsUri") ? refuseRemote(firstOf(value, "gcsUri")) : none
    }
  })
])

const mcpContent = (at: Path): Shape =>
  makeShape({
    at,
    data: [{ at: ["data"], form: "base64" }],
    fields: [["type"], ["mimeType"]],
    decode: (value) =>
      typeOf(value) !== "image" || has(value, "source", "source_type", "image", "base64", "url")
        ? none
        : image({ mime: places.fieldOf(value, ["mimeType"]) })
  })

/**
 * `{ type: "image", data, mimeType }` in the content of the Model Context Protocol
 * (https://modelcontextprotocol.io/specification/2025-11-25/schema): of a tool's result, of a response with one, and of
 * the messages that are sampled.
 *
 * @since 0.1.0
 * @category dialects
 */
export const mcp: InitImageDialect = fromShapes([
  mcpContent(["content", each]),
  mcpContent(["result", "content", each]),
  mcpContent(["params", "messages", each, "content", each])
])

const aiSdkPart = (at: Path): Shape =>
  makeShape({
    at,
    data: [{ at: ["data"], form: "either" }, { at: ["image"], form: "either" }, { at: ["url"], form: "dataUrl" }],
    fields: [["type"], ["mediaType"], ["filename"], ["fileName"]],
    decode: (value) => {
      const type = typeOf(value)
      const mime = places.fieldOf(value, ["mediaType"])
      if (type === "image" ? !has(value, "image") : type !== "file" || isOtherMedia(mime)) return none
      return image({ mime, name: firstOf(value, "filename", "fileName"), needsMime: type === "file" })
    }
  })

/**
 * `{ type: "file", mediaType, filename?, data }` and `{ type: "image", image, mediaType? }` in the messages of the AI SDK
 * (https://ai-sdk.dev/docs/reference/ai-sdk-core/model-message), with base64 or a data URL;
 * `{ type: "file", mediaType, filename?, url }` in the parts of its UI messages
 * (https://ai-sdk.dev/docs/reference/ai-sdk-core/ui-message); and the file part of `@effect/ai`, which has `fileName`. A
 * file of another media type, such as a PDF, is no image.
 *
 * @since 0.1.0
 * @category dialects
 */
export const aiSdk: InitImageDialect = fromShapes([
  aiSdkPart(messageParts),
  aiSdkPart(["messages", each, "parts", each])
])

/**
 * The image block of LangChain, version 1 (https://docs.langchain.com/oss/javascript/langchain/messages):
 * `{ type: "image", data, mimeType }` of JavaScript and `{ type: "image", base64, mime_type }` of Python; and version 0
 * with `source_type` (https://v03.api.js.langchain.com). A `url` may be a data URL.
 *
 * @since 0.1.0
 * @category dialects
 */
export const langChain: InitImageDialect = make({
  at: messageParts,
  data: [{ at: ["data"], form: "base64" }, { at: ["base64"], form: "base64" }, { at: ["url"], form: "dataUrl" }],
  fields: [
    ["type"],
    ["source_type"],
    ["mimeType"],
    ["mime_type"],
    ["fileId"],
    ["file_id"],
    ["id"],
    ["metadata", "filename"],
    ["metadata", "name"]
  ],
  decode: (value) => {
    if (typeOf(value) !== "image" || has(value, "source", "image")) return none
    const isInline = firstOf(value, "data", "base64", "url") !== undefined
    if (!isInline && (firstOf(value, "fileId", "file_id") !== undefined || firstOf(value, "source_type") === "id")) {
      return remote("id")
    }
    const metadata = places.fieldOf(value, ["metadata"])
    return image({ mime: firstOf(value, "mimeType", "mime_type"), name: firstOf(metadata, "filename", "name") })
  }
})

const ollamaImages = (at: Path): Shape =>
  makeShape({ at, data: [{ at: [], form: "base64" }], decode: () => image({ needsMime: false }) }, true)

/**
 * `images: [base64]` in the messages of Ollama's chat and in its generate request
 * (https://github.com/ollama/ollama/blob/main/docs/api.md). There is no declared type: the bytes decide.
 *
 * @since 0.1.0
 * @category dialects
 */
export const ollama: InitImageDialect = fromShapes([
  ollamaImages(["messages", each, "images", each]),
  ollamaImages(["images", each])
])
