/**
 * The headers of a form and of its parts (RFC 7578 section 4).
 */
import * as Either from "effect/Either"
import { InvalidPayload } from "../../InitImageError.js"
import { isGeneral } from "../format/mediaType.js"

/** A boundary by RFC 2046 section 5.1.1, and with the other ASCII characters that some clients use. */
const boundaryPattern = /^[\x20-\x7e]{0,69}[\x21-\x7e]$/

const notMultipart = new InvalidPayload({ reason: "NotMultipart" })
const missingBoundary = new InvalidPayload({ reason: "MissingBoundary" })

/** The declared type and name of a file. */
export interface FileMeta {
  readonly mime: string
  readonly name: string | undefined
}

/** A quoted value may hold escaped quotes; browsers do not escape a backslash, even before the closing quote. */
const parameterPattern = /;\s*([^\s=;"]+)\s*=\s*(?:"((?:\\"|[^"])*)"|([^\s;"]*))\s*/y

/** The parameters of a header, up to the first malformed one. */
const parametersOf = (header: string): ReadonlyMap<string, string> => {
  const parameters = new Map<string, string>()
  const start = header.indexOf(";")
  if (start < 0) return parameters
  parameterPattern.lastIndex = start
  for (let match = parameterPattern.exec(header); match !== null; match = parameterPattern.exec(header)) {
    const [, name = "", quoted, token = ""] = match
    parameters.set(name.toLowerCase(), quoted?.replaceAll("\\\"", "\"") ?? token)
  }
  return parameters
}

/** The media type of a `Content-Type`, without parameters (RFC 9110 section 8.3.1). */
export const mediaTypeOf = (header: string): string => header.replace(/;.*/s, "").trim().toLowerCase()

/** Decodes an extended value (RFC 8187), which some clients send although RFC 7578 section 4.2 forbids it in forms. */
const decodeExtended = (value: string | undefined): string | undefined => {
  const encoded = /^utf-8'[^']*'(.*)$/is.exec(value ?? "")?.[1]
  try {
    return encoded === undefined ? undefined : decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

/** The headers of a part by name; `undefined` where they are malformed. */
const parseHeaders = (bytes: Uint8Array): ReadonlyMap<string, string> | undefined => {
  const headers = new Map<string, string>()
  const lines = new TextDecoder().decode(bytes).replace(/\r\n(?=[ \t])/g, "").split("\r\n")
  for (const line of lines.filter((line) => line !== "")) {
    const colon = line.indexOf(":")
    if (colon < 1) return undefined
    const name = line.slice(0, colon).toLowerCase()
    if (!headers.has(name)) headers.set(name, line.slice(colon + 1))
  }
  return headers
}

/** The boundary of a form's `Content-Type`. */
export const boundaryOf = (contentType: string): Either.Either<string, InvalidPayload> => {
  const boundary = parametersOf(contentType).get("boundary") ?? ""
  if (boundary === "") return Either.left(missingBoundary)
  return boundaryPattern.test(boundary) ? Either.right(boundary) : Either.left(notMultipart)
}

const octetStream = "application/octet-stream"

/** The types of a part without a file name that make it a file. */
const isFileType = (mime: string): boolean => mime.startsWith("image/") || (mime !== "" && isGeneral(mime))

export type Part =
  | { readonly _tag: "File"; readonly field: string | undefined; readonly file: FileMeta }
  | { readonly _tag: "Text"; readonly field: string }
  | { readonly _tag: "Other" }

/** Not a file, and no text of a field: what is before the first part, and parts without a name. */
export const other: Part = { _tag: "Other" }

/** Reads the headers of a part; `undefined` where they are malformed. */
export const readPart = (bytes: Uint8Array): Part | undefined => {
  const headers = parseHeaders(bytes)
  if (headers === undefined) return undefined
  const parameters = parametersOf(headers.get("content-disposition") ?? "")
  const field = parameters.get("name")
  const name = decodeExtended(parameters.get("filename*")) ?? parameters.get("filename")
  const mime = mediaTypeOf(headers.get("content-type") ?? (name === undefined ? "text/plain" : octetStream))
  // A browser sends such a part for a file field without a file.
  if (name === "" && mime === octetStream) return other
  if (name !== undefined || isFileType(mime)) return { _tag: "File", field, file: { mime, name } }
  return field === undefined ? other : { _tag: "Text", field }
}
