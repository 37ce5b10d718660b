import { assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import sharp from "sharp"
import { executable, give } from "../integration/browser/chromium.js"
import {
  choose,
  fileOf,
  untilAccepted,
  untilAlert,
  untilHint,
  untilSending,
  untilStatus,
  type Visit,
  visit,
  type Visited
} from "../integration/browser/visit.js"
import { png, pngOfSize } from "../utils/images.js"
import { leaveOut } from "../utils/peers.js"

const mebibyte = 1024 * 1024

if (executable === undefined) leaveOut("Chromium", "the page works in a browser")

const small = fileOf("small.png", "image/png", png({ width: 40, height: 30 }))
const other = fileOf("other.png", "image/png", png({ width: 12, height: 34 }))
const large = fileOf("large.png", "image/png", pngOfSize(8 * mebibyte))
const gif = Buffer.concat([Buffer.from("GIF89a"), Buffer.alloc(32)])

describe.skipIf(executable === undefined)("the page", () => {
  const live = (title: string, run: (visited: Visited) => Promise<unknown>, options: Visit = {}) =>
    it.live(
      title,
      () => Effect.scoped(Effect.flatMap(visit(options), (visited) => Effect.promise(() => run(visited)))),
      120_000
    )

  live("opens a session with a picture of each type, and shows its description", async (visited) => {
    const { fetchPicture, page, server, sessions } = visited
    const picture = sharp(small.buffer).resize(400, 300)
    const types = { png: "PNG", jpeg: "JPEG", webp: "WebP" } as const
    for (const type of ["png", "jpeg", "webp"] as const) {
      const file = fileOf(`picture.${type}`, `image/${type}`, await picture.clone().toFormat(type).toBuffer())
      await choose(page, file)
      await untilAccepted(page, { width: 400, height: 300 })
      await untilStatus(page, "The session is open")
      const facts = await page.locator("#facts dd").allTextContents()
      assert.strictEqual(facts[0], file.name)
      assert.strictEqual(facts[1], types[type])
      assert.match(String(facts[3]), /^\d+ (bytes|kB)$/)
      assert.match(String(facts[4]), /^[\d.]+ m?s$/)
      assert.strictEqual(await page.evaluate("document.getElementById('preview').naturalWidth"), 400)
      const link = String(await page.locator("#copy").getAttribute("href"))
      const linked = await fetch(new URL(link, server.url))
      assert.isTrue(Buffer.from(await linked.arrayBuffer()).equals(file.buffer))
      assert.strictEqual((await fetchPicture()).headers.get("content-type"), file.mimeType)
      await page.locator("#end").click()
      await untilStatus(page, "The server has deleted the picture.")
    }
    assert.lengthOf(new Set(sessions), 3)
  })

  live("accepts a dropped, a pasted and a replacing picture in one session", async ({ page, server, sessions }) => {
    await give(page, "drop", small)
    await untilAccepted(page, { width: 40, height: 30 })
    await untilStatus(page, "The session is open")
    await give(page, "paste", other)
    await untilAccepted(page, { width: 12, height: 34 })
    await untilStatus(page, "The picture is replaced")
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    assert.lengthOf(sessions, 1)
    assert.lengthOf(server.files(), 1)
  })

  live("answers gestures without one file, and goes on", async ({ line, page, sessions }) => {
    await give(page, "drop")
    await untilHint(page, "That is not a file.")
    await give(page, "paste")
    await untilHint(page, "The clipboard holds no picture.")
    for (const gesture of ["drop", "paste"] as const) {
      await give(page, gesture, small, other)
      await untilHint(page, "A session takes one picture, and these were 2 files. None was sent: choose one of them.")
    }
    assert.isEmpty(sessions)
    line.slow(4 * mebibyte)
    await choose(page, large)
    await untilSending(page)
    await give(page, "drop", small, other)
    await untilHint(page, "these were 2 files")
    line.slow(Infinity)
    await untilAccepted(page, { width: 1, height: 1 })
    assert.strictEqual(await page.locator("#hint").textContent(), "")
    await page.evaluate("DataTransferItem.prototype.webkitGetAsEntry = () => ({ isDirectory: true })")
    await give(page, "drop", small)
    await untilHint(page, "That is a folder.")
    await untilAccepted(page, { width: 1, height: 1 })
  })

  live("invites a dragged file, and no dragged text", async ({ page }) => {
    const isInvited = () => page.evaluate("document.body.classList.contains('over')")
    await give(page, "dragenter")
    assert.isFalse(await isInvited())
    await give(page, "dragenter", small)
    assert.isTrue(await isInvited())
    await give(page, "drop", small)
    assert.isFalse(await isInvited())
    await untilAccepted(page, { width: 40, height: 30 })
  })

  live("takes a picture whose name has the extension of another type", async ({ page }) => {
    await choose(page, { ...small, name: "small.webp" })
    await untilAccepted(page, { width: 40, height: 30 })
    assert.deepStrictEqual((await page.locator("#facts dd").allTextContents()).slice(0, 2), ["small.webp", "PNG"])
    await choose(page, { ...other, name: "other" })
    await untilAccepted(page, { width: 12, height: 34 })
  })

  live("shows a picture and its dimensions upright", async ({ page }) => {
    const bytes = await sharp(png({ width: 40, height: 30 })).jpeg().withMetadata({ orientation: 6 }).toBuffer()
    await choose(page, fileOf("turned.jpg", "image/jpeg", bytes))
    await untilAccepted(page, { width: 30, height: 40 })
    assert.strictEqual(await page.evaluate("document.getElementById('preview').naturalWidth"), 30)
  })

  live("ends the session and shows that the server has deleted its picture", async ({ fetchPicture, page, server }) => {
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    assert.strictEqual((await fetchPicture()).status, 200)
    await page.locator("#end").click()
    await untilStatus(page, "The server has deleted the picture.")
    assert.strictEqual(await page.locator("#session").textContent(), "Session ended")
    assert.strictEqual((await fetchPicture()).status, 404)
    // The session ends before its file is removed.
    await vi.waitFor(() => assert.deepStrictEqual(server.files(), []), { timeout: 30_000 })
    await choose(page, other)
    await untilAccepted(page, { width: 12, height: 34 })
  })

  live("shows the amount, the rate and the time left, and the preview at once", async ({ line, page }) => {
    line.slow(4 * mebibyte)
    await choose(page, large)
    await page.locator("#pace", { hasText: /^[\d.]+ [kM]B\/s · \d+ s left$/ }).waitFor()
    assert.match(String(await page.locator("#amount").textContent()), /^[\d.]+ of 8\.4 MB$/)
    // axe does not check the name of a native progress element.
    const value = Number(await page.getByRole("progressbar", { name: "Sending" }).getAttribute("value"))
    assert.isTrue(value > 0 && value < 100, `${value} %`)
    assert.strictEqual(await page.evaluate("document.getElementById('preview').naturalWidth"), 1)
    assert.strictEqual(await page.locator("#step-send").getAttribute("aria-current"), "step")
  })

  live("cancels the first picture, and the server keeps no part of it", async ({ line, page, server }) => {
    line.slow(4 * mebibyte)
    await choose(page, large)
    await untilSending(page)
    await page.locator("#cancel").click()
    await untilStatus(page, "The server kept nothing of “large.png”.")
    assert.strictEqual(await page.locator("#session").textContent(), "No session")
    line.slow(Infinity)
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    assert.lengthOf(server.files(), 1)
  })

  live("cancels a replacing picture, and the session keeps the previous one", async (visited) => {
    const { fetchPicture, line, page, sessions } = visited
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    for (let i = 0; i < 2; i++) {
      line.slow(4 * mebibyte)
      await choose(page, large)
      await untilSending(page)
      await untilStatus(page, "Until it is accepted, your session has “small.png”.")
      await page.locator("#cancel").click()
      await untilStatus(page, "Your session still has “small.png”.")
      await untilAccepted(page, { width: 40, height: 30 })
      line.slow(Infinity)
    }
    assert.isTrue(Buffer.from(await (await fetchPicture()).arrayBuffer()).equals(small.buffer))
    await choose(page, other)
    await untilAccepted(page, { width: 12, height: 34 })
    assert.lengthOf(sessions, 1)
  })

  const notes = fileOf("notes.png", "image/png", gif)
  const cut = fileOf("cut.png", "image/png", small.buffer.subarray(0, -20))
  for (
    const { isCancelled, next, title } of [
      { title: "cancelled, before a file that the page refuses", isCancelled: true, next: notes },
      { title: "cancelled, before a file that the server refuses", isCancelled: true, next: cut },
      { title: "followed by a file that the page refuses", isCancelled: false, next: notes },
      { title: "followed by a file that the server refuses", isCancelled: false, next: cut },
      { title: "cancelled, before another cancelled picture", isCancelled: true, next: large }
    ]
  ) {
    live(`shows the picture that the server has after it was ${title}`, async ({ fetchPicture, line, page }) => {
      const serverHas = ({ buffer }: typeof other) =>
        vi.waitFor(async () => {
          assert.isTrue(Buffer.from(await (await fetchPicture()).arrayBuffer()).equals(buffer))
        }, { timeout: 60_000 })
      await choose(page, small)
      await untilAccepted(page, { width: 40, height: 30 })
      line.hold()
      await choose(page, other)
      await serverHas(other)
      if (isCancelled) {
        await page.locator("#cancel").click()
        await untilStatus(page, "CancelledYour session still has “small.png”.")
      }
      await choose(page, next)
      if (next === large) {
        await page.locator("#messages .sent", { hasText: "large.png" }).waitFor()
        await page.locator("#cancel").click()
        await untilStatus(page, "CancelledYour session still has “small.png”.")
      } else if (next === notes) await untilAlert(page, "Your session still has “small.png”.")
      else await page.locator("#messages .sent", { hasText: "cut.png" }).waitFor()
      line.release()
      if (next === large) {
        await page.locator("#messages .received", { hasText: "invalid_payload" }).waitFor()
        await untilStatus(page, "The session now has “other.png”.")
      } else await untilAlert(page, "Your session still has “other.png”.")
      await untilAccepted(page, { width: 12, height: 34 })
      assert.strictEqual(await page.locator("#fact-name").textContent(), "other.png")
      assert.strictEqual(await page.evaluate("document.getElementById('preview').naturalWidth"), 12)
      await serverHas(other)
    })
  }

  live("aborts an upload when another picture is chosen", async ({ line, page, server }) => {
    line.slow(4 * mebibyte)
    await choose(page, large)
    await untilSending(page)
    await give(page, "drop", small)
    await untilAccepted(page, { width: 40, height: 30 })
    await choose(page, large)
    await untilSending(page)
    await give(page, "drop", other)
    await untilAccepted(page, { width: 12, height: 34 })
    assert.lengthOf(server.files(), 1)
  })

  live("shows a lost connection alone, and sends the picture again in a new session", async (visited) => {
    const { line, page, server, sessions } = visited
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    line.cut()
    await untilAlert(page, "The connection was lost")
    assert.strictEqual(await page.locator("#session").textContent(), "Connection lost")
    assert.isTrue(await page.locator("#facts").isHidden())
    await page.locator("#retry").click()
    await untilAlert(page, "The server cannot be reached")
    line.restore()
    await page.locator("#retry").click()
    await untilAccepted(page, { width: 40, height: 30 })
    assert.lengthOf(new Set(sessions), 3)
    assert.lengthOf(server.files(), 1)

    line.slow(4 * mebibyte)
    await choose(page, large)
    await untilSending(page)
    line.cut()
    await untilAlert(page, "You can send “large.png” again.")
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
    assert.lengthOf(server.files(), 1)
  })

  const refusals = [
    { file: fileOf("a.gif", "image/gif", gif), title: "“a.gif” is a GIF" },
    { file: fileOf("a.png", "image/png", gif), title: "“a.png” is a GIF" },
    { file: fileOf("a.webp", "image/webp", Buffer.from("words")), title: "“a.webp” cannot be read as a picture" },
    { file: fileOf("a.png", "image/png", Buffer.alloc(0)), title: "“a.png” is empty" },
    {
      file: fileOf("a.png", "image/png", Buffer.alloc(33 * mebibyte)),
      title: "“a.png” is too large",
      text: "It takes 34.6 MB, and the limit is 33.5 MB. Make it smaller, and choose it again."
    },
    {
      file: cut,
      title: "“cut.png” is not complete",
      text: "Its end is missing. Copy or download it again, or choose another picture."
    },
    {
      file: fileOf("wide.png", "image/png", png({ width: 64250, height: 64250 })),
      title: "“wide.png” has too many pixels",
      text: "It has 4,128 megapixels, and the limit is 89 megapixels. Scale it down, and choose it again."
    }
  ]
  live("keeps a refused picture in sight, marked, and says what to do", async ({ page, sessions }) => {
    for (const { file, text = "", title } of refusals) {
      await choose(page, file)
      await untilAlert(page, title + text)
      assert.isFalse(await page.locator("#retry").isVisible())
      assert.strictEqual(await page.locator("#mark").textContent(), "Not accepted")
      assert.strictEqual(await page.locator("#unseen").textContent(), file.name)
      assert.strictEqual(await page.locator("#session").textContent(), "No session")
    }
    // A file that the page refuses opens none.
    assert.lengthOf(sessions, 2)
    await choose(page, small)
    await untilAccepted(page, { width: 40, height: 30 })
    assert.strictEqual(await page.locator("#mark").textContent(), "")
    const before = sessions.length
    for (const { file, text = "", title } of refusals) {
      await choose(page, file)
      await untilAlert(page, title + text)
      assert.include(String(await page.locator("#alert").textContent()), "Your session still has “small.png”.")
      assert.strictEqual(await page.locator("#inset-mark").textContent(), "Not accepted")
      await untilAccepted(page, { width: 40, height: 30 })
    }
    assert.lengthOf(sessions, before)
    assert.notStrictEqual(await page.locator("#error").textContent(), "")
    await page.locator("#end").click()
    await untilStatus(page, "The session has ended")
    assert.strictEqual(await page.locator("#error").textContent(), "")
  })

  it.live(
    "shows the server's own limits, and offers a retry where it can succeed",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const env = { INIT_IMAGE_MAX_BYTES: "4000000", INIT_IMAGE_MAX_FILES_KEPT: "1", INIT_IMAGE_ON_FULL: "fail" }
        const { page, server } = yield* visit({ env })
        const second = yield* Effect.promise(async () => {
          assert.strictEqual(await page.locator("#limit").textContent(), "4.0 MB")
          await choose(page, large)
          await untilAlert(page, "“large.png” is too largeIt takes 8.4 MB, and the limit is 4.0 MB.")
          const second = await page.context().newPage()
          await second.goto(server.url)
          await choose(second, small)
          await untilAccepted(second, { width: 40, height: 30 })
          await choose(page, other)
          await untilAlert(page, "The server is full at the moment")
          await second.locator("#end").click()
          await untilStatus(second, "The server has deleted the picture.")
          return second
        })
        yield* server.empty
        yield* Effect.promise(async () => {
          await page.locator("#retry").click()
          await untilAccepted(page, { width: 12, height: 34 })
          await second.close()
        })
      })),
    120_000
  )

  live(
    "logs each message, the typed error and the request as curl, to copy",
    async ({ line, page, server, sessions }) => {
      const entries = page.locator("#messages li")
      await choose(page, cut)
      await untilAlert(page, "is not complete")
      await page.locator("#messages", { hasText: "close" }).waitFor()
      const texts = (await entries.allTextContents()).map((text) => text.replace(/\d+\.\d{3}/, "T"))
      // Either side may close the connection first.
      assert.match(String(texts.pop()), /^· T close 100[03]$/)
      const error = {
        format: "png",
        reason: "Truncated",
        _tag: "MalformedImage",
        message: "The png image ends before it is complete.",
        type: "error",
        code: "malformed_image",
        retryable: false
      }
      assert.deepStrictEqual(
        texts,
        [
          `· T connect ${line.url.replace("http", "ws")}/v1/stream?session_id=${sessions[0]}`,
          "· T open",
          `↑ T {"type":"session_init_v2","initial_image":{"mime":"image/png","name":"cut.png","bytes":${cut.buffer.length}}}`,
          `↓ T {"type":"init_image_progress","received":0,"bytes":${cut.buffer.length}}`,
          `↑ T ${cut.buffer.length} bytes: 89 50 4e 47 0d 0a …`,
          `↓ T ${JSON.stringify(error)}`
        ]
      )
      assert.deepStrictEqual(JSON.parse(String(await page.locator("#error").textContent())), error)
      const request =
        `curl '${line.url}/v1/init-image?name=cut.png' \\\n  -H 'content-type: application/octet-stream' \\\n  --data-binary '@cut.png'`
      assert.strictEqual(await page.locator("#curl").textContent(), request)
      const response = await fetch(`${server.url}/v1/init-image`, {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: new Uint8Array(cut.buffer)
      })
      assert.deepInclude(error, await response.json() as object)

      await page.context().grantPermissions(["clipboard-read", "clipboard-write"])
      await page.evaluate("globalThis.clipboard = navigator.clipboard")
      const copy = async (id: string) => {
        await page.locator("#copied", { hasText: /^$/ }).waitFor({ state: "attached" })
        await page.locator(`[data-copies=${id}]`).click()
        await page.locator("#copied", { hasText: "Copied" }).waitFor()
        return page.evaluate("clipboard.readText()")
      }
      assert.strictEqual(await copy("curl"), request)
      assert.strictEqual(await copy("messages"), (await entries.allTextContents()).join("\n"))
      const named = { ...small, name: `it's small & + %41 ${"x".repeat(130)}.png` }
      await choose(page, named)
      await untilAccepted(page, { width: 40, height: 30 })
      assert.strictEqual(await page.locator("#error").textContent(), "")
      const [, url = ""] = /^curl '([^']+)'/.exec(String(await page.locator("#curl").textContent())) ?? []
      const accepted = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: new Uint8Array(named.buffer)
      })
      const { display_name: name } = await accepted.json() as { readonly display_name: string }
      assert.strictEqual(name, named.name)
      assert.strictEqual(await page.locator("#fact-name").textContent(), name)

      const shown = page.locator("#messages .sent", { hasText: `"name":"it's small & + %41 xxxxx… (153 characters)"` })
      assert.strictEqual(await shown.count(), 1)
      const copied = String(await copy("messages"))
      assert.include(copied, `"name":${JSON.stringify(name)},"bytes":${named.buffer.length}}}\n`)
      // Without TLS, scripts have no clipboard.
      await page.evaluate(`Object.defineProperty(navigator, "clipboard", { value: undefined })`)
      await page.evaluate(`clipboard.writeText("")`)
      assert.strictEqual(await copy("messages"), copied)
    }
  )
})
