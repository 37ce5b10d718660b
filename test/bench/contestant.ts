/**
 * Runs one variant in a separate process, in turns. Other variants affect neither its garbage collections nor the types
 * that the compiler has seen.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { parse } from "./frame.js"
import { collectGarbage, idleDelay, probeDelay, repeatFor, timed } from "./measure.js"
import { find, type Source } from "./variants.js"

export interface Options {
  readonly name: string
  readonly from: Source
  /** The file that holds the frame. */
  readonly frame: string
  /** A frame of at most 1 MiB, for the warm-up. */
  readonly smallFrame: string
  /** Runs on the small frame before the first turn. */
  readonly warmUp: number
  readonly directory: string
}

interface Turn {
  readonly kind: "time" | "delay"
  /** In milliseconds. A turn takes at least one sample. */
  readonly duration: number
}

export interface Contestant {
  /** Returns the samples, in milliseconds. */
  readonly turn: (turn: Turn) => Promise<ReadonlyArray<number>>
  readonly stop: () => Promise<void>
}

export const start = async (options: Options): Promise<Contestant> => {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(options)], {
    // While the process idles between turns, V8 would collect its optimised code too. A busy server never idles so long.
    execArgv: ["--expose-gc", "--no-memory-reducer"]
  })
  const exited = once(child, "exit")
  const failed = exited.then(() => undefined)
  const answer = async (): Promise<ReadonlyArray<number>> => {
    const values = await Promise.race([once(child, "message"), failed])
    if (values === undefined) throw new Error(`${options.name} from ${options.from} failed`)
    // `serve` sends only arrays of numbers.
    return values[0] as ReadonlyArray<number>
  }
  await answer()
  return {
    turn: (turn) => {
      child.send(turn)
      return answer()
    },
    stop: async () => {
      child.disconnect()
      await exited
    }
  }
}

/**
 * Unmeasured runs at the start of a turn, in milliseconds. After seconds of waiting the first runs take up to twice the
 * time of later ones.
 */
const warmUpOfTurn = 300

const serve = async ({ directory, frame: file, from, name, smallFrame, warmUp }: Options): Promise<void> => {
  const { prepare } = find(name, from)
  const small = prepare(fs.readFileSync(smallFrame), directory)
  for (let i = 0; i < warmUp; i++) fs.rmSync(await small())

  const frame = fs.readFileSync(file)
  const run = prepare(frame, directory)
  const written = await run()
  if (!fs.readFileSync(written).equals(Buffer.from(parse(frame.toString()).data, "base64"))) {
    throw new Error(`${name} from ${from} wrote other bytes`)
  }
  fs.rmSync(written)

  const idle = await idleDelay()
  const sample = {
    time: async () => {
      const { milliseconds, value } = await timed(run)
      fs.rmSync(value)
      return milliseconds
    },
    delay: async () => {
      const { delay, value } = await probeDelay(run)
      fs.rmSync(value)
      return Math.max(0, delay - idle)
    }
  }
  process.on("message", async (turn) => {
    // `start` sends only turns.
    const { duration, kind } = turn as Turn
    await repeatFor(warmUpOfTurn, sample.time)
    collectGarbage()
    process.send?.(await repeatFor(duration, sample[kind]))
  })
  process.send?.([])
}

const [, script, options] = process.argv
// `start` passes `Options`.
if (script === fileURLToPath(import.meta.url)) await serve(JSON.parse(options ?? "{}") as Options)
