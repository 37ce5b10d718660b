/** Measures time, event-loop delay and memory. */
import { readFileSync, writeFileSync } from "node:fs"
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import { setTimeout as sleep } from "node:timers/promises"

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? sorted[middle] ?? Number.NaN
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

const collect = (type: "minor" | "major"): void => {
  if (globalThis.gc === undefined) throw new Error("run with --expose-gc")
  globalThis.gc({ type, execution: "sync" })
}

/**
 * Collects the young generation, between samples, so that a sample does not pay for the garbage of the one before.
 *
 * A full collection of an idle process also discards optimised code whose objects are dead (32 MiB then took 21 ms instead
 * of 14), which does not happen to a busy server.
 */
export const collectGarbage = (): void => collect("minor")

/**
 * Returns freed memory to the system before memory is measured: its reuse would hide later allocations. Then warms up the
 * code again.
 */
export const settle = async (warmUp: () => Promise<void>): Promise<void> => {
  for (let i = 0; i < 3; i++) {
    collect("major")
    await sleep(20)
  }
  await warmUp()
  collect("minor")
  await sleep(20)
}

export interface Timed<A> {
  readonly value: A
  readonly milliseconds: number
}

export const timed = async <A>(run: () => Promise<A>): Promise<Timed<A>> => {
  const start = performance.now()
  const value = await run()
  return { value, milliseconds: performance.now() - start }
}

/** Runs at least once, and again until `duration` milliseconds have passed. */
export const repeatFor = async <A>(duration: number, run: () => Promise<A>): Promise<ReadonlyArray<A>> => {
  const values: Array<A> = []
  const end = performance.now() + duration
  do values.push(await run())
  while (performance.now() < end)
  return values
}

/** Runs `count` times in all, with `atOnce` runs under way at the same time. */
export const repeatConcurrently = async (
  atOnce: number,
  count: number,
  run: () => Promise<void>
): Promise<void> => {
  let started = 0
  const worker = async () => {
    while (started < count) {
      started++
      await run()
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker))
}

/** Time for the probe's timer to fire before and after the run, in milliseconds. */
const margin = 5

/**
 * Measures the longest time between two ticks of a 1 ms timer during a run, in milliseconds. `monitorEventLoopDelay`
 * records it in C++: unlike a JavaScript timer it runs no code on the loop, and unlike `setImmediate` it does not spin. An
 * idle loop reads slightly more than the resolution of 1 ms; see {@link idleDelay}.
 */
export const probeDelay = async <A>(run: () => Promise<A>): Promise<Timed<A> & { readonly delay: number }> => {
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  await sleep(margin)
  const result = await timed(run)
  await sleep(margin)
  histogram.disable()
  return { ...result, delay: histogram.max / 1e6 }
}

/** Measures the delay of an idle loop, to be subtracted from other delays. */
export const idleDelay = async (): Promise<number> => {
  const delays: Array<number> = []
  for (let round = 0; round < 9; round++) delays.push((await probeDelay(() => sleep(margin))).delay)
  return median(delays)
}

const status = (pid: number | "self", key: string): number => {
  const value = new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
  if (value === undefined) throw new Error(`no ${key}`)
  return Number(value) * 1024
}

export interface Peak {
  /** Returns the peak above the start of the measurement, in bytes. */
  readonly above: () => number
}

/**
 * Measures the peak from now on with the kernel's high-water mark of the resident size, which needs no sampling. Writing 5
 * to `clear_refs` resets it (Linux only). Returns `undefined` where that is not permitted.
 */
export const watchPeak = (pid: number | "self"): Peak | undefined => {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, "5")
  } catch {
    return undefined
  }
  const before = status(pid, "VmRSS")
  return { above: () => Math.max(0, status(pid, "VmHWM") - before) }
}

/** Samples the resident size every millisecond. Misses peaks while the event loop is blocked. */
export const samplePeak = (): Peak => {
  const before = process.memoryUsage.rss()
  let highest = before
  const look = () => {
    highest = Math.max(highest, process.memoryUsage.rss())
  }
  const timer = setInterval(look, 1)
  return {
    above: () => {
      look()
      clearInterval(timer)
      return highest - before
    }
  }
}
