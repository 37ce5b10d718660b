/** The client of the servers. */
import * as http from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { makeFrame, makeImage, mebibyte, parse } from "../frame.js"
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
  /** The longest that `GET /healthz` took beside it, of a round and of all, in milliseconds. */
  readonly healthz: number
  readonly worstHealthz: number
  /** 64 `POST`s of 1 MiB as JSON at once, in MiB of images per second. */
  readonly throughput: number
  /** `POST` of a 32 MiB image as it is, in milliseconds; of those that take it. */
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
const takeRaw: ReadonlySet<ServerName> = new Set(["session-init-image", "node:http"])

type Send = (method: string, path: string, type?: string, body?: Uint8Array) => Promise<void>

const makeClient = ({ name, port }: Server): { readonly send: Send; readonly close: () => void } => {
  const agent = new http.Agent({ keepAlive: true })
  const send: Send = (method, path, type, body) =>
    new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { "content-type": type, "content-length": body.length }
      const request = http.request({ agent, host: "127.0.0.1", port, method, path, headers }, (response) => {
        response.resume()
        response.once("error", reject)
        response.once("end", () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`${name} answered ${response.statusCode}`)))
      })
      request.once("error", reject)
      request.end(body)
    })
  return { send, close: () => agent.destroy() }
}

/** The server takes the payload alone, not a frame around it. */
const makeBody = (size: number): Buffer => Buffer.from(JSON.stringify(parse(makeFrame("png", size).toString())))

const postJson = (send: Send, body: Uint8Array) => send("POST", "/v1/init-image", "application/json", body)

const storm = (send: Send, body: Uint8Array) => Promise.all(Array.from({ length: many }, () => postJson(send, body)))

/** The longest that a small request takes while another runs. */
const besideIt = async (send: Send, run: () => Promise<void>): Promise<number> => {
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
      healthz.push(await besideIt(send, () => postJson(send, largeJson)))
      const all = await timed(() => storm(send, mediumJson))
      throughput.push(many / all.milliseconds * 1000)
      if (takeRaw.has(name)) {
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

/** How far a fresh server's memory rises, above that after small requests, while it takes a 32 MiB image; in bytes. */
export const runGrowth = async ({ server }: GrowthOptions): Promise<number> => {
  const { close, send } = makeClient(server)
  const [largeJson, smallJson] = [makeBody(large), makeBody(small)]
  for (let i = 0; i < warmUp; i++) await postJson(send, smallJson)
  const peak = watchPeak(server.pid)
  await postJson(send, largeJson)
  close()
  return peak?.above() ?? Number.NaN
}
