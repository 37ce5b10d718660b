/** Brings the page into each of its states, with a socket in place of a server, a clock that stands, and a fixed origin. */
import { Buffer } from "node:buffer"
import type { Browser, BrowserContext, Page } from "playwright-core"
import sharp from "sharp"
import { choose } from "./visit.js"

const origin = "http://localhost:8787"

/** Runs in the page before its script. */
const fakes = `
  globalThis.now = 0
  performance.now = () => now
  crypto.randomUUID = () => "5f0c8a52-6d0b-4c55-9d5c-0f6f6f1f2d11"
  globalThis.sockets = []
  globalThis.WebSocket = class extends EventTarget {
    readyState = 0
    constructor() { super(); sockets.push(this) }
    send() {}
    open() { this.readyState = 1; this.dispatchEvent(new Event("open")) }
    answer(message) { this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) })) }
    close(code = 1000) {
      if (this.readyState === 3) return
      this.readyState = 3
      setTimeout(() => this.dispatchEvent(new CloseEvent("close", { code })))
    }
  }
`

const drawing = (sky: string, sun: string, hills: string) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="1600" height="1100">
  <rect width="1600" height="1100" fill="${sky}"/>
  <circle cx="1050" cy="420" r="150" fill="${sun}"/>
  <path d="M0 760 350 420 640 760 900 560 1250 820 1600 600V1100H0Z" fill="${hills}"/>
  <path d="M0 900 500 780 980 930 1600 800V1100H0Z" fill="#151d30"/>
</svg>`

const photoBytes = 4_210_733

const drawn = async (svg: string) =>
  sharp(Buffer.from(svg)).jpeg({ quality: 100, chromaSubsampling: "4:4:4" }).toBuffer()

/** The files of the scenes. Bytes after a picture's end are allowed. */
export const makeFiles = async () => {
  const evening = await drawn(drawing("#e9a17c", "#fff2d9", "#2b3a58"))
  const morning = await drawn(drawing("#a9cfe8", "#fffbe8", "#3f6d5a"))
  const padded = (bytes: Buffer, size: number) => Buffer.concat([bytes, Buffer.alloc(size - bytes.length)])
  return {
    photo: { name: "evening.jpg", mimeType: "image/jpeg", buffer: padded(evening, photoBytes) },
    other: { name: "a-morning-in-the-mountains-2024.jpg", mimeType: "image/jpeg", buffer: padded(morning, 2_400_000) },
    gif: {
      name: "dancing-cat.gif",
      mimeType: "image/gif",
      buffer: await sharp(Buffer.from(drawing("#f2c14e", "#fffbe8", "#7a4069"))).resize(800, 550).gif().toBuffer()
    }
  }
}

export type Files = Awaited<ReturnType<typeof makeFiles>>

export interface Options {
  readonly width: number
  readonly height?: number
  readonly colorScheme?: "light" | "dark"
  readonly isTouch?: boolean
  readonly reducedMotion?: "reduce" | "no-preference"
  readonly serverUrl: string
}

/** Opens the page of a server under a fixed origin. */
export const openPage = async (browser: Browser, options: Options): Promise<Page> => {
  const { colorScheme = "light", height = 800, isTouch = false, reducedMotion = "reduce", serverUrl, width } = options
  const context: BrowserContext = await browser.newContext({
    viewport: { width, height },
    colorScheme,
    hasTouch: isTouch,
    isMobile: isTouch,
    reducedMotion
  })
  await context.addInitScript(fakes)
  await context.route(`${origin}/**`, async (route) => {
    const { pathname } = new URL(route.request().url())
    const response = await fetch(new URL(pathname, serverUrl))
    await route.fulfill({
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: Buffer.from(await response.arrayBuffer())
    })
  })
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  await page.goto(origin)
  return page
}

export const image = (name: string, bytes: number) => ({
  type: "session_init_image",
  image: {
    mime: "image/jpeg",
    display_name: name,
    bytes,
    width: 1600,
    height: 1100,
    orientation: 1,
    upright_width: 1600,
    upright_height: 1100
  }
})

const progress = (received: number, bytes: number) => ({ type: "init_image_progress", received, bytes })

export const answer = (page: Page, message: unknown) =>
  page.evaluate(`sockets.at(-1).answer(${JSON.stringify(message)})`)

/** Opens the next socket, which the page makes once it has checked the picture. */
export const open = (page: Page) =>
  page.evaluate(`(async () => {
    while (sockets.at(-1)?.readyState !== 0) await new Promise((resolve) => setTimeout(resolve, 5))
    sockets.at(-1).open()
  })()`)

