/** Clients that send many invalid frames; the endurance tests send more of them. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { connectRaw, encodeFrame, eventually, upgradeRequest } from "../../utils/webSocketClient.js"
import { init, picture, update } from "./messages.js"
import { isHealthy, serve } from "./testServer.js"

const invalidFrames = (count: number): ReadonlyArray<Buffer> => Array.from({ length: count }, () => encodeFrame(""))

/** Sends the handshake, the frames, fewer than 64, and an update in one write; each frame is answered. */
export const withHandshake = Effect.fnUntraced(function*(count: number) {
  const server = yield* serve()
  const { received, socket, until } = yield* connectRaw(server.port)
  socket.write(Buffer.concat([
    Buffer.from(upgradeRequest()),
    encodeFrame(JSON.stringify(init(picture(3)))),
    ...invalidFrames(count),
    encodeFrame(JSON.stringify(update(picture(4))))
  ]))
  yield* until("\"width\":4")
  assert.strictEqual(received().toString("latin1").split("invalid_message").length - 1, count)
  assert.lengthOf(server.files(), 1)
})

/** Sends the frames behind the opening message; the server answers the first ones, and closes with 1008. */
export const invalid = Effect.fnUntraced(function*(count: number) {
  const server = yield* serve()
  const { received, socket, until } = yield* connectRaw(server.port)
  socket.write(Buffer.concat([Buffer.from(upgradeRequest()), encodeFrame(JSON.stringify(init(picture(3))))]))
  yield* until("\"width\":3")
  socket.write(Buffer.concat(invalidFrames(count)))
  yield* isHealthy(server.url)
  const closeFrame = Buffer.of(0x88, 2, 1008 >> 8, 1008 & 0xff)
  yield* eventually(() => assert.isTrue(received().includes(closeFrame)))
  assert.strictEqual(received().toString("latin1").split("invalid_message").length - 1, 64)
  yield* server.empty
})

/** Sends the frames while it does not read; the server answers others, and the frames after that. */
export const unread = Effect.fnUntraced(function*(count: number) {
  const server = yield* serve()
  const { socket, until } = yield* connectRaw(server.port)
  socket.write(Buffer.concat([Buffer.from(upgradeRequest()), encodeFrame(JSON.stringify(init(picture(3))))]))
  yield* until("\"width\":3")
  socket.pause()
  let accepted = false
  socket.write(Buffer.concat(invalidFrames(count)), () => {
    accepted = true
  })
  yield* isHealthy(server.url)
  socket.resume()
  yield* eventually(() => assert.isTrue(accepted))
  socket.destroy()
  yield* server.empty
})
