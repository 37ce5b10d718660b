/** Measures the time of refusals. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { InitImageFrame, SessionInitImage } from "../../../src/index.js"
import { at, makeFrame, mebibyte, parse, wrap } from "../frame.js"
import { collectGarbage, median, timed } from "../measure.js"

export interface Options {
  readonly rounds: number
  readonly directory: string
}

export interface Row {
  readonly what: string
  readonly tag: string
  /** `persist` of the parsed payload; `text` and `bytes` are `InitImageFrame.persist`. Medians, in milliseconds. */
  readonly payload: number
  readonly text: number
  readonly bytes: number
}

interface Case {
  readonly what: string
  readonly tag: string
  readonly frame: () => Buffer
}

const imageSize = 32 * mebibyte

const cases: ReadonlyArray<Case> = [
  { what: "too large: 60 MiB of base64", tag: "TooLarge", frame: () => wrap("image/png", "A".repeat(60 * mebibyte)) },
  { what: "too large: 240 MiB of base64", tag: "TooLarge", frame: () => wrap("image/png", "A".repeat(240 * mebibyte)) },
  {
    what: "32 MiB, bad at the last character",
    tag: "BadBase64",
    frame: () => {
      const { data, mime } = parse(makeFrame("png", imageSize - imageSize % 3).toString())
      return wrap(mime, `${data.slice(0, -1)}!`)
    }
  },
  {
    what: "32 MiB, type differs from the declared one",
    tag: "ContentMismatch",
    frame: () => wrap("image/jpeg", parse(makeFrame("png", imageSize).toString()).data)
  },
  {
    what: "32 MiB, type not accepted",
    tag: "InvalidMime",
    frame: () => wrap("image/gif", parse(makeFrame("png", imageSize).toString()).data)
  }
]

/** The warm-up ends at the first of both limits: cases take from microseconds to a tenth of a second. */
const warmUp = { runs: 3000, milliseconds: 1000 }

/** Sampling lasts until the first of both limits, and at least for the rounds. */
const sampling = { runs: 1000, milliseconds: 200 }

const measure = async (run: () => Promise<string>, tag: string, rounds: number): Promise<number> => {
  const within = (limit: typeof warmUp) => {
    const start = performance.now()
    return (runs: number) => runs < limit.runs && performance.now() - start < limit.milliseconds
  }
  const isCold = within(warmUp)
  for (let i = 0; isCold(i); i++) await run()
  collectGarbage()
  const times: Array<number> = []
  const isSampling = within(sampling)
  for (let round = 0; round < rounds || isSampling(round); round++) {
    const { milliseconds, value } = await timed(run)
    if (value !== tag) throw new Error(`${value} instead of ${tag}`)
    times.push(milliseconds)
  }
  return median(times)
}

export const run = async ({ directory, rounds }: Options): Promise<ReadonlyArray<Row>> => {
  const runtime = ManagedRuntime.make(NodeContext.layer)
  const rows: Array<Row> = []
  for (const { frame: makeCase, tag, what } of cases) {
    const frame = makeCase()
    const text = frame.toString()
    const payload = parse(text)
    const persist = () =>
      runtime.runPromise(Effect.map(Effect.flip(SessionInitImage.persist(payload, { directory })), ({ _tag }) => _tag))
    const persistFrame = (json: string | Uint8Array) => () =>
      runtime.runPromise(
        Effect.map(Effect.flip(InitImageFrame.persist(json, { at }, { directory })), ({ _tag }) => _tag)
      )
    rows.push({
      what,
      tag,
      payload: await measure(persist, tag, rounds),
      text: await measure(persistFrame(text), tag, rounds),
      bytes: await measure(persistFrame(frame), tag, rounds)
    })
  }
  return rows
}
