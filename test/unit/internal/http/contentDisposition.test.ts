import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { contentDisposition } from "../../../../src/internal/http/contentDisposition.js"

/** Parses both names strictly by RFC 6266 section 4.1. */
const parse = (header: string) => {
  const match =
    /^inline; filename="([\x20-\x21\x23-\x5b\x5d-\x7e]*)"; filename\*=UTF-8''((?:[!#$&+\-.^_`|~0-9A-Za-z]|%[0-9A-F]{2})*)$/
      .exec(header)
  if (match === null) return undefined
  const [, fallback = "", extended = ""] = match
  const bytes = extended.replace(
    /%([0-9A-F]{2})|./g,
    (character, hex: string | undefined) =>
      String.fromCharCode(hex === undefined ? character.charCodeAt(0) : parseInt(hex, 16))
  )
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  return { fallback, name: decoder.decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))) }
}

describe("contentDisposition", () => {
  it.prop(
    "encodes any name so that a client decodes the same name (RFC 8187)",
    [FastCheck.string({ unit: "binary" })],
    ([name]) => {
      assert.strictEqual(parse(contentDisposition(name))?.name, name)
    }
  )

  it.prop(
    "gives an ASCII name in both parameters",
    [FastCheck.stringMatching(/^[ !#$&'()+,\-.0-9;=@A-Z[\]^_`a-z{}~]*$/)],
    ([name]) => {
      assert.deepStrictEqual(parse(contentDisposition(name)), { fallback: name, name })
    }
  )

  it("replaces quotes, escapes, line breaks and non-ASCII characters in the fallback name", () => {
    assert.strictEqual(
      contentDisposition("a\"b\\c%41\r\né🙂'*.png"),
      "inline; filename=\"a_b_c_41____'*.png\"; filename*=UTF-8''a%22b%5Cc%2541%0D%0A%C3%A9%F0%9F%99%82%27%2A.png"
    )
  })
})
