import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { maxPrefixLength, readHead } from "../../../src/internal/dataUrl.js"

const parts = [
  "data",
  "DATA",
  ":",
  ";",
  ",",
  "base64",
  ";base64,",
  "image/png",
  "name=a%20b",
  " ",
  "\t",
  "\n",
  "\u0000"
]
  .concat(["http", "s", "+", "/", "A", "é", "=", "A".repeat(40), " ".repeat(1000), "b".repeat(1000)])

const texts = FastCheck.array(FastCheck.constantFrom(...parts), { maxLength: 8 }).map((parts) => parts.join(""))

describe("readHead", () => {
  it.prop("decides on a part of a text as on all of it, and always within its bound", [texts], ([text]) => {
    const whole = readHead(text, true)
    assert.notStrictEqual(whole._tag, "Undecided")
    for (let end = 0; end <= Math.min(text.length, maxPrefixLength + 1); end++) {
      const head = readHead(text.slice(0, end), false)
      if (head._tag !== "Undecided") assert.deepStrictEqual(head, whole)
      else assert.isBelow(end, maxPrefixLength)
    }
  }, { fastCheck: { numRuns: 150 } })

  it("knows base64 by its first character that no scheme has, or by its length", () => {
    assert.deepStrictEqual(readHead("/9j/", false), { _tag: "Text" })
    assert.deepStrictEqual(readHead("iVBORw0KGgo", false), { _tag: "Undecided" })
    assert.deepStrictEqual(readHead("iVBORw0KGgo", true), { _tag: "Text" })
    assert.deepStrictEqual(readHead("A".repeat(33), false), { _tag: "Text" })
  })
})
