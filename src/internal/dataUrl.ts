/**
 * The beginning of a text that may be a URL (RFC 3986) or a data URL (RFC 2397). Never looks behind the first
 * {@link maxPrefixLength} characters. Runs in browsers too.
 */

/** The most characters before the base64 of a data URL, its comma included. */
export const maxPrefixLength = 1024

/** The most characters of a scheme that is looked for. */
const maxSchemeLength = 32

/** The beginning of a text. */
export type Head =
  /** More of the text is needed. */
  | { readonly _tag: "Undecided" }
  /** A data URL with base64, which begins at `start`. `mime` has the parameters; `""` without a type. */
  | { readonly _tag: "Base64Url"; readonly start: number; readonly mime: string; readonly name: string | undefined }
  /** Another URL, by its scheme in lower case. A data URL without base64 has the scheme `data`. */
  | { readonly _tag: "Url"; readonly scheme: string }
  /** No URL. */
  | { readonly _tag: "Text" }

const undecided: Head = { _tag: "Undecided" }
const text: Head = { _tag: "Text" }
const noBase64: Head = { _tag: "Url", scheme: "data" }

/** The characters that URL parsers remove anywhere, and those that they remove at the start (WHATWG URL, section 4.4). */
const removed = /[\t\n\r]/g
// oxlint-disable-next-line no-control-regex -- as URL parsers have it
const leading = /^[\u0000-\u0020]*/

const schemePattern = /^([A-Za-z][A-Za-z0-9+.-]*)(:?)/

const base64Extension = /;\u0020*base64$/i

const nameParameter = /;\u0020*(?:file)?name=([^;]*)/i

const decodeName = (name: string): string => {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

const readDataUrl = (prefix: string, start: number): Head => {
  const media = prefix.slice(prefix.indexOf(":") + 1, -1).trim()
  const base64 = base64Extension.exec(media)
  if (base64 === null) return noBase64
  const type = media.slice(0, base64.index)
  const name = nameParameter.exec(type)?.[1]
  return {
    _tag: "Base64Url",
    start,
    mime: type,
    name: name === undefined ? undefined : decodeName(name.replace(/^"|"$/g, ""))
  }
}

/** Reads the beginning of a text, of which `head` is the first part, or all of it. */
export const readHead = (head: string, isWhole: boolean): Head => {
  const isEnough = isWhole || head.length >= maxPrefixLength
  const first = head.slice(0, maxPrefixLength)
  const url = first.replace(removed, "").replace(leading, "")
  if (url === "") return isEnough ? text : undecided
  const [, scheme = "", colon = ""] = schemePattern.exec(url) ?? []
  if (scheme.length > maxSchemeLength) return text
  if (colon === "") return scheme.length === url.length && !isEnough ? undecided : text
  if (scheme.toLowerCase() !== "data") return { _tag: "Url", scheme: scheme.toLowerCase() }
  const comma = first.indexOf(",")
  if (comma < 0) return isEnough ? noBase64 : undecided
  return readDataUrl(first.slice(0, comma + 1).replace(removed, ""), comma + 1)
}
