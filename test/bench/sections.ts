/** The sections of a run: each returns its rows. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { type Format, makeFrame, mebibyte } from "./frame.js"
import { inChild } from "./inChild.js"
import { median } from "./measure.js"
import * as plan from "./plan.js"
import * as Python from "./python.js"
import type { ConcurrentRow, MemoryRow, ServerRow, SocketRow, TimingRow } from "./results.js"
import { serverNames, withServers } from "./servers.js"
import type * as cpuTask from "./tasks/cpu.js"
import type * as refusals from "./tasks/refusals.js"
import * as smallTask from "./tasks/small.js"
import * as timing from "./timing.js"
import { names, type Source, variants } from "./variants.js"

export interface Options {
  readonly quick: boolean
  readonly directory: string
}

export const withDirectory = async <A>(use: (directory: string) => Promise<A>): Promise<A> => {
  const directory = mkdtempSync(path.join(tmpdir(), "session-init-bench-"))
  try {
    return await use(directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Returns the path of a frame, created on first use. */
const frameFile = (directory: string, format: Format, size: number): string => {
  const file = path.join(directory, `frame-${size}.${format}.json`)
  if (!existsSync(file)) writeFileSync(file, makeFrame(format, size))
  return file
}

const sizesOf = (quick: boolean) => quick ? plan.quickSizes : plan.sizes

const say = (text: string) => console.error(`… ${text}`)

export const time = async (
  { directory, quick }: Options,
  from: ReadonlyArray<Source>
): Promise<ReadonlyArray<TimingRow>> => {
  const rows: Array<TimingRow> = []
  for (const { format, label: image, size, ...often } of sizesOf(quick)) {
    say(`time and event-loop delay, ${image}`)
    const measured = await timing.run({
      ...often,
      frame: frameFile(directory, format, size),
      smallFrame: frameFile(directory, format, Math.min(size, mebibyte)),
      from,
      directory
    })
    rows.push(...measured.map((row) => ({ image, ...row })))
  }
  return rows
}

/** Measures in interleaved cycles: each cycle takes every entry once. */
const inCycles = async <A, B>(
  count: number,
  entries: ReadonlyArray<A>,
  measure: (entry: A) => Promise<B>
): Promise<ReadonlyArray<{ readonly entry: A; readonly values: ReadonlyArray<B> }>> => {
  const collected = entries.map((entry) => ({ entry, values: new Array<B>() }))
  for (let cycle = 0; cycle < count; cycle++) {
    for (const { entry, values } of collected) values.push(await measure(entry))
  }
  return collected
}

const medianOf = <A>(values: ReadonlyArray<A>, of: (value: A) => number): number => median(values.map(of))

export const memory = async ({ directory, quick }: Options): Promise<ReadonlyArray<MemoryRow>> => {
  say("memory")
  const python = Python.version === undefined ? [] : Python.sources.map((from) => ({ name: names.python, from }))
  const rows: Array<MemoryRow> = []
  for (const { format, label: image, memoryRounds, only, size } of sizesOf(quick)) {
    const cycles = await inCycles(
      memoryRounds,
      [...variants, ...python].filter(({ name }) => only.some((wanted) => wanted === name)),
      ({ from, name }) =>
        inChild("memory", {
          name,
          from,
          frame: frameFile(directory, format, size),
          smallFrame: frameFile(directory, format, plan.warmUpSize),
          directory
        })
    )
    rows.push(...cycles.map(({ entry: { from, name }, values }) => ({
      image,
      name,
      from,
      peak: medianOf(values, ({ peak }) => peak),
      sampled: medianOf(values, ({ sampled }) => sampled)
    })))
  }
  return rows
}

