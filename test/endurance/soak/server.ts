/** The server in a process of its own, and what it has in use. */
import * as Effect from "effect/Effect"
import { build } from "esbuild"
import { fork } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { eventually } from "../../utils/webSocketClient.js"
import type { Use } from "./child.js"
import { descriptors, residentBytes } from "./procfs.js"

/** Inside of `node_modules`, so that it finds its dependencies. */
const cache = fileURLToPath(new URL("../../../node_modules/.cache", import.meta.url))

const built = Effect.acquireRelease(
  Effect.promise(async () => {
    mkdirSync(cache, { recursive: true })
    const directory = mkdtempSync(join(cache, "session-init-image-"))
    const file = join(directory, "child.mjs")
    await build({
      entryPoints: [fileURLToPath(new URL("child.ts", import.meta.url))],
      bundle: true,
      packages: "external",
      // The package says that importing it does nothing, and `main.ts` is imported for what it does.
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
}

/** Any open descriptor, in any state of a connection. */
const countSockets = (pid: number): number => descriptors(pid).filter((name) => name.startsWith("socket:")).length

/** Started, and killed when the scope closes if it has not ended by then. */
export const start = Effect.fnUntraced(function*(directory: string, env: Record<string, string>) {
  const { file } = yield* built
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
    // Nothing else is sent by `child.ts`.
    return answer as Use
  })

  return {
    port,
    /** All that it has said besides where it listens. */
    said: () => stdout.split("\n").slice(1).join("\n") + stderr,
    descriptors: () => descriptors(pid),
    usage: Effect.map(use, (use): Usage => ({ ...use, resident: residentBytes(pid), sockets: countSockets(pid) })),
    /** Asks it to end; its exit code, or the signal that it died of. */
    stop: Effect.promise(async () => {
      child.kill("SIGTERM")
      const [code, signal] = await exited
      return String(code ?? signal)
    })
  }
})

export type Server = Effect.Effect.Success<ReturnType<typeof start>>
