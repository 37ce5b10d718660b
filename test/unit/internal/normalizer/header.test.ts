import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { read } from "../../../../src/internal/normalizer/header.js"
import type { Input } from "../../../../src/internal/normalizer/job.js"
import { concat, jpeg, png, segment, webp } from "../../../utils/images.js"
import { picture } from "../../../utils/pictures.js"

const held = (format: Input, bytes: Uint8Array) => read(format, bytes)?.heldBytesPerPixel

describe("read", () => {
  it("tells interlaced PNGs, and the depth and channels of their pixels", () => {
    assert.strictEqual(held("png", png({ colorType: 2 })), 0)
    assert.strictEqual(held("png", png({ colorType: 2, interlace: 1 })), 4)
    assert.strictEqual(held("png", png({ colorType: 6, bitDepth: 16, interlace: 1 })), 8)
    assert.strictEqual(held("png", png({ colorType: 0, interlace: 1 })), 2)
  })

  it("tells JPEGs that are held as a whole: progressive, or in several scans", async () => {
    assert.strictEqual(held("jpeg", jpeg()), 0)
    assert.strictEqual(held("jpeg", await picture(64, 48).jpeg().toBuffer()), 0)
    assert.strictEqual(held("jpeg", await picture(64, 48).jpeg({ progressive: true }).toBuffer()), 3.75)
    assert.strictEqual(
      held("jpeg", await picture(64, 48).jpeg({ progressive: true, chromaSubsampling: "4:4:4" }).toBuffer()),
      7.5
    )
    const colour = Buffer.from(await picture(64, 48).jpeg().toBuffer())
    // One of three components in the first scan
    colour[colour.indexOf(Buffer.of(0xff, 0xda)) + 4] = 1
    assert.strictEqual(held("jpeg", colour), 3.75)
  })

  it("takes a JPEG without a frame header in its first bytes for the costliest", () => {
    const comments = Array.from({ length: 5 }, () => segment(0xfe, new Uint8Array(65_000)))
    const late = concat(...jpegWith(comments))
    assert.strictEqual(held("jpeg", late.subarray(0, 256 * 1024)), 10)
    assert.strictEqual(held("jpeg", late), 0)
  })

  it("reads the size of every format", async () => {
    const images: ReadonlyArray<readonly [Input, Uint8Array]> = [
      ["png", await picture(70, 50).png().toBuffer()],
      ["jpeg", await picture(70, 50).jpeg().toBuffer()],
      ["webp", await picture(70, 50).webp().toBuffer()],
      ["webp", await picture(70, 50).webp({ lossless: true }).toBuffer()],
      ["webp", await picture(70, 50).ensureAlpha(0.5).webp().toBuffer()],
      ["gif", await picture(70, 50).gif().toBuffer()],
      ["avif", await picture(70, 50).avif().toBuffer()]
    ]
    for (const [format, bytes] of images) assert.include(read(format, bytes), { width: 70, height: 50 }, format)
  })

  it("answers nothing for another signature", () => {
    const formats: ReadonlyArray<Input> = ["png", "jpeg", "webp", "gif", "avif"]
    const images: ReadonlyArray<readonly [Input, Uint8Array]> = [["png", png()], ["jpeg", jpeg()], ["webp", webp()]]
    for (const format of formats) {
      for (const [other, bytes] of images) {
        if (format !== other) assert.isUndefined(read(format, bytes), `${format} ${other}`)
      }
      assert.isUndefined(read(format, new TextEncoder().encode(`<svg xmlns="http://www.w3.org/2000/svg"/>`)))
    }
  })

  it.prop("is total", [
    FastCheck.constantFrom<Input>("png", "jpeg", "webp", "gif", "avif"),
    FastCheck.constantFrom(
      "",
      "\x89PNG\r\n\x1a\n",
      "\xff\xd8\xff",
      "RIFF____WEBPVP8X",
      "GIF89a",
      "____ftypavif",
      "RIFF____WEBPVP8 "
    ),
    FastCheck.uint8Array({ maxLength: 200 })
  ], ([format, prefix, bytes]) => {
    read(format, concat(Buffer.from(prefix, "latin1"), bytes))
  })
})

const jpegWith = (segments: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> => [jpeg({ segments })]
