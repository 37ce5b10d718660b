/** Starts processes that use a spool. */
import { build } from "esbuild"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { join, resolve } from "node:path"

const root = resolve(import.meta.dirname, "../../..")

export interface Program {
  readonly path: string
  readonly remove: () => void
}

/** Bundles the program into one file, which starts faster than its modules. */
export const compile = async (): Promise<Program> => {
  const cache = join(root, "node_modules", ".cache")
  mkdirSync(cache, { recursive: true })
  const directory = mkdtempSync(join(cache, "session-init-image-"))
  const path = join(directory, "child.mjs")
  await build({
    entryPoints: [join(import.meta.dirname, "child.ts")],
    outfile: path,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    logLevel: "error"
  })
  return { path, remove: () => rmSync(directory, { recursive: true, force: true }) }
}

export interface Child {
  readonly process: ChildProcess
  /** The spool's directory; `undefined` if the child ended before it was ready. */
  readonly ready: Promise<string | undefined>
  /** The signal or the exit code. */
  readonly ended: Promise<string>
  /** The output so far. */
  readonly output: () => string
}

export const start = (program: Program, directory: string, staleAfter: number): Child => {
  const child = spawn(process.execPath, [program.path, directory, String(staleAfter)], {
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  const ready = new Promise<string | undefined>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += String(chunk)
        const [, directory] = /^ready (.*)$/m.exec(output) ?? []
        if (directory !== undefined) resolve(directory)
      })
    }
    child.on("close", () => resolve(undefined))
  })
  const ended = new Promise<string>((resolve) => {
    child.on("close", (code, signal) => resolve(String(signal ?? code)))
  })
  return { process: child, ready, ended, output: () => output }
}
