import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Socket from "@effect/platform/Socket"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { openingType, updateType } from "../../../src/internal/protocol.js"
import { faces } from "../../unit/browser/faces.js"
import { uprightSize } from "../../utils/descriptions.js"
import { jpegOfSize, pngOfSize, webpOfSize } from "../../utils/images.js"
import * as Server from "../server/testServer.js"

const mebibyte = 1024 * 1024

const pictures = [
  { mime: "image/png", name: "a.png", bytes: pngOfSize(5 * mebibyte + 1) },
  { mime: "image/jpeg", name: "a.jpg", bytes: jpegOfSize(256 * 1024) },
  { mime: "image/webp", name: "a.webp", bytes: webpOfSize(100) }
] as const

const [big, middle, small] = pictures
const fileOf = ({ bytes, mime, name }: (typeof pictures)[number]) => new File([bytes], name, { type: mime })
const descriptionOf = ({ bytes, mime, name }: (typeof pictures)[number]) => ({
  mime,
  display_name: name,
  bytes: bytes.length,
  ...uprightSize(1, 1)
})

const opening = { type: openingType } as const
const update = { type: updateType } as const

const connect = (url: string) =>
  Effect.acquireRelease(
    Effect.map(Socket.WebSocketConstructor, (make) => make(url)),
    (socket) => Effect.sync(() => socket.close())
  ).pipe(Effect.provide(NodeSocket.layerWebSocketConstructor))

for (const face of faces) {
  describe(`send to the server, with ${face.title}`, () => {
    it.scopedLive("opens a session with an image of each type, and replaces it with every other one", () =>
      Effect.gen(function*() {
        const server = yield* Server.serve()
        for (const first of pictures) {
          const socket = yield* connect(server.stream)
          for (const picture of [first, ...pictures]) {
            const options = picture === first && socket.readyState === 0 ? opening : update
            assert.deepStrictEqual(yield* face.send(socket, fileOf(picture), options), descriptionOf(picture))
            const [file, ...others] = server.files()
            assert.isEmpty(others)
            assert.isTrue(readFileSync(join(server.directory, String(file))).equals(picture.bytes))
          }
          socket.close()
          yield* server.empty
        }
      }))

    it.scopedLive("fails with the server's errors, and with SocketClosed after a refused opening", () =>
      Effect.gen(function*() {
        const server = yield* Server.serve({ env: { INIT_IMAGE_MAX_BYTES: "1000000" } })
        const cut = new File([small.bytes.subarray(0, 40)], "a.webp", { type: small.mime })
        const socket = yield* connect(server.stream)
        yield* face.send(socket, fileOf(small), opening)
        for (const [code, file] of [["malformed_image", cut], ["too_large", fileOf(big)]] as const) {
          const error = yield* Effect.flip(face.send(socket, file, update))
          assert.deepInclude({ ...error }, { _tag: "ServerError", code, retryable: false })
          assert.deepStrictEqual(
            "details" in error && error.details,
            code === "too_large"
              ? { _tag: "TooLarge", bytes: big.bytes.length, limit: 1_000_000 }
              : { _tag: "MalformedImage", format: "webp", reason: "Truncated" }
          )
          assert.isNotEmpty(error.message)
          assert.lengthOf(server.files(), 1)
        }
        assert.deepStrictEqual(yield* face.send(socket, fileOf(middle), update), descriptionOf(middle))

        const refused = yield* connect(server.stream)
        const error = yield* Effect.flip(face.send(refused, cut, opening))
        assert.deepInclude({ ...error }, { _tag: "ServerError", code: "malformed_image" })
        const late: object = yield* Effect.flip(face.send(refused, fileOf(small), update))
        assert.deepInclude({ ...late }, { _tag: "SocketClosed" })
      }))

    it.scopedLive("keeps the session and its image when a replacement is interrupted at any point", () =>
      Effect.gen(function*() {
        const server = yield* Server.serve()
        const socket = yield* connect(server.stream)
        yield* face.send(socket, fileOf(small), opening)
        let interrupted = 0
        for (let i = 0; i < 40; i++) {
          const fiber = yield* Effect.fork(face.send(socket, fileOf(big), update))
          yield* Effect.sleep(yield* Random.nextIntBetween(0, 40))
          const exit = yield* Fiber.interrupt(fiber)
          if (Exit.isInterrupted(exit)) interrupted += 1
          else assert.deepStrictEqual(exit, Exit.succeed(descriptionOf(big)))
          const next = pictures[i % 3 === 0 ? 1 : 2] ?? small
          assert.deepStrictEqual(yield* face.send(socket, fileOf(next), update), descriptionOf(next))
          assert.lengthOf(server.files(), 1)
        }
        assert.isAbove(interrupted, 0)
        assert.strictEqual(socket.readyState, 1)
      }))

    it.scopedLive("leaves neither session nor file when an opening is interrupted", () =>
      Effect.gen(function*() {
        const server = yield* Server.serve()
        for (let i = 0; i < 10; i++) {
          const socket = yield* connect(server.stream)
          const fiber = yield* Effect.fork(face.send(socket, fileOf(big), opening))
          yield* Effect.sleep(3 * i)
          yield* Fiber.interrupt(fiber)
          yield* server.empty.pipe(Effect.when(() => socket.readyState !== 1))
        }
      }))

    it.scopedLive("fails with SocketClosed when the server shuts down", () =>
      Effect.gen(function*() {
        const fiber = yield* Effect.scoped(Effect.gen(function*() {
          const server = yield* Server.serve()
          const socket = yield* connect(server.stream)
          yield* face.send(socket, fileOf(small), opening)
          const stalled = fileOf(big)
          // The reads after the first MiB never end.
          const slice = stalled.slice.bind(stalled)
          stalled.slice = (start, end) => {
            const part = slice(start, end)
            if (Number(start) > mebibyte) part.arrayBuffer = () => new Promise(() => {})
            return part
          }
          const fiber = yield* Effect.forkDaemon(face.send(socket, stalled, update))
          yield* Effect.sleep("100 millis")
          return fiber
        }))
        const error: object = yield* Effect.flip(Fiber.join(fiber)).pipe(Effect.timeout("10 seconds"))
        assert.deepInclude({ ...error }, { _tag: "SocketClosed", code: 1001 })
      }))
  })
}
