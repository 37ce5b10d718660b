import * as Headers from "@effect/platform/Headers"
import * as Socket from "@effect/platform/Socket"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { constVoid } from "effect/Function"
import { createRequire } from "node:module"
import { Duplex } from "node:stream"
import { guard, isAcceptable } from "../../../../src/internal/socket/handshake.js"
import { makeFakeSocket } from "../../../utils/fakeSocket.js"

const headers = {
  "upgrade": "websocket",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version": "13"
}
const request = (changed: Record<string, string | undefined> = {}) =>
  ({
    method: "GET",
    headers: Headers.fromInput({ ...headers, ...changed })
  }) as const

describe("a handshake", () => {
  it("is accepted by the rules of ws", () => {
    assert.isTrue(isAcceptable(request()))
    assert.isTrue(isAcceptable(request({ "upgrade": "WebSocket" })))
    assert.isTrue(isAcceptable(request({ "sec-websocket-version": "8" })))
    assert.isTrue(isAcceptable(request({ "sec-websocket-protocol": "a, b.1" })))
  })

  const refused: Record<string, Record<string, string | undefined>> = {
    "no upgrade header": { "upgrade": undefined },
    "an upgrade to another protocol": { "upgrade": "websockets" },
    "no key": { "sec-websocket-key": undefined },
    "a key of 15 bytes": { "sec-websocket-key": "dGhlIHNhbXBsZSBub25j" },
    "a key after a space": { "sec-websocket-key": " dGhlIHNhbXBsZSBub25jZQ==" },
    "a key before a comma": { "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==," },
    "no version": { "sec-websocket-version": undefined },
    "an unknown version": { "sec-websocket-version": "12" },
    "two versions": { "sec-websocket-version": "13, 8" },
    "a version with more digits": { "sec-websocket-version": "113" },
    "an empty protocol": { "sec-websocket-protocol": "" },
    "an empty protocol among others": { "sec-websocket-protocol": "a,,b" },
    "a protocol twice": { "sec-websocket-protocol": "a, a" },
    "a protocol that is not a token": { "sec-websocket-protocol": "a b" },
    "a protocol after a no-break space": { "sec-websocket-protocol": "a,\xa0b" },
    "a key after a no-break space": { "sec-websocket-key": "\xa0dGhlIHNhbXBsZSBub25jZQ==" },
    "a version after a no-break space": { "sec-websocket-version": "\xa013" }
  }
  for (const [title, changed] of Object.entries(refused)) {
    it(`is refused with ${title}`, () => assert.isFalse(isAcceptable(request(changed))))
  }

  it("is refused with another method", () => {
    assert.isFalse(isAcceptable({ ...request(), method: "POST" }))
  })
})

interface Ws {
  readonly WebSocketServer: new(options: { readonly noServer: true }) => {
    readonly handleUpgrade: (request: unknown, socket: Duplex, head: Uint8Array, onUpgrade: () => void) => void
  }
}

const { resolve } = createRequire(import.meta.url)
const requireFromPlatform = createRequire(resolve("@effect/platform-node/NodeHttpServer"))
// `ws` has no types of its own.
const server = new (requireFromPlatform("ws") as Ws).WebSocketServer({ noServer: true })

/** Whether `ws` completes the handshake of the request. */
const isAcceptedByWs = (request: { readonly method: string; readonly headers: Headers.Headers }): boolean => {
  let accepted = false
  const socket = new Duplex({ read: constVoid, write: (_chunk, _encoding, done) => done() })
  server.handleUpgrade(request, socket, new Uint8Array(), () => accepted = true)
  socket.destroy()
  return accepted
}

describe("a random handshake", () => {
  const { constantFrom, oneof, option, record, string } = FastCheck
  /** Node's parser removes white space around a value (RFC 9112 section 5.1), and refuses other control characters. */
  const fieldValue = (...parts: ReadonlyArray<string>) =>
    string({ unit: constantFrom(...parts, " ", "\t", ",", "\xa0", "\x85", "\xad", "\xff", "@"), maxLength: 8 })
      .map((value) => value.replace(/^[ \t]+|[ \t]+$/g, ""))
  const around = (value: string) => oneof({ weight: 4, arbitrary: FastCheck.constant(value) }, fieldValue(value))
  const arbitrary = record({
    "upgrade": around("websocket"),
    "sec-websocket-key": around("dGhlIHNhbXBsZSBub25jZQ=="),
    "sec-websocket-version": around("13"),
    "sec-websocket-protocol": option(fieldValue("a", "b", "chat.1"), { nil: undefined })
  })

  it.prop(
    "is never accepted where ws refuses it, and its protocols are read as ws reads them",
    [arbitrary],
    ([changed]) => {
      const random = request(changed)
      if (isAcceptable(random)) assert.isTrue(isAcceptedByWs(random))
      const protocols = request({ "sec-websocket-protocol": changed["sec-websocket-protocol"] })
      assert.strictEqual(isAcceptable(protocols), isAcceptedByWs(protocols))
    },
    { fastCheck: { numRuns: 5000 } }
  )
})

describe("a guarded socket", () => {
  const connection = { readable: true, writable: true }

  it.effect("opens while its client is connected, and fails otherwise, on each run", () =>
    Effect.gen(function*() {
      const opened: Array<string> = []
      const { socket } = yield* makeFakeSocket
      const connected = { ...connection }
      const guarded = guard({ source: { socket: connected } }, {
        ...socket,
        run: () => Effect.sync(() => void opened.push("run")),
        runRaw: () => Effect.sync(() => void opened.push("runRaw"))
      })
      const run = guarded.run(constVoid)
      const runRaw = guarded.runRaw(constVoid)
      yield* run
      yield* runRaw
      for (const state of [{ readable: false }, { writable: false }]) {
        Object.assign(connected, connection, state)
        for (const effect of [run, runRaw]) {
          const error = yield* Effect.flip(effect)
          assert.isTrue(Socket.isSocketError(error))
          assert.strictEqual(error.reason, "Open")
        }
      }
      Object.assign(connected, connection)
      yield* run
      assert.deepStrictEqual(opened, ["run", "runRaw", "run"])
      assert.strictEqual(guarded.writer, socket.writer)
      assert.isTrue(Socket.isSocket(guarded))
    }))

  it.effect("opens if the state of the connection is unknown", () =>
    Effect.gen(function*() {
      const { socket } = yield* makeFakeSocket
      const opening: Socket.Socket = { ...socket, runRaw: () => Effect.void }
      for (const source of [{}, { socket: {} }, { socket: { readable: true } }, { socket: { writable: true } }]) {
        yield* guard({ source }, opening).runRaw(constVoid)
      }
    }))

  it.effect("handles no disconnection between its check and the upgrade, wherever its fiber yields", () =>
    Effect.gen(function*() {
      const { socket } = yield* makeFakeSocket
      // A fiber yields after at most 2048 operations.
      for (let steps = 900; steps < 2100; steps++) {
        let hasTurned = false
        const watched = {
          writable: true,
          get readable() {
            queueMicrotask(() => hasTurned = true)
            return true
          }
        }
        const guarded = guard({ source: { socket: watched } }, {
          ...socket,
          runRaw: () =>
            Effect.map(Effect.all(Array.from({ length: 40 }, () => Effect.void)), () => assert.isFalse(hasTurned))
        })
        yield* Effect.yieldNow()
        for (let step = 0; step < steps; step++) yield* Effect.sync(constVoid)
        yield* guarded.runRaw(constVoid)
      }
    }))
})
