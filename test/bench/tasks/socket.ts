/** A 32 MiB image over a WebSocket of this repository's server: in one text frame, and in binary frames. */
import { WebSocket } from "@effect/platform-node/Undici"
import { once } from "node:events"
import * as http from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { send } from "../../../src/browser/promise.js"
import { makeFrame, makeImage, mebibyte, parse } from "../frame.js"
import { collectGarbage, median, timed, watchPeak } from "../measure.js"
import type { Server } from "../servers.js"

export interface Options {
  readonly server: Server
  readonly rounds: number
}

export interface Row {
  readonly how: "text frame" | "binary frames"
  /** From the first byte to the answer. */
  readonly milliseconds: number
  /** The longest that `GET /healthz` took beside it, of a round and of all, in milliseconds. */
  readonly healthz: number
  readonly worstHealthz: number
  /** How far the server's memory rose above what it was before the first one, in bytes. */
  readonly growth: number
}

const size = 32 * mebibyte
const warmUps = 3

const open = async ({ port }: Server): Promise<WebSocket> => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`)
  await once(socket, "open")
  return socket
}

const asText = (frame: string) => async (socket: WebSocket) => {
  socket.send(frame)
  const [event] = await once(socket, "message")
  // The server answers with text alone.
  const answer = JSON.parse((event as { readonly data: string }).data) as { readonly type: string }
  if (answer.type !== "session_init_image") throw new Error(JSON.stringify(answer))
}

const asBinary = (image: Blob) => async (socket: WebSocket) => {
  await send(socket, image, { type: "session_init_v2" })
}

/** The longest that a small request takes while this runs. */
const besideIt = async ({ port }: Server, run: () => Promise<void>): Promise<number> => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const ask = async () => {
    const request = http.get({ agent, host: "127.0.0.1", port, path: "/healthz" })
    const [response] = await once(request, "response")
    await once(response.resume(), "end")
  }
  await ask()
  const state = { done: false, longest: 0 }
  const asked = (async () => {
    while (!state.done) {
      state.longest = Math.max(state.longest, (await timed(ask)).milliseconds)
      await sleep(1)
    }
  })()
  await run()
  state.done = true
  await asked
  agent.destroy()
  return state.longest
}

const measure = async (
  { rounds, server }: Options,
  upload: (socket: WebSocket) => Promise<void>
): Promise<Omit<Row, "how">> => {
  const once = async (measured: (run: () => Promise<void>) => Promise<number>) => {
    const socket = await open(server)
    const value = await measured(() => upload(socket))
    socket.close()
    collectGarbage()
    await sleep(50)
    return value
  }
  const peak = watchPeak(server.pid)
  for (let i = 0; i < warmUps; i++) await once(async (run) => (await timed(run)).milliseconds)
  const times: Array<number> = []
  const delays: Array<number> = []
  for (let round = 0; round < rounds; round++) {
    times.push(await once(async (run) => (await timed(run)).milliseconds))
    delays.push(await once((run) => besideIt(server, run)))
  }
  return {
    milliseconds: median(times),
    healthz: median(delays),
    worstHealthz: Math.max(...delays),
    growth: peak?.above() ?? Number.NaN
  }
}

export const runBinary = async (options: Options): Promise<Row> => ({
  how: "binary frames",
  ...await measure(options, asBinary(new Blob([makeImage("png", size)], { type: "image/png" })))
})

export const runText = async (options: Options): Promise<Row> => {
  const payload = parse(makeFrame("png", size).toString())
  return {
    how: "text frame",
    ...await measure(options, asText(JSON.stringify({ type: "session_init_v2", initial_image: payload })))
  }
}
