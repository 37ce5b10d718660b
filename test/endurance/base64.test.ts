import { assert, describe, it } from "@effect/vitest"
import { Buffer } from "node:buffer"
import { Decoder } from "../../src/internal/persist/base64.js"

describe("base64", () => {
  it("decodes the longest string of the engine, and finds an invalid last character", () => {
    const longest = 2 ** 29 - 24
    const target = Buffer.allocUnsafeSlow(4 * 256 * 1024)
    const run = (text: string) => {
      const decoder = new Decoder()
      let bytes = 0
      for (let start = 0; start < text.length; start += 1024 * 1024) {
        bytes += decoder.push(text.slice(start, start + 1024 * 1024), target, 0)
      }
      return decoder.invalid ?? bytes + decoder.end(target, 0)
    }
    const zeros = "A".repeat(longest)
    assert.strictEqual(run(zeros), (longest / 4) * 3)
    const decoder = new Decoder()
    decoder.push(`${zeros.slice(1)}-`, Buffer.allocUnsafeSlow(longest), 0)
    assert.deepStrictEqual(decoder.invalid, { reason: "UrlSafe", offset: longest - 1 })
  })
})
