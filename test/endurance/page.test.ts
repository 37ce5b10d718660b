import { beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { assertAccessible, assertNoOverflow } from "../integration/browser/accessibility.js"
import { executable } from "../integration/browser/chromium.js"
import { type Files, makeFiles, openPage, scenes } from "../integration/browser/scenes.js"
import * as screenshots from "../integration/browser/screenshots.js"
import { getBrowser } from "../integration/browser/visit.js"
import { serve } from "../integration/server/testServer.js"
import { leaveOut } from "../utils/peers.js"

if (executable === undefined) leaveOut("Chromium", "the page looks as it did")

const windows = [
  { width: 360, height: 640, isTouch: true },
  { width: 768, height: 1024, isTouch: true },
  { width: 1280, height: 800, isTouch: false }
]

describe.skipIf(executable === undefined)("the page in every state", () => {
  let files: Files
  beforeAll(async () => {
    files = await makeFiles()
  })

  for (const window of windows) {
    for (const colorScheme of ["light", "dark"] as const) {
      it.scopedLive(
        `looks as committed, ${window.width} pixels wide, in the ${colorScheme} theme`,
        () =>
          Effect.gen(function*() {
            const { url } = yield* serve()
            const page = yield* Effect.acquireRelease(
              Effect.promise(async () => openPage(await getBrowser(), { ...window, colorScheme, serverUrl: url })),
              (page) => Effect.promise(() => page.context().close())
            )
            yield* Effect.promise(async () => {
              const comparison = await screenshots.start(page)
              if (!comparison.isComparable) {
                process.stderr.write(
                  "Other fonts than those of the screenshots are installed: they have not been compared.\n"
                )
              }
              for (const [state, enter] of scenes) {
                await enter(page, files)
                await comparison.compare(page, `${window.width}-${colorScheme}-${state}`)
                await assertNoOverflow(page, state)
                await assertAccessible(page, state)
              }
              comparison.finish()
            })
          }),
        120_000
      )
    }
  }
})
