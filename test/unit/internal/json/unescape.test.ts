import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { unescape } from "../../../../src/internal/json/unescape.js"

/** The text of a JSON string with this content, which has quotes and control characters in escapes only. */
const reference = (content: string): string | undefined => {
  try {
    return JSON.parse(`"${content}"`)
  } catch {
    return undefined
  }
}

const pieces = FastCheck.constantFrom(
  ..."aAeEuUbfnrt0129/é\u0141+=-xX \\\\\\\\",
  "\ud83d",
  "\ude00",
  "\\u",
  "\\u0041",
  "\\u00e9",
  "\\uD83D",
  "\\ude0",
  "\\uDE00",
  "\\u0022",
  "\\U0041",
  "\\u{41}",
  "\\u 041",
  "\\u+041",
  "\\u0x41",
  "\\u00\u0664\u0661"
)

describe("unescape", () => {
  it.prop("gives the text of JSON.parse, or undefined where that throws", [
    FastCheck.array(pieces, { maxLength: 12 }).map((pieces) => pieces.join(""))
  ], ([content]) => {
    assert.strictEqual(unescape(content), reference(content))
  }, { fastCheck: { numRuns: 5000 } })

  it("knows every escape of one character and no other", () => {
    for (let code = 0x20; code < 0x3000; code++) {
      const content = `a\\${String.fromCharCode(code)}`
      assert.strictEqual(unescape(content), reference(content), content)
    }
  })

  it("gives a text without escapes as it is", () => {
    const text = "a".repeat(1_000_000)
    assert.strictEqual(unescape(text), text)
  })
})
