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
import type * as Option from "effect/Option"
import * as InitImageLimits from "./InitImageLimits.js"
import type * as InitImagePayload from "./InitImagePayload.js"
import * as apis from "./internal/dialect/apis.js"
import { joinProblem, shapeProblem } from "./internal/dialect/conflicts.js"
import { type DecodeError, makeShape, type Options, readShapes, type Shape } from "./internal/dialect/shape.js"
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

export type {
  /**
   * The errors of a dialect.
   *
   * @since 0.1.0
   * @category models
   */
  DecodeError,
  /**
   * What an image's value says of the image.
   *
   * @since 0.1.0
   * @category models
   */
  Description,
  /**
   * The options of a dialect of one shape.
   *
   * @since 0.1.0
   * @category models
   */
  Options,
  /**
   * One shape of an image.
   *
   * @since 0.1.0
   * @category models
   */
  Shape
} from "./internal/dialect/shape.js"

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
  check("InitImageDialect.make", functionProblem("decode", options.decode), shapeProblem(options))
  return fromShapes([makeShape(options)])
}

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
  check("InitImageDialect.any", joinProblem(shapes))
  return fromShapes(shapes)
}

/**
 * This library's own: `{ mime, name?, data }`, as {@link InitImagePayload.decode} reads it. The message is the payload.
 *
 * @since 0.1.0
 * @category dialects
 */
export const payload: InitImageDialect = fromShapes(apis.payload)

/**
 * `{ mime_type?, data_url, name? }` as `initial_image`, of FastVideo's apps/dreamverse. White space in the base64 is
 * dropped, and an empty `data_url` is no image.
 *
 * @since 0.1.0
 * @category dialects
 */
export const dreamverse: InitImageDialect = fromShapes(apis.dreamverse)

/**
 * A string with a data URL (RFC 2397). Parameters such as `charset` are ignored, but for `name`; `;base64` is required.
 * The message is the string.
 *
 * @since 0.1.0
 * @category dialects
 */
export const dataUrl: InitImageDialect = fromShapes(apis.dataUrl)

/**
 * `{ type: "image_url", image_url: { url, detail? } }` in the content of OpenAI's chat completions
 * (https://platform.openai.com/docs/api-reference/chat/create).
 *
 * @since 0.1.0
 * @category dialects
 */
export const openAiChat: InitImageDialect = fromShapes(apis.openAiChat)

/**
 * `{ type: "input_image", image_url }` in the input of OpenAI's Responses
 * (https://platform.openai.com/docs/api-reference/responses/create) and in the item of a Realtime client event
 * (https://platform.openai.com/docs/api-reference/realtime-client-events).
 *
 * @since 0.1.0
 * @category dialects
 */
export const openAiResponses: InitImageDialect = fromShapes(apis.openAiResponses)

/**
 * `input_reference: { image_url }` of OpenAI's Videos (https://platform.openai.com/docs/api-reference/videos/create).
 *
 * @since 0.1.0
 * @category dialects
 */
export const openAiVideo: InitImageDialect = fromShapes(apis.openAiVideo)

/**
 * `{ type: "image", source: { type: "base64", media_type, data } }` in the content of Anthropic's Messages
 * (https://docs.anthropic.com/en/api/messages).
 *
 * @since 0.1.0
 * @category dialects
 */
export const anthropic: InitImageDialect = fromShapes(apis.anthropic)

/**
 * `{ inlineData: { mimeType, data, displayName? } }` in the parts of Google's Gemini API
 * (https://ai.google.dev/api/caching#Part), its snake case, and `{ imageBytes, mimeType }` as `image`
 * (https://googleapis.github.io/js-genai). The base64 may be URL-safe, as the Python client sends it, and unpadded, as
 * proto3's JSON allows it. A part of another media type, such as audio, is no image.
 *
 * @since 0.1.0
 * @category dialects
 */
export const gemini: InitImageDialect = fromShapes(apis.gemini)

/**
 * `{ type: "image", data, mimeType }` in the content of the Model Context Protocol
 * (https://modelcontextprotocol.io/specification/2025-11-25/schema): of a tool's result, of a response with one, and of
 * the messages that are sampled.
 *
 * @since 0.1.0
 * @category dialects
 */
export const mcp: InitImageDialect = fromShapes(apis.mcp)

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
export const aiSdk: InitImageDialect = fromShapes(apis.aiSdk)

/**
 * The image block of LangChain, version 1 (https://docs.langchain.com/oss/javascript/langchain/messages):
 * `{ type: "image", data, mimeType }` of JavaScript and `{ type: "image", base64, mime_type }` of Python; and version 0
 * with `source_type` (https://v03.api.js.langchain.com). A `url` may be a data URL.
 *
 * @since 0.1.0
 * @category dialects
 */
export const langChain: InitImageDialect = fromShapes(apis.langChain)

/**
 * `images: [base64]` in the messages of Ollama's chat and in its generate request
 * (https://github.com/ollama/ollama/blob/main/docs/api.md). There is no declared type: the bytes decide.
 *
 * @since 0.1.0
 * @category dialects
 */
export const ollama: InitImageDialect = fromShapes(apis.ollama)
