/**
 * One way from what a server has received to a file, in a process of its own that waits for its turns: neither the
 * garbage of others nor what it does to the compiler's assumptions is its.
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
  /** One of at most 1 MiB, to warm up with. */
  readonly smallFrame: string
  /** How often it is run before, on the small frame. */
  readonly warmUp: number
  readonly directory: string
}

/** What to measure, and for how long. */
interface Turn {
  readonly kind: "time" | "delay"
  /** In milliseconds; there is one sample at least. */
  readonly duration: number
}

export interface Contestant {
  /** In milliseconds each. */
  readonly turn: (turn: Turn) => Promise<ReadonlyArray<number>>
  readonly stop: () => Promise<void>
}

export const start = async (options: Options): Promise<Contestant> => {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(options)], {
    // Between its turns it is idle, which no server in use is: V8 would collect all of it then, optimised code included.
    execArgv: ["--expose-gc", "--no-memory-reducer"]
  })
  const exited = once(child, "exit")
  const failed = exited.then(() => undefined)
  const answer = async (): Promise<ReadonlyArray<number>> => {
    const values = await Promise.race([once(child, "message"), failed])
    if (values === undefined) throw new Error(`${options.name} from ${options.from} has failed`)
    // The script is this one.
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
 * For how long a turn runs before it measures, in milliseconds: after seconds of waiting the first runs of all take up
 * to twice the time of those that follow, which no server in use would see.
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
    throw new Error(`${name} from ${from} wrote something else`)
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
    // Only `start` sends anything.
    const { duration, kind } = turn as Turn
    await repeatFor(warmUpOfTurn, sample.time)
    collectGarbage()
    process.send?.(await repeatFor(duration, sample[kind]))
  })
  process.send?.([])
}

const [, script, options] = process.argv
// The process that starts this one is typed by `Options`.
if (script === fileURLToPath(import.meta.url)) await serve(JSON.parse(options ?? "{}") as Options)
