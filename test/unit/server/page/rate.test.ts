import { assert, describe, it } from "@effect/vitest"
import { makeRate } from "../../../../src/server/page/rate.js"

describe("the rate of an upload", () => {
  it("is unknown at the start", () => {
    const rate = makeRate()
    assert.strictEqual(rate({ milliseconds: 0, received: 0 }), undefined)
    assert.strictEqual(rate({ milliseconds: 100, received: 1000 }), undefined)
    assert.strictEqual(rate({ milliseconds: 500, received: 5000 }), 10_000)
  })

  it("follows the last seconds", () => {
    const rate = makeRate()
    for (let i = 0; i < 10; i++) rate({ milliseconds: i * 1000, received: i * 1000 })
    let last: number | undefined
    for (let i = 10; i < 20; i++) last = rate({ milliseconds: i * 1000, received: 9000 + (i - 9) * 5000 })
    assert.strictEqual(last, 5000)
  })

  it("falls after a stall", () => {
    const rate = makeRate()
    rate({ milliseconds: 0, received: 0 })
    rate({ milliseconds: 1000, received: 100_000 })
    assert.strictEqual(rate({ milliseconds: 10_000, received: 100_000 }), 0)
  })
})
