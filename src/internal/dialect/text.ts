/**
 * The text of an image: base64, or a data URL. Runs in browsers too.
 */
import * as Either from "effect/Either"
import { InvalidPayload, RemoteImage } from "../../InitImageError.js"
import * as InitImagePayload from "../../InitImagePayload.js"
import { readHead } from "../dataUrl.js"
import { essenceOf, nameOf } from "../format/mediaType.js"
import type * as places from "../places.js"

const badDataUrl = new InvalidPayload({ reason: "BadDataUrl" })
const mimeConflict = new InvalidPayload({ reason: "MimeConflict" })

/** Refuses an image that is not in the message. */
export const remote = (scheme: RemoteImage["scheme"]): Either.Either<never, RemoteImage> =>
  Either.left(new RemoteImage({ scheme }))

const remoteUrl = (scheme: string): Either.Either<never, RemoteImage> =>
  remote(scheme === "http" || scheme === "https" ? "http" : scheme === "file" ? "file" : "other")

/** Refuses the text in the place of an image's: a URL, or an id. */
export const refuseRemote = (url: unknown): Either.Either<never, RemoteImage> => {
  const head = typeof url === "string" ? readHead(url, true) : undefined
  return head?._tag === "Url" ? remoteUrl(head.scheme) : remote(head === undefined ? "id" : "other")
}

/** The base64 of a text, and the type and name of its data URL. */
export interface Content {
  readonly data: string
  readonly mime: string
  readonly name: string | undefined
}

/** The content of a text of base64. */
export const asBase64 = (data: string): Content => ({ data, mime: "", name: undefined })

/** Reads a text of this form. */
export const readText = (text: string, form: places.Form): Either.Either<Content, InvalidPayload | RemoteImage> => {
  if (form === "base64") return Either.right(asBase64(text))
  const head = readHead(text, true)
  switch (head._tag) {
    case "Base64Url":
      return Either.right({ data: text.slice(head.start), mime: head.mime, name: head.name })
    case "Url":
      return head.scheme === "data" ? Either.left(badDataUrl) : remoteUrl(head.scheme)
    default:
      return form === "either" ? Either.right(asBase64(text)) : Either.left(badDataUrl)
  }
}

const isSameType = (a: string, b: string): boolean => (nameOf(a) ?? essenceOf(a)) === (nameOf(b) ?? essenceOf(b))

/** The declared type, or else that of the data URL. */
export const mimeOf = (declared: unknown, url: string): Either.Either<unknown, InvalidPayload> => {
  if (InitImagePayload.isUnspecific(declared)) return Either.right(url)
  return typeof declared !== "string" || InitImagePayload.isUnspecific(url) || isSameType(declared, url)
    ? Either.right(declared)
    : Either.left(mimeConflict)
}
