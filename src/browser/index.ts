/**
 * Encodes a picture in a web page as the payload of a message, or sends its bytes over a WebSocket.
 *
 * `session-init-image/browser/promise` is the same API without Effect.
 *
 * @since 0.1.0
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ContentMismatch, Empty, InvalidMime, TooLarge } from "../InitImageError.js"
import type * as protocol from "../internal/protocol.js"
import * as blobs from "./internal/blob.js"
import { type Dialect, encode, type Encoded } from "./internal/dialects.js"
import * as failure from "./internal/failure.js"
import * as upload from "./internal/upload.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  ImageDescription,
  /**
   * @since 0.1.0
   * @category models
   */
  Payload,
  /**
   * @since 0.1.0
   * @category models
   */
  Progress
} from "../internal/protocol.js"

export type {
  /**
   * The name of a dialect of `InitImageDialect`.
   *
   * @since 0.1.0
   * @category models
   */
  Dialect,
  /**
   * An image's value in a dialect.
   *
   * @since 0.1.0
   * @category models
   */
  Encoded
} from "./internal/dialects.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  WebSocketLike
} from "./internal/upload.js"

/**
 * Reports a blob that cannot be read: a file that was changed, moved or removed after it was chosen.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnreadableBlob
  extends Schema.TaggedError<UnreadableBlob>("session-init-image/browser/UnreadableBlob")("UnreadableBlob", {
    cause: Schema.Defect
  })
{
  /** @since 0.1.0 */
  override get message(): string {
    return failure.unreadableBlobMessage
  }
}

/**
 * Reports the server's answer to an image that it refuses. `code` is the tag of an `InitImageError` in snake case
 * (`malformed_image`), or another code of `InitImageSocket.ErrorMessage`. `message` is fit to show a person. `retryable`
 * says that the same image may succeed later. `details` has the tag and the fields of the `InitImageError` as the server
 * encodes it, such as `{ "_tag": "TooLarge", "bytes": 40, "limit": 30 }`; it is empty for the other codes.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerError
  extends Schema.TaggedError<ServerError>("session-init-image/browser/ServerError")("ServerError", {
    code: Schema.String,
    message: Schema.String,
    retryable: Schema.Boolean,
    details: Schema.Record({ key: Schema.String, value: Schema.Unknown })
  })
{}

/**
 * Reports a connection that ended before the server's answer. `code` and `reason` are those of the close frame (RFC 6455
 * section 7.4); `code` is 1006 without one.
 *
 * @since 0.1.0
 * @category errors
 */
export class SocketClosed
  extends Schema.TaggedError<SocketClosed>("session-init-image/browser/SocketClosed")("SocketClosed", {
    code: Schema.Number,
    reason: Schema.String
  })
{
  /** @since 0.1.0 */
  override get message(): string {
    return failure.socketClosedMessage(this.code)
  }
}

/**
 * The errors of {@link fromBlob}.
 *
 * @since 0.1.0
 * @category errors
 */
export type BlobError = InvalidMime | TooLarge | Empty | ContentMismatch | UnreadableBlob

/**
 * The errors of {@link send}.
 *
 * @since 0.1.0
 * @category errors
 */
export type SendError = BlobError | ServerError | SocketClosed

function toError(error: failure.BlobFailure): BlobError
function toError(error: failure.Failure): SendError
function toError(error: failure.Failure): SendError {
  switch (error._tag) {
    case "InvalidMime":
      return new InvalidMime(error)
    case "TooLarge":
      return new TooLarge(error)
    case "Empty":
      return new Empty()
    case "ContentMismatch":
      return new ContentMismatch(error)
    case "UnreadableBlob":
      return new UnreadableBlob(error)
    case "ServerError":
      return new ServerError(error)
    case "SocketClosed":
      return new SocketClosed(error)
  }
}

/**
 * The options of {@link fromBlob}.
 *
 * @since 0.1.0
 * @category models
 */
export interface FromBlobOptions<D extends Dialect = "payload"> {
  /** The shape of the result, by the name of a dialect of `InitImageDialect`; `payload` by default. */
  readonly dialect?: D | undefined
  /** The largest size in bytes; 32 MiB by default, as on the server. */
  readonly maxBytes?: number | undefined
}

