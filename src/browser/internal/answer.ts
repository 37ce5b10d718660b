/** The server's answers to an image, decoded from frames. */
import {
  errorType,
  type ImageDescription,
  imageType,
  internalErrorCode,
  progressType
} from "../../internal/protocol.js"
import type { ServerError } from "./failure.js"

export interface Image {
  readonly _tag: "Image"
  readonly image: ImageDescription
}

export type Answer =
  | Image
  | { readonly _tag: "Progress"; readonly received: number }
  | ServerError

const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> => typeof u === "object" && u !== null

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Decodes a frame; `undefined` for the application's own messages. */
export const decode = (frame: unknown): Answer | undefined => {
  const message = typeof frame === "string" ? parse(frame) : undefined
  if (!isRecord(message)) return undefined
  switch (message["type"]) {
    case progressType: {
      const { received } = message
      return typeof received === "number" ? { _tag: "Progress", received } : undefined
    }
    case imageType: {
      const { image } = message
      return isRecord(image)
        // The server is trusted to describe the image as the protocol says.
        ? { _tag: "Image", image: image as unknown as ImageDescription }
        : {
          _tag: "ServerError",
          code: "no_image",
          message: "The server has accepted no image.",
          retryable: false,
          details: {}
        }
    }
    case errorType: {
      const { code, message: text, retryable, type: _, ...details } = message
      return {
        _tag: "ServerError",
        code: typeof code === "string" ? code : internalErrorCode,
        message: typeof text === "string" ? text : "The server refused the image.",
        retryable: retryable === true,
        details
      }
    }
    default:
      return undefined
  }
}
