/**
 * The `Content-Disposition` header of a file (RFC 6266), with its name both in ASCII and in UTF-8.
 */
import { Buffer } from "node:buffer"

/** The characters that an extended value does not encode: `attr-char` of RFC 8187 section 3.2.1. */
const attrChar = /[!#$&+\-.^_`|~0-9A-Za-z]/

const extended = (name: string): string =>
  Array.from(
    name,
    (character) =>
      attrChar.test(character)
        ? character
        : Buffer.from(character).toString("hex").toUpperCase().replace(/../g, "%$&")
  ).join("")

/** Replaces all but printable ASCII, and the escape characters. Clients prefer the extended value if they support it. */
const fallback = (name: string): string => name.replace(/[^\x20-\x7e]|["%\\]/gu, "_")

export const contentDisposition = (name: string): string =>
  `inline; filename="${fallback(name)}"; filename*=UTF-8''${extended(name)}`
