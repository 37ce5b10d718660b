/**
 * Messages of the errors that a server and a web page have in common.
 *
 * Imports nothing but types: a web page bundles this module without Effect.
 */
import type { Detected } from "./format/outcome.js"
import type { Mime, Name } from "./protocol.js"

/** Fields that clients send in place of a payload's `mime`. Closed, because clients receive it. */
export const mimeNeighbours = [
  "media_type",
  "mimeType",
  "mime_type",
  "mediaType",
  "contentType",
  "content_type",
  "type"
] as const

export type MimeNeighbour = (typeof mimeNeighbours)[number]

export const count = (n: number): string => n.toLocaleString("en-US")

export const invalidMime = ({ accepted, field, reason }: {
  readonly reason: "Missing" | "NotAccepted"
  readonly accepted: ReadonlyArray<Mime>
  readonly field?: MimeNeighbour
}): string => {
  const types = accepted.join(", ")
  if (reason === "NotAccepted") return `The image's type must be one of: ${types}.`
  return field === undefined
    ? `The image's type is missing: its field mime must be one of: ${types}.`
    : `The image's type is missing: its field mime, not ${field}, must be one of: ${types}.`
}

export const contentMismatch = ({ declared, detected }: {
  readonly declared?: Name
  readonly detected: Detected
}): string => {
  if (declared === undefined) {
    return detected === "unknown"
      ? "The image's bytes are of no type that is known."
      : `The image's bytes are ${detected}, which is not accepted.`
  }
  return detected === "unknown"
    ? `The image was sent as ${declared}, but its bytes are not of that type.`
    : `The image was sent as ${declared}, but its bytes are ${detected}.`
}

export const tooLarge = ({ limit }: { readonly limit: number }): string =>
  `The image is larger than the ${count(limit)} bytes that are allowed.`

export const empty = "The image is empty."
