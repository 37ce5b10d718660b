/**
 * Init images in a web page: a picture as the payload of a message, or sent over a WebSocket as it is.
 *
 * Plain promises, without Effect; `session-init-image/browser` is the same with it. Promises reject with the classes of
 * this module, which have the `_tag`s, fields and messages of `InitImageError`, or with an `AbortSignal`'s reason.
 *
 * @since 0.1.0
 * @module
 */
import type { Detected } from "../internal/format/signature.js"
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

const count = (n: number): string => n.toLocaleString("en-US")

abstract class Tagged<Tag extends string> extends Error {
  readonly _tag: Tag
  constructor(tag: Tag, message: string, options?: ErrorOptions) {
    super(message, options)
    this._tag = tag
    this.name = tag
  }
}

/**
 * The blob's type is none of those that are accepted. A file of no known type has none, `""`.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidMime extends Tagged<"InvalidMime"> {
  /** @since 0.1.0 */
  readonly accepted: ReadonlyArray<protocol.Mime>
  constructor({ accepted }: { readonly accepted: ReadonlyArray<protocol.Mime> }) {
    super("InvalidMime", `The image's type must be one of: ${accepted.join(", ")}.`)
    this.accepted = accepted
  }
}

/**
 * The blob has more than `limit` bytes.
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
    super("TooLarge", `The image is larger than the ${count(limit)} bytes that are allowed.`)
    this.bytes = bytes
    this.limit = limit
  }
}

/**
 * The blob has no bytes.
 *
 * @since 0.1.0
 * @category errors
 */
export class Empty extends Tagged<"Empty"> {
  constructor() {
    super("Empty", "The image is empty.")
  }
}

/**
 * The blob's bytes are not of its type. `detected` is the type that they begin with, or `unknown`.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContentMismatch extends Tagged<"ContentMismatch"> {
  /** @since 0.1.0 */
  readonly declared: protocol.Name
  /** @since 0.1.0 */
  readonly detected: Detected
  constructor({ declared, detected }: { readonly declared: protocol.Name; readonly detected: Detected }) {
    super(
      "ContentMismatch",
      detected === "unknown"
        ? `The image was sent as ${declared}, but its bytes are not of that type.`
        : `The image was sent as ${declared}, but its bytes are ${detected}.`
    )
    this.declared = declared
    this.detected = detected
  }
}

/**
 * The blob's bytes cannot be had: a file that was changed, moved or removed since it was chosen.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnreadableBlob extends Tagged<"UnreadableBlob"> {
  constructor({ cause }: { readonly cause: unknown }) {
    super("UnreadableBlob", protocol.unreadableBlobMessage, { cause })
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
export class ServerError extends Tagged<"ServerError"> {
  /** @since 0.1.0 */
  readonly code: string
  /** @since 0.1.0 */
  readonly retryable: boolean
  constructor({ code, message, retryable }: {
    readonly code: string
    readonly message: string
    readonly retryable: boolean
  }) {
    super("ServerError", message)
    this.code = code
    this.retryable = retryable
  }
}

/**
 * The connection was closed before the server had answered, with that code and reason (RFC 6455 section 7.4); 1006 where
 * there was no word of it.
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
    super("SocketClosed", protocol.socketClosedMessage(code))
    this.code = code
    this.reason = reason
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
  readonly signal?: AbortSignal | undefined
}

/**
 * The payload for a picture that goes into a JSON message. A `File`'s name is its name.
 *
 * Rejects with {@link InvalidMime}, {@link Empty}, {@link TooLarge} or {@link ContentMismatch} before more than the first
 * kilobyte has been read, with {@link UnreadableBlob}, or with the signal's reason.
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
export const fromBlob = async (blob: Blob, options: FromBlobOptions = {}): Promise<protocol.Payload> => {
  const payload = await blobs.toPayload(blob, options)
  if ("_tag" in payload) throw toError(payload)
  return payload
}

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
  readonly signal?: AbortSignal | undefined
}

/**
 * Sends a picture over a WebSocket, as it is and in binary frames, by the protocol of `InitImageSocket`; gives what the
 * server says of it. A socket that is still connecting is waited for. The picture is read as it is sent, and no more
 * than 1 MiB is under way at a time.
 *
 * Pictures on one socket are sent one after the other. Nothing else may be sent on it meanwhile.
 *
 * Aborted, it rejects at once with the signal's reason, and the upload ends: of an opening by closing the socket; of
 * a picture that replaces another by a message of the type `init_image_cancelled`, and the session goes on. Once all
 * bytes are sent the server may have replaced the picture all the same.
 *
 * Rejects with what {@link fromBlob} does before anything is sent, and then with {@link ServerError} or
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
  socket: protocol.WebSocketLike,
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
