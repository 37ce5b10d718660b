import { assert, describe, it } from "@effect/vitest"
import { ContentMismatch } from "../../../../src/browser/promise.js"
import { facts, refusal } from "../../../../src/server/page/words.js"

describe("the page's words", () => {
  it("give the size of a picture as it is seen upright", () => {
    const image = {
      mime: "image/jpeg",
      display_name: "IMG_0001.jpg",
      bytes: 2048,
      width: 4000,
      height: 3000,
      orientation: 6,
      upright_width: 3000,
      upright_height: 4000
    } as const
    assert.deepStrictEqual(facts(image, 5), ["IMG_0001.jpg", "JPEG", "3000 × 4000 pixels", "2 KiB", "5 ms"])
  })

  it("call a file without a type, whose contents are no picture, unsupported", () => {
    const file = new File([], "a")
    const { detail, title } = refusal(new ContentMismatch({ detected: "pdf" }), file)
    assert.deepStrictEqual([title, detail], [
      "This file type is not supported.",
      "Please choose a PNG, JPEG or WebP file."
    ])
    const labeled = refusal(new ContentMismatch({ declared: "png", detected: "pdf" }), file)
    assert.strictEqual(labeled.detail, "It is labeled as a PNG, but it contains a PDF document.")
  })
})
