/**
 * `npm run load`: 100 clients send images of 8 MiB as fast as possible to a server with a spool of 200 MiB, and drop half
 * of their connections during the body. Prints each bound with its value, and fails if a bound is exceeded.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { bytesRead, peakBytes, residentBytes } from "../endurance/soak/procfs.js"
import { mebibyte } from "./frame.js"
import type { Tally, Task } from "./loadClients.js"
import * as plan from "./loadPlan.js"
import * as Server from "./loadServer.js"
import { round } from "./tables.js"

interface Figure {
  readonly what: string
  readonly value: string
  readonly bound: string
  readonly holds: boolean
}

const below = (what: string, value: number, bound: number, unit: string): Figure => ({
  what,
  value: `${round(value)} ${unit}`,
  bound: `< ${round(bound)} ${unit}`,
  holds: value < bound
})

const equal = (what: string, value: number | string, bound: number | string): Figure => ({
  what,
  value: String(value),
  bound: String(bound),
  holds: value === bound
})

const runClients = async (
  task: Task,
  port: number,
  onReport: () => Promise<void> = async () => {}
): Promise<Tally> => {
  const child = fork(path.join(import.meta.dirname, "loadClients.js"), [task, String(port)])
  let tally: Tally | undefined
  child.on("message", async (message) => {
    // A string is a report that waits for an answer; the last message is the tally.
    if (typeof message !== "string") {
      tally = message as Tally
      return
    }
    await onReport()
    child.send("go on")
  })
  await once(child, "exit")
  if (tally === undefined) throw new Error("the clients failed")
  return tally
}

/** Measures the bytes and the memory that the server takes for requests it cannot start yet. */
const backpressure = async ({ pid, port }: Server.LoadedServer): Promise<ReadonlyArray<Figure>> => {
  const seen: Array<{ readonly read: number; readonly resident: number }> = []
  const tally = await runClients("hold", port, async () => {
    for (let read = -1; read !== bytesRead(pid);) {
      read = bytesRead(pid)
      await sleep(plan.quiet)
    }
    seen.push({ read: bytesRead(pid), resident: residentBytes(pid) })
  })
  const [held, waiting] = seen
  if (held === undefined || waiting === undefined) throw new Error("the clients did not wait")
  const others = plan.clients - plan.holders
  return [
    below(
      `Bytes read from each of ${others} waiting clients`,
      (waiting.read - held.read) / others / 1024,
      plan.bounds.readWhileWaiting / 1024,
      "KiB"
    ),
    below(
      "Memory for all waiting clients",
      (waiting.resident - held.resident) / mebibyte,
      others * plan.bounds.readWhileWaiting / mebibyte,
      "MiB"
    ),
    equal("Waiting clients whose writing stalled", Math.min(others, tally.stalled), others),
    equal("Images written afterwards", tally.images, plan.clients)
  ]
}

const untilEmpty = async (directory: string): Promise<number> => {
  for (let tries = 0; tries < 100 && Server.inDirectory(directory).images > 0; tries++) await sleep(100)
  return Server.inDirectory(directory).images
}

const run = async (directory: string, onFull: "wait" | "fail"): Promise<ReadonlyArray<Figure>> => {
  const server = await Server.start(directory, onFull)
  await Server.warmUp(server.port)
  const disk = Server.watchDisk(directory)
  const figures: Array<Figure> = []
  if (onFull === "wait") figures.push(...await backpressure(server))

  const healthz = Server.watchHealthz(server.port)
  const start = performance.now()
  const { busy, dropped, images, longestStall, stalled, wrong } = await runClients("storm", server.port)
  const seconds = (performance.now() - start) / 1000
  const { asked, failed, longest, median, p99 } = await healthz.stop()
  const left = await untilEmpty(directory)
  const { peak, samples } = disk.stop()
  const memory = peakBytes(server.pid)
  const code = await server.stop()

  const requests = plan.clients * plan.rounds
  console.log(
    `\nonFull ${onFull}: ${requests} requests in ${
      round(seconds)
    } s: ${images} images, ${busy} busy, ${dropped} dropped; ` +
      `${stalled} stalled, for at most ${round(longestStall / 1000)} s; ${asked} × healthz, median ${
        round(median)
      } ms, ` +
      `longest ${round(longest)} ms; ${samples} disk samples`
  )
  for (const [answer, times] of Object.entries(wrong)) console.log(`${times} × ${answer}`)
  return [
    ...figures,
    equal("Requests answered with an image or 503", images + busy, requests - dropped),
    below("Peak disk use", peak / mebibyte, plan.bounds.disk / mebibyte, "MiB"),
    below("Peak memory", memory / mebibyte, plan.bounds.memory / mebibyte, "MiB"),
    below("GET /healthz, 99th percentile", p99, plan.bounds.healthz, "ms"),
    equal("GET /healthz, failed", failed, 0),
    equal("Images left after the run", left, 0),
    equal("Exit code after SIGTERM", code, 0),
    equal("Directory entries left after the run", readdirSync(directory).length, 0)
  ].map((figure) => ({ ...figure, what: `${onFull}: ${figure.what}` }))
}

const directory = mkdtempSync(path.join(os.tmpdir(), "session-init-load-"))
try {
  console.log(
    `${os.availableParallelism()} cores, load average before: ${os.loadavg().map((load) => load.toFixed(1)).join(" ")}`
  )
  const figures = [...await run(directory, "wait"), ...await run(directory, "fail")]
  const width = (key: "what" | "value" | "bound") => Math.max(...figures.map((figure) => figure[key].length))
  console.log()
  for (const { bound, holds, value, what } of figures) {
    console.log(
      `${holds ? "pass" : "FAIL"}  ${what.padEnd(width("what"))}  ${value.padStart(width("value"))}  ${bound}`
    )
  }
  if (figures.some(({ holds }) => !holds)) process.exitCode = 1
} finally {
  rmSync(directory, { recursive: true, force: true })
}
