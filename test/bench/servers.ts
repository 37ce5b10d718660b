/** The servers that are compared, each in a process of its own. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { createInterface } from "node:readline"
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
  readonly stop: () => Promise<void>
}

export const start = async (name: ServerName, directory: string): Promise<RunningServer> => {
  const args = name === "session-init-image"
    ? [path.join(compiled, "src/server/main.js")]
    : [path.join(compiled, "test/bench/rivals.js"), name.toLowerCase(), directory]
  const child = spawn(process.execPath, args, {
    env: { ...process.env, HOST: "127.0.0.1", PORT: "0", INIT_IMAGE_DIRECTORY: directory },
    stdio: ["ignore", "pipe", "inherit"]
  })
  const stop = async () => {
    const exited = once(child, "exit")
    child.kill()
    await exited
  }
  const lines = createInterface(child.stdout)
  for await (const line of lines) {
    const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port === undefined || child.pid === undefined) continue
    child.stdout.resume()
    return { name, pid: child.pid, port: Number(port), stop }
  }
  throw new Error(`${name} has not started`)
}
