/** Measures the servers from a client. */
import { setTimeout as sleep } from "node:timers/promises"
import { makeImage, mebibyte } from "../frame.js"
import { makeBody, makeClient, postJson, type Send } from "../httpClient.js"
import { collectGarbage, median, timed, watchPeak } from "../measure.js"
import type { Server, ServerName } from "../servers.js"

export interface RequestsOptions {
  readonly servers: ReadonlyArray<Server>
  readonly rounds: number
}

export interface Row {
  readonly name: ServerName
  /** `POST` of a 32 MiB image as JSON, from the client's first byte to the last of the answer, in milliseconds. */
  readonly milliseconds: number
  /** The longest `GET /healthz` during the upload: median and maximum of the rounds, in milliseconds. */
  readonly healthz: number
  readonly worstHealthz: number
  /** 64 `POST`s of 1 MiB as JSON at once, in MiB of images per second. */
  readonly throughput: number
  /** Raw `POST` of a 32 MiB image, in milliseconds, for servers that accept it. */
  readonly raw?: number
}

export interface GrowthOptions {
  readonly server: Server
}

const large = 32 * mebibyte
const small = 64 * 1024
const many = 64
const warmUp = 300
const warmUpStorms = 3
const acceptRaw: ReadonlySet<ServerName> = new Set(["session-init-image", "node:http"])

const storm = (send: Send, body: Uint8Array) => Promise.all(Array.from({ length: many }, () => postJson(send, body)))

/** Measures the longest `GET /healthz` during a run, in milliseconds. */
const longestHealthz = async (send: Send, run: () => Promise<void>): Promise<number> => {
  const state = { done: false, longest: 0 }
  const ask = async () => {
    while (!state.done) {
      const { milliseconds } = await timed(() => send("GET", "/healthz"))
      state.longest = Math.max(state.longest, milliseconds)
      await sleep(1)
    }
  }
  const asked = ask()
  await run()
  state.done = true
  await asked
  return state.longest
}

export const runRequests = async ({ rounds, servers }: RequestsOptions): Promise<ReadonlyArray<Row>> => {
  const [largeJson, mediumJson, smallJson] = [makeBody(large), makeBody(mebibyte), makeBody(small)]
  const image = makeImage("png", large)
  const entries = servers.map((server) => ({
    name: server.name,
    ...makeClient(server),
    json: new Array<number>(),
    healthz: new Array<number>(),
    throughput: new Array<number>(),
    raw: new Array<number>()
  }))

  for (const { send } of entries) {
    for (let i = 0; i < warmUp; i++) await postJson(send, smallJson)
    await postJson(send, largeJson)
    for (let i = 0; i < warmUpStorms; i++) await storm(send, mediumJson)
  }
  for (let round = 0; round < rounds; round++) {
    for (const { healthz, json, name, raw, send, throughput } of entries) {
      collectGarbage()
      json.push((await timed(() => postJson(send, largeJson))).milliseconds)
      healthz.push(await longestHealthz(send, () => postJson(send, largeJson)))
      const all = await timed(() => storm(send, mediumJson))
      throughput.push(many / all.milliseconds * 1000)
      if (acceptRaw.has(name)) {
        raw.push((await timed(() => send("POST", "/v1/init-image", "image/png", image))).milliseconds)
      }
    }
  }
  for (const { close } of entries) close()
  return entries.map(({ healthz, json, name, raw, throughput }) => ({
    name,
    milliseconds: median(json),
    healthz: median(healthz),
    worstHealthz: Math.max(...healthz),
    throughput: median(throughput),
    ...(raw.length === 0 ? {} : { raw: median(raw) })
  }))
}

/** Measures the growth of a server's memory during a 32 MiB upload, after warming it up with small ones; in bytes. */
export const runGrowth = async ({ server }: GrowthOptions): Promise<number> => {
  const { close, send } = makeClient(server)
  const [largeJson, smallJson] = [makeBody(large), makeBody(small)]
  for (let i = 0; i < warmUp; i++) await postJson(send, smallJson)
  const peak = watchPeak(server.pid)
  await postJson(send, largeJson)
  close()
  return peak?.above() ?? Number.NaN
}
