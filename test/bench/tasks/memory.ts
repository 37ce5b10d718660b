/** Measures the peak memory of one run in a fresh process, above the memory that holds its input. */
import * as fs from "node:fs"
import { samplePeak, settle, watchPeak } from "../measure.js"
import * as Python from "../python.js"
import { find, names, type Source } from "../variants.js"

export interface Options {
  readonly name: string
  readonly from: Source
  /** The file that holds the frame. Building the frame here would leave freed memory, whose reuse hides allocations. */
  readonly frame: string
  readonly smallFrame: string
  readonly directory: string
}

export interface Result {
  /** In bytes. */
  readonly peak: number
  /** Sampled every millisecond, in bytes; NaN for Python. */
  readonly sampled: number
}

const warmUpRuns = 200

const ofPython = async ({ directory, frame, from }: Options): Promise<Result> => {
  const python = Python.start(frame, directory)
  const { memory } = await python.turn(from)
  await python.stop()
  return { peak: memory ?? Number.NaN, sampled: Number.NaN }
}

export const run = async (options: Options): Promise<Result> => {
  if (options.name === names.python) return ofPython(options)
  const { directory, frame, from, name, smallFrame } = options
  const prepare = (file: string) => find(name, from).prepare(fs.readFileSync(file), directory)

  // Warms up the code with a small frame, so that no buffer of the measured size exists yet.
  const small = prepare(smallFrame)
  const warmUp = async () => {
    for (let i = 0; i < warmUpRuns; i++) fs.rmSync(await small())
  }
  await warmUp()

  const measured = prepare(frame)
  await settle(warmUp)
  const sampled = samplePeak()
  const peak = watchPeak("self")
  const file = await measured()
  const highest = peak?.above()
  const result = { sampled: sampled.above() }
  fs.rmSync(file)
  return { ...result, peak: highest ?? result.sampled }
}
