/** Time and event-loop delay of the variants at one size, in interleaved rounds. */
import * as fs from "node:fs"
import { parse } from "../frame.js"
import { collectGarbage, idleDelay, median, probeDelay, timed } from "../measure.js"
import * as Python from "../python.js"
import { names, type Source, type Variant, variants } from "../variants.js"

export interface Options {
  /** The file that holds the frame. */
  readonly frame: string
  /** One of at most 1 MiB, to warm up with. */
  readonly smallFrame: string
  readonly only: ReadonlyArray<string>
  readonly from: ReadonlyArray<Source>
  readonly rounds: number
  /** Rounds of their own for the delay: its probe is not to weigh on the time. */
  readonly delayRounds: number
  /** How many samples each variant takes in its turn, so that small ones are measured warm. */
  readonly batch: number
  /** How often each variant runs before, on the small frame. */
  readonly warmUp: number
  readonly directory: string
}

export interface Row {
  readonly name: string
  readonly from: Source
  /** The median, as all figures but those that are called the worst. */
  readonly milliseconds: number
  /** The longest event-loop delay of a run, above the idle loop's, in milliseconds. */
  readonly delay?: number
  readonly worstDelay?: number
}

interface Contestant {
  readonly name: string
  readonly from: Source
  readonly time: () => Promise<number>
  readonly delay?: () => Promise<number>
}

const contestant = ({ from, name, prepare }: Variant, frame: Buffer, image: Buffer, directory: string): Contestant => {
  const run = prepare(frame, directory)
  let checked = false
  const finish = (file: string) => {
    if (!checked && !fs.readFileSync(file).equals(image)) throw new Error(`${name} from ${from} wrote something else`)
    checked = true
    fs.rmSync(file)
  }
  return {
    name,
    from,
    time: async () => {
      const { milliseconds, value } = await timed(run)
      finish(value)
      return milliseconds
    },
    delay: async () => {
      const { delay, value } = await probeDelay(run)
      finish(value)
      return delay
    }
  }
}

export const run = async (options: Options): Promise<ReadonlyArray<Row>> => {
  const { batch, delayRounds, directory, from, only, rounds, warmUp } = options
  const isWanted = (variant: { readonly name: string; readonly from: Source }) =>
    only.includes(variant.name) && from.includes(variant.from)
  const wanted = variants.filter(isWanted)

  const small = fs.readFileSync(options.smallFrame)
  for (const { prepare } of wanted) {
    const run = prepare(small, directory)
    for (let i = 0; i < warmUp; i++) fs.rmSync(await run())
  }

  const frame = fs.readFileSync(options.frame)
  const image = Buffer.from(parse(frame.toString()).data, "base64")

  const contestants = wanted.map((variant) => contestant(variant, frame, image, directory))
  const python = Python.version === undefined ? undefined : Python.start(options.frame, directory)
  if (python !== undefined) {
    const turns = Python.sources.map((from) => ({
      name: names.python,
      from,
      time: async () => (await python.turn(from)).milliseconds
    }))
    contestants.push(...turns.filter(isWanted))
  }

  const entries = contestants.map((contestant) => ({
    ...contestant,
    times: new Array<number>(),
    delays: new Array<number>()
  }))
  /** Every round begins with another one, so that none always follows the same neighbour. */
  const inTurn = (round: number) => entries.map((_, i) => entries[(i + round) % entries.length] ?? entries[i])

  for (const { time } of entries) await time()
  for (let round = 0; round < rounds; round++) {
    for (const entry of inTurn(round)) {
      collectGarbage()
      for (let i = 0; i < batch; i++) entry?.times.push(await entry.time())
    }
  }
  const idle = await idleDelay()
  for (let round = 0; round < delayRounds; round++) {
    for (const entry of inTurn(round)) {
      collectGarbage()
      if (entry?.delay !== undefined) entry.delays.push(Math.max(0, await entry.delay() - idle))
    }
  }
  await python?.stop()

  return entries.map(({ delays, from, name, times }) => ({
    name,
    from,
    milliseconds: median(times),
    ...(delays.length === 0 ? {} : { delay: median(delays), worstDelay: Math.max(...delays) })
  }))
}
