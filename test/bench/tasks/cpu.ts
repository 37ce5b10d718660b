/** CPU time of a server's process for each image, and the time of one large upload against its parts. */
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { makeImage, mebibyte } from "../frame.js"
import { makeBody, makeClient, postJson, type Send } from "../httpClient.js"
import { collectGarbage, median, repeatConcurrently, timed } from "../measure.js"
import { type ServerName, withServers } from "../servers.js"

/** Images of one size, posted with a fixed number of requests in flight. */
export interface Posts {
  readonly label: string
  /** Size of an image, in bytes. */
  readonly size: number
  /** Images in a round. */
  readonly images: number
}

export interface CpuOptions {
  readonly posts: ReadonlyArray<Posts>
  readonly atOnce: number
  readonly warmUpRounds: number
  readonly rounds: number
  readonly directory: string
}

export interface CpuRow {
  readonly image: Posts["label"]
  readonly name: ServerName
  /** CPU time of the server's process for each image, in milliseconds. */
  readonly cpu: number
  /** In images per second. */
  readonly throughput: number
}

export interface UploadOptions {
  readonly rounds: number
  readonly directory: string
}

export interface UploadRow {
  /** `discard` receives the same bytes; `write` writes the image's bytes to a file, in the client's process. */
  readonly name: ServerName | "write"
  /** From the client's first byte to the last of the answer, in milliseconds. */
  readonly milliseconds: number
}

const storing: ReadonlyArray<ServerName> = ["session-init-image", "floor", "Fastify"]

export const runCpu = (
  { atOnce, directory, posts, rounds, warmUpRounds }: CpuOptions
): Promise<ReadonlyArray<CpuRow>> =>
  withServers(storing, directory, async (servers) => {
    const clients = servers.map((server) => ({ ...makeClient(server), server }))
    const rows: Array<CpuRow> = []
    for (const { images, label: image, size } of posts) {
      const body = makeBody(size)
      const post = (send: Send) => repeatConcurrently(atOnce, images, () => postJson(send, body))
      for (const { send } of clients) {
        for (let round = 0; round < warmUpRounds; round++) await post(send)
      }
      const entries = clients.map((client) => ({
        ...client,
        cpu: new Array<number>(),
        throughput: new Array<number>()
      }))
      for (let round = 0; round < rounds; round++) {
        for (const { cpu, send, server, throughput } of entries) {
          collectGarbage()
          const before = await server.cpuTime()
          const { milliseconds } = await timed(() => post(send))
          cpu.push((await server.cpuTime() - before) / images)
          throughput.push(images / milliseconds * 1000)
        }
      }
      rows.push(...entries.map(({ cpu, server: { name }, throughput }) => ({
        image,
        name,
        cpu: median(cpu),
        throughput: median(throughput)
      })))
    }
    for (const { close } of clients) close()
    return rows
  })

const uploadSize = 32 * mebibyte
const warmUpUploads = 3
const warmUpPosts = 300
const warmUpSize = 64 * 1024

export const runUpload = ({ directory, rounds }: UploadOptions): Promise<ReadonlyArray<UploadRow>> =>
  withServers([...storing, "discard"], directory, async (servers) => {
    const [body, smallBody] = [makeBody(uploadSize), makeBody(warmUpSize)]
    const image = makeImage("png", uploadSize)
    const clients = servers.map((server) => ({ ...makeClient(server), name: server.name }))
    const write = async () => {
      const file = path.join(directory, randomUUID())
      const { milliseconds } = await timed(() => fs.promises.writeFile(file, image, { flag: "wx", mode: 0o600 }))
      await fs.promises.unlink(file)
      return milliseconds
    }
    const entries = [
      ...clients.map(({ name, send }) => ({
        name,
        time: async () => (await timed(() => postJson(send, body))).milliseconds,
        times: new Array<number>()
      })),
      { name: "write" as const, time: write, times: new Array<number>() }
    ]
    for (const { send } of clients) {
      for (let i = 0; i < warmUpPosts; i++) await postJson(send, smallBody)
    }
    for (let i = 0; i < warmUpUploads; i++) {
      for (const { time } of entries) await time()
    }
    for (let round = 0; round < rounds; round++) {
      for (const { time, times } of entries) {
        collectGarbage()
        times.push(await time())
      }
    }
    for (const { close } of clients) close()
    return entries.map(({ name, times }) => ({ name, milliseconds: median(times) }))
  })
