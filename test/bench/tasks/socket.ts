/** Measures a 32 MiB image over a WebSocket of the reference server: in one text frame, and in binary frames. */
import { WebSocket } from "@effect/platform-node/Undici"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import { send } from "../../../src/browser/promise.js"
import { makeFrame, makeImage, mebibyte, parse } from "../frame.js"
import { collectGarbage, median, timed, watchPeak } from "../measure.js"
import type { Server } from "../servers.js"

export interface Options {
  readonly server: Server
  readonly rounds: number
}

export interface Result {
  /** From the first byte to the answer. */
  readonly milliseconds: number
  /** Growth of the server's memory, in bytes. */
  readonly growth: number
}

const size = 32 * mebibyte

const open = async ({ port }: Server): Promise<WebSocket> => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`)
  await once(socket, "open")
  return socket
}

const asText = (frame: string) => async (socket: WebSocket) => {
  socket.send(frame)
  const [event] = await once(socket, "message")
  // The server sends only text.
  const answer = JSON.parse((event as { readonly data: string }).data) as { readonly type: string }
  if (answer.type !== "session_init_image") throw new Error(JSON.stringify(answer))
}

const asBinary = (image: Blob) => async (socket: WebSocket) => {
  await send(socket, image, { type: "session_init_v2" })
}

const measure = async (
  { rounds, server }: Options,
  upload: (socket: WebSocket) => Promise<void>
): Promise<Result> => {
  const once = async () => {
    const socket = await open(server)
    const { milliseconds } = await timed(() => upload(socket))
    socket.close()
    collectGarbage()
    await sleep(50)
    return milliseconds
  }
  const peak = watchPeak(server.pid)
  const times: Array<number> = []
  for (let round = 0; round < rounds; round++) times.push(await once())
  return { milliseconds: median(times), growth: peak?.above() ?? Number.NaN }
}

export const runBinary = (options: Options): Promise<Result> =>
  measure(options, asBinary(new Blob([makeImage("png", size)], { type: "image/png" })))

export const runText = (options: Options): Promise<Result> => {
  const payload = parse(makeFrame("png", size).toString())
  return measure(options, asText(JSON.stringify({ type: "session_init_v2", initial_image: payload })))
}
