/**
 * The errors of an init image, one class per case.
 *
 * Each class is a `Schema.TaggedError` that carries numbers and closed literals only, never a part of the payload and
 * never a path (`InvalidPayload.field` is the server's own name for a field), so its encoded form is safe to send to the
 * client. Each class has its HTTP status both in an `HttpApi` (by annotation) and in a plain `HttpRouter` (as
 * `HttpServerRespondable`), and a `message` for a person, which every response has beside the encoded fields.
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
import * as errorBody from "./internal/errorBody.js"
import * as errorText from "./internal/errorText.js"
import { malformedReasons } from "./internal/format/outcome.js"

const { respond } = errorBody
const { count } = errorText

/**
 * Refuses a payload that is not an init image, or a message or form that is malformed. `reason` is one of:
 *
 * - `NotAnObject`: the payload is neither empty nor an object
 * - `NotJsonValue`: the payload is no JSON value: a `Blob`, a `File`, a `Promise`, a `Map`, a `Date`, a typed array or
 *   another instance of a class
 * - `NotAString`: the payload is not a string, in a dialect where it is one; see `InitImageDialect`
 * - `DataNotAString`: the payload's `data` is not a string
 * - `BadDataUrl`: the text is not a data URL with base64 (RFC 2397), or has more than 1024 characters before its comma
 * - `MimeConflict`: the media type of the data URL is not the declared one
 * - `AmbiguousData`: the payload has data in two fields of its dialect
 * - `NotJson`: the message is not JSON (RFC 8259)
 * - `TooDeep`: the message is nested too deeply
 * - `DuplicateKey`: a key on the path to the payload, or `mime`, `name` or `data` in it, occurs twice (RFC 7493 section
 *   2.3)
 * - `MessageTooLarge`: the message or form exceeds `InitImageLimits.MaxMessageBytes`, not counting the image
 * - `NotMultipart`: the form is not valid `multipart/form-data`, or ends early (RFC 7578)
 * - `MissingBoundary`: the form's content type has no boundary (RFC 2046 section 5.1.1)
 * - `NoFile`: the form has no file
 * - `NotAFile`: the form's field for the file is text
 * - `BytesNotACount`: the announced number of bytes is not a whole number; see `InitImageSocket`
 * - `MoreBytes`, `FewerBytes`: more or fewer bytes arrived than announced
 * - `LateBytes`: the announced bytes stopped arriving
 * - `FrameTooLarge`: a frame with announced bytes is too large
 *
 * `field` names the field that the reason is about, in the server's own words: a name that the server was configured with
 * or that the library knows, never the client's.
 *
 * HTTP status 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidPayload
  extends Schema.TaggedError<InvalidPayload>("session-init-image/InitImageError/InvalidPayload")("InvalidPayload", {
    reason: Schema.Literal(
      "NotAnObject",
      "NotJsonValue",
      "NotAString",
      "DataNotAString",
      "BadDataUrl",
      "MimeConflict",
      "AmbiguousData",
      "NotJson",
      "TooDeep",
      "DuplicateKey",
      "MessageTooLarge",
      "NotMultipart",
      "MissingBoundary",
      "NoFile",
      "NotAFile",
      "BytesNotACount",
      "MoreBytes",
      "FewerBytes",
      "LateBytes",
      "FrameTooLarge"
    ),
    field: Schema.optionalWith(Schema.String, { exact: true })
  }, HttpApiSchema.annotations({ status: 400 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    const message = invalidPayloadMessages[this.reason]
    return this.field === undefined ? message : `${message.slice(0, -1)} (field ${this.field}).`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(InvalidPayload, this)
  }
}
const invalidPayloadMessages: Record<InvalidPayload["reason"], string> = {
  NotAnObject: "The image must be an object with the fields mime, name and data.",
  NotJsonValue: "The image must be a JSON value, not a Blob, another class instance or a promise without await.",
  NotAString: "The image must be a string.",
  DataNotAString: "The image's data must be a base64 string.",
  BadDataUrl: "The image must be a data URL with base64: data:image/png;base64, and the text.",
  MimeConflict: "The image's data URL has another type than the image is declared with.",
  AmbiguousData: "The image's data must be in one field only.",
  NotJson: "The message with the image is not valid JSON.",
  TooDeep: "The message with the image is nested too deeply.",
  DuplicateKey: "The message with the image contains a key twice.",
  MessageTooLarge: "The message is too large even without the image.",
  NotMultipart: "The form with the image is not valid multipart data.",
  MissingBoundary: "The form's content type has no boundary; let the HTTP client set this header.",
  NoFile: "The form has no file with the image.",
  NotAFile: "The form's field for the image is text; it must be a file, with a file name or an image type.",
  BytesNotACount: "The number of the image's bytes must be a whole number.",
  MoreBytes: "The image has more bytes than announced.",
  FewerBytes: "The image has fewer bytes than announced.",
  LateBytes: "The image's bytes stopped coming.",
  FrameTooLarge: "The image's bytes came in frames that are too large."
}

/**
 * Refuses an image without a declared type, or with one that is not accepted. `accepted` lists the accepted types.
 * `reason` is one of:
 *
 * - `Missing`: the payload has no `mime`, or a general one: `""`, `application/octet-stream`, `binary/octet-stream` or
 *   `image/*`. `field` is the payload's field that was probably meant.
 * - `NotAccepted`: the type is not a string, is not a media type of an image that is known, or is not accepted
 *
 * HTTP status 415.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidMime
  extends Schema.TaggedError<InvalidMime>("session-init-image/InitImageError/InvalidMime")("InvalidMime", {
    reason: Schema.Literal("Missing", "NotAccepted"),
    accepted: Schema.Array(ImageFormat.Mime),
    field: Schema.optionalWith(Schema.Literal(...errorText.mimeNeighbours), { exact: true })
  }, HttpApiSchema.annotations({ status: 415 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return errorText.invalidMime(this)
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(InvalidMime, this)
  }
}

/**
 * Refuses an image that is not in the message: a URL to fetch, or the id of an uploaded file. Nothing is ever fetched.
 * `scheme` is that of the URL, never the URL:
 *
 * - `http`: `http:` or `https:`
 * - `file`: `file:`
 * - `id`: no URL, but the id of an uploaded file
 * - `other`: any other scheme, such as `gs:`, `s3:` or `blob:`
 *
 * HTTP status 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class RemoteImage
  extends Schema.TaggedError<RemoteImage>("session-init-image/InitImageError/RemoteImage")("RemoteImage", {
    scheme: Schema.Literal("http", "file", "id", "other")
  }, HttpApiSchema.annotations({ status: 400 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return "The image must be sent in the message; the server fetches none from a URL or by an id."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(RemoteImage, this)
  }
}

/**
 * Refuses a message with more than `limit` images: `InitImageLimits.MaxImages`, or 1 where only one image is asked for.
 *
 * HTTP status 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class TooManyImages
  extends Schema.TaggedError<TooManyImages>("session-init-image/InitImageError/TooManyImages")("TooManyImages", {
    limit: Schema.Number
  }, HttpApiSchema.annotations({ status: 400 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return this.limit === 1
      ? "The message must not have more than one image."
      : `The message must not have more than ${count(this.limit)} images.`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(TooManyImages, this)
  }
}

/**
 * Refuses a request body with a `Content-Encoding` other than `identity` (RFC 9110 section 8.4): images are compressed
 * already.
 *
 * HTTP status 415. A plain `HttpRouter` adds `Accept-Encoding: identity` (RFC 9110 section 12.5.3); an `HttpApi` sends no
 * headers with an error.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnsupportedEncoding
  extends Schema.TaggedError<UnsupportedEncoding>("session-init-image/InitImageError/UnsupportedEncoding")(
    "UnsupportedEncoding",
    {},
    HttpApiSchema.annotations({ status: 415 })
  )
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return "The image must be sent without a content encoding such as gzip."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return Effect.map(
      respond(UnsupportedEncoding, this),
      HttpServerResponse.setHeader("accept-encoding", "identity")
    )
  }
}

/**
 * Refuses an image of more than `limit` decoded bytes (`InitImageLimits.MaxBytes`). `bytes` is the decoded size if it is
 * known beforehand; otherwise a lower bound, from the bytes received when the limit was exceeded or from the length of
 * the request's body.
 *
 * HTTP status 413.
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
    return errorText.tooLarge(this)
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(TooLarge, this)
  }
}

/**
 * Refuses an image of 0 bytes.
 *
 * HTTP status 400.
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
    return errorText.empty
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(Empty, this)
  }
}

/**
 * Refuses `data` that is not canonical base64 (RFC 4648 section 4).
 *
 * `offset` is the position of the first invalid character, in UTF-16 code units from the start of the text, or the text's
 * length where characters are missing at its end. `reason` is one of:
 *
 * - `Length`: the text's length is not a multiple of 4; there is no `offset`
 * - `Unpadded`: as `Length`, where only the padding is missing: one or two `=` at the end (RFC 4648 section 3.2)
 * - `Character`: a character outside the standard alphabet
 * - `DataUrl`: the text is a data URL (RFC 2397), `data:image/png;base64,` before the base64
 * - `LineBreaks`: a CR or LF, as MIME and PEM encoders insert them
 * - `WhiteSpace`: any other white space
 * - `UrlSafe`: a `-` or `_` of the URL-safe alphabet (RFC 4648 section 5)
 * - `MixedAlphabets`: a character of the one alphabet behind one of the other, where a dialect accepts both
 * - `Padding`: a `=` before the last one or two characters
 * - `UnusedBits`: the unused bits of the last character before the padding are not zero
 *
 * HTTP status 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class BadBase64
  extends Schema.TaggedError<BadBase64>("session-init-image/InitImageError/BadBase64")("BadBase64", {
    reason: Schema.Literal(
      "Length",
      "Unpadded",
      "Character",
      "DataUrl",
      "LineBreaks",
      "WhiteSpace",
      "UrlSafe",
      "MixedAlphabets",
      "Padding",
      "UnusedBits"
    ),
    offset: Schema.optionalWith(Schema.Number, { exact: true })
  }, HttpApiSchema.annotations({ status: 400 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    const at = this.offset === undefined ? "" : ` (at character ${count(this.offset)})`
    return `The image's data is not valid base64: ${badBase64Messages[this.reason]}${at}.`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(BadBase64, this)
  }
}
const badBase64Messages: Record<BadBase64["reason"], string> = {
  Length: "its length is not a multiple of 4",
  Unpadded: "the padding with = at its end is missing",
  Character: "it has a character outside the alphabet",
  DataUrl: "it is a data URL; send only the text after its comma",
  LineBreaks: "it has line breaks; encode it as one line",
  WhiteSpace: "it has white space; remove it",
  UrlSafe: "it has the URL-safe - or _; use the alphabet with + and /",
  MixedAlphabets: "it has characters of the standard and of the URL-safe alphabet",
  Padding: "it has padding in the wrong place",
  UnusedBits: "the unused bits of its last character are not zero"
}

/**
 * Refuses bytes that do not begin with the signature of the declared type, or, where no type was declared (`declared` is
 * absent), of any accepted type. `detected` is the type of their signature, or `unknown`.
 *
 * HTTP status 415.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContentMismatch
  extends Schema.TaggedError<ContentMismatch>("session-init-image/InitImageError/ContentMismatch")("ContentMismatch", {
    declared: Schema.optionalWith(ImageFormat.Name, { exact: true }),
    detected: ImageFormat.Detected
  }, HttpApiSchema.annotations({ status: 415 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return errorText.contentMismatch(this)
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(ContentMismatch, this)
  }
}

/**
 * Refuses an image with a malformed header or structure, one that ends early (`Truncated`), or a JPEG process that common
 * decoders do not read (`UnsupportedProcess`).
 *
 * HTTP status 422.
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
  BadHeader: "has a header that its format does not allow",
  BadChecksum: "has a part with a wrong checksum",
  BadLength: "has a part with a wrong length",
  ZeroDimension: "has no width or no height",
  MissingHeader: "has no header",
  MissingTable: "does not define a table that it uses",
  MissingImageData: "contains no image data",
  UnexpectedSegment: "has a part in the wrong place",
  UnsupportedProcess: "uses a coding that is not supported"
}

/**
 * Refuses an image of more than `limit` pixels (`InitImageLimits.MaxPixels`), as `width` × `height`.
 *
 * HTTP status 422.
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
 * Refuses an image while the spool is full: too many bytes are in flight or kept, see `InitImageSpool`. The client may
 * send the same image again after `retryAfter` seconds, a whole number above 0.
 *
 * HTTP status 503. A plain `HttpRouter` adds a `Retry-After` header (RFC 9110 section 10.2.3); an `HttpApi` sends no
 * headers with an error, and the body carries the same number.
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
 * Refuses an image that cannot be decoded; see `InitImageNormalizer`. Not part of {@link InitImageError}, since only a
 * server with the normalizer fails with it. `reason` is one of:
 *
 * - `Corrupt`: the image's data is broken, or is not of its format
 * - `TooMuchMemory`: decoding the image takes more memory than the normalizer may ever use
 *
 * HTTP status 422.
 *
 * @since 0.1.0
 * @category errors
 */
