/** Programs of the tests that run in processes of their own. */
import * as Effect from "effect/Effect"
import { build } from "esbuild"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { basename, join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { findProgram } from "./peers.js"

const root = resolve(import.meta.dirname, "../..")

/**
 * Bundles a program, without its packages, into a file that lives as long as the scope. Its modules keep the URL of the
 * source, next to which the reference server finds its page.
 */
export const compile = (source: string) =>
  Effect.gen(function*() {
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const cache = join(root, "node_modules", ".cache")
        mkdirSync(cache, { recursive: true })
        return mkdtempSync(join(cache, "session-init-image-"))
      }),
      (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
    )
    const path = join(directory, `${basename(source, ".ts")}.mjs`)
    yield* Effect.promise(() =>
      build({
        entryPoints: [source],
        outfile: path,
        bundle: true,
        packages: "external",
        platform: "node",
        format: "esm",
        target: "node20",
        define: { "import.meta.url": JSON.stringify(pathToFileURL(source).href) },
        logLevel: "error"
      })
    )
    return path
  })

/** Where `setpriv` is installed, a program ends with the test run, also if that is killed. */
const setpriv = findProgram(["setpriv"])

/** A command that gets this signal when its parent ends. */
export const dyingWithParent = (
  signal: "KILL" | "QUIT",
  command: readonly [string, ...Array<string>]
): readonly [string, ...Array<string>] => setpriv === undefined ? command : [setpriv, "--pdeathsig", signal, ...command]

/** A running program. */
export interface Program {
  /** The text that matched the first group of the pattern. */
  readonly said: string
  readonly output: () => string
  /** Sends the signal and waits for the end; answers the exit code, or the signal. */
  readonly end: (signal: NodeJS.Signals) => Effect.Effect<number | string>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
}

const isRunning = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode === null && signalCode === null

/** Runs a program until the scope closes, and waits until its output matches. Dies if it ends before. */
export const run = Effect.fnUntraced(
  function*(path: string, env: Readonly<Record<string, string>>, pattern: RegExp) {
    let output = ""
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const [command, ...args] = dyingWithParent("KILL", [process.execPath, path])
        return spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env })
      }),
      (child) => end(child, "SIGKILL")
    )
    const said = yield* Effect.async<string>((resume) => {
      const read = (data: Buffer) => {
        output += data.toString()
        const [, said] = pattern.exec(output) ?? []
        if (said !== undefined) resume(Effect.succeed(said))
      }
      child.stdout.on("data", read)
      child.stderr.on("data", read)
      child.once("exit", () => resume(Effect.dieMessage(`The program has ended: ${output}`)))
    })
    const program: Program = {
      said,
      output: () => output,
      end: (signal) => end(child, signal),
      signal: (signal) => Effect.sync(() => void child.kill(signal))
    }
    return program
  }
)

const end = (child: ChildProcess, signal: NodeJS.Signals) =>
  Effect.async<number | string>((resume) => {
    const ended = () => resume(Effect.succeed(child.signalCode ?? child.exitCode ?? "unknown"))
    if (!isRunning(child)) return ended()
    child.once("exit", ended)
    child.kill(signal)
  })
