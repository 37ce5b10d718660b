/**
 * What the server says to its clients.
 */
import type * as Option from "effect/Option"
import type { InitImageError } from "../InitImageError.js"
import type { SessionInitImage } from "../SessionInitImage.js"

/** The close codes of RFC 6455 section 7.4.1 that the server uses. */
export const CloseCode = {
  goingAway: 1001,
  unsupportedData: 1003,
  policyViolation: 1008,
  internalError: 1011,
  /** Registered with IANA. */
  tryAgainLater: 1013
} as const

/** An image as its client sees it: without its path. */
export const imageObject = (image: Option.Option<SessionInitImage>) =>
  image._tag === "None" ? null : {
    mime: image.value.mime,
    display_name: image.value.displayName,
    bytes: image.value.bytes,
    width: image.value.width,
    height: image.value.height
  }

/** A message of the server on `/v1/stream`. */
export type ServerFrame =
  | { readonly type: "session_init_image"; readonly image: ReturnType<typeof imageObject> }
  | { readonly type: "error"; readonly code: string; readonly message: string; readonly retryable: boolean }

/** The session's image is now this one. */
export const imageFrame = (image: Option.Option<SessionInitImage>): ServerFrame => ({
  type: "session_init_image",
  image: imageObject(image)
})

const snakeCase = (tag: string): string => tag.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toLowerCase()

/** What is wrong with the image. */
export const imageErrorFrame = (error: InitImageError): ServerFrame => ({
  type: "error",
  code: snakeCase(error._tag),
  message: error.message,
  retryable: error._tag === "Busy"
})

/** The image could not be stored. What went wrong is the operator's to know. */
export const internalErrorFrame: ServerFrame = {
  type: "error",
  code: "internal_error",
  message: "The server could not store the image.",
  retryable: true
}

/** What the client sent is not a message that may stand there. */
export const invalidMessageFrame = (message: string): ServerFrame => ({
  type: "error",
  code: "invalid_message",
  message,
  retryable: false
})
