/** The server under load, and what is seen of it from outside. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readdirSync, statSync } from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { makeFrame, parse } from "./frame.js"
import * as plan from "./loadPlan.js"
import { compiled } from "./paths.js"

export interface LoadedServer {
  readonly pid: number
  readonly port: number
  /** Asks it to end; its exit code, or the signal that it died of. */
  readonly stop: () => Promise<number | string>
}

export const start = async (directory: string, onFull: "wait" | "fail"): Promise<LoadedServer> => {
  const child = spawn(process.execPath, [path.join(compiled, "src/server/main.js")], {
    env: {
      PATH: process.env["PATH"],
      HOST: "127.0.0.1",
      PORT: "0",
      INIT_IMAGE_DIRECTORY: directory,
      INIT_IMAGE_MAX_BYTES: String(plan.imageBytes),
      INIT_IMAGE_MAX_BYTES_IN_FLIGHT: String(plan.maxBytesInFlight),
      INIT_IMAGE_MAX_BYTES_KEPT: String(plan.maxBytesKept),
      INIT_IMAGE_ON_FULL: onFull
    },
    stdio: ["ignore", "pipe", "inherit"]
  })
  const exited = once(child, "exit")
  const stop = async () => {
    child.kill("SIGTERM")
    const [code, signal] = await exited
    return code ?? signal
  }
  for await (const line of createInterface(child.stdout)) {
    const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port === undefined || child.pid === undefined) continue
    child.stdout.on("data", (chunk) => process.stderr.write(chunk)).resume()
    return { pid: child.pid, port: Number(port), stop }
  }
  throw new Error("the server has not started")
}

/** Whether anything but the spools' own directories and heartbeats is in there, and how many bytes all of it takes. */
export const inDirectory = (directory: string): { readonly images: number; readonly bytes: number } => {
  let images = 0
  let bytes = 0
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    const info = statSync(path.join(directory, name), { throwIfNoEntry: false })
    if (info?.isFile() !== true) continue
    bytes += Math.max(info.size, info.blocks * 512)
    if (path.basename(name) !== "heartbeat") images++
  }
  return { images, bytes }
}

/** How long the server took to answer, in milliseconds. Asked at fixed times, also while an earlier answer is late. */
/** As a server is that has been up for a while: its code is compiled by its first requests. */
export const warmUp = async (port: number): Promise<void> => {
  const { data, mime } = parse(makeFrame("png", 64 * 1024).toString())
  const bodies = [JSON.stringify({ mime, data }), JSON.stringify({ mime: "image/gif", data })]
  for (let i = 0; i < 300; i++) {
    for (const body of bodies) {
      const response = await fetch(`http://127.0.0.1:${port}/v1/init-image`, {
        method: "POST",
        body,
        headers: { "content-type": "application/json" }
      })
      await response.arrayBuffer()
    }
  }
}

export const watchHealthz = (port: number) => {
  const times: Array<number> = []
  // Lets go of idle connections before the server does, which would race with the next request.
  const agent = new http.Agent({ keepAlive: true, timeout: 2000 })
  let failed = 0
  let pending = 0
  const ask = () => {
    pending++
    const start = performance.now()
    http.get({ agent, host: "127.0.0.1", port, path: "/healthz" }, (response) => {
      response.resume().once("end", () => {
        times.push(performance.now() - start)
        pending--
        if (response.statusCode !== 200) failed++
      })
    }).once("error", () => {
      pending--
      failed++
    })
  }
  const timer = setInterval(ask, plan.healthzInterval)
  return {
    /** Those that are late count as well. */
    stop: async () => {
      clearInterval(timer)
      for (let tries = 0; tries < 300 && pending > 0; tries++) await sleep(100)
      failed += pending
      agent.destroy()
      const sorted = times.toSorted((a, b) => a - b)
      const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Infinity
      return { asked: times.length, failed, median: at(0.5), p99: at(0.99), longest: at(1) }
    }
  }
}

export const watchDisk = (directory: string) => {
  let peak = 0
  let samples = 0
  const timer = setInterval(() => {
    samples++
    peak = Math.max(peak, inDirectory(directory).bytes)
  }, plan.diskInterval)
  return {
    stop: () => {
      clearInterval(timer)
      return { peak, samples }
    }
  }
}
