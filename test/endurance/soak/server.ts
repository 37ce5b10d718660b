/** Runs the server in a child process and measures its resources. */
import * as Effect from "effect/Effect"
import { build } from "esbuild"
import { fork } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { eventually } from "../../utils/webSocketClient.js"
import { descriptors, residentBytes } from "./procfs.js"
import type { Use } from "./report.js"

/** Inside `node_modules`, where the bundle resolves its packages. */
const cache = fileURLToPath(new URL("../../../node_modules/.cache", import.meta.url))

const bundle = (entry: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      mkdirSync(cache, { recursive: true })
      const directory = mkdtempSync(join(cache, "session-init-image-"))
      const file = join(directory, "child.mjs")
      await build({
        entryPoints: [entry],
        bundle: true,
        packages: "external",
        // `package.json` declares no side effects, but the import of `main.ts` has one.
        ignoreAnnotations: true,
        platform: "node",
        format: "esm",
        outfile: file,
        logLevel: "error"
      })
      return { directory, file }
    }),
    ({ directory }) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )

export interface Usage extends Use {
  /** In bytes. */
  readonly resident: number
  readonly sockets: number
  /** Open descriptors, sockets among them. */
  readonly descriptors: number
}

/** Open descriptors, and the sockets in any state among them. */
const countDescriptors = (pid: number): Pick<Usage, "descriptors" | "sockets"> => {
  const names = descriptors(pid)
  return { descriptors: names.length, sockets: names.filter((name) => name.startsWith("socket:")).length }
}

const referenceServer = fileURLToPath(new URL("child.ts", import.meta.url))

/** Starts a server, the reference server by default, which is killed when the scope closes. */
export const start = Effect.fnUntraced(
  function*(directory: string, env: Record<string, string>, entry = referenceServer) {
    const { file } = yield* bundle(entry)
    let stdout = ""
    let stderr = ""
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        fork(file, {
          env: { PATH: process.env["PATH"], PORT: "0", INIT_IMAGE_DIRECTORY: directory, ...env },
          execArgv: ["--expose-gc", "--unhandled-rejections=strict"],
          stdio: ["ignore", "pipe", "pipe", "ipc"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const exited = once(child, "exit")
    child.stdout?.on("data", (chunk) => {
      stdout += String(chunk)
    })
    child.stderr?.on("data", (chunk) => {
      stderr += String(chunk)
    })
    const port = yield* eventually(() => {
      if (!/:\d+\n/.test(stdout)) throw new Error(`not started yet: ${stdout}${stderr}`)
    }).pipe(Effect.map(() => Number(/:(\d+)\n/.exec(stdout)?.[1])))
    const { pid } = child
    if (pid === undefined) return yield* Effect.dieMessage("the server has no process")

    const use: Effect.Effect<Use> = Effect.promise(async () => {
      const answered = once(child, "message")
      child.send("use")
      const [answer] = await answered
      // `child.ts` sends nothing else.
      return answer as Use
    })

    return {
      port,
      /** The output without the line of the address. */
      said: () => stdout.split("\n").slice(1).join("\n") + stderr,
      descriptors: () => descriptors(pid),
      usage: Effect.map(use, (use): Usage => ({ ...use, resident: residentBytes(pid), ...countDescriptors(pid) })),
      /** Sends SIGTERM, and further signals 100 ms apart, and returns the exit code or the signal. */
      stop: (further: ReadonlyArray<NodeJS.Signals> = []) =>
        Effect.promise(async () => {
          child.kill("SIGTERM")
          for (const signal of further) {
            await sleep(100)
            child.kill(signal)
          }
          const [code, signal] = await exited
          return String(code ?? signal)
        })
    }
  }
)

export type Server = Effect.Effect.Success<ReturnType<typeof start>>
