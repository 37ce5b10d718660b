/** Reports the resources of this process to its parent on request. */
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import { setTimeout as sleep } from "node:timers/promises"

/** Measured after garbage collection. */
export interface Use {
  /** Running fibers. */
  readonly fibers: number
  /** Heap and buffers in bytes. */
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
  // Finalised objects are freed by the next collection.
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
// The channel would keep the process running.
process.channel?.unref()
