/** Clients that stop, or that send and read too slowly. */
import { Buffer } from "node:buffer"
import { pngOfSize } from "../../utils/images.js"
import { encodeFrame } from "../../utils/webSocketClient.js"
import { type Attack, connectSockets, hasReceived } from "./attack.js"
import {
  type Client,
  connect,
  connectMany,
  destroyAll,
  expectClosed,
  head,
  pause,
  sessionPath,
  statusesOf,
  type Target,
  until
} from "./client.js"
import { frameHeader } from "./webSocketFrames.js"

const mebibyte = 1024 * 1024

/** In milliseconds: the longest timeout of a server, and the time in which it notices. */
const longestStall = 38_000

const path = sessionPath("siege")
const ping = Buffer.of(0x89, 0x80, 0, 0, 0, 0)

/** Writes to each client once a second until all have ended, for at most `longestStall`. */
const trickle = async (clients: ReadonlyArray<Client>, bytes: Buffer): Promise<void> => {
  const timer = setInterval(() => {
    for (const { socket } of clients) if (socket.writable) socket.write(bytes)
  }, 1000)
  await expectClosed(clients, longestStall).finally(() => clearInterval(timer))
}

/** Sockets that never open a session, and images that never arrive. */
const stallingSockets = async (target: Target): Promise<number> => {
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
  const other = images.find((client) => !hasReceived("stopped coming")(client))
  if (other !== undefined) throw new Error(`an image that stalls was answered ${other.received().slice(-200)}`)
  return groups.flat().length
}

export const attacks: ReadonlyArray<Attack> = [
  {
    title: "clients that stall: silent, in a header, in a body, behind a response, at a byte a second",
    run: async (target) => {
      const { port, upload } = target
      const large = pngOfSize(12_000_000)
      const silent = await connectMany(port, 200)
      const headers = await connectMany(port, 200)
      for (const { socket } of headers) socket.write("GET /healthz HTTP/1.1\r\nX-A: b\r\n")
      const bodies = await connectMany(port, 50)
      const announced = head("POST", upload, { "Content-Type": "image/png", "Content-Length": String(large.length) })
      for (const { socket } of bodies) socket.write(announced)
      const trickles = await connectMany(port, 20)
      for (const { socket } of trickles) socket.write(Buffer.concat([Buffer.from(announced), large.subarray(0, 100)]))
      const timer = setInterval(() => {
        for (const { socket } of trickles) if (socket.writable) socket.write("a")
      }, 1000)
      const unread = await connectMany(port, 8)
      const put = await connect(port)
      put.socket.write(Buffer.concat([
        Buffer.from(head("PUT", path, { "Content-Type": "image/png", "Content-Length": String(large.length) })),
        large
      ]))
      await until(() => statusesOf(put).length > 0, "an answer to the PUT")
      const { hasSessions } = target
      const sockets = hasSessions ? stallingSockets(target) : Promise.resolve(0)
      // Awaited below, behind the others.
      sockets.catch(() => {})
      if (hasSessions) {
        for (const { socket } of unread) {
          socket.pause()
          socket.write(head("GET", path))
        }
        await pause(200)
        put.socket.write(head("DELETE", path))
      }
      const all = [...silent, ...headers, ...bodies, ...trickles]
      await expectClosed(all, longestStall).finally(() => clearInterval(timer))
      const socketCount = await sockets
      for (const client of [...bodies, ...trickles]) {
        if (!client.received().includes("408 ")) throw new Error("a slow body was not answered with 408")
      }
      if (hasSessions) {
        // The upload had to wait for the slow bodies, and the responses have 30 seconds from then on.
        await pause(7000)
        for (const { socket } of unread) socket.resume()
        await Promise.all(unread.map(({ closed }) => Promise.race([closed, pause(5000)])))
        const whole = unread.filter(({ socket }) => socket.bytesRead >= large.length)
        if (whole.length > 0) throw new Error("a response that nobody read was kept")
      }
      destroyAll([...unread, put])
      return all.length + unread.length + socketCount + 2
    }
  }
]