export class UndecodableImage
  extends Schema.TaggedError<UndecodableImage>("session-init-image/InitImageError/UndecodableImage")(
    "UndecodableImage",
    {
      format: Schema.Literal("png", "jpeg", "webp", "gif", "avif"),
      reason: Schema.Literal("Corrupt", "TooMuchMemory")
    },
    HttpApiSchema.annotations({ status: 422 })
  )
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return this.reason === "Corrupt"
      ? `The ${this.format} image's data is damaged and cannot be decoded.`
      : `The ${this.format} image takes too much memory to decode.`
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(UndecodableImage, this)
  }
}

/**
 * Refuses an image whose decoding takes longer than `limit` seconds; see `InitImageNormalizer`. Not part of
 * {@link InitImageError}, since only a server with the normalizer fails with it.
 *
 * HTTP status 422.
 *
 * @since 0.1.0
 * @category errors
 */
export class DecodeTimeout
  extends Schema.TaggedError<DecodeTimeout>("session-init-image/InitImageError/DecodeTimeout")("DecodeTimeout", {
    limit: Schema.Number
  }, HttpApiSchema.annotations({ status: 422 }))
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return "The image takes too long to decode."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(DecodeTimeout, this)
  }
}

/**
 * The schema of every error of an init image. An `HttpApiEndpoint` takes it in `addError`; a client decodes a server's
 * answer with it. The encoded form has the error's `message` beside its fields.
 *
 * @since 0.1.0
 * @category schemas
 */
export const InitImageError = Schema.Union(
  errorBody.withMessage(InvalidPayload),
  errorBody.withMessage(InvalidMime),
  errorBody.withMessage(RemoteImage),
  errorBody.withMessage(TooManyImages),
  errorBody.withMessage(UnsupportedEncoding),
  errorBody.withMessage(TooLarge),
  errorBody.withMessage(Empty),
  errorBody.withMessage(BadBase64),
  errorBody.withMessage(ContentMismatch),
  errorBody.withMessage(MalformedImage),
  errorBody.withMessage(TooManyPixels),
  errorBody.withMessage(Busy)
)

/**
 * Any error of an init image.
 *
 * @since 0.1.0
 * @category models
 */
export type InitImageError = typeof InitImageError.Type

/**
 * Tells whether a value is an error of an init image.
 *
 * @function
 * @since 0.1.0
 * @category guards
 */
export const isInitImageError: (u: unknown) => u is InitImageError = Schema.is(InitImageError)
