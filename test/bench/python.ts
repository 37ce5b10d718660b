/** Runs the same steps in Python, in a process that waits for its turn in each round. */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { sources as folder } from "./paths.js"
import type { Source } from "./variants.js"

/** The installed version, or `undefined`. */
export const version: string | undefined = (() => {
  const { status, stdout } = spawnSync("python3", ["--version"], { encoding: "utf8" })
  return status === 0 ? stdout.trim().replace("Python ", "") : undefined
})()

export const sources: ReadonlyArray<Source> = ["payload", "text", "bytes"]

export interface Turn {
  readonly milliseconds: number
  /** The peak above the memory before the run, in bytes. */
  readonly memory: number | null
}

const script = path.join(folder, "steps.py")

export const start = (frame: string, directory: string) => {
  const child = spawn("python3", [script, frame, directory], { stdio: ["pipe", "pipe", "inherit"] })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  return {
    turn: async (from: Source): Promise<Turn> => {
      child.stdin.write(`${from}\n`)
      const line = await lines.next()
      if (line.done === true) throw new Error("Python ended")
      // `steps.py` writes a `Turn` a line.
      return JSON.parse(line.value) as Turn
    },
    stop: async () => {
      const exited = once(child, "exit")
      child.stdin.end()
      await exited
    }
  }
}
