/** Measures sessions that send their images at the same time. */
import * as fs from "node:fs"
import { mebibyte } from "../frame.js"
import { collectGarbage, idleDelay, median, probeDelay, settle, watchPeak } from "../measure.js"
import { find, type Source } from "../variants.js"

export interface Options {
  readonly name: string
  readonly from: Source
  readonly sessions: number
  /** Size of an image, in bytes. */
  readonly size: number
  readonly frame: string
  readonly smallFrame: string
  readonly rounds: number
  readonly directory: string
}

export interface Result {
  /** Of images, in MiB per second. */
  readonly throughput: number
  /** The longest event-loop delay, above the idle loop's, in milliseconds. */
  readonly delay: number
  /** Peak memory above the payloads over all rounds, in bytes. */
  readonly peak: number
}

/** The number of payloads, which the sessions share. */
const distinct = 8

const warmUpRuns = 400

export const run = async (options: Options): Promise<Result> => {
  const { directory, frame, from, name, rounds, sessions, size, smallFrame } = options
  const prepare = (file: string) => find(name, from).prepare(fs.readFileSync(file), directory)

  const small = prepare(smallFrame)
  const warmUp = async () => {
    for (let i = 0; i < warmUpRuns; i++) fs.rmSync(await small())
  }
  await warmUp()

  const runs = Array.from({ length: distinct }, () => prepare(frame))
  const everySession = Array.from({ length: sessions / distinct }, () => runs).flat()
  const idle = await idleDelay()
  await settle(warmUp)
  const peak = watchPeak("self")
  const throughputs: Array<number> = []
  const delays: Array<number> = []
  for (let round = 0; round < rounds; round++) {
    collectGarbage()
    const { delay, milliseconds, value } = await probeDelay(() => Promise.all(everySession.map((run) => run())))
    throughputs.push(sessions * size / mebibyte / milliseconds * 1000)
    delays.push(Math.max(0, delay - idle))
    for (const file of value) fs.rmSync(file)
  }
  return { throughput: median(throughputs), delay: median(delays), peak: peak?.above() ?? Number.NaN }
}
