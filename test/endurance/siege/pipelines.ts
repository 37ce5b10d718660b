/** Pipelined requests (RFC 9112 section 9.3.2), and what stands between them. */
import { Buffer } from "node:buffer"
import { png } from "../../utils/images.js"
import type { Attack } from "./attack.js"
import {
  connect,
  connectMany,
  destroyAll,
  expectClosed,
  forEachPaced,
  head,
  isAnswered,
  pause,
  post,
  statusesOf,
  until
} from "./client.js"

const image = png()

const garbage = [
  "\0".repeat(100),
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  `GET / HTTP/1.1\r\nX: ${"a".repeat(20_000)}\r\n\r\n`,
  "CONNECT localhost:1 HTTP/1.1\r\nHost: a\r\n\r\nbytes",
  "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
  "SSH-2.0-OpenSSH_9.6\r\n"
]

export const attacks: ReadonlyArray<Attack> = [
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
    title: "pipelined requests on 200 connections at once for the largest page, which nobody reads",
    run: async ({ port }) => {
      const clients = await connectMany(port, 200)
      for (const { socket } of clients) socket.pause().write(head("GET", "/docs").repeat(16))
      await pause(5000)
      destroyAll(clients)
      return 200 * 16
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
    title: "more requests on a connection than it may have",
    run: async ({ port }) => {
      const clients = await connectMany(port, 4)
      // The pipeline is never deeper than 16.
      for (let i = 0; i < 1100 && clients.some(({ socket }) => socket.writable); i += 10) {
        for (const { socket } of clients) if (socket.writable) socket.write(head("GET", "/nowhere").repeat(10))
        await pause(20)
      }
      await expectClosed(clients, 5000)
      return 4 * 1100
    }
  },
  {
    title: "pipelined uploads that arrive a byte at a time",
    run: async (target) => {
      const clients = await connectMany(target.port, 10)
      for (const { socket } of clients) socket.setNoDelay()
      const all = Buffer.concat([post(target, image), post(target, image)])
      for (let at = 0; at < all.length; at++) {
        for (const { socket } of clients) socket.write(all.subarray(at, at + 1))
        if (at % 10 === 0) await pause(1)
      }
      await until(() => clients.every((client) => statusesOf(client).join() === "200,200"), "two answers")
      destroyAll(clients)
      return clients.length * 2
    }
  },
  {
    title: "requests of HTTP/1.0, with blank lines between them",
    run: async ({ port }) => {
      const clients = await connectMany(port, 100)
      await forEachPaced(clients, ({ socket }, i) => {
        const request = `GET /healthz HTTP/1.0\r\nConnection: ${i % 2 === 0 ? "keep-alive" : "close"}\r\n\r\n`
        socket.write(`${"\r\n".repeat(i % 5)}${request.repeat(3)}`)
      })
      await until(() => clients.every(isAnswered), "an answer")
      destroyAll(clients)
      return 300
    }
  }
]
