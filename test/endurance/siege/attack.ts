/** An attack on a server, and the shapes that most attacks have. */
import { Buffer } from "node:buffer"
import { png } from "../../utils/images.js"
import { encodeFrame } from "../../utils/webSocketClient.js"
import { seed } from "../fuzzing.js"
import { forCase, type Random } from "../random.js"
import {
  type Client,
  connectMany,
  destroyAll,
  forEachPaced,
  head,
  isAnswered,
  pause,
  post,
  statusesOf,
  type Target,
  until,
  upgrade
} from "./client.js"

export interface Attack {
  readonly title: string
  /** Not against the README's first server, which the points of the connection itself are for. */
  readonly referenceOnly?: boolean
  /** Answers the number of requests and messages that it has sent, and throws if the server does not do what it should. */
  readonly run: (target: Target) => Promise<number>
}

/** How a client ends its side: it waits for the answer, sends FIN behind its request, or resets the connection. */
export type Ending = "wait" | "end" | "reset"

/** Requests of one kind, each on a connection of its own. */
export interface Volley {
  readonly title: string
  readonly count?: number
  readonly request: (random: Random, i: number, target: Target) => Buffer | string
  /** The accepted statuses of each response; `none` for a connection that closes without one. */
  readonly statuses: ReadonlyArray<number | "none">
  readonly ending?: Ending
  /** Also against the README's first server. */
  readonly everywhere?: boolean
}

const defaultCount = 100

/** A response must not show where the server keeps its files. */
const expectNoPath = (clients: ReadonlyArray<Client>, { directory }: Target): void => {
  if (clients.some((client) => client.received().includes(directory))) throw new Error("an answer holds a path")
}

export const volley = (volley: Volley): Attack => ({
  title: volley.title,
  referenceOnly: volley.everywhere !== true,
  run: async (target) => {
    const { count = defaultCount, ending = "wait", request, statuses, title } = volley
    const clients = await connectMany(target.port, count, { allowHalfOpen: ending === "end" })
    await forEachPaced(clients, ({ socket }, i) => {
      socket.write(request(forCase(seed, title, i), i, target), "latin1", () => {
        if (ending === "end") socket.end()
        if (ending === "reset") setTimeout(() => socket.resetAndDestroy(), i % 20)
      })
    })
    await until(() => clients.every(isAnswered), "an answer")
    const found = new Set(clients.flatMap((client): ReadonlyArray<string> => {
      const statuses = statusesOf(client)
      return statuses.length > 0 ? statuses : ["none"]
    }))
    expectNoPath(clients, target)
    destroyAll(clients)
    const unexpected = [...found].filter((status) => !statuses.some((accepted) => String(accepted) === status))
    if (unexpected.length > 0) throw new Error(`answered ${unexpected.join()}`)
    return count
  }
})

export const opening = encodeFrame(JSON.stringify({ type: "session_init_v2" }))

/** Connects WebSockets, and sends their first bytes. */
export const connectSockets = async ({ port, stream }: Target, count: number, first: Uint8Array = opening) => {
  const clients = await connectMany(port, count)
  await forEachPaced(
    clients,
    ({ socket }) => socket.write(Buffer.concat([Buffer.from(upgrade(stream, "websocket")), first]))
  )
  return clients
}

export const hasReceived = (text: string | RegExp) => (client: Client): boolean =>
  typeof text === "string" ? client.received().includes(text) : text.test(client.received())

/** The close frame of a server with this code. */
export const closeFrame = (code: number): string => `\x88\x02${String.fromCharCode(code >> 8, code & 0xff)}`

/** Bytes on WebSockets, behind the opening message unless there is another one. */
export interface Barrage {
  readonly title: string
  readonly count?: number
  readonly first?: Uint8Array
  readonly bytes: (random: Random, i: number) => Uint8Array
  /** The frames in `bytes`. */
  readonly frames?: number
  /** What each client must receive. */
  readonly answer: string | RegExp
  /** Whether the server may also end the connection. */
  readonly mayEnd?: boolean
}

export const barrage = (
  { answer, bytes, count = 20, first = opening, frames = 1, mayEnd = false, title }: Barrage
): Attack => ({
  title,
  referenceOnly: true,
  run: async (target) => {
    const clients = await connectSockets(target, count, first)
    if (first === opening) await until(() => clients.every(hasReceived("session_init_image")), "a session")
    for (const [i, { socket }] of clients.entries()) {
      const all = bytes(forCase(seed, title, i), i)
      socket.write(all)
      // About 1 MB/s.
      await pause(all.length / 1000)
    }
    const isAnswered = hasReceived(answer)
    await until(
      () => clients.every((client) => isAnswered(client) || (mayEnd && client.socket.destroyed)),
      String(answer)
    )
    expectNoPath(clients, target)
    destroyAll(clients)
    return count * (frames + 1)
  }
})

/** Runs the code that every attack runs: without its compilation, a first attack is measured as slow. */
export const warmUp = async (target: Target): Promise<void> => {
  const { port, stream } = target
  for (let i = 0; i < 100; i++) {
    const clients = await connectMany(port, 3)
    const requests = [
      post(target, png(), { Connection: "close" }),
      upgrade(stream, "websocket", { "Sec-WebSocket-Key": "short" }),
      head("GET", "/healthz", { Connection: "close" })
    ]
    for (const [i, { socket }] of clients.entries()) socket.write(requests[i] ?? "")
    await Promise.all(clients.map(({ closed }) => closed))
  }
}
