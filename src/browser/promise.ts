/**
 * Encodes a picture in a web page as the payload of a message, or sends its bytes over a WebSocket.
 *
 * Uses promises and does not import Effect; `session-init-image/browser` is the same API with Effect. Promises reject
 * with the error classes of this module, which have the `_tag`s, fields and messages of `InitImageError`, or with the
 * reason of an `AbortSignal`.
 *
 * @since 0.1.0
 * @module
 */
import * as errorText from "../internal/errorText.js"
import type { Detected } from "../internal/format/outcome.js"
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

abstract class Tagged<Tag extends string> extends Error {
  readonly _tag: Tag
  constructor(tag: Tag, message: string, options?: ErrorOptions) {
    super(message, options)
    this._tag = tag
    this.name = tag
  }
}

/**
 * Refuses a blob of a type other than the `accepted` ones. For a blob without a specific type (`""`,
 * `application/octet-stream`) its bytes decide.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidMime extends Tagged<"InvalidMime"> {
  /** @since 0.1.0 */
  readonly reason: "NotAccepted"
  /** @since 0.1.0 */
  readonly accepted: ReadonlyArray<protocol.Mime>
  constructor(fields: { readonly reason: "NotAccepted"; readonly accepted: ReadonlyArray<protocol.Mime> }) {
    super("InvalidMime", errorText.invalidMime(fields))
    this.reason = fields.reason
    this.accepted = fields.accepted
  }
}

/**
 * Refuses a blob of more than `limit` bytes.
 *
 * @since 0.1.0
 * @category errors
 */
export class TooLarge extends Tagged<"TooLarge"> {
  /** @since 0.1.0 */
  readonly bytes: number
  /** @since 0.1.0 */
  readonly limit: number
  constructor({ bytes, limit }: { readonly bytes: number; readonly limit: number }) {
    super("TooLarge", errorText.tooLarge({ limit }))
    this.bytes = bytes
    this.limit = limit
  }
}

/**
 * Refuses a blob without bytes.
 *
 * @since 0.1.0
 * @category errors
 */
export class Empty extends Tagged<"Empty"> {
  constructor() {
    super("Empty", errorText.empty)
  }
}

/**
 * Refuses a blob with first bytes of another type than declared, or, where it has no specific type (`declared` is absent),
 * of no accepted type. `detected` is that type, or `unknown`.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContentMismatch extends Tagged<"ContentMismatch"> {
  /** @since 0.1.0 */
  declare readonly declared?: protocol.Name
  /** @since 0.1.0 */
  readonly detected: Detected
  constructor(fields: { readonly declared?: protocol.Name; readonly detected: Detected }) {
    super("ContentMismatch", errorText.contentMismatch(fields))
    if (fields.declared !== undefined) this.declared = fields.declared
    this.detected = fields.detected
  }
}

/**
 * Reports a blob that cannot be read: a file that was changed, moved or removed after it was chosen.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnreadableBlob extends Tagged<"UnreadableBlob"> {
  constructor({ cause }: { readonly cause: unknown }) {
    super("UnreadableBlob", failure.unreadableBlobMessage, { cause })
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
export class ServerError extends Tagged<"ServerError"> {
  /** @since 0.1.0 */
  readonly code: string
  /** @since 0.1.0 */
  readonly retryable: boolean
  /** @since 0.1.0 */
  readonly details: Readonly<Record<string, unknown>>
  constructor({ code, details, message, retryable }: {
    readonly code: string
    readonly message: string
    readonly retryable: boolean
    readonly details: Readonly<Record<string, unknown>>
  }) {
    super("ServerError", message)
    this.code = code
    this.retryable = retryable
    this.details = details
  }
}

/**
 * Reports a connection that ended before the server's answer. `code` and `reason` are those of the close frame (RFC 6455
 * section 7.4); `code` is 1006 without one.
 *
 * @since 0.1.0
 * @category errors
 */
export class SocketClosed extends Tagged<"SocketClosed"> {
  /** @since 0.1.0 */
  readonly code: number
  /** @since 0.1.0 */
  readonly reason: string
  constructor({ code, reason }: { readonly code: number; readonly reason: string }) {
    super("SocketClosed", failure.socketClosedMessage(code))
    this.code = code
    this.reason = reason
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
  readonly signal?: AbortSignal | undefined
}

/**
 * Encodes a picture as the payload of a JSON message, or in the shape of another dialect, with the name of a `File`.
 * The first bytes of a blob without a specific type (`""`, `application/octet-stream`, `image/*`) decide its type.
 *
 * Rejects with {@link InvalidMime}, {@link Empty}, {@link TooLarge} or {@link ContentMismatch} after reading at most the
 * first kilobyte, with {@link UnreadableBlob}, or with the signal's reason.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { fromBlob } from "session-init-image/browser/promise"
 *
 * export const open = async (socket: { readonly send: (text: string) => void }, file: File) =>
 *   socket.send(JSON.stringify({ type: "session_init_v2", initial_image: await fromBlob(file) }))
 * ```
 */
export const fromBlob = async <D extends Dialect = "payload">(
  blob: Blob,
  options: FromBlobOptions<D> = {}
): Promise<Encoded<D>> => {
  const payload = await blobs.toPayload(blob, options)
  if ("_tag" in payload) throw toError(payload)
  return encode(payload, options.dialect)
}

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
  /** Called if the server replaces the picture after the signal has aborted. */
  readonly onAcceptedLate?: ((image: protocol.ImageDescription) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Sends a picture over a WebSocket in binary frames, by the protocol of `InitImageSocket`, and returns the server's
 * description of it. Waits for a socket that is still connecting. Reads the picture as it is sent, at most 1 MiB ahead of
 * the server's progress.
 *
 * Sends pictures on one socket one after the other. The application must not send other messages meanwhile.
 *
 * An aborted signal rejects at once with its reason and ends the upload: it closes the socket of an opening, and cancels
 * a replacement with a message of the type `init_image_cancelled`, after which the session continues. Once all bytes are
 * sent, the server may still replace the picture, which `onAcceptedLate` tells.
 *
 * Rejects with the errors of {@link fromBlob} before it sends anything, and with {@link ServerError} and
 * {@link SocketClosed}.
 *
 * @since 0.1.0
 * @category sending
 * @example
 * ```ts
 * import { send, type WebSocketLike } from "session-init-image/browser/promise"
 *
 * export const open = (socket: WebSocketLike, file: File, signal: AbortSignal) =>
 *   send(socket, file, {
 *     type: "session_init_v2",
 *     message: { prompt: "a cat" },
 *     onProgress: ({ bytes, received }) => console.log(received / bytes),
 *     signal
 *   })
 * ```
 */
export const send = (
  socket: upload.WebSocketLike,
  blob: Blob,
  { signal, ...options }: SendOptions
): Promise<protocol.ImageDescription> =>
  new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const abort = upload.send(socket, blob, options, (outcome) => {
      signal?.removeEventListener("abort", onAbort)
      if (outcome._tag === "Image") resolve(outcome.image)
      else reject(toError(outcome))
    })
    const onAbort = () => {
      reject(signal?.reason)
      abort()
    }
    signal?.addEventListener("abort", onAbort, { once: true })
  })
