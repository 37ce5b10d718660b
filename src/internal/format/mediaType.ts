/** The media types of images as clients declare them (RFC 9110 section 8.3.1). Runs in browsers too. */
import type { Name } from "./outcome.js"

/** The media types that clients send for each format, in lower case. The first is the canonical one. */
export const mediaTypes = {
  png: ["image/png", "image/x-png"],
  jpeg: ["image/jpeg", "image/jpg", "image/pjpeg"],
  webp: ["image/webp"]
} as const

/** Types that say no more than that there are bytes, or an image. */
const generalTypes: ReadonlySet<string> = new Set(["", "application/octet-stream", "binary/octet-stream", "image/*"])

/** The most characters before the parameters, white space included. */
const maxLength = 64

const names: ReadonlyMap<string, Name> = new Map(
  (["png", "jpeg", "webp"] as const).flatMap((name) => mediaTypes[name].map((type) => [type, name] as const))
)

/**
 * The type without its parameters and the white space around it, in lower case; `undefined` for a longer text than any
 * type in use. Takes constant time for a text of any length. Only ASCII letters are changed: `İ` is no `i`.
 */
export const essenceOf = (mediaType: string): string | undefined => {
  const start = mediaType.slice(0, maxLength)
  const end = start.indexOf(";")
  if (end < 0 && mediaType.length > maxLength) return undefined
  return start.slice(0, end < 0 ? start.length : end)
    .replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "")
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

/** The format of a media type, if it is one of an image that is known. */
export const nameOf = (mediaType: string): Name | undefined => {
  const essence = essenceOf(mediaType)
  return essence === undefined ? undefined : names.get(essence)
}

/** Whether a media type declares no format: it is empty or general. */
export const isGeneral = (mediaType: string): boolean => {
  const essence = essenceOf(mediaType)
  return essence !== undefined && generalTypes.has(essence)
}
