/**
 * What a server says to its clients on a WebSocket.
 */
import type * as Option from "effect/Option"
import type { InitImageError } from "../InitImageError.js"
import * as InitImageHttp from "../InitImageHttp.js"
import type { ErrorMessage, ImageMessage, ProgressMessage } from "../InitImageSocket.js"
import type { SessionInitImage } from "../SessionInitImage.js"

/** The close codes of RFC 6455 section 7.4.1 that are used. */
export const CloseCode = {
  normal: 1000,
  goingAway: 1001,
  unsupportedData: 1003,
  policyViolation: 1008,
  internalError: 1011,
  /** Registered with IANA. */
  tryAgainLater: 1013
} as const

/** The session's image is now this one. */
export const imageMessage = (image: Option.Option<SessionInitImage>): ImageMessage => ({
  type: "session_init_image",
  image: image._tag === "None" ? null : InitImageHttp.describe(image.value)
})

/** Of the announced bytes, so many have been taken. */
export const progressMessage = (received: number, bytes: number): ProgressMessage => ({
  type: "init_image_progress",
  received,
  bytes
})

const snakeCase = (tag: string): string => tag.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toLowerCase()

/** What is wrong with the image. */
export const imageErrorMessage = (error: InitImageError): ErrorMessage => ({
  type: "error",
  code: snakeCase(error._tag),
  message: error.message,
  retryable: error._tag === "Busy"
})

/** The image could not be stored. What went wrong is the operator's to know. */
export const internalErrorMessage: ErrorMessage = {
  type: "error",
  code: "internal_error",
  message: "The server could not store the image.",
  retryable: true
}

/** What the client sent is not a message that may stand there. */
export const invalidMessage = (message: string): ErrorMessage => ({
  type: "error",
  code: "invalid_message",
  message,
  retryable: false
})
