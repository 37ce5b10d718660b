/**
 * Init images in a web page: a picture as the payload of a message, or sent over a WebSocket as it is.
 *
 * `session-init-image/browser/promise` is the same without Effect.
 *
 * @since 0.1.0
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ContentMismatch, Empty, InvalidMime, TooLarge } from "../InitImageError.js"
import * as blobs from "./internal/blob.js"
import * as protocol from "./internal/protocol.js"
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
  Progress,
  /**
   * @since 0.1.0
   * @category models
   */
  WebSocketLike
} from "./internal/protocol.js"

/**
 * The blob's bytes cannot be had: a file that was changed, moved or removed since it was chosen.
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
    return protocol.unreadableBlobMessage
  }
}

/**
 * What the server answered to an image that it refuses: `code` is the tag of an `InitImageError` in snake case
 * (`malformed_image`), or one of `InitImageSocket.ErrorMessage`. `message` is fit to show a person. What is `retryable`
 * may succeed later as it is.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerError
  extends Schema.TaggedError<ServerError>("session-init-image/browser/ServerError")("ServerError", {
    code: Schema.String,
    message: Schema.String,
    retryable: Schema.Boolean
  })
{}

/**
 * The connection was closed before the server had answered, with that code and reason (RFC 6455 section 7.4); 1006 where
 * there was no word of it.
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
    return protocol.socketClosedMessage(this.code)
  }
}

/**
 * What can be wrong with a blob before any of it is sent.
 *
 * @since 0.1.0
 * @category errors
 */
export type BlobError = InvalidMime | TooLarge | Empty | ContentMismatch | UnreadableBlob

/**
 * What can go wrong while a blob is sent.
 *
 * @since 0.1.0
 * @category errors
 */
export type SendError = BlobError | ServerError | SocketClosed

function toError(failure: protocol.BlobFailure): BlobError
function toError(failure: protocol.Failure): SendError
function toError(failure: protocol.Failure): SendError {
  switch (failure._tag) {
    case "InvalidMime":
      return new InvalidMime(failure)
    case "TooLarge":
      return new TooLarge(failure)
    case "Empty":
      return new Empty()
    case "ContentMismatch":
      return new ContentMismatch(failure)
    case "UnreadableBlob":
      return new UnreadableBlob(failure)
    case "ServerError":
      return new ServerError(failure)
    case "SocketClosed":
      return new SocketClosed(failure)
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface FromBlobOptions {
  /** In bytes; 32 MiB by default, as on the server. */
  readonly maxBytes?: number | undefined
}

/**
 * The payload for a picture that goes into a JSON message. A `File`'s name is its name.
 *
 * Fails with `InvalidMime`, `Empty`, `TooLarge` or `ContentMismatch` of `InitImageError` before more than the first
 * kilobyte has been read, and with {@link UnreadableBlob}.
 *
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
export const fromBlob: (
  blob: Blob,
  options?: FromBlobOptions
) => Effect.Effect<protocol.Payload, BlobError> = Effect.fn("browser.fromBlob")(
  function*(blob: Blob, options: FromBlobOptions = {}) {
    const payload = yield* Effect.promise((signal) => blobs.toPayload(blob, { ...options, signal }))
    return "_tag" in payload ? yield* Effect.fail(toError(payload)) : payload
  }
)

/**
 * @since 0.1.0
 * @category models
 */
export interface SendOptions {
  /** Whether the image opens the session or replaces the one that it has. */
  readonly type: "session_init_v2" | "init_image_updated"
  /** What else stands in the message. */
  readonly message?: Readonly<Record<string, unknown>> | undefined
  /** In bytes; 32 MiB by default, as on the server. */
  readonly maxBytes?: number | undefined
  /** Called as the server takes the bytes, the first time with none of them, and with all of them at the end. */
  readonly onProgress?: ((progress: protocol.Progress) => void) | undefined
}

/**
 * Sends a picture over a WebSocket, as it is and in binary frames, by the protocol of `InitImageSocket`; gives what the
 * server says of it. A socket that is still connecting is waited for. The picture is read as it is sent, and no more
 * than 1 MiB is under way at a time.
 *
 * Pictures on one socket are sent one after the other. Nothing else may be sent on it meanwhile.
 *
 * Interrupted, it ends the upload: of an opening by closing the socket; of a picture that replaces another by a message
 * of the type `init_image_cancelled`, and the session goes on. Once all bytes are sent the server may have replaced the
 * picture all the same.
 *
 * Fails with what {@link fromBlob} does before anything is sent, and then with {@link ServerError} or
 * {@link SocketClosed}.
 *
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
  socket: protocol.WebSocketLike,
  blob: Blob,
  options: SendOptions
) => Effect.Effect<protocol.ImageDescription, SendError> = Effect.fn("browser.send")(
  (socket: protocol.WebSocketLike, blob: Blob, options: SendOptions) =>
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
