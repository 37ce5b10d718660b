/**
 * A `Content-Disposition` with a file's name (RFC 6266), in the two spellings that clients read.
 */
import { Buffer } from "node:buffer"

/** What stands for itself in an extended value: `attr-char` of RFC 8187 section 3.2.1. */
const attrChar = /[!#$&+\-.^_`|~0-9A-Za-z]/

const extended = (name: string): string =>
  Array.from(
    name,
    (character) =>
      attrChar.test(character)
        ? character
        : Buffer.from(character).toString("hex").toUpperCase().replace(/../g, "%$&")
  ).join("")

/** Printable ASCII without what is read as an escape; clients that know better take the extended value. */
const fallback = (name: string): string => name.replace(/[^\x20-\x7e]|["%\\]/gu, "_")

export const contentDisposition = (name: string): string =>
  `inline; filename="${fallback(name)}"; filename*=UTF-8''${extended(name)}`
