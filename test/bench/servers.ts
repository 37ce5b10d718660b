/** Starts the compared servers, each in a separate process. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { Readable } from "node:stream"
import type { Question } from "./monitor.js"
import { compiled } from "./paths.js"

/** `floor` is the least work that stores the image (`floor.ts`); `discard` only receives it. */
export type ServerName = "session-init-image" | "floor" | "node:http" | "Fastify" | "Express" | "discard"

/** The servers that store an image. */
export const serverNames: ReadonlyArray<ServerName> = ["session-init-image", "floor", "node:http", "Fastify", "Express"]

/** The part of a server that a client process is given. */
export interface Server {
  readonly name: ServerName
  readonly pid: number
  readonly port: number
}

export interface RunningServer extends Server {
  /** The longest turn of its event loop since the last call, in milliseconds. */
  readonly longestTurn: () => Promise<number>
  /** CPU time of its process so far, all threads, in milliseconds. */
  readonly cpuTime: () => Promise<number>
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
  const ask = async (question: Question): Promise<number> => {
    child.send(question)
    const [milliseconds] = await once(child, "message")
    // `monitor.ts` sends only numbers.
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
    return {
      name,
      pid: child.pid,
      port: Number(port),
      longestTurn: () => ask("longest turn"),
      cpuTime: () => ask("cpu time"),
      stop
    }
  }
  throw new Error(`${name} did not start`)
}

/** Starts the servers, and stops them after `use`. */
export const withServers = async <A>(
  names: ReadonlyArray<ServerName>,
  directory: string,
  use: (servers: ReadonlyArray<RunningServer>) => Promise<A>
): Promise<A> => {
  const servers: Array<RunningServer> = []
  try {
    for (const name of names) servers.push(await start(name, directory))
    return await use(servers)
  } finally {
    for (const { stop } of servers) await stop()
  }
}
