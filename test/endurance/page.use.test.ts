import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Page } from "playwright-core"
import { assertAccessible, assertNoOverflow, boxesOf } from "../integration/browser/accessibility.js"
import { executable, give } from "../integration/browser/chromium.js"
import {
  answer,
  type Files,
  goTo,
  image,
  makeFiles,
  open,
  openPage,
  type Options,
  scenes
} from "../integration/browser/scenes.js"
import { getBrowser } from "../integration/browser/visit.js"
import { serve } from "../integration/server/testServer.js"
import { leaveOut } from "../utils/peers.js"

if (executable === undefined) leaveOut("Chromium", "everybody can use the page")

/** The session, the title and the controls that are seen in each scene on a phone. */
const seen: Readonly<Record<string, string>> = {
  none: "No session · No picture yet · Choose a picture, Take a photo",
  refused: "No session · “dancing-cat.gif” is a GIF · Choose another, Take a photo",
  connecting: "Opening · Connecting to the server · Cancel",
  sending: "Opening · Sending “evening.jpg” · Cancel",
  checking: "Opening · Checking “evening.jpg” · Cancel",
  open: "Session open · The session is open · Replace, End the session",
  replacing: "Session open · Sending “a-morning-in-the…ns-2024.jpg” · Cancel",
  "refused-kept": "Session open · “a-morning-in-the…ns-2024.jpg” is not complete · Choose another, End the session",
  lost: "Connection lost · The connection was lost · Send it again, Choose another",
  ended: "Session ended · The session has ended · Choose a picture, Take a photo"
}

const textsOf = (page: Page, selector: string) => page.locator(selector).filter({ visible: true }).allTextContents()

