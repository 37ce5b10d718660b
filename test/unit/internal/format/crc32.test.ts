import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as zlib from "node:zlib"
import { crc32, crc32ByTables } from "../../../../src/internal/format/crc32.js"
import { ascii, noise } from "../../../utils/images.js"

describe.each([["crc32", crc32], ["crc32ByTables", crc32ByTables]])("%s", (_, crc32) => {
  it("gives the check value of CRC-32, and 0 for no bytes", () => {
    assert.strictEqual(crc32(ascii("123456789"), 0, 9, 0), 0xcbf43926)
    assert.strictEqual(crc32(ascii("1"), 1, 1, 0), 0)
  })

  it.prop("continues a checksum over any part of any view", [
    FastCheck.nat(300),
    FastCheck.nat(20),
    FastCheck.nat(300),
    FastCheck.nat(300)
  ], ([length, offset, first, second]) => {
    const all = noise(length + offset).subarray(offset)
    const [start = 0, end = 0] = [first, second].map((at) => Math.min(at, length)).sort((a, b) => a - b)
    const crc = crc32(all, start, end, crc32(all, 0, start, 0))
    assert.strictEqual(crc, zlib.crc32(all.subarray(0, end)))
    assert.strictEqual(crc32(all, end, length, crc), zlib.crc32(all))
  }, { fastCheck: { numRuns: 1000 } })
})
