/**
 * Everything that can be wrong with an init image, one class per case.
 *
 * Every class is a `Schema.TaggedError` that carries numbers and closed literals only, never a part of the payload and
 * never a path, so that its encoded form is safe to send to whoever sent the image. Each answers with its HTTP status
 * both in an `HttpApi` (by annotation) and in a plain `HttpRouter` (as `HttpServerRespondable`), and its `message` is
 * fit to show a person.
 *
 * @since 0.1.0
 * @module
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as ImageFormat from "./ImageFormat.js"
import { malformedReasons } from "./internal/format/probe.js"

/** The error as JSON, with the status that its schema is annotated with. */
const respond = <A, I>(
  schema: Schema.Schema<A, I>,
  self: A
): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown> =>
  HttpServerResponse.schemaJson(schema)(self, { status: HttpApiSchema.getStatusError(schema) })

const count = (n: number): string => n.toLocaleString("en-US")

/**
 * What was sent is not an init image at all, or the message that carries it is broken:
 *
 * - `NotAnObject`, `DataNotAString`: the payload is neither nothing nor an object, or its `data` is not a string
 * - `NotJson`, `TooDeep`: the message is not JSON, or nested too deeply
 * - `MessageTooLarge`: the message, or the form, is too large without the image
 * - `NotMultipart`: the form is not one, or ends early (RFC 7578)
 * - `BytesNotACount`: the number of bytes that were to follow is not a whole number; see `InitImageSocket`
 * - `MoreBytes`, `FewerBytes`, `LateBytes`: of those bytes there came too many, too few, or none for too long
 * - `FrameTooLarge`: too many of them came in one frame
 *
 * Answers 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidPayload
  extends Schema.TaggedError<InvalidPayload>("session-init-image/InitImageError/InvalidPayload")("InvalidPayload", {
    reason: Schema.Literal(
      "NotAnObject",
      "DataNotAString",
      "NotJson",
      "TooDeep",
      "MessageTooLarge",
      "NotMultipart",
      "BytesNotACount",
      "MoreBytes",
      "FewerBytes",
      "LateBytes",
      "FrameTooLarge"
    )
  }, HttpApiSchema.annotations({ status: 400 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return invalidPayloadMessages[this.reason]
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(InvalidPayload, this)
  }
}
const invalidPayloadMessages: Record<InvalidPayload["reason"], string> = {
  NotAnObject: "The image must be an object with the fields mime, name and data.",
  DataNotAString: "The image's data must be a base64 string.",
  NotJson: "The message with the image is not valid JSON.",
  TooDeep: "The message with the image is nested too deeply.",
  MessageTooLarge: "The message with the image has too much in it beside the image.",
  NotMultipart: "The form with the image is broken.",
  BytesNotACount: "The number of the image's bytes must be a whole number.",
  MoreBytes: "The image has more bytes than it was said to have.",
  FewerBytes: "The image has fewer bytes than it was said to have.",
  LateBytes: "The image's bytes stopped coming.",
  FrameTooLarge: "The image's bytes came in frames that are too large."
}

/**
 * `mime` is missing, is not a string, or names a type that is not accepted. Carries the types that are.
 *
 * Answers 415.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidMime
  extends Schema.TaggedError<InvalidMime>("session-init-image/InitImageError/InvalidMime")("InvalidMime", {
    accepted: Schema.Array(ImageFormat.Mime)
  }, HttpApiSchema.annotations({ status: 415 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return `The image's type must be one of: ${this.accepted.join(", ")}.`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(InvalidMime, this)
  }
}

/**
 * The decoded image is larger than `limit` bytes. `bytes` is its decoded size where that is known beforehand, or how
 * large it is at the least: by what had arrived when the limit was passed, or by the length of the body that brings it.
 *
 * Answers 413.
 *
 * @since 0.1.0
 * @category errors
 */
export class TooLarge extends Schema.TaggedError<TooLarge>("session-init-image/InitImageError/TooLarge")("TooLarge", {
  bytes: Schema.Number,
  limit: Schema.Number
}, HttpApiSchema.annotations({ status: 413 })) implements HttpServerRespondable.Respondable {
  /** @since 0.1.0 */
  override get message(): string {
    return `The image is larger than the ${count(this.limit)} bytes that are allowed.`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(TooLarge, this)
  }
}

/**
 * The image has no bytes.
 *
 * Answers 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class Empty extends Schema.TaggedError<Empty>("session-init-image/InitImageError/Empty")(
  "Empty",
  {},
  HttpApiSchema.annotations({ status: 400 })
) implements HttpServerRespondable.Respondable {
  /** @since 0.1.0 */
  override get message(): string {
    return "The image is empty."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(Empty, this)
  }
}

