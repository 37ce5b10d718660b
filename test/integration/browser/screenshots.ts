/** Compares screenshots and the boxes of the page's areas with the committed ones. */
import { assert } from "@effect/vitest"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Page } from "playwright-core"
import sharp from "sharp"
import { type Boxes, boxesOf } from "./accessibility.js"

const folder = join(import.meta.dirname, "screenshots")
const boxesFile = join(folder, "boxes.json")

/** The environment variable that has the screenshots written instead of compared. */
const isUpdate = process.env["PAGE_SCREENSHOTS"] === "update"

/** The screenshot that is also `page.png`, with all its colours. */
const shownInReadme = "1280-light-open"

/** Anti-aliasing and the palette change a channel by less than this, of 255. */
const channelTolerance = 64
/** The largest share of pixels that may differ. A changed word is about 0.1 % of the smallest screenshot. */
const shareTolerance = 0.0003

interface Recorded {
  /** The widths of a text in the page's two fonts, in pixels. */
  readonly fonts: ReadonlyArray<number>
  readonly boxes: Record<string, Boxes>
}

const recorded = (): Recorded =>
  existsSync(boxesFile) ? JSON.parse(readFileSync(boxesFile, "utf8")) : { fonts: [], boxes: {} }

const fontsOf = async (page: Page): Promise<ReadonlyArray<number>> =>
  JSON.parse(
    String(
      await page.evaluate(`JSON.stringify([document.body, document.getElementById("curl")].map((element) => {
        const context = document.createElement("canvas").getContext("2d")
        context.font = getComputedStyle(element).font
        return Math.round(context.measureText("Hamburgefonstiv 0123456789 “é” ✓ ↑").width * 10)
      }))`)
    )
  )

const pixelsOf = (png: Buffer) => sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true })

/** The share of pixels that differ; 1 for pictures of different sizes. */
const difference = async (a: Buffer, b: Buffer): Promise<number> => {
  const [left, right] = await Promise.all([pixelsOf(a), pixelsOf(b)])
  if (left.info.width !== right.info.width || left.info.height !== right.info.height) return 1
  let count = 0
  for (let at = 0; at < left.data.length; at += 3) {
    for (let channel = at; channel < at + 3; channel++) {
      if (Math.abs((left.data[channel] ?? 0) - (right.data[channel] ?? 0)) > channelTolerance) {
        count += 1
        break
      }
    }
  }
  return count / (left.data.length / 3)
}

/**
 * Starts a comparison. With other fonts than those of the committed screenshots, texts break elsewhere: then nothing is
 * compared, and the result says so.
 */
export const start = async (page: Page) => {
  const fonts = await fontsOf(page)
  const before = recorded()
  const boxes: Record<string, Boxes> = {}
  const isComparable = isUpdate || JSON.stringify(fonts) === JSON.stringify(before.fonts)
  return {
    isComparable,
    compare: async (page: Page, name: string): Promise<void> => {
      if (!isComparable) return
      const png = await page.screenshot({ animations: "disabled" })
      boxes[name] = await boxesOf(page)
      const file = join(folder, `${name}.png`)
      if (isUpdate) {
        mkdirSync(folder, { recursive: true })
        writeFileSync(file, await sharp(png).png({ palette: true, colours: 16, effort: 10, dither: 0 }).toBuffer())
        if (name === shownInReadme) writeFileSync(join(import.meta.dirname, "page.png"), png)
        return
      }
      assert.deepStrictEqual(boxes[name], before.boxes[name], name)
      const share = await difference(png, readFileSync(file))
      if (share <= shareTolerance) return
      const seen = join(tmpdir(), `${name}.png`)
      writeFileSync(seen, png)
      assert.fail(`${(share * 100).toFixed(2)} % of ${file} differ from ${seen}. PAGE_SCREENSHOTS=update renews it.`)
    },
    /** Writes the boxes of an update. */
    finish: () => {
      if (isUpdate) writeFileSync(boxesFile, `${JSON.stringify({ fonts, boxes: { ...recorded().boxes, ...boxes } })}\n`)
    }
  }
}
