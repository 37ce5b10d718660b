/**
 * The session protocol: the messages on a WebSocket, and the constants that both sides share. `InitImageSocket`
 * documents their order.
 *
 * Imports nothing, not even a type: a web page bundles this module and compiles against its declarations.
 */

/** An accepted media type; the same as `ImageFormat.Mime`. */
export type Mime = "image/png" | "image/jpeg" | "image/webp"

/** An accepted format's name; the same as `ImageFormat.Name`. */
export type Name = "png" | "jpeg" | "webp"

/** The turn that makes an image upright; the same as `ImageFormat.Orientation`. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8

/**
 * A verified image as a server describes it to its client: its size in `bytes`; `width` and `height` in pixels as they are
 * stored; `orientation`, the turn that makes it upright (EXIF 2.32 tag 0x0112, 1 is upright); and `upright_width` and
 * `upright_height` in pixels, as it is seen after that turn.
 *
 * @since 0.1.0
 * @category models
 */
export interface ImageDescription {
  readonly mime: Mime
  readonly display_name: string
  readonly bytes: number
  readonly width: number
  readonly height: number
  readonly orientation: Orientation
  readonly upright_width: number
  readonly upright_height: number
}

/**
 * An init image in a message: its media type, its file name if there is one, and its bytes as base64 (RFC 4648
 * section 4).
 *
 * @since 0.1.0
 * @category models
 */
export interface Payload {
  readonly mime: Mime
  readonly name?: string
  readonly data: string
}

/**
 * The number of bytes that the server has written, of the image's `bytes`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Progress {
  readonly received: number
  readonly bytes: number
}

/** The default types of the messages with an image: the first opens a session, the second replaces its image. */
export const openingType = "session_init_v2"
export const updateType = "init_image_updated"

/** The key of the payload in these messages, by default. */
export const payloadKey = "initial_image"

/** The type of a message that ends an announced image and is not answered itself. */
export const cancelType = "init_image_cancelled"

/**
 * The type of a message that asks whether the connection lives. It is answered at once, by {@link pongMessage}, and
 * belongs to no image: it may stand between the binary frames of one.
 */
export const pingType = "ping"
export const pongType = "pong"

/** The longest ping, in bytes: one that needs no length field of its own in its frame. */
export const maxPingBytes = 125

export const imageType = "session_init_image"
export const progressType = "init_image_progress"
export const errorType = "error"

/** The error codes that are not the tag of an `InitImageError`. */
export const invalidMessageCode = "invalid_message"
export const internalErrorCode = "internal_error"

/** The close codes of RFC 6455 section 7.4.1 in use. */
export const CloseCode = {
  normal: 1000,
  goingAway: 1001,
  unsupportedData: 1003,
  policyViolation: 1008,
  messageTooBig: 1009,
  internalError: 1011,
  /** Registered with IANA. */
  tryAgainLater: 1013
} as const

/** The largest image that a server accepts by default, in bytes. */
export const defaultMaxBytes = 32 * 1024 * 1024

/** The largest binary frame of an image, in bytes. */
export const maxFrameBytes = 1024 * 1024

/** A server reports progress after at least this many bytes. */
export const progressBytes = 256 * 1024

/**
 * The server's answer to a message with an image: the session's image from now on, or `null` for a message without one.
 *
 * @since 0.1.0
 * @category messages
 */
export interface ImageMessage {
  readonly type: "session_init_image"
  readonly image: ImageDescription | null
}

/**
 * The server's report of how many `bytes` of an announced image it has received.
 *
 * @since 0.1.0
 * @category messages
 */
export interface ProgressMessage extends Progress {
  readonly type: "init_image_progress"
}

/**
 * The server's answer to a message that it refuses. `code` is the tag of an `InitImageError` in snake case
 * (`too_large`), `internal_error` if the image could not be stored, or `invalid_message`. `message` is fit to show a
 * person. `retryable` says that the same message may succeed later. An answer to an `InitImageError` also has its `_tag`
 * and its fields, as the body of an HTTP response has them.
 *
 * @since 0.1.0
 * @category messages
 */
export interface ErrorMessage {
  readonly type: "error"
  readonly code: string
  readonly message: string
  readonly retryable: boolean
  readonly _tag?: string
  readonly [field: string]: unknown
}

/**
 * The server's answer to a message of the type `ping`.
 *
 * @since 0.1.0
 * @category messages
 */
export interface PongMessage {
  readonly type: "pong"
}

/**
 * Every message that the server sends by itself.
 *
 * @since 0.1.0
 * @category messages
 */
export type ServerMessage = ImageMessage | ProgressMessage | ErrorMessage | PongMessage

/** Describes an image to its client: without its path. */
export const describe = (image: {
  readonly mime: Mime
  readonly displayName: string
  readonly bytes: number
  readonly width: number
  readonly height: number
  readonly orientation: Orientation
  readonly uprightWidth: number
  readonly uprightHeight: number
}): ImageDescription => ({
  mime: image.mime,
  display_name: image.displayName,
  bytes: image.bytes,
  width: image.width,
  height: image.height,
  orientation: image.orientation,
  upright_width: image.uprightWidth,
  upright_height: image.uprightHeight
})

export const imageMessage = (image: ImageDescription | null): ImageMessage => ({ type: imageType, image })

export const progressMessage = (received: number, bytes: number): ProgressMessage => ({
  type: progressType,
  received,
  bytes
})

export const pongMessage: PongMessage = { type: pongType }

const snakeCase = (tag: string): string => tag.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toLowerCase()

/** Answers an `InitImageError`, encoded with its message. */
export const imageErrorMessage = (error: { readonly _tag: string; readonly message: string }): ErrorMessage => ({
  ...error,
  type: errorType,
  code: snakeCase(error._tag),
  retryable: error._tag === "Busy"
})

/** Answers a storage error without its cause, which only the operator may see. */
export const internalErrorMessage: ErrorMessage = {
  type: errorType,
  code: internalErrorCode,
  message: "The server could not store the image.",
  retryable: true
}

/** Answers a frame that is not a valid message. */
export const invalidMessage = (message: string): ErrorMessage => ({
  type: errorType,
  code: invalidMessageCode,
  message,
  retryable: false
})
