/** A PostgreSQL server of Debian's on a loopback port, with a new directory. */
import * as Effect from "effect/Effect"
import { execFileSync, spawn } from "node:child_process"
import { chmodSync, chownSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { findProgram } from "./peers.js"
import { dyingWithParent } from "./programs.js"

/** Debian installs the server's programs outside of the `PATH`. */
const folders = ["17", "16", "15", "14"].map((version) => `/usr/lib/postgresql/${version}/bin`)

/** The path of the server; `undefined` where it is not installed. */
export const program = findProgram(["postgres"], folders)

const idOf = (option: "-u" | "-g"): number => Number(execFileSync("id", [option, "postgres"], { encoding: "utf8" }))

/** The account that Debian's package makes: the server refuses to run as root. */
const account = () => process.getuid?.() === 0 ? { uid: idOf("-u"), gid: idOf("-g") } : undefined

/** A port that is free at the moment. */
export const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() =>
      resume(
        typeof address === "object" && address !== null ? Effect.succeed(address.port) : Effect.dieMessage("no port")
      )
    )
  })
})

/** Runs a server until the scope closes, and answers the URL of its database. */
export const run = Effect.gen(function*() {
  if (program === undefined) return yield* Effect.dieMessage("PostgreSQL is not installed")
  const server = program
  const user = account()
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const made = mkdtempSync(join(tmpdir(), "session-init-test-postgres-"))
      chmodSync(made, 0o700)
      if (user !== undefined) chownSync(made, user.uid, user.gid)
      return made
    }),
    (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
  )
  const data = join(directory, "data")
  const options = { cwd: directory, ...user }
  yield* Effect.sync(() =>
    execFileSync(
      server.replace(/postgres$/, "initdb"),
      ["--pgdata", data, "--username", "test", "--auth", "trust", "--no-sync", "--no-instructions"],
      { ...options, stdio: "ignore", timeout: 60_000 }
    )
  )
  const port = yield* freePort
  const settings = ["listen_addresses=127.0.0.1", `unix_socket_directories=${directory}`, "fsync=off"]
  yield* Effect.acquireRelease(
    Effect.async<ReturnType<typeof spawn>>((resume) => {
      const parameters = ["-D", data, "-p", String(port), ...settings.flatMap((setting) => ["-c", setting])]
      const [command, ...args] = dyingWithParent("QUIT", [server, ...parameters])
      const child = spawn(command, args, { ...options, stdio: ["ignore", "ignore", "pipe"] })
      let log = ""
      child.stderr.on("data", (chunk) => {
        log += String(chunk)
        if (log.includes("ready to accept connections")) resume(Effect.succeed(child))
      })
      child.once("exit", () => resume(Effect.dieMessage(`PostgreSQL has ended: ${log}`)))
    }),
    (child) =>
      Effect.async<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        // Without the wait for clients of SIGTERM.
        child.kill("SIGQUIT")
      })
  )
  return `postgres://test@127.0.0.1:${port}/postgres`
})
