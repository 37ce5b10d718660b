/** The servers that are compared, each in a process of its own. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { Readable } from "node:stream"
import { compiled } from "./paths.js"

export type ServerName = "session-init-image" | "node:http" | "Fastify" | "Express"

export const serverNames: ReadonlyArray<ServerName> = ["session-init-image", "node:http", "Fastify", "Express"]

/** What a client needs to know of it. */
export interface Server {
  readonly name: ServerName
  readonly pid: number
  readonly port: number
}

export interface RunningServer extends Server {
  /** For how long its event loop ran at the most in a turn since this was last asked, in milliseconds. */
  readonly longestTurn: () => Promise<number>
  readonly stop: () => Promise<void>
}

export const start = async (name: ServerName, directory: string): Promise<RunningServer> => {
  const args = name === "session-init-image"
    ? [path.join(compiled, "src/server/main.js")]
    : [path.join(compiled, "test/bench/rivals.js"), name.toLowerCase(), directory]
  const child = spawn(process.execPath, ["--import", path.join(import.meta.dirname, "monitor.js"), ...args], {
    env: { ...process.env, HOST: "127.0.0.1", PORT: "0", INIT_IMAGE_DIRECTORY: directory },
    stdio: ["ignore", "pipe", "inherit", "ipc"]
  })
  const longestTurn = async (): Promise<number> => {
    child.send("longest turn")
    const [milliseconds] = await once(child, "message")
    // Nothing else is sent by `monitor.ts`.
    return milliseconds as number
  }
  const stop = async () => {
    const exited = once(child, "exit")
    child.kill()
    await exited
  }
  const lines = createInterface(child.stdout ?? Readable.from([]))
  for await (const line of lines) {
    const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port === undefined || child.pid === undefined) continue
    child.stdout?.resume()
    return { name, pid: child.pid, port: Number(port), longestTurn, stop }
  }
  throw new Error(`${name} has not started`)
}
