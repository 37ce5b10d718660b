/** The server as it is, in a process that tells whoever has started it what is in use in there. */
import "../../../src/server/main.js"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import { setTimeout as sleep } from "node:timers/promises"

/** After the garbage is collected. */
export interface Use {
  /** Fibers that have begun and not ended. */
  readonly fibers: number
  /** What the server's objects take, buffers among them, in bytes. */
  readonly heap: number
}

const fibers = (): number => {
  let active = 0
  for (const { metricKey, metricState } of Metric.unsafeSnapshot()) {
    if (metricKey.name === "effect_fiber_active" && MetricState.isCounterState(metricState)) {
      active += Number(metricState.count)
    }
  }
  return active
}

const use = async (): Promise<Use> => {
  if (globalThis.gc === undefined) throw new Error("run with --expose-gc")
  // What a first collection finalises is freed by the next.
  for (let i = 0; i < 3; i++) {
    globalThis.gc()
    await sleep(20)
  }
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return { fibers: fibers(), heap: heapUsed + arrayBuffers }
}

process.on("message", async () => {
  process.send?.(await use())
})
// A listener alone would keep the process running.
process.channel?.unref()
