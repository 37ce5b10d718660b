/** The clients of the soak test: bare connections, which cost less than a WebSocket client or an HTTP agent. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import * as Net from "node:net"
import { encodeFrame, upgradeRequest } from "../../utils/webSocketClient.js"
import type { Random } from "../random.js"
import * as messages from "./messages.js"

/** Only a server that hangs takes this long. */
const answerTimeout = "10 minutes"

interface Connection {
  readonly socket: Net.Socket
  /** Received bytes that have not been taken. */
  received: Buffer
  /** Takes the next item that `find` returns; `undefined` if the connection ends first. */
  readonly take: <A>(find: (received: Buffer) => Found<A> | undefined) => Effect.Effect<A | undefined>
}

/** An item, and the offset of its end. */
interface Found<A> {
  readonly value: A
  readonly end: number
}

const open = (port: number): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Connection>((resume) => {
      let wake = () => {}
      let ended = false
      const socket = Net.connect(port, "127.0.0.1", () => resume(Effect.succeed(connection)))
      socket.on("error", () => {})
      socket.on("data", (chunk: Buffer) => {
        connection.received = Buffer.concat([connection.received, chunk])
        wake()
      })
      for (const event of ["end", "close"]) {
        socket.on(event, () => {
          ended = true
          wake()
        })
      }
      const connection: Connection = {
        socket,
        received: Buffer.alloc(0),
        take: (find) =>
          Effect.async<ReturnType<typeof find>>((resume) => {
            wake = () => {
              const found = find(connection.received)
              if (found === undefined && !ended) return
              wake = () => {}
              resume(Effect.succeed(found))
            }
            wake()
          }).pipe(
            Effect.timeoutFail({ duration: answerTimeout, onTimeout: () => new Error("no answer") }),
            Effect.orDie,
            Effect.map((found) => {
              if (found === undefined) return undefined
              connection.received = connection.received.subarray(found.end)
              return found.value
            })
          )
      }
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

/** The status of a complete response. */
const findResponse = (received: Buffer): Found<number> | undefined => {
  const at = received.indexOf("\r\n\r\n")
  if (at === -1) return undefined
  const head = received.toString("latin1", 0, at)
  const end = at + 4 + Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0)
  return received.length < end ? undefined : { value: Number(head.slice(9, 12)), end }
}

/** The close code or the result in a complete frame of the server. */
const findAnswer = (received: Buffer): Found<number | string> | undefined => {
  const short = (received[1] ?? 0) & 0x7f
  const start = short === 126 ? 4 : 2
  if (received.length < start) return undefined
  const end = start + (short === 126 ? received.readUInt16BE(2) : short)
  if (received.length < end) return undefined
  if (((received[0] ?? 0) & 15) === 8) return { value: received.readUInt16BE(start), end }
  const message = JSON.parse(received.toString("utf8", start, end))
  if (message.type === "error") return { value: message.code, end }
  return { value: message.image === null ? "no image" : `image of ${message.image.bytes}`, end }
}

const sometimes = (random: Random, most: number) =>
  Effect.suspend(() => random.chance(0.5) ? Effect.sleep(random.below(most)) : Effect.void)

/** Resets, destroys or ends the connection. */
const leave = ({ socket }: Connection, random: Random): void => {
  if (random.chance(0.3)) socket.resetAndDestroy()
  else if (random.chance(0.5)) socket.destroy()
  else socket.end()
}

/** Sends a part or all of the bytes, and disconnects before the answer. */
const vanish = Effect.fnUntraced(function*(connection: Connection, bytes: Uint8Array, random: Random) {
  connection.socket.write(bytes.subarray(0, random.below(Math.round(bytes.length * 1.3))))
  yield* sometimes(random, 20)
  leave(connection, random)
  return "vanished"
})

/** Sends the bytes, sometimes in two pieces. */
const write = Effect.fnUntraced(function*({ socket }: Connection, bytes: Uint8Array, random: Random) {
  if (random.chance(0.8)) return void socket.write(bytes)
  const middle = random.below(bytes.length)
  socket.write(bytes.subarray(0, middle))
  yield* sometimes(random, 10)
  socket.write(bytes.subarray(middle))
})

/** Runs a session on `/v1/stream` and returns its outcome. */
const stream = Effect.fnUntraced(function*(port: number, random: Random, picture: messages.Picture) {
  const connection = yield* open(port)
  const upgrade = Buffer.from(upgradeRequest())
  if (random.chance(0.05)) return yield* vanish(connection, upgrade, random)
  connection.socket.write(upgrade)
  assert.strictEqual(yield* connection.take(findResponse), 101)

  if (random.chance(0.1)) {
    const wrong = random.pick(messages.wrongFrames)
    yield* write(connection, wrong.bytes, random)
    if (wrong.code !== undefined) assert.strictEqual(yield* connection.take(findAnswer), wrong.code)
    assert.strictEqual(yield* connection.take(findAnswer), wrong.close)
    return "wrong frame"
  }

  let outcome: string | undefined
  const updates = random.pick([0, 0, 0, 1, 2])
  for (let i = 0; i <= updates; i++) {
    const payload = random.chance(0.3) ?
      random.pick(messages.hostile) :
      random.chance(0.05)
      ? messages.none
      : messages.valid(picture)
    const frame = encodeFrame(messages.messageOf(i === 0 ? "session_init_v2" : "init_image_updated", payload))
    if (random.chance(0.15)) return yield* vanish(connection, frame, random)
    yield* write(connection, frame, random)
    const answer = yield* connection.take(findAnswer)
    if (answer !== "busy") assert.strictEqual(answer, payload.code)
    if (i === 0 && (payload.status !== 200 || answer === "busy")) {
      assert.strictEqual(yield* connection.take(findAnswer), answer === "busy" ? 1013 : 1003)
      return answer === "busy" ? "busy" : "refused"
    }
    outcome ??= payload.status === 200 ? "image" : "refused"
  }
  yield* sometimes(random, 20)
  if (random.chance(0.5)) {
    leave(connection, random)
  } else {
    connection.socket.write(encodeFrame(Buffer.of(0x03, 0xe8), "close"))
    assert.strictEqual(yield* connection.take(findAnswer), 1000)
  }
  return outcome ?? "image"
})

/** Sends one or two `POST`s on a connection and returns the outcome of the last. */
const post = Effect.fnUntraced(function*(port: number, random: Random, picture: messages.Picture) {
  const connection = yield* open(port)
  const requests = random.pick([1, 1, 2])
  let outcome = "image"
  for (let i = 0; i < requests; i++) {
    const { bytes, mime, status } = random.chance(0.3)
      ? random.chance(0.5) ? messages.postOf(random.pick(messages.hostile)) : random.pick(messages.rawHostile(picture))
      : random.chance(0.5)
      ? messages.postOf(messages.valid(picture))
      : { ...picture, status: 200 }
    const chunked = random.chance(0.3)
    const head = `POST /v1/init-image HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${mime}\r\n${
      chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${bytes.length}`
    }\r\n\r\n`
    const body = chunked && bytes.length > 0
      ? [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n0\r\n\r\n")]
      : [chunked ? Buffer.from("0\r\n\r\n") : bytes]
    const request = Buffer.concat([Buffer.from(head), ...body])
    if (random.chance(0.25)) return yield* vanish(connection, request, random)
    yield* write(connection, request, random)
    const answer = yield* connection.take(findResponse)
    if (answer === 503) {
      outcome = "busy"
    } else {
      assert.strictEqual(answer, status)
      outcome = status === 200 ? "image" : "refused"
    }
  }
  leave(connection, random)
  return outcome
})

/** Runs one client and returns its outcome. */
export const run = (port: number, random: Random, pictures: ReadonlyArray<messages.Picture>): Effect.Effect<string> =>
  Effect.scoped(
    random.chance(0.5)
      ? Effect.map(stream(port, random, random.pick(pictures)), (outcome) => `stream: ${outcome}`)
      : Effect.map(post(port, random, random.pick(pictures)), (outcome) => `post: ${outcome}`)
  )
