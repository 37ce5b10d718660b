import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { read } from "../../../../src/internal/normalizer/header.js"
import { estimate } from "../../../../src/internal/normalizer/memory.js"
import { size } from "../../../../src/internal/normalizer/plan.js"

const edge = FastCheck.integer({ min: 1, max: 16_383 })
const multiple = FastCheck.constantFrom<8 | 16 | 32 | undefined>(undefined, 8, 16, 32)

describe("size", () => {
  it("is at most 2048 pixels long unless asked for", () => {
    assert.include(size(8000, 4000, {}), { width: 2048, height: 1024 })
    assert.include(size(8000, 4000, { maxEdge: 8000 }), { width: 8000, height: 4000 })
    assert.include(size(8000, 4000, { height: 3000 }), { width: 6000, height: 3000 })
  })

  it.prop(
    "inside a box is never larger than the box or the picture, but for the multiple",
    [edge, edge, edge, edge, multiple],
    ([width, height, boxWidth, boxHeight, multipleOf]) => {
      const result = size(width, height, { width: boxWidth, height: boxHeight, multipleOf })
      const least = multipleOf ?? 1
      assert.isAtMost(result.width, Math.max(least, Math.min(width, boxWidth)))
      assert.isAtMost(result.height, Math.max(least, Math.min(height, boxHeight)))
      assert.strictEqual(result.width % least, 0)
      assert.strictEqual(result.height % least, 0)
    }
  )

  it.prop("cover and contain give the size that is asked for", [edge, edge, edge, edge], ([w, h, width, height]) => {
    assert.deepStrictEqual(size(w, h, { fit: "cover", width, height }), { fit: "cover", width, height })
    assert.deepStrictEqual(size(w, h, { fit: "contain", width, height }), { fit: "contain", width, height })
  })

  it("bounds the size that is asked for by the longest edge and the multiple", () => {
    assert.include(size(10, 10, { fit: "cover", width: 1000, height: 500, maxEdge: 640, multipleOf: 32 }), {
      width: 640,
      height: 480
    })
  })
})

describe("estimate", () => {
  const header = { width: 0, height: 0, heldBytesPerPixel: 8, bytesPerPixel: 4 }

  it("counts the bytes that a decoder holds of the whole image", () => {
    const small = estimate(
      { width: 7000, height: 7000, isTurned: false },
      { ...header, heldBytesPerPixel: 0 },
      undefined
    )
    const large = estimate({ width: 7000, height: 7000, isTurned: false }, header, undefined)
    assert.strictEqual(large - small, 7000 * 7000 * 8)
  })

  it("counts the rows of a wide JPEG that is decoded at full size, measured 107 MiB", () => {
    const jpeg = read("jpeg", Buffer.from("ffd8ffc0001408000100010401110002110003110004110000ffda000e0400", "hex"))
    assert.isDefined(jpeg)
    const output = { width: 3000, height: 375, fit: "cover", format: "png", background: undefined } as const
    const bytes = estimate({ width: 16_000, height: 2000, isTurned: false }, { ...jpeg, heldBytesPerPixel: 0 }, output)
    assert.isAtLeast(bytes, 107 * 1024 * 1024)
  })

  it("counts a scaled picture that is turned", () => {
    const output = { width: 2000, height: 2000, fit: "cover", format: "png", background: undefined } as const
    const straight = estimate({ width: 20_000, height: 10, isTurned: false }, header, output)
    const turned = estimate({ width: 20_000, height: 10, isTurned: true }, header, output)
    assert.isAbove(turned - straight, 4 * 3_000_000 * 1000)
  })
})
