/** What a server is busy with when its process is told to end. */
import { Buffer } from "node:buffer"
import { png, pngOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { encodeFrame } from "../../utils/webSocketClient.js"
import { connectSockets, hasReceived } from "./attack.js"
import {
  type Client,
  connectMany,
  head,
  pause,
  post,
  request,
  sequence,
  sessionPath,
  statusesOf,
  type Target,
  until,
  upgrade
} from "./client.js"

export interface Load {
  readonly title: string
  /** Signals behind the first one. */
  readonly further?: ReadonlyArray<NodeJS.Signals>
  /** Starts requests that do not end by themselves, and answers their number and their clients. */
  readonly start: (target: Target) => Promise<{ readonly requests: number; readonly clients: ReadonlyArray<Client> }>
}

const image = png()
const large = pngOfSize(12_000_000)
const session = encodeFrame(JSON.stringify({ type: "session_init_v2", initial_image: payloadOf("image/png", image) }))

const openSessions = async (target: Target, count: number) => {
  const clients = await connectSockets(target, count, session)
  await until(() => clients.every(hasReceived("session_init_image")), "a session")
  return clients
}

/** Sends the first part of 50 uploads: more than a buffer, so that each has a file. */
export const uploadHalf = async (target: Target): Promise<ReadonlyArray<Client>> => {
  const clients = await connectMany(target.port, 50)
  const half = post(target, large).subarray(0, 3_500_000)
  for (const { socket } of clients) socket.write(half)
  await until(() => clients.some(({ socket }) => socket.writableLength === 0), "an upload")
  await pause(300)
  return clients
}

export const loads: ReadonlyArray<Load> = [
  {
    title: "100 sessions, and two further signals in the middle",
    further: ["SIGTERM", "SIGINT"],
    start: async (target) => ({ requests: 100, clients: await openSessions(target, 100) })
  },
  {
    title: "50 uploads in the middle",
    start: async (target) => ({ requests: 50, clients: await uploadHalf(target) })
  },
  {
    title: "images that nobody reads",
    start: async ({ port }) => {
      const path = sessionPath("unread")
      await sequence(port, [request("PUT", path, "image/png", large)])
      const clients = await connectMany(port, 8)
      for (const { socket } of clients) {
        socket.pause()
        socket.write(head("GET", path))
      }
      await pause(300)
      return { requests: 9, clients }
    }
  },
  {
    title: "pipelines of requests that nobody reads",
    start: async (target) => {
      const clients = await connectMany(target.port, 20)
      for (const { socket } of clients) {
        socket.pause()
        socket.write(Buffer.concat(Array.from({ length: 40 }, () => post(target, image))))
      }
      return { requests: 800, clients }
    }
  },
  {
    title: "floods of invalid frames, and unfinished ones",
    start: async (target) => {
      const clients = await openSessions(target, 20)
      const flood = Buffer.concat(Array.from({ length: 9000 }, () => encodeFrame("\"")))
      for (const [i, { socket }] of clients.entries()) socket.write(i % 2 === 0 ? flood : session.subarray(0, 20))
      return { requests: 90_000, clients }
    }
  },
  {
    title: "refused upgrades and handshakes in the middle",
    start: async ({ port, stream }) => {
      const clients = await connectMany(port, 100, { allowHalfOpen: true })
      const handshake = upgrade(stream, "websocket")
      for (const [i, { socket }] of clients.entries()) {
        socket.write(i % 2 === 0 ? upgrade(stream, "websocket", { Origin: "null" }) : handshake.slice(0, -4))
      }
      await until(() => clients.every((client, i) => i % 2 === 1 || statusesOf(client).length > 0), "an answer")
      return { requests: 100, clients }
    }
  },
  {
    title: "2,000 open connections",
    start: async (target) => {
      const clients = await connectMany(target.port, 2000)
      for (const [i, { socket }] of clients.entries()) {
        if (i % 4 === 0) socket.write(upgrade(target.stream, "websocket"))
        if (i % 4 === 1) socket.write(post(target, image).subarray(0, 150))
        if (i % 4 === 2) socket.write("GET /healthz HTTP/1.1\r\n")
      }
      await until(() => clients.every((client, i) => i % 4 > 0 || statusesOf(client).length > 0), "an answer")
      return { requests: 2000, clients }
    }
  }
]
