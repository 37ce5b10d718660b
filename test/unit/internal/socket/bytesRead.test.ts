import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bytesReadOf, withBytesRead } from "../../../../src/internal/socket/bytesRead.js"
import { makeFakeSocket } from "../../../utils/fakeSocket.js"

describe("the byte counter of a socket", () => {
  it.effect("is that of its request's connection", () =>
    Effect.gen(function*() {
      const { socket } = yield* makeFakeSocket
      const connection = { bytesRead: 1 }
      const bytesRead = bytesReadOf({ ...withBytesRead(socket, { source: { socket: connection } }) })
      assert.isDefined(bytesRead)
      assert.strictEqual(yield* bytesRead, 1)
      connection.bytesRead = 2
      assert.strictEqual(yield* bytesRead, 2)
    }))

  it.effect("is missing if the request's source is not that of Node", () =>
    Effect.gen(function*() {
      const { socket } = yield* makeFakeSocket
      for (const source of [{}, { socket: undefined }, { socket: {} }, { socket: { bytesRead: "1" } }]) {
        assert.strictEqual(withBytesRead(socket, { source }), socket)
      }
      assert.isUndefined(bytesReadOf(socket))
    }))
})
