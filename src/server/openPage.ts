/**
 * Opens the page in the user's browser.
 */
import * as HttpServer from "@effect/platform/HttpServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn } from "node:child_process"

const commandFor = (platform: NodeJS.Platform, url: string): readonly [command: string, ...args: Array<string>] => {
  switch (platform) {
    case "darwin":
      return ["open", url]
    case "win32":
      return ["explorer.exe", url]
    default:
      return ["xdg-open", url]
  }
}

/** Addresses that stand for every address of the machine; a browser reaches them by the loopback address. */
const loopbackOf: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "[::1]" }

/** Starts the program and waits until it runs, not until it ends. */
const start = ([command, ...args]: readonly [string, ...Array<string>]) =>
  Effect.async<void, Error>((resume) => {
    const child = spawn(command, args, { detached: true, stdio: "ignore" })
    child.once("error", (error) => resume(Effect.fail(error)))
    child.once("spawn", () => resume(Effect.void))
    child.unref()
  })

/** Opens the page of a server as soon as it listens. The server stays, whether or not a browser opens. */
export const layer: Layer.Layer<never, never, HttpServer.HttpServer> = Layer.effectDiscard(
  HttpServer.addressWith((address) => {
    if (address._tag === "UnixAddress") return Effect.void
    const host = loopbackOf[address.hostname] ??
      (address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname)
    return Effect.catchAll(
      start(commandFor(process.platform, `http://${host}:${address.port}/`)),
      () => Effect.logWarning("No browser could be opened. Open the address yourself")
    )
  })
)