const advance = (page: Page, milliseconds: number) => page.evaluate(`now += ${milliseconds}`)

const untilMessages = (page: Page, count: number) =>
  page.locator("#messages li").nth(count - 1).waitFor({ state: "attached" })

const untilTitle = (page: Page, title: string) => page.locator(".message h2", { hasText: title }).waitFor()

const frame = 256 * 1024

/** Each state by name, in an order in which one page can go through them. Those of one session follow each other. */
export const scenes: ReadonlyArray<readonly [name: string, enter: (page: Page, files: Files) => Promise<unknown>]> = [
  ["none", (page) => untilTitle(page, "No picture yet")],
  ["refused", async (page, { gif }) => {
    await choose(page, gif)
    await untilTitle(page, "is a GIF")
    await untilMessages(page, 1)
  }],
  ["connecting", async (page, { photo }) => {
    await choose(page, photo)
    await untilTitle(page, "Connecting")
    await page.locator("#messages li", { hasText: "connect ws:" }).waitFor()
  }],
  ["sending", async (page) => {
    await advance(page, 12)
    await open(page)
    await untilMessages(page, 3)
    await answer(page, progress(0, photoBytes))
    await untilMessages(page, 8)
    await advance(page, 650)
    await answer(page, progress(5 * frame, photoBytes))
    await untilMessages(page, 14)
    await untilTitle(page, "Sending")
  }],
  ["checking", async (page) => {
    await advance(page, 1400)
    await answer(page, progress(photoBytes, photoBytes))
    await untilTitle(page, "Checking")
    await untilMessages(page, 23)
  }],
  ["open", async (page, { photo }) => {
    await advance(page, 30)
    await answer(page, image(photo.name, photoBytes))
    await untilTitle(page, "The session is open")
  }],
  ["replacing", async (page, { other }) => {
    await choose(page, other)
    await untilMessages(page, 25)
    await answer(page, progress(0, other.buffer.length))
    await untilMessages(page, 30)
    await advance(page, 400)
    await answer(page, progress(3 * frame, other.buffer.length))
    await untilMessages(page, 34)
  }],
  ["refused-kept", async (page) => {
    await answer(page, {
      type: "error",
      code: "malformed_image",
      message: "The jpeg image ends before it is complete.",
      retryable: false,
      _tag: "MalformedImage",
      format: "jpeg",
      reason: "Truncated"
    })
    await untilTitle(page, "is not complete")
    await untilMessages(page, 35)
  }],
  ["lost", async (page) => {
    await page.evaluate("sockets.at(-1).close(1006)")
    await untilTitle(page, "The connection was lost")
    await untilMessages(page, 36)
  }],
  ["ended", async (page, { photo }) => {
    await choose(page, photo)
    await open(page)
    await untilMessages(page, 3)
    await answer(page, image(photo.name, photoBytes))
    await page.locator("#end").click()
    await page.mouse.move(0, 0)
    await untilTitle(page, "The session has ended")
    await untilMessages(page, 5)
    await page.locator("#mark", { hasText: "Deleted" }).waitFor()
  }]
]

/** Goes through the scenes up to the one of this name. */
export const goTo = async (page: Page, files: Files, name: string) => {
  for (const [scene, enter] of scenes) {
    await enter(page, files)
    if (scene === name) return
  }
  throw new Error(`There is no scene "${name}"`)
}
