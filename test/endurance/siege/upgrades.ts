/** Requests with an `Upgrade` (RFC 9110 section 7.8). */
import { png, pngOfSize } from "../../utils/images.js"
import { type Attack, volley } from "./attack.js"
import { connectMany, forEachPaced, head, pause, post, statusesOf, until, upgrade } from "./client.js"

const protocols = ["h2c", "h2c, websocket", "TLS/1.0", "websocket2", "\u00ff", "a".repeat(1000), ",", "WEBSOCKET/13"]

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
        if (i % 2 === 1) socket.write(post(target, png()))
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
  volley({
    title: "upgrades to unknown protocols",
    everywhere: true,
    request: (random, _, { upload }) =>
      upgrade(upload, random.pick(protocols)).replace("GET", random.pick(["GET", "PUT"])),
    statuses: [404]
  }),
  volley({
    title: "tunnels, which no server is",
    everywhere: true,
    request: (random) =>
      `${head("CONNECT", random.pick(["localhost:1", "127.0.0.1:22", "a"]))}${"x".repeat(random.below(100))}`,
    statuses: ["none"]
  }),
  {
    title: "refused upgrades whose client keeps its side open",
    run: async ({ port, stream }) => {
      const clients = await connectMany(port, 100, { allowHalfOpen: true })
      await forEachPaced(clients, ({ socket }, i) => {
        socket.write(upgrade(stream, "websocket", i % 2 === 0 ? { "Sec-WebSocket-Key": "short" } : { Origin: "null" }))
      })
      await until(() => clients.every((client) => /HTTP\/1.1 4\d\d/.test(client.received())), "an answer")
      // The server waits for two seconds, and then destroys its side.
      await pause(2500)
      for (const { socket } of clients) socket.destroy()
      return clients.length
    }
  }
]
