/** Clients that set and read sessions at random, on hosts that end and start meanwhile. */
import * as Effect from "effect/Effect"
import { pathOf } from "../../utils/apis.js"
import { numbered, numberIn, smallestNumbered } from "../../utils/numberedImages.js"
import { Random } from "../random.js"
import type { Call } from "./history.js"

export interface Options<E, R> {
  readonly seed: number
  readonly calls: number
  readonly sessions: number
  readonly clients: number
  /** The hosts that run at the moment. */
  readonly urls: () => ReadonlyArray<string>
  /** Runs beside the calls when this number of them has begun. */
  readonly at: Readonly<Record<number, Effect.Effect<void, E, R>>>
}

export interface Outcome {
  readonly calls: ReadonlyArray<Call>
  /** Reads of bytes that are no image as it was set. */
  readonly torn: number
  /** Calls without an answer, or with 500 or above. */
  readonly failed: number
}

const largest = 300_000

const send = async (url: string, session: number, init: RequestInit) => {
  try {
    const response = await fetch(url + pathOf(`s${session}`), init)
    return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) }
  } catch {
    return { status: 0, body: new Uint8Array() }
  }
}

/** Ends when all calls and all of `at` have ended. */
export const run = <E, R>({ at, calls: count, clients, seed, sessions, urls }: Options<E, R>) =>
  Effect.gen(function*() {
    const random = new Random(seed)
    const calls: Array<Call> = []
    let begun = 0
    let torn = 0
    let failed = 0

    const set = async (url: string, session: number, image: number) => {
      const bytes = numbered(image, smallestNumbered + random.below(largest))
      const start = performance.now()
      const headers = { "content-type": "image/png" }
      const { status } = await send(url, session, { method: "PUT", headers, body: bytes.slice() })
      if (status !== 200) failed += 1
      calls.push({ kind: "set", session, image, start, end: status === 200 ? performance.now() : Infinity })
    }

    const get = async (url: string, session: number) => {
      const start = performance.now()
      const { body, status } = await send(url, session, {})
      const end = performance.now()
      if (status !== 200 && status !== 404) return void (failed += 1)
      const image = status === 404 ? 0 : numberIn(body) ?? -1
      if (status === 200 && !Buffer.from(numbered(image, body.length)).equals(body)) return void (torn += 1)
      calls.push({ kind: "get", session, image, start, end })
    }

    const client = Effect.promise(async () => {
      while (begun < count) {
        const number = ++begun
        const url = random.pick(urls())
        const session = random.below(sessions)
        await (random.chance(0.5) ? set(url, session, number) : get(url, session))
      }
    })
    const events = Object.entries(at).map(([number, event]) =>
      Effect.zipRight(Effect.repeat(Effect.sleep(5), { until: () => begun >= Number(number) }), event)
    )
    yield* Effect.all([...Array.from({ length: clients }, () => client), ...events], {
      concurrency: "unbounded",
      discard: true
    })
    const outcome: Outcome = { calls, torn, failed }
    return outcome
  })