/**
 * Encodes a picture as the payload of a JSON message, or in the shape of another dialect, with the name of a `File`.
 * The first bytes of a blob without a specific type (`""`, `application/octet-stream`, `image/*`) decide its type.
 *
 * Fails with `InvalidMime`, `Empty`, `TooLarge` or `ContentMismatch` of `InitImageError` after reading at most the first
 * kilobyte, and with {@link UnreadableBlob}.
 *
 * @function
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { fromBlob } from "session-init-image/browser"
 *
 * export const opening = (file: File) =>
 *   fromBlob(file).pipe(
 *     Effect.map((image) => JSON.stringify({ type: "session_init_v2", initial_image: image })),
 *     Effect.catchTag("TooLarge", ({ limit }) => Effect.fail(`Please choose a picture of at most ${limit} bytes.`))
 *   )
 * ```
 */
export const fromBlob: <D extends Dialect = "payload">(
  blob: Blob,
  options?: FromBlobOptions<D>
) => Effect.Effect<Encoded<D>, BlobError> = Effect.fn("browser.fromBlob")(
  function*<D extends Dialect = "payload">(blob: Blob, options: FromBlobOptions<D> = {}) {
    const payload = yield* Effect.promise((signal) => blobs.toPayload(blob, { ...options, signal }))
    return "_tag" in payload ? yield* Effect.fail(toError(payload)) : encode(payload, options.dialect)
  }
)

/**
 * The options of {@link send}.
 *
 * @since 0.1.0
 * @category models
 */
export interface SendOptions {
  /** The message's type: the first opens a session, the second replaces its image. */
  readonly type: "session_init_v2" | "init_image_updated"
  /** The other fields of the message. */
  readonly message?: Readonly<Record<string, unknown>> | undefined
  /** The largest size in bytes; 32 MiB by default, as on the server. */
  readonly maxBytes?: number | undefined
  /** Called with each progress report of the server: first with 0 received bytes, and last with all of them. */
  readonly onProgress?: ((progress: protocol.Progress) => void) | undefined
  /** Called if the server replaces the picture after the interruption. */
  readonly onAcceptedLate?: ((image: protocol.ImageDescription) => void) | undefined
}

/**
 * Sends a picture over a WebSocket in binary frames, by the protocol of `InitImageSocket`, and returns the server's
 * description of it. Waits for a socket that is still connecting. Reads the picture as it is sent, at most 1 MiB ahead of
 * the server's progress.
 *
 * Sends pictures on one socket one after the other. The application must not send other messages meanwhile.
 *
 * An interruption ends the upload: it closes the socket of an opening, and cancels a replacement with a message of the
 * type `init_image_cancelled`, after which the session continues. Once all bytes are sent, the server may still replace
 * the picture, which `onAcceptedLate` tells.
 *
 * Fails with the errors of {@link fromBlob} before it sends anything, and with {@link ServerError} and
 * {@link SocketClosed}.
 *
 * @function
 * @since 0.1.0
 * @category sending
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { send, type WebSocketLike } from "session-init-image/browser"
 *
 * export const replace = (socket: WebSocketLike, file: File) =>
 *   send(socket, file, { type: "init_image_updated" }).pipe(
 *     Effect.timeout("1 minute"),
 *     Effect.catchTag("ServerError", ({ message }) => Effect.fail(message))
 *   )
 * ```
 */
export const send: (
  socket: upload.WebSocketLike,
  blob: Blob,
  options: SendOptions
) => Effect.Effect<protocol.ImageDescription, SendError> = Effect.fn("browser.send")(
  (socket: upload.WebSocketLike, blob: Blob, options: SendOptions) =>
    Effect.async<protocol.ImageDescription, SendError>((resume) => {
      const abort = upload.send(
        socket,
        blob,
        options,
        (outcome) => resume(outcome._tag === "Image" ? Effect.succeed(outcome.image) : Effect.fail(toError(outcome)))
      )
      return Effect.sync(abort)
    })
)
