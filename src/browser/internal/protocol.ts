/**
 * What a page and the server say to each other, and what can go wrong, as plain data: neither face's own types, and
 * nothing that brings more than itself.
 */
import type { Detected } from "../../internal/format/signature.js"

export type Mime = "image/png" | "image/jpeg" | "image/webp"

export type Name = "png" | "jpeg" | "webp"

/**
 * An image as the server has verified it: its size in `bytes`, its `width` and `height` in pixels.
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
}

/**
 * An init image as it goes into a message: its type, the file's name where there is one, and its bytes as base64 (RFC
 * 4648 section 4).
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
 * Of an image of so many `bytes`, the server has taken so many.
 *
 * @since 0.1.0
 * @category models
 */
export interface Progress {
  readonly received: number
  readonly bytes: number
}

/**
 * What is used of a WebSocket: a browser's has it, and so have those of `ws` and of `undici`.
 *
 * @since 0.1.0
 * @category models
 */
export interface WebSocketLike {
  readonly readyState: number
  /** Queues a text frame, or a binary one. */
  readonly send: (data: string | ArrayBuffer) => void
  /** Begins the closing handshake. */
  readonly close: (code?: number) => void
  /** Calls the listener for each such event from then on. */
  readonly addEventListener: {
    (type: "open" | "error", listener: () => void): void
    (type: "message", listener: (event: { readonly data: unknown }) => void): void
    (type: "close", listener: (event: { readonly code: number; readonly reason: string }) => void): void
  }
}

/** What is wrong with a blob, by the tags and the fields of `InitImageError`. */
export type BlobFailure =
  | { readonly _tag: "InvalidMime"; readonly accepted: ReadonlyArray<Mime> }
  | { readonly _tag: "TooLarge"; readonly bytes: number; readonly limit: number }
  | { readonly _tag: "Empty" }
  | { readonly _tag: "ContentMismatch"; readonly declared: Name; readonly detected: Detected }
  | { readonly _tag: "UnreadableBlob"; readonly cause: unknown }

export type ServerFailure =
  | { readonly _tag: "ServerError"; readonly code: string; readonly message: string; readonly retryable: boolean }
  | { readonly _tag: "SocketClosed"; readonly code: number; readonly reason: string }

export type Failure = BlobFailure | ServerFailure

export interface Success {
  readonly _tag: "Image"
  readonly image: ImageDescription
}

/** In bytes, what a server takes by default. */
export const defaultMaxBytes = 32 * 1024 * 1024

export const unreadableBlobMessage = "The file could not be read."

export const socketClosedMessage = (code: number): string => `The connection was closed (${code}).`

export type ServerMessage =
  | Success
  | { readonly _tag: "Progress"; readonly received: number }
  | Extract<ServerFailure, { readonly _tag: "ServerError" }>

const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> => typeof u === "object" && u !== null

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What a frame says of an image; `undefined` for all that an application says of its own. */
export const read = (frame: unknown): ServerMessage | undefined => {
  const message = typeof frame === "string" ? parse(frame) : undefined
  if (!isRecord(message)) return undefined
  if (message["type"] === "init_image_progress" && typeof message["received"] === "number") {
    return { _tag: "Progress", received: message["received"] }
  }
  if (message["type"] === "session_init_image") {
    const { image } = message
    return isRecord(image)
      // The server's own description; what it is was said where the protocol is.
      ? { _tag: "Image", image: image as unknown as ImageDescription }
      : { _tag: "ServerError", code: "no_image", message: "The server has taken no image.", retryable: false }
  }
  if (message["type"] !== "error") return undefined
  const { code, message: text, retryable } = message
  return {
    _tag: "ServerError",
    code: typeof code === "string" ? code : "internal_error",
    message: typeof text === "string" ? text : "The server refused the image.",
    retryable: retryable === true
  }
}