describe.skipIf(executable === undefined)("the page", () => {
  let files: Files
  beforeAll(async () => {
    files = await makeFiles()
  })

  const live = (title: string, options: Omit<Options, "serverUrl">, run: (page: Page) => Promise<unknown>) =>
    it.scopedLive(title, () =>
      Effect.gen(function*() {
        const { url } = yield* serve()
        const page = yield* Effect.acquireRelease(
          Effect.promise(async () => openPage(await getBrowser(), { ...options, serverUrl: url })),
          (page) => Effect.promise(() => page.context().close())
        )
        yield* Effect.promise(() => run(page))
      }), 120_000)

  const looks = [
    { width: 360, height: 640, isTouch: true, colorScheme: "light" },
    { width: 1280, height: 800, isTouch: false, colorScheme: "dark" }
  ] as const
  for (const { colorScheme, width, ...look } of looks) {
    const title =
      `is accessible and moves nothing between its states, ${width} pixels wide, in the ${colorScheme} theme`
    live(title, { ...look, colorScheme, width }, async (page) => {
      const atFirst = await boxesOf(page)
      for (const [state, enter] of scenes) {
        await enter(page, files)
        assert.deepStrictEqual(await boxesOf(page), atFirst, state)
        await assertNoOverflow(page, state)
        await assertAccessible(page, state)
      }
    })
  }

  live("has the actions of each state under the thumb on a phone, and never speaks of dropping there", {
    width: 360,
    height: 640,
    isTouch: true
  }, async (page) => {
    for (const name of ["Choose a picture", "Take a photo"]) {
      const box = await page.getByRole("button", { name, exact: true }).boundingBox()
      assert(box !== null)
      assert.isAtLeast(box.y, 320, name)
      assert.isAtMost(box.y + box.height, 640, name)
      assert.isAtLeast(box.height, 44, name)
    }
    const [camera] = await Promise.all([page.waitForEvent("filechooser"), page.locator("#photo").tap()])
    assert.strictEqual(await camera.element().getAttribute("capture"), "environment")
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.locator("#stage").tap()])
    assert.isFalse(await chooser.element().evaluate((input) => input.hasAttribute("capture")))
    for (const [state, enter] of scenes) {
      await enter(page, files)
      const labels = "[...document.querySelectorAll('[aria-label]')].map((e) => e.getAttribute('aria-label')).join()"
      assert.notMatch(String(await page.evaluate(`document.body.innerText + ${labels}`)), /drop/i, state)
      const texts = await Promise.all(
        ["#session", ".message h2", ".actions button"].map((selector) => textsOf(page, selector))
      )
      assert.strictEqual(texts.map((some) => some.join(", ")).join(" · "), seen[state], state)
      const actions = await page.locator(".actions").boundingBox()
      assert(actions !== null)
      assert.isAtMost(actions.y + actions.height, 640, state)
    }
  })

  live("invites to drop with a mouse, and hides the camera", { width: 1280 }, async (page) => {
    assert.isTrue(await page.getByText("Drop a picture here").isVisible())
    assert.isFalse(await page.locator("#photo").isVisible())
    assert.isFalse(await page.getByText("Tap to choose").isVisible())
    for (const id of ["#stage", "#choose"]) {
      await Promise.all([page.waitForEvent("filechooser"), page.locator(id).click()])
    }
  })

  for (const width of [320, 360, 768, 1280]) {
    live(
      `shows a hint beside the marks of the pictures, ${width} pixels wide`,
      { width, height: 640 },
      async (page) => {
        for (const [state, enter] of scenes) {
          await enter(page, files)
          await give(page, "drop", files.gif, files.gif)
          const hint = await page.locator("#hint", { hasText: "these were 2 files" }).boundingBox()
          const stage = await page.locator("#stage").boundingBox()
          assert(hint !== null && stage !== null)
          assert.isTrue(hint.y >= stage.y && hint.y + hint.height <= stage.y + stage.height, state)
          for (const mark of await page.locator(".mark").filter({ visible: true }).all()) {
            const box = await mark.boundingBox()
            assert(box !== null)
            assert.isTrue(box.y + box.height <= hint.y || hint.y + hint.height <= box.y, state)
          }
        }
      }
    )
  }

  live("can be used with the keyboard alone, and keeps the focus", { width: 1280 }, async (page) => {
    const focused = () => page.evaluate("document.activeElement.id")
    // With a listener, Playwright intercepts every file chooser from now on.
    page.on("filechooser", () => {})
    await page.keyboard.press("Tab")
    assert.strictEqual(await focused(), "stage")
    for (const key of ["Enter", "Space"]) {
      await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press(key)])
    }
    await page.keyboard.press("Tab")
    assert.strictEqual(await focused(), "choose")
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")])
    await chooser.setFiles(files.photo)
    await page.locator("#cancel").waitFor()
    assert.strictEqual(await focused(), "cancel")
    await page.keyboard.press("Enter")
    await page.locator("#status", { hasText: "Cancelled" }).waitFor()
    assert.strictEqual(await focused(), "choose")
    const [again] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Space")])
    await again.setFiles(files.photo)
    await open(page)
    await page.locator("#messages", { hasText: "session_init_v2" }).waitFor()
    await answer(page, image(files.photo.name, files.photo.buffer.length))
    await page.locator("#status", { hasText: "The session is open" }).waitFor()
    assert.strictEqual(await focused(), "choose")
    await page.keyboard.press("Tab")
    assert.strictEqual(await focused(), "end")
    await page.keyboard.press("Enter")
    await page.locator("#status", { hasText: "The session has ended" }).waitFor()
    assert.strictEqual(await focused(), "choose")
    await page.keyboard.press("Shift+Tab")
    // The link to the server's copy is gone, so the stage comes before the controls again.
    assert.strictEqual(await focused(), "stage")
  })

  live(
    "can be zoomed to 200 %, and to 400 %, without a horizontal scroll bar",
    { width: 640, height: 400 },
    async (page) => {
      await goTo(page, files, "refused-kept")
      // 1280 × 800 pixels at these zoom factors, then a larger text in a small and a large window.
      for (
        const [width, height, fontSize] of [[640, 400, ""], [320, 200, ""], [360, 640, "200%"], [
          1280,
          800,
          "200%"
        ]] as const
      ) {
        await page.setViewportSize({ width, height })
        await page.evaluate(`document.documentElement.style.fontSize = "${fontSize}"`)
        await assertNoOverflow(page, `${width} ${fontSize}`)
        await page.locator("#end").click({ trial: true })
      }
    }
  )

  for (const reducedMotion of ["reduce", "no-preference"] as const) {
    live(
      `moves while it connects, with the preference "${reducedMotion}"`,
      { width: 1280, reducedMotion },
      async (page) => {
        await goTo(page, files, "connecting")
        const animations = Number(await page.evaluate("document.getAnimations().length"))
        assert.strictEqual(animations > 0, reducedMotion === "no-preference")
      }
    )
  }

  live("shows a picture that was accepted despite its cancellation", { width: 1280 }, async (page) => {
    await goTo(page, files, "replacing")
    await page.locator("#cancel").click()
    await page.locator("#status", { hasText: "Your session still has “evening.jpg”." }).waitFor()
    await answer(page, image(files.other.name, files.other.buffer.length))
    await page.locator("#status", { hasText: "The picture is replaced" }).waitFor()
    assert.strictEqual(await page.locator("#fact-name").textContent(), files.other.name)
  })

  live("shows the name of a file that the browser cannot draw", { width: 1280 }, async (page) => {
    await page.setInputFiles("#file", {
      name: "notes.pdf",
      mimeType: "application/pdf",
      buffer: Buffer.from("%PDF-1.7")
    })
    await page.locator("#alert", { hasText: "“notes.pdf” is a PDF" }).waitFor()
    await page.locator("#unseen", { hasText: "notes.pdf" }).waitFor()
    assert.isFalse(await page.locator("#preview").isVisible())
  })
})
