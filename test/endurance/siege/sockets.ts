/** Attacks on WebSocket sessions. */
import { Buffer } from "node:buffer"
import { randomInt } from "node:crypto"
import { png } from "../../utils/images.js"
import { encodeFrame } from "../../utils/webSocketClient.js"
import type { Attack } from "./attack.js"
import {
  type Client,
  connectMany,
  destroyAll,
  forEachPaced,
  head,
  pause,
  statusesOf,
  type Target,
  until,
  upgrade
} from "./client.js"

const mebibyte = 1024 * 1024

const opening = encodeFrame(JSON.stringify({ type: "session_init_v2" }))
const ping = Buffer.of(0x89, 0x80, 0, 0, 0, 0)

/** The header of a text frame with a mask of zeros (RFC 6455 section 5.2). */
const frameHeader = (bytes: number): Buffer => {
  const header = Buffer.alloc(14)
  header.writeUInt16BE(0x81ff)
  header.writeBigUInt64BE(BigInt(bytes), 2)
  return header
}

/** Connects WebSockets, and sends their first bytes. */
const connectSockets = async ({ port, stream }: Target, count: number, first: Buffer = opening) => {
  const clients = await connectMany(port, count)
  await forEachPaced(
    clients,
    ({ socket }) => socket.write(Buffer.concat([Buffer.from(upgrade(stream, "websocket")), first]))
  )
  return clients
}

const hasReceived = (text: string) => (client: Client): boolean => client.received().includes(text)

/** Writes to each client once a second until all have ended, for at most 38 seconds. */
const trickle = async (clients: ReadonlyArray<Client>, bytes: Buffer): Promise<void> => {
  const timer = setInterval(() => {
    for (const { socket } of clients) if (socket.writable) socket.write(bytes)
  }, 1000)
  await Promise.all(clients.map(({ closed }) => Promise.race([closed, pause(38_000)])))
  clearInterval(timer)
  const left = clients.filter(({ socket }) => !socket.destroyed).length
  if (left > 0) throw new Error(`${left} sockets are open after 38 s`)
}

/** Sockets that never open a session, and images that never arrive. */
export const stallingSockets = async (target: Target): Promise<number> => {
  const announced = encodeFrame(JSON.stringify({
    type: "session_init_v2",
    initial_image: { mime: "image/png", bytes: 32 * mebibyte }
  }))
  const groups = [
    await connectSockets(target, 50, ping),
    await connectSockets(target, 50, frameHeader(1000)),
    await connectSockets(target, 50, frameHeader(20 * mebibyte)),
    await connectSockets(target, 20, announced)
  ]
  await Promise.all(groups.map((clients, i) => trickle(clients, i === 1 || i === 2 ? Buffer.from(" ") : ping)))
  const [silent = [], slow = [], large = [], images = []] = groups
  for (const client of [...silent, ...slow, ...large]) {
    if (!hasReceived("No message arrived in time")(client)) throw new Error("a late opening was not answered")
  }
  if (!images.every(hasReceived("stopped coming"))) throw new Error("an image that stalls was not refused")
  return groups.flat().length
}

export const attacks: ReadonlyArray<Attack> = [
  {
    title: "64 KB of seven-byte frames on each of 20 sockets",
    referenceOnly: true,
    run: async (target) => {
      const clients = await connectSockets(target, 20)
      await until(() => clients.every(hasReceived("session_init_image")), "a session")
      const flood = Buffer.concat(Array.from({ length: 9000 }, () => encodeFrame("\"\"")))
      for (const { socket } of clients) {
        socket.write(flood)
        await pause(64)
      }
      await until(() => clients.every(hasReceived("\x88\x02\x03\xf0")), "a close with 1008")
      destroyAll(clients)
      return 20 * 9000
    }
  },
  {
    title: "bursts of updates without an image",
    referenceOnly: true,
    run: async (target) => {
      const clients = await connectSockets(target, 4)
      const burst = Buffer.concat(
        Array.from({ length: 500 }, () => encodeFrame("{\"type\":\"init_image_updated\",\"initial_image\":null}"))
      )
      for (const { socket } of clients) socket.write(burst)
      await until(() => clients.every(({ socket }) => socket.bytesRead > 500 * 40), "the answers")
      destroyAll(clients)
      return 4 * 500
    }
  },
  {
    title: "unfinished frames of 95 MiB",
    referenceOnly: true,
    run: async (target) => {
      const clients = await connectSockets(target, 12)
      for (const { socket } of clients) socket.write(frameHeader(95 * mebibyte))
      await until(() => clients.every(hasReceived("too_large")), "a refusal")
      await Promise.all(clients.map(({ closed }) => Promise.race([closed, pause(5000)])))
      if (clients.some(({ socket }) => !socket.destroyed)) throw new Error("a refused socket stays open")
      return clients.length
    }
  },
  {
    title: "handshakes with random protocols, keys and extensions",
    referenceOnly: true,
    run: async ({ port, stream }) => {
      const clients = await connectMany(port, 300)
      const characters = ["a", "b", ",", " ", "\t", "\xa0", "\x85", "\xff", "\"", "="]
      const random = () =>
        Array.from({ length: randomInt(1, 8) }, () => characters[randomInt(characters.length)] ?? "").join("")
      await forEachPaced(clients, ({ socket }, i) => {
        const fields: Record<string, string> = { "Sec-WebSocket-Protocol": i % 3 === 0 ? "a,\xa0b" : random() }
        if (i % 3 === 1) fields["Sec-WebSocket-Extensions"] = random()
        if (i % 3 === 2) fields["Sec-WebSocket-Key"] = random()
        socket.write(upgrade(stream, "websocket", fields), "latin1")
      })
      await until(() => clients.every((client) => statusesOf(client).length > 0), "an answer")
      destroyAll(clients)
      return clients.length
    }
  },
  {
    title: "sockets that share a session and leave",
    referenceOnly: true,
    run: async (target) => {
      const stream = `${target.stream}?session_id=shared`
      const path = "/sessions/shared/init-image"
      const first = encodeFrame(JSON.stringify({
        type: "session_init_v2",
        initial_image: { mime: "image/png", data: Buffer.from(png()).toString("base64") }
      }))
      const clients = await connectSockets({ ...target, stream }, 100, first)
      await until(() => clients.every(hasReceived("session_init_image")), "a session")
      const last = clients.at(-1)
      destroyAll(clients.slice(0, -1))
      await pause(300)
      const [reader] = await connectMany(target.port, 1)
      reader?.socket.write(head("GET", path))
      await until(() => reader !== undefined && statusesOf(reader).length > 0, "an answer")
      if (reader === undefined || statusesOf(reader).join() !== "200") {
        throw new Error("the live socket's image is gone")
      }
      destroyAll([reader, ...last === undefined ? [] : [last]])
      return clients.length + 1
    }
  }
]
