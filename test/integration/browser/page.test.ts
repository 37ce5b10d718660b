import { afterAll, assert, describe, it, vi } from "@effect/vitest"
import axe from "axe-core"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Page } from "playwright-core"
import sharp from "sharp"
import { png, pngOfSize } from "../../utils/images.js"
import { leaveOut } from "../../utils/peers.js"
import { makePictures } from "../server/pictures.js"
import { type Options, serve } from "../server/testServer.js"
import { executable, give, launch, makeLine, type PageFile } from "./chromium.js"

const mebibyte = 1024 * 1024

if (executable === undefined) leaveOut("Chromium", "the page works in a browser")

const fileOf = (name: string, mimeType: string, bytes: Uint8Array): PageFile => ({
  name,
  mimeType,
  buffer: Buffer.from(bytes)
})

const small = fileOf("small.png", "image/png", png({ width: 40, height: 30 }))
const other = fileOf("other.png", "image/png", png({ width: 12, height: 34 }))
const large = fileOf("large.png", "image/png", pngOfSize(8 * mebibyte))

const folder = mkdtempSync(join(tmpdir(), "session-init-image-page-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Chooses a file from the disk; Chromium derives its type from its name. */
const choose = async (page: Page, { buffer, name }: PageFile) => {
  const file = join(folder, name)
  writeFileSync(file, buffer)
  await page.setInputFiles("#file", file)
}

/** Waits until the page shows that the server has a picture of these dimensions. */
const untilAccepted = async (page: Page, { height, width }: { readonly width: number; readonly height: number }) => {
  await page.locator("#fact-dimensions", { hasText: `${width} × ${height} pixels` }).waitFor()
  assert.strictEqual(await page.locator("#session").textContent(), "Session open")
}

const alertText = (page: Page): Promise<string | null> => page.locator("#alert").textContent()

const untilAlert = (page: Page, text: string) => page.locator("#alert", { hasText: text }).waitFor()

const untilStatus = (page: Page, text: string) => page.locator("#status", { hasText: text }).waitFor()

/** Collects the ids of the sessions that the page opens, in order. */
const sessionsOf = (page: Page): Array<string> => {
  const ids: Array<string> = []
  page.on("websocket", (socket) => ids.push(String(new URL(socket.url()).searchParams.get("session_id"))))
  return ids
}

interface Visit extends Options {
  readonly width?: number
  readonly colorScheme?: "light" | "dark"
}

/**
 * Opens the page in a new browser, over its own line to the server. Fails on a script error or an unexpected console
 * error.
 */
const visit = Effect.fnUntraced(function*({ colorScheme = "light", width = 1280, ...options }: Visit = {}) {
  const server = yield* serve(options)
  const line = yield* makeLine(server.port)
  const browser = yield* launch
  const context = yield* Effect.promise(() => browser.newContext({ viewport: { width, height: 800 }, colorScheme }))
  const page = yield* Effect.promise(() => context.newPage())
  const errors: Array<string> = []
  page.on("pageerror", (error) => errors.push(String(error)))
  page.on("console", (message) => {
    // Some tests cut the line or ask for a deleted picture.
    const isExpected = /status of 404|ERR_|WebSocket connection to/.test(message.text())
    if (message.type() === "error" && !isExpected) errors.push(message.text())
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => assert.deepStrictEqual(errors, [])))
  const sessions = sessionsOf(page)
  yield* Effect.promise(() => page.goto(line.url))
  return {
    server,
    line,
    page,
    sessions,
    /** Fetches the picture of the last session from the server. */
    fetchPicture: () => fetch(`${server.url}/sessions/${sessions.at(-1)}/init-image`)
  }
})

const inBrowser = <A, E>(title: string, body: () => Effect.Effect<A, E>) => it.live(title, body, 120_000)

describe.skipIf(executable === undefined)("the page", () => {
  const live = <R>(title: string, run: (visited: Effect.Effect.Success<ReturnType<typeof visit>>) => Promise<R>) =>
    inBrowser(title, () => Effect.scoped(Effect.flatMap(visit(), (visited) => Effect.promise(() => run(visited)))))

  live("opens a session with a picture of each type, and shows its description", async (visited) => {
    const { fetchPicture, page, server, sessions } = visited
    for (const { height, payload, width } of await makePictures()) {
      const bytes = Buffer.from(payload.data, "base64")
      await choose(page, { name: payload.name, mimeType: payload.mime, buffer: bytes })
      await untilAccepted(page, { width, height })
      const facts = await page.locator("#facts dd").allTextContents()
      assert.strictEqual(facts[0], payload.name)
      assert.strictEqual(facts[1], { "image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WebP" }[payload.mime])
      assert.match(String(facts[3]), /^[\d.]+ (KiB|MiB)$/)
      assert.match(String(facts[4]), /^[\d.]+ m?s$/)
      await page.waitForFunction(`document.getElementById("preview").naturalWidth === ${width}`)
      const link = String(await page.locator("#copy").getAttribute("href"))
      const linked = await fetch(new URL(link, server.url))
      assert.isTrue(Buffer.from(await linked.arrayBuffer()).equals(bytes))
      assert.strictEqual((await fetchPicture()).headers.get("content-type"), payload.mime)
      await page.locator("#end").click()
      await untilStatus(page, "has deleted its picture")
    }
    assert.lengthOf(new Set(sessions), 3)
  })

  live(
    "accepts a dropped, a pasted and a replacing picture in one session",
    async (visited) => {
      const { page, server, sessions } = visited
      await give(page, "drop", small)
      await untilAccepted(page, { width: 40, height: 30 })
      await untilStatus(page, "The session is open with this picture.")
      await give(page, "paste", other)
      await untilAccepted(page, { width: 12, height: 34 })
      await untilStatus(page, "The session now uses this picture.")
      await choose(page, small)
      await untilAccepted(page, { width: 40, height: 30 })
      assert.lengthOf(sessions, 1)
      assert.lengthOf(server.files(), 1)
    }
  )

  live("shows a notice when the dropped or pasted item is not a file", async ({ page }) => {
    await give(page, "drop", undefined)
    await untilAlert(page, "The dropped item is not a file.")
    await give(page, "paste", undefined)
    await untilAlert(page, "The clipboard contains no picture.")
  })

  live("ends the session and shows that the server has deleted its picture", async ({ fetchPicture, page, server }) => {
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    assert.strictEqual((await fetchPicture()).status, 200)
    await page.locator("#end").click()
    await untilStatus(page, "has deleted its picture")
    assert.strictEqual(await page.locator("#session").textContent(), "Session ended")
    assert.strictEqual((await fetchPicture()).status, 404)
    // The session ends before its file is removed.
    await vi.waitFor(() => assert.deepStrictEqual(server.files(), []), { timeout: 30_000 })
    await choose(page, other)
    await untilAccepted(page, { width: 12, height: 34 })
  })

  live(
    "cancels the first picture during its upload, and the server keeps no part of it",
    async ({ line, page, server }) => {
      line.slow(2 * mebibyte)
      await choose(page, large)
      await page.locator("#amount", { hasText: /^[1-9][\d.]* of 8\.0 MiB$/ }).waitFor()
      // axe does not check the name of a native progress element.
      const value = Number(await page.getByRole("progressbar", { name: "Sending" }).getAttribute("value"))
      assert.isTrue(value > 5 && value < 95, `${value} %`)
      await page.locator("#cancel").click()
      await untilStatus(page, "Cancelled. The server has kept no part of the picture.")
      assert.strictEqual(await page.locator("#session").textContent(), "No session")
      assert.strictEqual(await alertText(page), "")
      line.slow(Infinity)
      await choose(page, small)
      await untilAccepted(page, { width: 40, height: 30 })
      assert.lengthOf(server.files(), 1)
    }
  )

  live("cancels a replacing picture during its upload, and the session keeps the previous one", async (visited) => {
    const { fetchPicture, line, page, sessions } = visited
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    for (let i = 0; i < 2; i++) {
      line.slow(2 * mebibyte)
      await choose(page, large)
      await page.locator("#amount", { hasText: /^[1-9][\d.]* of 8\.0 MiB$/ }).waitFor()
      await page.locator("#cancel").click()
      await untilStatus(page, "Cancelled. The session keeps its previous picture.")
      await untilAccepted(page, { width: 40, height: 30 })
      line.slow(Infinity)
    }
    assert.isTrue(Buffer.from(await (await fetchPicture()).arrayBuffer()).equals(small.buffer))
    await choose(page, other)
    await untilAccepted(page, { width: 12, height: 34 })
    assert.strictEqual(await alertText(page), "")
    assert.lengthOf(sessions, 1)
  })

  live("aborts an upload when another picture is chosen", async ({ line, page, server }) => {
    line.slow(2 * mebibyte)
    await choose(page, large)
    await page.locator("#amount", { hasText: /^[\d.]+ of 8\.0 MiB$/ }).waitFor()
    await give(page, "drop", small)
    await untilAccepted(page, { width: 40, height: 30 })
    line.slow(2 * mebibyte)
    await choose(page, large)
    await page.locator("#amount", { hasText: /^[\d.]+ of 8\.0 MiB$/ }).waitFor()
    await give(page, "drop", other)
    await untilAccepted(page, { width: 12, height: 34 })
    assert.lengthOf(server.files(), 1)
  })

  live("shows that the connection was lost, and sends the picture again in a new session", async (visited) => {
    const { line, page, server, sessions } = visited
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    line.cut()
    await untilAlert(page, "The connection was lost.")
    assert.strictEqual(await page.locator("#session").textContent(), "Connection lost")
    await page.locator("#retry").click()
    await untilAlert(page, "The server cannot be reached.")
    line.restore()
    await page.locator("#retry").click()
    await untilAccepted(page, { width: 40, height: 30 })
    assert.strictEqual(await alertText(page), "")
    assert.lengthOf(new Set(sessions), 3)
    assert.lengthOf(server.files(), 1)

    line.slow(2 * mebibyte)
    await choose(page, large)
    await page.locator("#amount", { hasText: /^[1-9][\d.]* of 8\.0 MiB$/ }).waitFor()
    line.cut()
    await untilAlert(page, "The connection was lost.")
    line.slow(Infinity)
    line.restore()
    await page.locator("#retry").click()
    await untilAccepted(page, { width: 1, height: 1 })
  })

  live("has one session at a time when pictures are chosen in quick succession", async ({ page, server }) => {
    const medium = fileOf("medium.png", "image/png", pngOfSize(mebibyte))
    for (let i = 0; i < 5; i++) {
      await Promise.all([give(page, "drop", small), give(page, "paste", medium), give(page, "drop", other)])
      await untilAccepted(page, { width: 12, height: 34 })
    }
    assert.lengthOf(server.files(), 1)
    assert.strictEqual(await alertText(page), "")
  })

  live("works without randomUUID, and opens a session while the last one ends", async (visited) => {
    const { fetchPicture, page, server, sessions } = visited
    await page.addInitScript("delete Crypto.prototype.randomUUID")
    await page.reload()
    assert.strictEqual(await page.evaluate("typeof crypto.randomUUID"), "undefined")
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    assert.match(String(sessions[0]), /^[0-9a-f]{32}$/)
    assert.strictEqual((await fetchPicture()).status, 200)
    await page.evaluate("document.getElementById('end').click()")
    await give(page, "drop", other)
    await untilAccepted(page, { width: 12, height: 34 })
    assert.strictEqual(await alertText(page), "")
    assert.lengthOf(server.files(), 1)
  })

  const gif = Buffer.concat([Buffer.from("GIF89a"), Buffer.alloc(32)])
  const refusals = [
    {
      file: fileOf("a.gif", "image/gif", gif),
      title: "This file type is not supported.",
      detail: "Please choose a PNG, JPEG or WebP file."
    },
    {
      file: fileOf("a.png", "image/png", gif),
      title: "The file's contents do not match its type.",
      detail: "It is labeled as a PNG, but it contains a GIF."
    },
    {
      file: fileOf("a.webp", "image/webp", Buffer.from("words")),
      title: "The file's contents do not match its type.",
      detail: "It is labeled as a WebP, but its contents are of another type."
    },
    {
      file: fileOf("a.png", "image/png", Buffer.alloc(0)),
      title: "This file is empty.",
      detail: "It contains no data."
    },
    {
      file: fileOf("a.png", "image/png", Buffer.alloc(32 * mebibyte + mebibyte)),
      title: "This picture is too large.",
      detail: "It has 33 MiB; the limit is 32 MiB."
    },
    {
      file: fileOf("cut.png", "image/png", small.buffer.subarray(0, -20)),
      title: "This picture is damaged or incomplete.",
      detail: "The png image ends before it is complete."
    },
    {
      file: fileOf("wide.png", "image/png", png({ width: 64250, height: 64250 })),
      title: "This picture has too many pixels.",
      detail: "The image is 64250 by 64250 pixels; at most 89,478,485 are allowed in all."
    }
  ]
  live("explains why a picture is refused, and accepts a valid one after it", async ({ page, sessions }) => {
    for (const { detail, file, title } of refusals) {
      await choose(page, file)
      await untilAlert(page, title)
      assert.strictEqual(await alertText(page), title + detail)
      assert.isFalse(await page.locator("#retry").isVisible())
      await page.locator("#session", { hasText: "No session" }).waitFor()
    }
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    assert.strictEqual(await alertText(page), "")
    const before = sessions.length
    for (const { detail, file, title } of refusals) {
      await choose(page, file)
      await page.locator("#alert", { hasText: detail }).waitFor()
      assert.strictEqual(await alertText(page), title + detail)
      await untilAccepted(page, { width: 40, height: 30 })
    }
    assert.lengthOf(sessions, before)
  })

  inBrowser(
    "shows a refusal by the server's own limits, and offers a retry where it can succeed",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const env = { INIT_IMAGE_MAX_BYTES: "4000000", INIT_IMAGE_MAX_FILES_KEPT: "1", INIT_IMAGE_ON_FULL: "fail" }
        const { page, server } = yield* visit({ env })
        const second = yield* Effect.promise(async () => {
          await choose(page, large)
          await untilAlert(page, "This picture is too large.")
          assert.include(String(await alertText(page)), "4,000,000 bytes")
          const second = await page.context().newPage()
          await second.goto(server.url)
          await choose(second, small)
          await untilAccepted(second, { width: 40, height: 30 })
          await choose(page, other)
          await untilAlert(page, "The server has no room at the moment.")
          await second.locator("#end").click()
          await untilStatus(second, "has deleted its picture")
          return second
        })
        yield* server.empty
        yield* Effect.promise(async () => {
          await page.locator("#retry").click()
          await untilAccepted(page, { width: 12, height: 34 })
          await second.close()
        })
      }))
  )

  live("is usable with the keyboard alone, and keeps the focus", async ({ line, page }) => {
    const focused = () => page.evaluate("document.activeElement.id")
    // With a listener, Playwright intercepts every file chooser from now on.
    page.on("filechooser", () => {})
    await page.keyboard.press("Tab")
    assert.strictEqual(await focused(), "file")
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")])
    line.slow(mebibyte)
    await chooser.setFiles(large)
    await page.locator("#cancel").waitFor()
    assert.strictEqual(await focused(), "cancel")
    await page.keyboard.press("Enter")
    await untilStatus(page, "Cancelled.")
    assert.strictEqual(await focused(), "file")
    line.slow(Infinity)
    const [again] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")])
    await again.setFiles(small)
    await untilAccepted(page, { width: 40, height: 30 })
    assert.strictEqual(await focused(), "file")
    await page.keyboard.press("Tab")
    assert.strictEqual(await focused(), "end")
    await page.keyboard.press("Enter")
    await untilStatus(page, "has deleted its picture")
    assert.strictEqual(await focused(), "file")
  })

  for (const colorScheme of ["light", "dark"] as const) {
    for (const width of [1280, 360]) {
      inBrowser(
        `has no accessibility violation in any state, in the ${colorScheme} theme, ${width} pixels wide`,
        () =>
          Effect.scoped(Effect.gen(function*() {
            const { line, page } = yield* visit({ colorScheme, width })
            // `evaluate` runs axe through the debugger, to which the page's content security policy does not apply.
            const assertAccessible = async (state: string) => {
              await page.waitForTimeout(350)
              await page.evaluate(axe.source)
              const violations = await page.evaluate(
                "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => `${id}: ${nodes.map((n) => n.html)}`))"
              )
              assert.deepStrictEqual(violations, [], state)
              const overflow = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
              assert.isAtMost(Number(overflow), 0, state)
            }
            yield* Effect.promise(async () => {
              await assertAccessible("empty")
              await choose(page, { ...small, name: `${"a-very-long-name".repeat(12)}.png` })
              await untilAccepted(page, { width: 40, height: 30 })
              await assertAccessible("accepted")
              await choose(page, fileOf("a.png", "image/png", gif))
              await untilAlert(page, "The file's contents do not match its type.")
              await assertAccessible("refused")
              line.slow(mebibyte)
              await choose(page, { ...large, name: `${"a-very-long-name".repeat(12)}.png` })
              await page.locator("#progress").waitFor()
              await assertAccessible("sending")
              line.cut()
              await untilAlert(page, "The connection was lost.")
              await assertAccessible("lost")
              line.restore()
              line.slow(Infinity)
              await choose(page, small)
              await untilAccepted(page, { width: 40, height: 30 })
              await page.locator("#end").click()
              await untilStatus(page, "has deleted its picture")
              await assertAccessible("ended")
            })
          }))
      )
    }
  }

  it.skipIf(process.env["PAGE_SCREENSHOT"] === undefined)(
    "is drawn to test/integration/browser/page.png",
    () =>
      Effect.runPromise(Effect.scoped(Effect.gen(function*() {
        const { page } = yield* visit()
        const buffer = yield* Effect.promise(() => sharp(Buffer.from(landscape)).jpeg({ quality: 92 }).toBuffer())
        yield* Effect.promise(async () => {
          await choose(page, { name: "evening.jpg", mimeType: "image/jpeg", buffer })
          await untilAccepted(page, { width: 1600, height: 1100 })
          await page.waitForTimeout(500)
          await page.screenshot({ path: join(import.meta.dirname, "page.png") })
        })
      }))),
    60_000
  )
})

const landscape = `<svg xmlns="http://www.w3.org/2000/svg" width="1600" height="1100">
  <linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">
    <stop offset="0" stop-color="#f7c59f"/>
    <stop offset="0.5" stop-color="#e58f76"/>
    <stop offset="1" stop-color="#3b4a6b"/>
  </linearGradient>
  <rect width="1600" height="1100" fill="url(#sky)"/>
  <circle cx="1050" cy="520" r="130" fill="#fff2d9"/>
  <path d="M0 760 350 520 640 760 900 600 1250 820 1600 640V1100H0Z" fill="#24304a"/>
  <path d="M0 900 500 780 980 930 1600 800V1100H0Z" fill="#151d30"/>
</svg>`
