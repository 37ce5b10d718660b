import { assert, describe, it } from "@effect/vitest"
import { Buffer } from "node:buffer"
import { RandomNames } from "../../../../src/internal/persist/randomNames.js"

describe("RandomNames", () => {
  it("gives names of 32 hex digits, and none twice", () => {
    const names = new RandomNames()
    const others = new RandomNames()
    const all = Array.from({ length: 1000 }, (_, index) => (index % 2 === 0 ? names : others).next())
    assert.strictEqual(new Set(all).size, 1000)
    for (const name of all) assert.match(name, /^[0-9a-f]{32}$/)
  })

  it("varies every digit", () => {
    const names = new RandomNames()
    const all = Array.from({ length: 500 }, () => names.next())
    for (let digit = 0; digit < 32; digit++) {
      assert.strictEqual(new Set(all.map((name) => name[digit])).size, 16, `digit ${digit}`)
    }
  })

  it("draws the bytes of names from the cryptographic source, and keeps none of them", () => {
    const { getRandomValues } = globalThis.crypto
    const drawn: Array<Uint8Array> = []
    const copies: Array<string> = []
    globalThis.crypto.getRandomValues = (bytes) => {
      getRandomValues.call(globalThis.crypto, bytes)
      if (bytes instanceof Uint8Array) {
        drawn.push(bytes)
        copies.push(Buffer.from(bytes).toString("hex"))
      }
      return bytes
    }
    try {
      const names = new RandomNames()
      const count = 130
      const all = Array.from({ length: count }, () => names.next())
      assert.isTrue(copies.join("").startsWith(all.join("")))
      const [pool] = drawn
      assert.strictEqual(pool?.length, 64 * 16)
      // The pool holds the names that are not given yet; the others are zeroed.
      assert.isTrue(pool?.subarray(0, (count % 64) * 16).every((byte) => byte === 0))
      assert.lengthOf(copies, 3)
    } finally {
      globalThis.crypto.getRandomValues = getRandomValues
    }
  })
})
