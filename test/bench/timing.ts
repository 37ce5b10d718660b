/** Measures time and event-loop delay of the variants at one size, in interleaved rounds. */
import * as Contestant from "./contestant.js"
import { median, repeatFor } from "./measure.js"
import * as Python from "./python.js"
import { names, type Source, variants } from "./variants.js"

export interface Options {
  /** The file that holds the frame. */
  readonly frame: string
  /** A frame of at most 1 MiB, for the warm-up. */
  readonly smallFrame: string
  readonly only: ReadonlyArray<string>
  readonly from: ReadonlyArray<Source>
  readonly rounds: number
  /** The delay has separate rounds, so that its probe does not affect the time. */
  readonly delayRounds: number
  /** Runs of each variant on the small frame before the first round. */
  readonly warmUp: number
  readonly directory: string
}

export interface Row {
  readonly name: string
  readonly from: Source
  /** The median. */
  readonly milliseconds: number
  /** The longest event-loop delay of a run above the idle loop's: median and maximum of the runs, in milliseconds. */
  readonly delay?: number
  readonly worstDelay?: number
}

/** The time for which a variant takes samples in a turn, in milliseconds. */
const turnDuration = 100

interface Entry {
  readonly name: string
  readonly from: Source
  readonly time: () => Promise<ReadonlyArray<number>>
  readonly delay?: () => Promise<ReadonlyArray<number>>
  readonly stop: () => Promise<void>
  readonly times: Array<number>
  readonly delays: Array<number>
}

const startAll = async (options: Options): Promise<ReadonlyArray<Entry>> => {
  const { directory, frame, from, only, smallFrame, warmUp } = options
  const isWanted = (variant: { readonly name: string; readonly from: Source }) =>
    only.includes(variant.name) && from.includes(variant.from)
  const entries: Array<Entry> = []
  for (const { from, name } of variants.filter(isWanted)) {
    const { stop, turn } = await Contestant.start({ name, from, frame, smallFrame, warmUp, directory })
    entries.push({
      name,
      from,
      time: () => turn({ kind: "time", duration: turnDuration }),
      delay: () => turn({ kind: "delay", duration: 0 }),
      stop,
      times: [],
      delays: []
    })
  }
  if (Python.version === undefined) return entries
  for (const from of Python.sources.filter((from) => isWanted({ name: names.python, from }))) {
    const { stop, turn } = Python.start(frame, directory)
    const time = () => repeatFor(turnDuration, async () => (await turn(from)).milliseconds)
    await time()
    entries.push({ name: names.python, from, time, stop, times: [], delays: [] })
  }
  return entries
}

export const run = async (options: Options): Promise<ReadonlyArray<Row>> => {
  const entries = await startAll(options)
  /** Each round starts with a different entry. */
  const inTurn = (
    round: number
  ) => [...entries.slice(round % entries.length), ...entries.slice(0, round % entries.length)]
  for (let round = 0; round < options.rounds; round++) {
    for (const { time, times } of inTurn(round)) times.push(...await time())
  }
  for (let round = 0; round < options.delayRounds; round++) {
    for (const { delay, delays } of inTurn(round)) delays.push(...await delay?.() ?? [])
  }
  for (const { stop } of entries) await stop()
  return entries.map(({ delays, from, name, times }) => ({
    name,
    from,
    milliseconds: median(times),
    ...(delays.length === 0 ? {} : { delay: median(delays), worstDelay: Math.max(...delays) })
  }))
}