export const concurrent = async ({ directory, quick }: Options): Promise<ReadonlyArray<ConcurrentRow>> => {
  say("concurrent sessions")
  const entries = plan.loads.flatMap((load) => plan.loaded.map((variant) => ({ load, ...variant })))
  const rounds = quick ? 1 : plan.rounds.concurrent
  const cycles = await inCycles(
    quick ? 1 : plan.cycles.concurrent,
    entries,
    ({ from, load: { sessions, size }, name }) =>
      inChild("concurrent", {
        name,
        from,
        sessions,
        size,
        frame: frameFile(directory, "png", size),
        smallFrame: frameFile(directory, "png", plan.warmUpSize),
        rounds,
        directory
      })
  )
  return cycles.map(({ entry: { from, load, name }, values }) => ({
    load: load.label,
    name,
    from,
    throughput: medianOf(values, ({ throughput }) => throughput),
    delay: medianOf(values, ({ delay }) => delay),
    peak: medianOf(values, ({ peak }) => peak)
  }))
}

export const refuse = ({ directory, quick }: Options): Promise<ReadonlyArray<refusals.Row>> => {
  say("refusals")
  return inChild("refusals", { directory, rounds: quick ? 1 : plan.rounds.refusals })
}

/** Each variant runs in fresh processes, in interleaved cycles. */
export const small = async ({ directory, quick }: Options): Promise<ReadonlyArray<smallTask.Row>> => {
  say("CPU time of small images")
  const { cycles, ...often } = quick ? plan.quickSmall : plan.small
  const measured = await inCycles(
    cycles,
    smallTask.names,
    (name) => inChild("small", { name, ...often, directory })
  )
  return measured.flatMap(({ entry: name, values }) =>
    often.atOnce.map((atOnce) => ({
      name,
      atOnce,
      cpu: median(values.flat().filter((row) => row.atOnce === atOnce).map(({ cpu }) => cpu))
    }))
  )
}

export const cpu = ({ directory, quick }: Options): Promise<ReadonlyArray<cpuTask.CpuRow>> => {
  say("CPU time of the servers")
  return inChild("cpu", { ...(quick ? plan.quickCpu : plan.cpu), directory })
}

export const upload = ({ directory, quick }: Options): Promise<ReadonlyArray<cpuTask.UploadRow>> => {
  say("one 32 MiB upload against its parts")
  return inChild("upload", { rounds: quick ? 1 : plan.rounds.upload, directory })
}

export const server = async ({ directory, quick }: Options): Promise<ReadonlyArray<ServerRow>> => {
  say("servers")
  const growths = await inCycles(
    quick ? 1 : plan.cycles.growth,
    serverNames,
    (name) =>
      withServers([name], directory, async ([server]) => {
        if (server === undefined) throw new Error(`${name} did not start`)
        return inChild("growth", { server })
      })
  )
  const rounds = quick ? 1 : plan.rounds.requests
  const rows = await withServers(serverNames, directory, (servers) => inChild("requests", { servers, rounds }))
  return rows.map((row) => ({
    ...row,
    growth: median(growths.find(({ entry }) => entry === row.name)?.values ?? [])
  }))
}

const socketTasks = [["text frame", "socketText"], ["binary frames", "socketBinary"]] as const

/**
 * Each row uses a separate server, so that garbage is not shared. An unmeasured client warms up the server. The longest
 * turn is measured with a new client for each image.
 */
export const socket = async ({ directory, quick }: Options): Promise<ReadonlyArray<SocketRow>> => {
  say("WebSocket")
  const rounds = quick ? 1 : plan.rounds.socket
  const rows: Array<SocketRow> = []
  for (const [how, task] of socketTasks) {
    rows.push(
      await withServers(["session-init-image"], directory, async ([server]) => {
        if (server === undefined) throw new Error("the server did not start")
        await inChild(task, { server, rounds: 3 })
        const result = await inChild(task, { server, rounds })
        await server.longestTurn()
        const turns: Array<number> = []
        for (let round = 0; round < rounds; round++) {
          await inChild(task, { server, rounds: 1 })
          turns.push(await server.longestTurn())
        }
        return { how, ...result, turn: median(turns), worstTurn: Math.max(...turns) }
      })
    )
  }
  return rows
}
