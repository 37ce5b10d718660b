/** References to stored images, and the errors of a store. */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Schema from "effect/Schema"
import { Buffer } from "node:buffer"
import * as ImageFormat from "../../ImageFormat.js"
import { respond } from "../errorBody.js"

/** Keys of objects under an unguessable name, and under the hash of a caller's name. Safe as a file name. */
export const keyPattern = /^(?:[0-9a-f]{32}|named-[A-Za-z0-9_-]{43})$/

const Count = Schema.Int.pipe(Schema.nonNegative())

/**
 * A stored image: enough to fetch it and to check that it is the same. Its JSON is under 400 bytes, in snake case, and
 * holds no URL, credential or path:
 *
 * ```jsonc
 * {"key":"…","sha256":"…","bytes":4210733,"mime":"image/jpeg","width":4000,"height":3000,"orientation":6,"display_name":"photo.jpg","expires_at":"2026-01-31T12:00:00.000Z"}
 * ```
 *
 * The key is as good as the image for every program that may read the store; it is not a secret from an operator. Width
 * and height are in pixels, as stored. `sha256` is in lower-case hex. `displayName` is cut to 100 bytes.
 *
 * @since 0.1.0
 * @category models
 */
export class ImageReference extends Schema.Class<ImageReference>("session-init-image/InitImageStore/ImageReference")({
  key: Schema.String.pipe(Schema.pattern(keyPattern)),
  sha256: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/)),
  bytes: Count,
  mime: ImageFormat.Mime,
  width: Count,
  height: Count,
  orientation: Schema.Literal(1, 2, 3, 4, 5, 6, 7, 8),
  displayName: Schema.propertySignature(Schema.String).pipe(Schema.fromKey("display_name")),
  expiresAt: Schema.propertySignature(Schema.DateTimeUtc).pipe(Schema.fromKey("expires_at"))
}) {}

const maxNameBytes = 100

/** The name's longest start whose JSON string has at most 100 bytes, on a code-point boundary. */
export const cutName = (name: string): string => {
  let cut = ""
  let bytes = 0
  for (const character of name) {
    bytes += Buffer.byteLength(JSON.stringify(character)) - 2
    if (bytes > maxNameBytes) break
    cut += character
  }
  return cut
}

const storeErrorMessages = {
  Unavailable: "The image store does not answer.",
  Denied: "The image store refuses its credentials.",
  NoBucket: "The image store has no such bucket.",
  ClockSkew: "The image store's clock differs too much from this host's.",
  Refused: "The image store refuses the request.",
  Credentials: "The image store's credentials cannot be had.",
  FileUnreadable: "The image's file cannot be read, or has changed.",
  Unsupported: "The image store cannot do this."
} as const

/**
 * Tells that a store cannot do its work: the operator's trouble. Carries no URL, key, header or path. `reason` is one of:
 *
 * - `Unavailable`: no connection, no answer in time, or a server error (500 to 599, 429), after all retries
 * - `Denied`: the server does not accept the credentials, or they do not allow the request
 * - `NoBucket`: there is no such bucket, or no such directory
 * - `ClockSkew`: the host's clock differs from the server's by more than the server allows
 * - `Refused`: any other refusal; `status` is that of the response
 * - `Credentials`: the effect that gives the credentials failed
 * - `FileUnreadable`: the image's file cannot be read, or changed while it was sent
 * - `Unsupported`: this store has no such operation
 *
 * HTTP status 503.
 *
 * @since 0.1.0
 * @category errors
 */
export class StoreError extends Schema.TaggedError<StoreError>("session-init-image/InitImageStore/StoreError")(
  "StoreError",
  {
    operation: Schema.Literal("put", "get", "remove", "list", "presign"),
    reason: Schema.Literal(
      "Unavailable",
      "Denied",
      "NoBucket",
      "ClockSkew",
      "Refused",
      "Credentials",
      "FileUnreadable",
      "Unsupported"
    ),
    status: Schema.optionalWith(Schema.Int, { exact: true })
  },
  HttpApiSchema.annotations({ status: 503 })
) implements HttpServerRespondable.Respondable {
  /** @since 0.1.0 */
  override get message(): string {
    return storeErrorMessages[this.reason]
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(StoreError, this)
  }
}

/**
 * Refuses a reference to an image that has been removed or has expired.
 *
 * HTTP status 410.
 *
 * @since 0.1.0
 * @category errors
 */
export class ImageGone extends Schema.TaggedError<ImageGone>("session-init-image/InitImageStore/ImageGone")(
  "ImageGone",
  {},
  HttpApiSchema.annotations({ status: 410 })
) implements HttpServerRespondable.Respondable {
  /** @since 0.1.0 */
  override get message(): string {
    return "The image is no longer stored."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(ImageGone, this)
  }
}

/**
 * Refuses a stored object that is not the image of the reference. `reason` is one of:
 *
 * - `Length`: it has another number of bytes
 * - `Digest`: its SHA-256 is another one
 *
 * An image under a name is also changed for its old references once another one is put.
 *
 * HTTP status 502.
 *
 * @since 0.1.0
 * @category errors
 */
export class ImageChanged extends Schema.TaggedError<ImageChanged>("session-init-image/InitImageStore/ImageChanged")(
  "ImageChanged",
  { reason: Schema.Literal("Length", "Digest") },
  HttpApiSchema.annotations({ status: 502 })
) implements HttpServerRespondable.Respondable {
  /** @since 0.1.0 */
  override get message(): string {
    return "The stored image is not the one that was referred to."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(ImageChanged, this)
  }
}
