/** A visitor of the page: a browser for a file's tests, a page for each, and the ways to use it. */
import { afterAll, assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Browser, BrowserContextOptions, Page } from "playwright-core"
import { type Options, serve } from "../server/testServer.js"
import { makeLine, type PageFile, start } from "./chromium.js"

let browser: Promise<Browser> | undefined

/** Starts the browser once for the tests of a file. */
export const getBrowser = (): Promise<Browser> => browser ??= start()

const folder = mkdtempSync(join(tmpdir(), "session-init-image-page-"))

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await (await browser)?.close()
})

export const fileOf = (name: string, mimeType: string, bytes: Uint8Array): PageFile => ({
  name,
  mimeType,
  buffer: Buffer.from(bytes)
})

/** Chooses a file from the disk; Chromium derives its type from its name. */
export const choose = async (page: Page, { buffer, name }: PageFile) => {
  const file = join(folder, name)
  writeFileSync(file, buffer)
  await page.setInputFiles("#file", file)
}

/** Requires that the page has one message, an alert or a status. */
const assertOneMessage = async (page: Page) =>
  assert.lengthOf((await page.locator("#alert, #status").allTextContents()).filter((text) => text !== ""), 1)

/** Waits until the page shows that the server has a picture of these dimensions. */
export const untilAccepted = async (
  page: Page,
  { height, width }: { readonly width: number; readonly height: number }
) => {
  await page.locator("#cancel").waitFor({ state: "hidden" })
  await page.locator("#fact-dimensions", { hasText: `${width} × ${height} pixels` }).waitFor()
  assert.strictEqual(await page.locator("#session").textContent(), "Session open")
  await assertOneMessage(page)
}

export const untilAlert = async (page: Page, text: string) => {
  await page.locator("#alert", { hasText: text }).waitFor()
  await assertOneMessage(page)
}

export const untilStatus = async (page: Page, text: string) => {
  await page.locator("#status", { hasText: text }).waitFor()
  await assertOneMessage(page)
}

export const untilHint = (page: Page, text: string) => page.locator("#hint", { hasText: text }).waitFor()

/** Waits until a part of a large picture has arrived. */
export const untilSending = (page: Page) => page.locator("#amount", { hasText: /^[1-9][\d.]* of \d/ }).waitFor()

export interface Visit extends Options, BrowserContextOptions {}

/**
 * Opens the page over its own line to a new server. Fails on a script error or an unexpected console error.
 */
export const visit = Effect.fnUntraced(function*({ env, log, ...options }: Visit = {}) {
  const server = yield* serve({ ...env === undefined ? {} : { env }, ...log === undefined ? {} : { log } })
  const line = yield* makeLine(server.port)
  const context = yield* Effect.acquireRelease(
    Effect.promise(async () => (await getBrowser()).newContext({ viewport: { width: 1280, height: 800 }, ...options })),
    (context) => Effect.promise(() => context.close())
  )
  const page = yield* Effect.promise(() => context.newPage())
  page.setDefaultTimeout(60_000)
  const errors: Array<string> = []
  page.on("pageerror", (error) => errors.push(String(error)))
  page.on("console", (message) => {
    // Some tests cut the line or ask for a deleted picture.
    const isExpected = /status of 404|ERR_|WebSocket connection to/.test(message.text())
    if (message.type() === "error" && !isExpected) errors.push(message.text())
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => assert.deepStrictEqual(errors, [])))
  /** The ids of the sessions that the page opens, in order. */
  const sessions: Array<string> = []
  page.on("websocket", (socket) => sessions.push(String(new URL(socket.url()).searchParams.get("session_id"))))
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

export type Visited = Effect.Effect.Success<ReturnType<typeof visit>>
