/** How time, the event loop's delay and memory are measured. */
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
 * Between samples, so that none pays for the garbage of another; its own it pays for as it would anywhere.
 *
 * Only what is young: when all is collected while nothing runs, V8 takes the optimised code with it whose objects are
 * gone for the moment (32 MiB then took 21 ms in place of 14), which never happens to a server that is in use.
 */
export const collectGarbage = (): void => collect("minor")

/**
 * Before memory is measured: what was freed goes back to the system, or it would hide what is taken next. Then the code
 * is warmed up again.
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

/** Once at least, and again until so many milliseconds have passed. */
export const repeatFor = async <A>(duration: number, run: () => Promise<A>): Promise<ReadonlyArray<A>> => {
  const values: Array<A> = []
  const end = performance.now() + duration
  do values.push(await run())
  while (performance.now() < end)
  return values
}

/** Long enough for the probe's timer to have fired before and after. */
const margin = 5

/**
 * The longest time between two turns of a 1 ms timer while this runs, in milliseconds. `monitorEventLoopDelay` keeps it
 * in C++: no JavaScript of the probe's runs in between, as it would with a timer of our own, and nothing spins as with
 * `setImmediate`. An idle loop reads a little over 1 ms, its resolution; see {@link idleDelay}.
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

/** What the probe reads when nothing runs; taken off what it reads otherwise. */
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
  /** How far the process has risen since, in bytes. */
  readonly above: () => number
}

/**
 * From now on, by the kernel's own mark of the highest resident size, which misses nothing between two samples; it is
 * set back by writing 5 to `clear_refs` (Linux only). `undefined` where that is not allowed.
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

/** By looking every millisecond: what comes and goes while the loop is blocked is not seen. */
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
