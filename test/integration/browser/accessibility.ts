/** Checks that hold for the page in every state. */
import { assert } from "@effect/vitest"
import axe from "axe-core"
import type { Page } from "playwright-core"

/** Requires that axe finds no violation. */
export const assertAccessible = async (page: Page, state: string) => {
  // `evaluate` runs axe through the debugger, to which the page's content security policy does not apply.
  await page.evaluate(`globalThis.axe ?? (() => { ${axe.source} })()`)
  const violations = await page.evaluate(
    "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => `${id}: ${nodes.map((n) => n.html)}`))"
  )
  assert.deepStrictEqual(violations, [], state)
}

/** Requires that nothing is wider than the window. */
export const assertNoOverflow = async (page: Page, state: string) => {
  const overflow = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
  assert.isAtMost(Number(overflow), 0, state)
}

const areas = [
  ".bar",
  "h1",
  "#stage",
  ".panel",
  ".message",
  ".detail",
  ".actions",
  ".log",
  "#messages",
  "#error",
  "#curl"
]

export type Boxes = Readonly<Record<string, ReadonlyArray<number>>>

/** Left, top, width and height of the areas of the page, in pixels. */
export const boxesOf = async (page: Page): Promise<Boxes> =>
  JSON.parse(
    String(
      await page.evaluate(`JSON.stringify(Object.fromEntries(${JSON.stringify(areas)}.map((selector) => {
        const { height, left, top, width } = document.querySelector(selector).getBoundingClientRect()
        return [selector, [left, top + scrollY, width, height].map(Math.round)]
      })))`)
    )
  )
