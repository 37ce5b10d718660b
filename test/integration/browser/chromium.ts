/** Starts Chromium, and a proxy that slows, holds and cuts connections. */
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { chromium, type Page } from "playwright-core"
import { imageType } from "../../../src/internal/protocol.js"
import { findProgram } from "../../utils/peers.js"

/** The path of the installed browser; `undefined` without one. */
export const executable = findProgram(["chromium", "chromium-browser", "google-chrome"])

// Chromium's sandbox fails as root and in most containers.
const args = ["--no-sandbox", "--disable-dev-shm-usage"]

export const start = () => chromium.launch({ executablePath: executable ?? "chromium", args })

/** Starts the browser until the scope closes. */
export const launch = Effect.acquireRelease(Effect.promise(start), (browser) => Effect.promise(() => browser.close()))

/** Starts a proxy to the server until the scope closes. */
export const makeLine = Effect.fnUntraced(function*(port: number) {
  const connections = new Set<Net.Socket>()
  const line = { isDown: false, bytesPerTick: Infinity }
  const tick = 10
  /** Writes the server's data that is held. */
  let held: Array<() => void> | undefined

  const passOn = (from: Net.Socket, to: Net.Socket) =>
    from.on("data", (data: Buffer) => {
      to.write(data)
      if (line.bytesPerTick === Infinity) return
      from.pause()
      setTimeout(() => from.resume(), data.length / line.bytesPerTick * tick)
    })
  const relay = Net.createServer({ highWaterMark: 16 * 1024 }, (client) => {
    if (line.isDown) {
      client.destroy()
      return
    }
    const server = Net.connect({ port, host: "127.0.0.1" })
    for (const [from, to] of [[client, server], [server, client]] as const) {
      connections.add(from)
      from.on("error", () => {})
      from.on("close", () => {
        connections.delete(from)
        to.destroy()
      })
    }
    passOn(client, server)
    server.on("data", (data) => {
      const write = () => client.write(data)
      if (held === undefined || (held.length === 0 && !data.includes(imageType))) write()
      else held.push(write)
    })
  })
  const cut = () => {
    for (const socket of connections) socket.destroy()
  }
  yield* Effect.acquireRelease(
    Effect.async<void>((resume) => {
      relay.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.async<void>((resume) => {
        relay.close(() => resume(Effect.void))
        cut()
      })
  )
  const address = relay.address()
  if (address === null || typeof address === "string") return yield* Effect.dieMessage("not a TCP address")
  return {
    url: `http://127.0.0.1:${address.port}`,
    /** Sets the bandwidth from client to server in bytes per second. */
    slow: (bytesPerSecond: number) => {
      line.bytesPerTick = bytesPerSecond * tick / 1000
    },
    /** Holds the server's next description of a picture, and all data after it, until `release`. */
    hold: () => {
      held = []
    },
    release: () => {
      for (const write of held ?? []) write()
      held = undefined
    },
    /** Closes all connections and refuses others until `restore`. */
    cut: () => {
      line.isDown = true
      cut()
    },
    restore: () => {
      line.isDown = false
    }
  }
})

/** A file for a page. */
export interface PageFile {
  readonly name: string
  readonly mimeType: string
  readonly buffer: Buffer
}

/** Dispatches the events of a drop or a paste of files, or else of a text; Playwright has no gesture that carries a file. */
export const give = (page: Page, gesture: "dragenter" | "drop" | "paste", ...files: ReadonlyArray<PageFile>) =>
  page.evaluate(
    `(() => {
      const files = ${JSON.stringify(files.map((file) => ({ ...file, buffer: file.buffer.toString("base64") })))}
      const gesture = ${JSON.stringify(gesture)}
      const data = new DataTransfer()
      for (const { buffer, mimeType, name } of files) {
        const bytes = Uint8Array.from(atob(buffer), (c) => c.charCodeAt(0))
        data.items.add(new File([bytes], name, { type: mimeType }))
      }
      if (files.length === 0) data.setData("text/plain", "words")
      const target = document.getElementById("stage")
      const options = { bubbles: true, cancelable: true }
      if (gesture === "paste") {
        return target.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: data }))
      }
      for (const type of gesture === "drop" ? ["dragenter", "dragover", "drop"] : [gesture]) {
        target.dispatchEvent(new DragEvent(type, { ...options, dataTransfer: data }))
      }
    })()`
  )
