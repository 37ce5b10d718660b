import { assert, describe, it, vi } from "@effect/vitest"
import { Buffer } from "node:buffer"
import * as jsonInput from "../../../../src/internal/json/input.js"

describe("jsonInput", () => {
  it("copies what is scanned of a string once, however little of a window is read at a time", () => {
    const json = "0123456789".repeat(10_000)
    const write = vi.spyOn(Buffer.prototype, "write")
    try {
      const input = jsonInput.fromString(json)
      for (let window = input.window(); window.length > 0; window = input.window()) {
        input.skip(Math.min(7, window.length))
      }
      const copied = write.mock.calls.reduce((units, [slice]) => units + String(slice).length, 0)
      assert.strictEqual(copied, json.length)
    } finally {
      write.mockRestore()
    }
  })

  it("has the units from where it is, also behind what has been passed over at once", () => {
    const json = Array.from({ length: 50_000 }, (_, at) => String.fromCharCode(at)).join("")
    const input = jsonInput.fromString(json)
    let at = 0
    for (const units of [0, 1, 20_000, 3, 16_384, 5, 13_000]) {
      input.skip(units)
      at += units
      const window = input.window()
      assert.isAbove(window.length, 0)
      assert.strictEqual(String.fromCharCode(...window), json.slice(at, at + window.length))
    }
  })
})
