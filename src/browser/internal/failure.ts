/** The failures of both faces as plain data. Each face turns them into its own errors. */
import type { Detected } from "../../internal/format/outcome.js"
import type { Mime, Name } from "../../internal/protocol.js"

/** A failure of a blob, with the tags and fields of `InitImageError`. */
export type BlobFailure =
  | { readonly _tag: "InvalidMime"; readonly reason: "NotAccepted"; readonly accepted: ReadonlyArray<Mime> }
  | { readonly _tag: "TooLarge"; readonly bytes: number; readonly limit: number }
  | { readonly _tag: "Empty" }
  | { readonly _tag: "ContentMismatch"; readonly declared?: Name; readonly detected: Detected }
  | UnreadableBlob

export interface UnreadableBlob {
  readonly _tag: "UnreadableBlob"
  readonly cause: unknown
}

export interface ServerError {
  readonly _tag: "ServerError"
  readonly code: string
  readonly message: string
  readonly retryable: boolean
  readonly details: Readonly<Record<string, unknown>>
}

export interface SocketClosed {
  readonly _tag: "SocketClosed"
  readonly code: number
  readonly reason: string
}

export type Failure = BlobFailure | ServerError | SocketClosed

export const unreadableBlobMessage = "The file could not be read."

export const socketClosedMessage = (code: number): string => `The connection was closed (${code}).`
