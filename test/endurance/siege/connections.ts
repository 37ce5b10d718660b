/** Attacks on the HTTP server itself: upgrades, pipelines, clients that stall, floods of connections. */
import { Buffer } from "node:buffer"
import { png, pngOfSize } from "../../utils/images.js"
import type { Attack } from "./attack.js"
import {
  connect,
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
import { stallingSockets } from "./sockets.js"

const image = png()

const post = (target: Target, body: Uint8Array, headers: Record<string, string> = {}): Buffer =>
  Buffer.concat([
    Buffer.from(head("POST", target.upload, {
      "Content-Type": "image/png",
      "Content-Length": String(body.length),
      ...headers
    })),
    body
  ])

const session = "/sessions/siege/init-image"

/** Runs the code that every attack runs: without its compilation, a first attack is measured as slow. */
export const warmUp = async (target: Target): Promise<void> => {
  const { port, stream } = target
  for (let i = 0; i < 100; i++) {
    const clients = await connectMany(port, 3)
    const requests = [
      post(target, image, { Connection: "close" }),
      upgrade(stream, "websocket", { "Sec-WebSocket-Key": "short" }),
      head("GET", "/healthz", { Connection: "close" })
    ]
    for (const [i, { socket }] of clients.entries()) socket.write(requests[i] ?? "")
    await Promise.all(clients.map(({ closed }) => closed))
  }
}

export const attacks: ReadonlyArray<Attack> = [
  {
    title: "connections that are reset during an upgrade",
    run: async ({ port, stream, upload }) => {
      const clients = await connectMany(port, 300)
      await forEachPaced(clients, ({ socket }, i) => {
        const protocol = i % 2 === 0 ? "websocket" : "h2c"
        const path = i % 3 === 0 ? stream : i % 3 === 1 ? upload : "/nowhere"
        socket.write(upgrade(path, protocol), () => {
          if (i % 5 === 0) setTimeout(() => socket.resetAndDestroy(), i % 20)
          else socket.resetAndDestroy()
        })
      })
      await Promise.all(clients.map(({ closed }) => closed))
      return clients.length
    }
  },
  {
    title: "uploads with Upgrade: h2c, alone and pipelined",
    run: async (target) => {
      const body = pngOfSize(300_000)
      const h2c = { "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__" }
      const clients = await connectMany(target.port, 20)
      for (const [i, { socket }] of clients.entries()) {
        if (i % 2 === 1) socket.write(post(target, image))
        socket.write(post(target, body, h2c))
      }
      await Promise.all(clients.map(({ closed }) => closed))
      for (const [i, client] of clients.entries()) {
        const statuses = statusesOf(client).join()
        if (statuses !== (i % 2 === 1 ? "200,200" : "200")) throw new Error(`answered ${statuses}`)
      }
      return 30
    }
  },
  {
    title: "answered upgrades with stray bytes behind them",
    run: async ({ port, stream }) => {
      const clients = await connectMany(port, 300, { allowHalfOpen: true })
      await forEachPaced(clients, ({ socket }, i) => {
        const refused = i % 2 === 0 ? { "Sec-WebSocket-Key": "short" } : { Origin: "https://other.example" }
        socket.write(upgrade(stream, "websocket", refused))
        setTimeout(() => socket.end("0123456789"), 20)
      })
      await until(() => clients.every((client) => /HTTP\/1.1 4\d\d/.test(client.received())), "an answer")
      await pause(100)
      return clients.length
    }
  },
  {
    title: "1.3 MB of pipelined requests behind answers that nobody reads",
    run: async ({ port }) => {
      const { socket } = await connect(port)
      socket.pause()
      const request = head("GET", "/healthz")
      const count = Math.ceil(1_300_000 / request.length)
      socket.write(request.repeat(count))
      await pause(2000)
      socket.destroy()
      return count
    }
  },
  {
    title: "pipelined uploads whose client leaves",
    run: async (target) => {
      const clients = await connectMany(target.port, 10)
      for (const { socket } of clients) {
        socket.pause()
        for (let i = 0; i < 40; i++) socket.write(post(target, image))
      }
      await pause(500)
      destroyAll(clients)
      return 400
    }
  },
  {
    title: "garbage behind and between requests",
    run: async (target) => {
      const clients = await connectMany(target.port, 200)
      const garbage = [
        "\0".repeat(100),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        `GET / HTTP/1.1\r\nX: ${"a".repeat(20_000)}\r\n\r\n`,
        "CONNECT localhost:1 HTTP/1.1\r\nHost: a\r\n\r\nbytes"
      ]
      await forEachPaced(clients, ({ socket }, i) => {
        if (i % 2 === 0) socket.write(post(target, image))
        socket.write(garbage[i % garbage.length] ?? "")
      })
      await Promise.all(clients.map(({ closed }) => Promise.race([closed, pause(3000)])))
      destroyAll(clients)
      return clients.length
    }
  },
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
        Buffer.from(head("PUT", session, { "Content-Type": "image/png", "Content-Length": String(large.length) })),
        large
      ]))
      await until(() => statusesOf(put).length > 0, "an answer to the PUT")
      const { hasSessions } = target
      const sockets = hasSessions ? stallingSockets(target) : Promise.resolve(0)
      if (hasSessions) {
        for (const { socket } of unread) {
          socket.pause()
          socket.write(head("GET", session))
        }
        await pause(200)
        put.socket.write(head("DELETE", session))
      }
      const all = [...silent, ...headers, ...bodies, ...trickles]
      await Promise.all(all.map(({ closed }) => Promise.race([closed, pause(38_000)])))
      clearInterval(timer)
      const socketCount = await sockets
      const left = all.filter(({ socket }) => !socket.destroyed).length
      if (left > 0) throw new Error(`${left} connections are open after 38 s`)
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
