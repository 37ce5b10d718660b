/** Clients of the session protocol: one with the runtime's WebSocket, and one that encodes its frames itself. */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Socket from "@effect/platform/Socket"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Mailbox from "effect/Mailbox"
import * as Schedule from "effect/Schedule"
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"
import * as Net from "node:net"

const timeout = "30 seconds"
const pollSchedule = Schedule.spaced("20 millis")

export interface Client {
  readonly send: (data: string | Uint8Array) => Effect.Effect<void>
  readonly sendJson: (message: unknown) => Effect.Effect<void>
  /** The next message, parsed. */
  readonly next: Effect.Effect<unknown>
  /** The close code of the server. */
  readonly closed: Effect.Effect<number>
  readonly close: Effect.Effect<void>
}

/** Connects, and closes the connection with the scope. */
export const connect = Effect.fnUntraced(function*(url: string) {
  const makeWebSocket = yield* Socket.WebSocketConstructor
  const ws = yield* Effect.acquireRelease(
    Effect.sync(() => makeWebSocket(url)),
    (ws) => Effect.sync(() => ws.close())
  )
  const messages = yield* Mailbox.make<string>()
  const closed = yield* Deferred.make<number>()
  const opened = yield* Deferred.make<void>()
  ws.addEventListener("open", () => Deferred.unsafeDone(opened, Effect.void))
  ws.addEventListener("message", (event) => void messages.unsafeOffer(String(event.data)))
  ws.addEventListener("error", () => {})
  ws.addEventListener("close", (event) => Deferred.unsafeDone(closed, Effect.succeed(event.code)))
  yield* Effect.timeout(Deferred.await(opened), timeout)

  const send = (data: string | Uint8Array) => Effect.sync(() => ws.send(data))
  const client: Client = {
    send,
    sendJson: (message) => send(JSON.stringify(message)),
    next: messages.take.pipe(
      Effect.timeout(timeout),
      Effect.orDie,
      Effect.map((text): unknown => JSON.parse(text))
    ),
    closed: Deferred.await(closed).pipe(Effect.timeout(timeout), Effect.orDie),
    close: Effect.sync(() => ws.close(1000))
  }
  return client
}, Effect.provide(NodeSocket.layerWebSocketConstructor))

const opcodes = { text: 1, binary: 2, close: 8 } as const

/** Encodes a client's frame (RFC 6455 section 5.2) with a mask of zeros. */
export const encodeFrame = (data: string | Uint8Array, opcode: keyof typeof opcodes = "text"): Buffer => {
  const body = Buffer.from(data)
  const mask = Buffer.alloc(4)
  const first = 0x80 | opcodes[opcode]
  if (body.length < 126) return Buffer.concat([Buffer.of(first, 0x80 | body.length), mask, body])
  const length = Buffer.alloc(8)
  length.writeBigUInt64BE(BigInt(body.length))
  return body.length < 65536
    ? Buffer.concat([Buffer.of(first, 0x80 | 126), length.subarray(6), mask, body])
    : Buffer.concat([Buffer.of(first, 0x80 | 127), length, mask, body])
}

/** The opening handshake (RFC 6455 section 4.1). */
export const upgradeRequest = (headers: Record<string, string> = {}): string =>
  [
    "GET /v1/stream HTTP/1.1",
    ...Object.entries({
      "Host": "localhost",
      "Connection": "Upgrade",
      "Upgrade": "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
      ...headers
    }).map(([name, value]) => `${name}: ${value}`),
    "",
    ""
  ].join("\r\n")

export interface RawClient {
  readonly socket: Net.Socket
  /** The bytes that the server has sent so far. */
  readonly received: () => Buffer
  /** Waits until the server has sent the text. */
  readonly until: (text: string) => Effect.Effect<void>
  /** Waits until the connection has ended. */
  readonly ended: Effect.Effect<void>
}

/** Opens a TCP connection, and destroys it with the scope. */
export const connectRaw = Effect.fnUntraced(function*(port: number) {
  const chunks: Array<Buffer> = []
  const ended = yield* Deferred.make<void>()
  const socket = yield* Effect.acquireRelease(
    Effect.async<Net.Socket>((resume) => {
      const socket = Net.connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
      socket.on("data", (chunk: Buffer) => void chunks.push(chunk))
      socket.on("close", () => Deferred.unsafeDone(ended, Effect.void))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )
  const received = () => Buffer.concat(chunks)
  const client: RawClient = {
    socket,
    received,
    until: (text) =>
      Effect.suspend(() => received().includes(text) ? Effect.void : Effect.fail("not yet")).pipe(
        Effect.retry({ schedule: pollSchedule }),
        Effect.timeout(timeout),
        Effect.orDie
      ),
    ended: Deferred.await(ended).pipe(Effect.timeout(timeout), Effect.orDie)
  }
  return client
})

/** Retries the assertion for 30 seconds, and then fails with its error. */
export const eventually = (assertion: () => void): Effect.Effect<void> =>
  Effect.sync(assertion).pipe(
    Effect.sandbox,
    Effect.retry({ schedule: pollSchedule, times: 1500 }),
    Effect.unsandbox
  )
