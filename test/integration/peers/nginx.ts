/** Starts nginx as a proxy in front of a server. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import * as Net from "node:net"
import { join } from "node:path"
import { makeDirectory } from "../../utils/directory.js"
import { findProgram } from "../../utils/peers.js"

/** The path of nginx, which is not in the `PATH` of every user; `undefined` without one. */
export const executable = findProgram(["nginx"], ["/usr/sbin", "/usr/local/sbin"])

/** A port that was free a moment ago. */
const freePort = Effect.async<number>((resume) => {
  const server = Net.createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const canConnect = (port: number) =>
  Effect.async<boolean>((resume) => {
    const socket = Net.connect(port, "127.0.0.1")
    socket.on("connect", () => resume(Effect.succeed(true)))
    socket.on("error", () => resume(Effect.succeed(false)))
    return Effect.sync(() => socket.destroy())
  })

const temporaryPaths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]

/** A configuration of one process in the foreground, which writes to its folder only. */
const configuration = (port: number, http: string, location: string) => `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {}
http {
  access_log off;
  ${temporaryPaths.map((name) => `${name}_temp_path ${name};`).join("\n  ")}
  ${http}
  server {
    listen 127.0.0.1:${port};
    ${location}
  }
}
`

const end = (nginx: ChildProcess) =>
  Effect.async<void>((resume) => {
    if (nginx.exitCode !== null || nginx.signalCode !== null) return resume(Effect.void)
    nginx.once("exit", () => resume(Effect.void))
    nginx.kill("SIGKILL")
    return undefined
  })

/** Starts nginx with these blocks until the scope closes; answers its port. */
export const start = Effect.fnUntraced(function*(blocks: { readonly http: string; readonly server: string }) {
  const directory = yield* makeDirectory
  const port = yield* freePort
  mkdirSync(join(directory, "logs"))
  const file = join(directory, "nginx.conf")
  writeFileSync(file, configuration(port, blocks.http, blocks.server))
  const nginx = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(executable ?? "nginx", ["-p", directory, "-c", file, "-e", "stderr"], {
        stdio: ["ignore", "ignore", "inherit"]
      })
    ),
    end
  )
  yield* canConnect(port).pipe(
    Effect.repeat({
      schedule: Schedule.spaced("20 millis"),
      until: (connected) => connected || nginx.exitCode !== null,
      times: 250
    }),
    Effect.filterOrDieMessage(() => nginx.exitCode === null, "nginx has ended")
  )
  return port
})
