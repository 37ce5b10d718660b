/** Connections of a hostile client, on loopback. */
import { Buffer } from "node:buffer"
import * as Net from "node:net"

/** A server under attack. */
export interface Target {
  readonly port: number
  /** The path that persists the image of a `POST`. */
  readonly upload: string
  /** The path of a WebSocket. */
  readonly stream: string
  /** Whether the server has WebSocket sessions, and the image API. */
  readonly hasSessions: boolean
  /** The directory that holds its spool. */
  readonly directory: string
}

export interface Client {
  readonly socket: Net.Socket
  /** The first and the last 32 KiB of what the server has sent. */
  readonly received: () => string
  /** Resolves when the connection has ended. */
  readonly closed: Promise<void>
}

const keptBytes = 32 * 1024

const open = new Set<Net.Socket>()

/** Ends all connections to a server. */
export const disconnect = (port: number): void => {
  for (const socket of open) if (socket.remotePort === port) socket.destroy()
}

export const connect = (port: number, { allowHalfOpen = false } = {}): Promise<Client> =>
  new Promise((resolve, reject) => {
    let first = ""
    let last = ""
    const socket = Net.connect({ port, host: "127.0.0.1", allowHalfOpen })
    open.add(socket)
    const closed = new Promise<void>((resolve) =>
      socket.once("close", () => {
        open.delete(socket)
        resolve()
      })
    )
    socket.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1")
      if (first.length < keptBytes) first += text
      else last = (last + text).slice(-keptBytes)
    })
    socket.once("error", reject)
    socket.on("error", () => {})
    socket.once("connect", () => resolve({ socket, received: () => first + last, closed }))
  })

/** Connects many times, 100 at a time: more would fill the server's backlog. */
export const connectMany = async (
  port: number,
  count: number,
  options?: Parameters<typeof connect>[1]
): Promise<ReadonlyArray<Client>> => {
  const clients: Array<Client> = []
  while (clients.length < count) {
    const batch = Math.min(100, count - clients.length)
    clients.push(...await Promise.all(Array.from({ length: batch }, () => connect(port, options))))
  }
  return clients
}

export const head = (method: string, path: string, headers: Record<string, string> = {}): string =>
  [
    `${method} ${path} HTTP/1.1`,
    "Host: localhost",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    "",
    ""
  ].join("\r\n")

/** A request with a body. */
export const request = (
  method: string,
  path: string,
  type: string,
  body: Uint8Array | string,
  fields: Record<string, string> = {}
): Buffer => {
  const bytes = Buffer.from(body)
  return Buffer.concat([
    Buffer.from(head(method, path, { "Content-Type": type, "Content-Length": String(bytes.length), ...fields })),
    bytes
  ])
}

/** An upload of a PNG. */
export const post = ({ upload }: Target, body: Uint8Array | string, fields: Record<string, string> = {}): Buffer =>
  request("POST", upload, "image/png", body, fields)

/** The path of a session's image. */
export const sessionPath = (id: string): string => `/sessions/${id}/init-image`

export const upgrade = (path: string, protocol: string, headers: Record<string, string> = {}): string =>
  head("GET", path, {
    "Connection": "Upgrade",
    "Upgrade": protocol,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers
  })

/** The statuses of all final responses. */
export const statusesOf = (client: Client): ReadonlyArray<string> =>
  [...client.received().matchAll(/HTTP\/1\.1 ([2-5]\d\d|101)/g)].map(([, status = ""]) => status)

export const isAnswered = (client: Client): boolean => client.socket.destroyed || statusesOf(client).length > 0

export const destroyAll = (clients: ReadonlyArray<Client>): void => {
  for (const { socket } of clients) socket.destroy()
}

/** One request after another, each on a connection of its own; answers the statuses. */
export const sequence = async (port: number, requests: ReadonlyArray<Buffer>): Promise<ReadonlyArray<string>> => {
  const statuses: Array<string> = []
  for (const bytes of requests) {
    const client = await connect(port)
    client.socket.write(bytes)
    await until(() => statusesOf(client).length > 0, "an answer")
    statuses.push(statusesOf(client)[0] ?? "")
    client.socket.destroy()
  }
  return statuses
}

export const expectStatuses = (found: ReadonlyArray<string | undefined>, expected: ReadonlyArray<string>): void => {
  if (found.join() !== expected.join()) throw new Error(`answered ${found.join()}`)
}

/** Waits for the ends of the connections for a time, in milliseconds, and requires them. */
export const expectClosed = async (clients: ReadonlyArray<Client>, timeout: number): Promise<void> => {
  await Promise.race([Promise.all(clients.map(({ closed }) => closed)), pause(timeout)])
  const left = clients.filter(({ socket }) => !socket.destroyed).length
  if (left > 0) throw new Error(`${left} connections are open after ${timeout} ms`)
}

/** Visits the clients at a pace at which one attacker sends about 1 MB/s at most. */
export const forEachPaced = async (clients: ReadonlyArray<Client>, visit: (client: Client, i: number) => void) => {
  for (const [i, client] of clients.entries()) {
    visit(client, i)
    if (i % 20 === 19) await pause(50)
  }
}

export const until = async (condition: () => boolean, what: string, timeout = 20_000): Promise<void> => {
  for (const deadline = Date.now() + timeout; !condition();) {
    if (Date.now() > deadline) throw new Error(`${what} did not happen in ${timeout} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))
