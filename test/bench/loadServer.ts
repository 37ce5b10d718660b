/** Starts the server under load and observes it from outside. */
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
  /** Sends SIGTERM and returns the exit code, or the signal that ended the process. */
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
  throw new Error("the server did not start")
}

/** Counts the images in a directory, and the bytes that all of its files take on the disk, heartbeats included. */
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

/** Sends requests until the server's code is compiled. */
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

/** Requests `GET /healthz` at fixed times, even if an earlier answer is late. Times are in milliseconds. */
export const watchHealthz = (port: number) => {
  const times: Array<number> = []
  // Closes idle connections before the server does: its close would race with the next request.
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
    /** Waits for the answers still due, and counts them. */
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