/**
 * `data` is not canonical base64 (RFC 4648 section 4).
 *
 * `offset`, in UTF-16 code units from the start of the text, is that of the first offending character:
 *
 * - `Length`: the text's length is not a multiple of 4; there is no one offending character and no `offset`
 * - `Character`: a character outside the standard alphabet, white space and the URL-safe `-` and `_` among them
 * - `Padding`: a `=` anywhere but in the last one or two places
 * - `UnusedBits`: the last character before the padding has bits set that encode nothing
 *
 * Answers 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class BadBase64
  extends Schema.TaggedError<BadBase64>("session-init-image/InitImageError/BadBase64")("BadBase64", {
    reason: Schema.Literal("Length", "Character", "Padding", "UnusedBits"),
    offset: Schema.optionalWith(Schema.Number, { exact: true })
  }, HttpApiSchema.annotations({ status: 400 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    const at = this.offset === undefined ? "" : ` at character ${count(this.offset)}`
    return `The image's data is not valid base64: ${badBase64Messages[this.reason]}${at}.`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(BadBase64, this)
  }
}
const badBase64Messages: Record<BadBase64["reason"], string> = {
  Length: "its length is not a multiple of 4",
  Character: "a character outside the base64 alphabet",
  Padding: "padding in the wrong place",
  UnusedBits: "the unused bits are not zero"
}

/**
 * The bytes are not of the declared type. `detected` is the type that they begin with, or `unknown`.
 *
 * Answers 415.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContentMismatch
  extends Schema.TaggedError<ContentMismatch>("session-init-image/InitImageError/ContentMismatch")("ContentMismatch", {
    declared: ImageFormat.Name,
    detected: ImageFormat.Detected
  }, HttpApiSchema.annotations({ status: 415 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return this.detected === "unknown"
      ? `The image was sent as ${this.declared}, but its bytes are not of that type.`
      : `The image was sent as ${this.declared}, but its bytes are ${this.detected}.`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(ContentMismatch, this)
  }
}

/**
 * The image's header or structure is broken, it ends early (`Truncated`), or it is of a kind that common decoders do
 * not read (`UnsupportedProcess`).
 *
 * Answers 422.
 *
 * @since 0.1.0
 * @category errors
 */
export class MalformedImage
  extends Schema.TaggedError<MalformedImage>("session-init-image/InitImageError/MalformedImage")("MalformedImage", {
    format: ImageFormat.Name,
    reason: Schema.Literal(...malformedReasons)
  }, HttpApiSchema.annotations({ status: 422 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return `The ${this.format} image ${malformedMessages[this.reason]}.`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(MalformedImage, this)
  }
}
const malformedMessages: Record<MalformedImage["reason"], string> = {
  Truncated: "ends before it is complete",
  BadHeader: "has a header that its standard does not allow",
  BadChecksum: "has a header whose checksum is wrong",
  BadLength: "has a part whose length is wrong",
  ZeroDimension: "has no width or no height",
  MissingHeader: "has no header",
  MissingImageData: "has no picture in it",
  UnexpectedSegment: "has a part where none may be",
  UnsupportedProcess: "uses a coding that is not supported"
}

/**
 * `width` × `height`, in pixels, is above `limit`.
 *
 * Answers 422.
 *
 * @since 0.1.0
 * @category errors
 */
export class TooManyPixels
  extends Schema.TaggedError<TooManyPixels>("session-init-image/InitImageError/TooManyPixels")("TooManyPixels", {
    width: Schema.Number,
    height: Schema.Number,
    limit: Schema.Number
  }, HttpApiSchema.annotations({ status: 422 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return `The image is ${this.width} by ${this.height} pixels; at most ${count(this.limit)} are allowed in all.`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(TooManyPixels, this)
  }
}

/**
 * There is no room for the image at the moment: too many bytes are in flight or kept, see `InitImageSpool`. The same
 * image may be sent again after `retryAfter` seconds, a whole number above 0.
 *
 * Answers 503, in a plain `HttpRouter` with a `Retry-After` header (RFC 9110 section 10.2.3). An `HttpApi` sends no
 * headers with an error; there the body says the same.
 *
 * @since 0.1.0
 * @category errors
 */
export class Busy extends Schema.TaggedError<Busy>("session-init-image/InitImageError/Busy")("Busy", {
  retryAfter: Schema.Number
}, HttpApiSchema.annotations({ status: 503 })) implements HttpServerRespondable.Respondable {
  /** @since 0.1.0 */
  override get message(): string {
    const unit = this.retryAfter === 1 ? "second" : "seconds"
    return `The image cannot be taken at the moment; please try again in ${count(this.retryAfter)} ${unit}.`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return Effect.map(respond(Busy, this), HttpServerResponse.setHeader("retry-after", String(this.retryAfter)))
  }
}

/**
 * Anything that can be wrong with an init image, as a schema: add it to an `HttpApiEndpoint` with `addError`, or decode
 * what a server answered with it.
 *
 * @since 0.1.0
 * @category schemas
 */
export const InitImageError = Schema.Union(
  InvalidPayload,
  InvalidMime,
  TooLarge,
  Empty,
  BadBase64,
  ContentMismatch,
  MalformedImage,
  TooManyPixels,
  Busy
)

/**
 * @since 0.1.0
 * @category models
 */
export type InitImageError = typeof InitImageError.Type

/**
 * @since 0.1.0
 * @category guards
 */
export const isInitImageError: (u: unknown) => u is InitImageError = Schema.is(InitImageError)
