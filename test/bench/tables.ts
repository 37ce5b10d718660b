/** Renders the figures as text. */
import { mebibyte } from "./frame.js"
import { cpuOf, memoryOf, type Results } from "./results.js"
import type { Target } from "./targets.js"
import type { Source } from "./variants.js"

type Cell = string

export const round = (value: number): string =>
  Number.isNaN(value) ? "–" : value.toFixed(value < 0.1 ? 4 : value < 10 ? 2 : value < 100 ? 1 : 0)

const mebibytes = (bytes: number | undefined): Cell => bytes === undefined ? "–" : round(bytes / mebibyte)

const optional = (value: number | undefined): Cell => value === undefined ? "–" : round(value)

const table = (title: string, head: ReadonlyArray<Cell>, rows: ReadonlyArray<ReadonlyArray<Cell>>): string => {
  if (rows.length === 0) return ""
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: ReadonlyArray<Cell>) =>
    cells.map((cell, column) => {
      const width = widths[column] ?? 0
      return /^[\d.–]/.test(cell) ? cell.padStart(width) : cell.padEnd(width)
    }).join("  ").trimEnd()
  return [`\n${title}\n`, line(head), line(widths.map((width) => "─".repeat(width))), ...rows.map(line)].join("\n")
}

export const sourceLabel: Readonly<Record<Source, string>> = {
  payload: "parsed payload",
  text: "frame, a string",
  bytes: "frame, bytes",
  stream: "frame, a stream"
}

const timing = (results: Results): ReadonlyArray<string> =>
  [...new Set([...results.timing, ...results.memory].map(({ image }) => image))].map((image) => {
    const rows = results.timing.filter((row) => row.image === image)
    const others = results.memory.filter((row) =>
      row.image === image && !rows.some(({ from, name }) => name === row.name && from === row.from)
    )
    return table(
      image,
      ["what", "from", "ms", "loop delay, ms", "worst", "peak, MiB", "sampled"],
      [...rows, ...others.map(({ from, name }) => ({ from, name, milliseconds: Number.NaN }))].map((row) => {
        const memory = memoryOf(results, image, row.name, row.from)
        return [
          row.name,
          sourceLabel[row.from],
          round(row.milliseconds),
          "delay" in row ? optional(row.delay) : "–",
          "worstDelay" in row ? optional(row.worstDelay) : "–",
          mebibytes(memory?.peak),
          mebibytes(memory?.sampled)
        ]
      })
    )
  })

const refusals = ({ refusals }: Results): string =>
  table(
    "Refusals, ms",
    ["what", "as", "persist", "frame, a string", "frame, bytes"],
    refusals.map(({ bytes, payload, tag, text, what }) => [what, tag, round(payload), round(text), round(bytes)])
  )

const concurrent = ({ concurrent }: Results): string =>
  table(
    "Concurrent sessions",
    ["sessions", "what", "from", "MiB/s", "loop delay, ms", "peak, MiB"],
    concurrent.map(({ delay, from, load, name, peak, throughput }) => [
      load,
      name,
      sourceLabel[from],
      round(throughput),
      round(delay),
      mebibytes(peak)
    ])
  )

const server = ({ server }: Results): string =>
  table(
    "Servers",
    ["server", "POST 32 MiB, ms", "healthz, ms", "worst", "growth, MiB", "64 × 1 MiB, MiB/s", "raw 32 MiB, ms"],
    server.map((row) => [
      row.name,
      round(row.milliseconds),
      round(row.healthz),
      round(row.worstHealthz),
      mebibytes(row.growth),
      round(row.throughput),
      optional(row.raw)
    ])
  )

const small = ({ small }: Results): string =>
  table(
    "CPU time of one image of 70 bytes, written and removed, in one process",
    ["what", "at once", "ms"],
    small.map(({ atOnce, cpu, name }) => [name, String(atOnce), round(cpu)])
  )

const cpu = (results: Results): string =>
  table(
    "64 POSTs of JSON at once",
    ["image", "server", "CPU per image, ms", "× floor", "images/s", "× Fastify"],
    results.cpu.map(({ cpu, image, name, throughput }) => [
      image,
      name,
      round(cpu),
      round(cpu / (cpuOf(results, image, "floor")?.cpu ?? Number.NaN)),
      round(throughput),
      round(throughput / (cpuOf(results, image, "Fastify")?.throughput ?? Number.NaN))
    ])
  )

const upload = ({ upload }: Results): string =>
  table(
    "POST of a 32 MiB image as JSON, and its parts",
    ["what", "ms"],
    upload.map(({ milliseconds, name }) => [name, round(milliseconds)])
  )

const socket = ({ socket }: Results): string =>
  table(
    "32 MiB over a WebSocket",
    ["how", "ms", "longest turn of the server, ms", "worst", "growth, MiB"],
    socket.map((row) => [
      row.how,
      round(row.milliseconds),
      round(row.turn),
      round(row.worstTurn),
      mebibytes(row.growth)
    ])
  )

const targets = (targets: ReadonlyArray<Target>): string =>
  table(
    "Targets",
    ["what", "value", "target", ""],
    targets.map(({ bound, met, target, unit, value, what }) => [
      what,
      `${round(value)} ${unit}`,
      `${bound} ${target} ${unit}`,
      met ? "met" : "MISSED"
    ])
  )

export const render = (results: Results, reached: ReadonlyArray<Target>): string =>
  [
    ...timing(results),
    refusals(results),
    concurrent(results),
    small(results),
    server(results),
    cpu(results),
    upload(results),
    socket(results),
    targets(reached)
  ]
    .filter((table) => table !== "")
    .join("\n")
