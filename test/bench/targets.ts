/** The targets of the library, and whether a run met them. */
import { mebibyte } from "./frame.js"
import { cpuOf, memoryOf, type Results, serverOf, timingOf, uploadOf } from "./results.js"
import type { ServerName } from "./servers.js"
import { names, type Source } from "./variants.js"

export interface Target {
  readonly what: string
  readonly unit: "×" | "ms" | "MiB"
  readonly bound: "at least" | "at most"
  readonly target: number
  readonly value: number
  readonly met: boolean
}

interface Rule extends Pick<Target, "what" | "unit" | "bound" | "target"> {
  /** `undefined` if the run did not measure it. */
  readonly value: (results: Results) => number | undefined
}

const ratio = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : a / b

const sum = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : a + b

const large = "32 MiB"

const time = (image: string, name: string, from: Source) => (results: Results) =>
  timingOf(results, image, name, from)?.milliseconds

const delay = (name: string, from: Source) => (results: Results) => timingOf(results, large, name, from)?.delay

const peak = (name: string, from: Source) => (results: Results) => {
  const bytes = memoryOf(results, large, name, from)?.peak
  return bytes === undefined ? undefined : bytes / mebibyte
}

type Value = Rule["value"]

const atMost = (what: string, unit: Rule["unit"], target: number, value: Value): Rule => ({
  what,
  unit,
  bound: "at most",
  target,
  value
})

const atLeastTimes = (what: string, target: number, value: Value, of: Value): Rule => ({
  what,
  unit: "×",
  bound: "at least",
  target,
  value: (results) => ratio(value(results), of(results))
})

/** `than` takes at least `target` times the time of `value`. */
const faster = (what: string, target: number, than: Value, value: Value): Rule =>
  atLeastTimes(what, target, than, value)

const atMostTimes = (what: string, target: number, value: Value, of: Value): Rule =>
  atMost(what, "×", target, (results) => ratio(value(results), of(results)))

const persist = time(large, names.persist, "payload")
const frame = time(large, names.frame, "bytes")

const ours = (results: Results) => serverOf(results, "session-init-image")
const fastify = (results: Results) => serverOf(results, "Fastify")

/** Rules for 64 `POST`s of JSON at once: CPU time as a multiple of the floor's, throughput as a multiple of Fastify's. */
const atOnce = (
  image: string,
  targets: { readonly cpu: number; readonly throughput?: number }
): ReadonlyArray<Rule> => {
  const what = `server, 64 POSTs of ${image} as JSON at once`
  const cpu = (name: ServerName): Value => (results) => cpuOf(results, image, name)?.cpu
  const throughput = (name: ServerName): Value => (results) => cpuOf(results, image, name)?.throughput
  return [
    atMostTimes(
      `${what}: CPU time per image against the floor's`,
      targets.cpu,
      cpu("session-init-image"),
      cpu("floor")
    ),
    ...(targets.throughput === undefined ? [] : [atLeastTimes(
      `${what}: throughput against Fastify's`,
      targets.throughput,
      throughput("session-init-image"),
      throughput("Fastify")
    )])
  ]
}

const rules: ReadonlyArray<Rule> = [
  faster("persist, 32 MiB: against Python", 10, time(large, names.python, "payload"), persist),
  faster(`… against ${names.encoding}`, 12, time(large, names.encoding, "payload"), persist),
  faster(`… against ${names.buffer}`, 3.5, time(large, names.buffer, "payload"), persist),
  atMostTimes(`… against the ${names.loop}`, 1, persist, time(large, names.loop, "payload")),
  atMostTimes(
    `persist, 64 KiB: against ${names.bufferAsEffect}`,
    1.3,
    time("64 KiB", names.persist, "payload"),
    time("64 KiB", names.bufferAsEffect, "payload")
  ),
  faster(
    "InitImageFrame.persist from bytes, 32 MiB: against toString + JSON.parse + Buffer.from + writeFile",
    4.5,
    time(large, names.buffer, "bytes"),
    frame
  ),
  faster("… against Python's json.loads + decode + write", 7, time(large, names.python, "bytes"), frame),
  atMost("longest event-loop delay, 32 MiB: persist", "ms", 5, delay(names.persist, "payload")),
  atMostTimes(
    "… against the one-shot's",
    0.1,
    delay(names.persist, "payload"),
    delay(names.buffer, "payload")
  ),
  atMost("… InitImageFrame.persist from a string", "ms", 5, delay(names.frame, "text")),
  atMost("… InitImageFrame.persist from bytes", "ms", 5, delay(names.frame, "bytes")),
  atMostTimes("… against the one-shot's", 0.1, delay(names.frame, "bytes"), delay(names.buffer, "bytes")),
  atMost("… InitImageFrame.persist from a stream", "ms", 5, delay(names.frame, "stream")),
  atMost("peak memory above the input, 32 MiB: persist", "MiB", 4, peak(names.persist, "payload")),
  atMost("… InitImageFrame.persist from a string", "MiB", 4, peak(names.frame, "text")),
  atMost("… InitImageFrame.persist from bytes", "MiB", 8, peak(names.frame, "bytes")),
  atMost("… InitImageFrame.persist from a stream", "MiB", 8, peak(names.frame, "stream")),
  atMost(
    "refusing 60 MiB of base64 as too large",
    "ms",
    0.1,
    ({ refusals }) => refusals.find(({ what }) => what.includes("60 MiB"))?.payload
  ),
  faster(
    "server, POST of a 32 MiB image as JSON: against Fastify",
    3.5,
    (results) => fastify(results)?.milliseconds,
    (results) => ours(results)?.milliseconds
  ),
  atMost("… growth of the server's memory", "MiB", 48, (results) => {
    const growth = ours(results)?.growth
    return growth === undefined ? undefined : growth / mebibyte
  }),
  atMost("… longest GET /healthz during it, of all rounds", "ms", 20, (results) => ours(results)?.worstHealthz),
  atMostTimes(
    "server, raw POST of 32 MiB: against node:http pipeline to createWriteStream",
    1.3,
    (results) => ours(results)?.raw,
    (results) => serverOf(results, "node:http")?.raw
  ),
  ...atOnce("70 B", { cpu: 4 }),
  ...atOnce("300 KiB", { cpu: 2, throughput: 2.5 }),
  ...atOnce("1 MiB", { cpu: 1.8, throughput: 4 }),
  atMostTimes(
    "server, one POST of a 32 MiB image as JSON: against receiving and discarding it, then writing the image",
    1.3,
    (results) => uploadOf(results, "session-init-image"),
    (results) => sum(uploadOf(results, "discard"), uploadOf(results, "write"))
  ),
  atMost(
    "WebSocket, 32 MiB in binary frames: longest turn of the server's event loop",
    "ms",
    5,
    ({ socket }) => socket.find(({ how }) => how === "binary frames")?.turn
  )
]

/** Compares the measured values with their targets. */
export const targetsOf = (results: Results): ReadonlyArray<Target> =>
  rules.flatMap(({ bound, target, unit, value: valueOf, what }) => {
    const value = valueOf(results)
    return value === undefined
      ? []
      : [{ what, unit, bound, target, value, met: bound === "at least" ? value >= target : value <= target }]
  })
