/** Hostile opening handshakes (RFC 6455 section 4). */
import { Buffer } from "node:buffer"
import { encodeFrame } from "../../utils/webSocketClient.js"
import { type Attack, closeFrame, hasReceived, opening, volley } from "./attack.js"
import { connectMany, destroyAll, forEachPaced, head, until, upgrade } from "./client.js"

const characters = ["a", "b", ",", " ", "\t", "\xa0", "\x85", "\xff", "\"", "="]
const versions = ["", "0", "7", "12", "14", "13, 8", "x", "-13", "13.0"]
const keys = [
  "",
  "short",
  "dGhlIHNhbXBsZSBub25jZQ",
  "=".repeat(24),
  "a".repeat(5000),
  "dGhlIHNhbXBsZSBub25jZQ==,dGhlIHNhbXBsZSBub25jZQ=="
]

export const attacks: ReadonlyArray<Attack> = [
  volley({
    title: "handshakes with random protocols, keys and extensions",
    count: 300,
    request: (random, i, { stream }) => {
      const text = () => Array.from({ length: 1 + random.below(7) }, () => random.pick(characters)).join("")
      const fields: Record<string, string> = { "Sec-WebSocket-Protocol": i % 3 === 0 ? "a,\xa0b" : text() }
      if (i % 3 === 1) fields["Sec-WebSocket-Extensions"] = text()
      if (i % 3 === 2) fields["Sec-WebSocket-Key"] = text()
      return upgrade(stream, "websocket", fields)
    },
    statuses: [101, 400, 426]
  }),
  volley({
    title: "handshakes with wrong versions and keys",
    request: (random, i, { stream }) =>
      upgrade(
        stream,
        "websocket",
        i % 2 === 0
          ? { "Sec-WebSocket-Version": random.pick(versions) }
          : { "Sec-WebSocket-Key": random.pick(keys) }
      ),
    statuses: [400, 426]
  }),
  volley({
    title: "handshakes to other paths, with other methods and with a body",
    request: (random, i, { stream, upload }) =>
      i % 3 === 0
        ? upgrade(random.pick([upload, "/", "/healthz", "/docs", "/nowhere"]), "websocket")
        : i % 3 === 1
        ? upgrade(stream, "websocket").replace("GET", random.pick(["POST", "HEAD", "PUT"]))
        : `${upgrade(stream, "websocket", { "Content-Length": "10" })}0123456789`,
    statuses: [101, 200, 400, 404, 426]
  }),
  volley({
    title: "sockets that are half closed behind the handshake",
    ending: "end",
    request: (_, __, { stream }) => upgrade(stream, "websocket"),
    statuses: [101, 204, 426, "none"]
  }),
  volley({
    title: "sockets that are reset during the opening",
    count: 300,
    ending: "reset",
    request: (random, _, { stream }) =>
      Buffer.concat([Buffer.from(upgrade(stream, "websocket")), opening.subarray(0, random.below(opening.length + 1))]),
    statuses: [101, "none"]
  }),
  {
    title: "messages that do not wait for the handshake, and handshakes behind other requests",
    referenceOnly: true,
    run: async ({ port, stream }) => {
      const clients = await connectMany(port, 100)
      const burst = Buffer.concat([
        Buffer.from(upgrade(stream, "websocket")),
        opening,
        encodeFrame("x")
      ])
      await forEachPaced(clients, ({ socket }, i) => {
        if (i % 2 === 0) socket.write(burst)
        else socket.write(Buffer.concat([Buffer.from(head("GET", "/healthz")), burst]))
      })
      const isServed = hasReceived(/session_init_image[^]*invalid_message/)
      await until(
        () => clients.every((client, i) => i % 2 === 0 ? isServed(client) : client.received().includes("\"ok\"")),
        "an answer"
      )
      destroyAll(clients)
      return 300
    }
  },
  {
    title: "sockets whose opening is no message",
    referenceOnly: true,
    run: async ({ port, stream }) => {
      const clients = await connectMany(port, 100)
      const openings = [
        "",
        "null",
        "[]",
        "{}",
        "\"session_init_v2\"",
        "{\"type\":\"init_image_updated\"}",
        "\0",
        "{\"type\":[]}"
      ]
      await forEachPaced(clients, ({ socket }, i) => {
        const frame = encodeFrame(openings[i % openings.length] ?? "", i % 10 === 9 ? "binary" : "text")
        socket.write(Buffer.concat([Buffer.from(upgrade(stream, "websocket")), frame]))
      })
      await until(() => clients.every(hasReceived(closeFrame(1003))), "a close with 1003")
      destroyAll(clients)
      return 100
    }
  }
]
