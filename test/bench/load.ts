/**
 * `npm run load`: a server with a spool of 200 MiB, and 100 clients that send it images of 8 MiB as fast as they can and
 * drop half of their connections on the way. Prints what it held to, and fails where it did not.
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
    // Words that wait for an answer, and at the end what has become of all requests.
    if (typeof message !== "string") {
      tally = message as Tally
      return
    }
    await onReport()
    child.send("go on")
  })
  await once(child, "exit")
  if (tally === undefined) throw new Error("the clients have failed")
  return tally
}

/** What a server takes of requests that it cannot begin with. */
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
  if (held === undefined || waiting === undefined) throw new Error("the clients have not waited")
  const others = plan.clients - plan.holders
  return [
    below(
      `Read from each of ${others} clients that wait`,
      (waiting.read - held.read) / others / 1024,
      plan.bounds.readWhileWaiting / 1024,
      "KiB"
    ),
    below(
      "Memory that they take together",
      (waiting.resident - held.resident) / mebibyte,
      others * plan.bounds.readWhileWaiting / mebibyte,
      "MiB"
    ),
    equal("Of those, stood still while writing", Math.min(others, tally.stalled), others),
    equal("Images, then", tally.images, plan.clients)
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
      `${stalled} stood still, for ${round(longestStall / 1000)} s at most; ${asked} × healthz, ${
        round(median)
      } ms in ` +
      `the middle and ${round(longest)} ms at most; the disk looked at ${samples} times`
  )
  for (const [answer, times] of Object.entries(wrong)) console.log(`${times} × ${answer}`)
  return [
    ...figures,
    equal("Answered with an image or busy", images + busy, requests - dropped),
    below("On the disk at most", peak / mebibyte, plan.bounds.disk / mebibyte, "MiB"),
    below("Memory at most", memory / mebibyte, plan.bounds.memory / mebibyte, "MiB"),
    below("GET /healthz, 99th percentile", p99, plan.bounds.healthz, "ms"),
    equal("GET /healthz, failed", failed, 0),
    equal("Images left", left, 0),
    equal("Exit code after SIGTERM", code, 0),
    equal("Entries left in the directory", readdirSync(directory).length, 0)
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
