/** Requests whose body exceeds a limit, from clients that send all of it before they read. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { pngOfSize } from "../../utils/images.js"
import { connectRaw, type RawClient } from "../../utils/webSocketClient.js"
import { serve } from "./testServer.js"

export const jsonStart = "{\"mime\":\"image/png\",\"data\":\""

export interface RawRequest {
  readonly type?: string
  readonly connection?: "keep-alive" | "close"
  readonly chunked?: boolean
  /** The bytes of the body that are sent before the answer is awaited. */
  readonly sent?: number
}

/** Sends a request with a body before it reads, and returns the bytes that the server sent. */
export const write = Effect.fnUntraced(function*(
  { received, socket, until }: RawClient,
  body: Uint8Array,
  { chunked = false, connection = "keep-alive", sent = body.length, type = "application/json" }: RawRequest = {}
) {
  const write = (data: string | Uint8Array) =>
    Effect.async<void>((resume) => {
      socket.write(data, () => resume(Effect.void))
    })
  yield* write([
    "POST /v1/init-image HTTP/1.1",
    "Host: localhost",
    `Content-Type: ${type}`,
    `Connection: ${connection}`,
    chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`,
    "",
    ""
  ].join("\r\n"))
  const pieceLength = 1024 * 1024
  for (let at = 0; at < sent; at += pieceLength) {
    const piece = body.subarray(at, Math.min(at + pieceLength, sent))
    if (chunked) yield* write(`${piece.length.toString(16)}\r\n`)
    yield* write(piece)
    if (chunked) yield* write("\r\n")
  }
  if (chunked && sent === body.length) yield* write("0\r\n\r\n")
  yield* until("}")
  return received().toString()
})

/** Bodies of a given length in bytes that hold an image of about that size. */
export const bodies = {
  "JSON": {
    type: "application/json",
    body: (length: number) => Buffer.concat([Buffer.from(jsonStart), Buffer.alloc(length - jsonStart.length, "A")])
  },
  "raw": { type: "image/png", body: pngOfSize }
}

/** Every combination of body, `Connection` and transfer encoding. */
export const variants = Object.entries(bodies).flatMap(([kind, { body, type }]) =>
  (["keep-alive", "close"] as const).flatMap((connection) =>
    [false, true].map((chunked) => ({
      body,
      request: { type, connection, chunked },
      title: `${kind}, ${connection}${chunked ? ", chunked" : ""}`
    }))
  )
)

/** Sends a body of this many megabytes to a server that accepts 0.1, and requires a complete 413. */
export const receives413 = Effect.fnUntraced(function*(megabytes: number, { body, request }: typeof variants[number]) {
  const server = yield* serve({ env: { INIT_IMAGE_MAX_BYTES: "100000" } })
  const client = yield* connectRaw(server.port)
  const answer = yield* write(client, body(megabytes * 1_000_000), request)
  assert.match(answer, /^HTTP\/1\.1 413 /)
  assert.include(answer, "\"_tag\":\"TooLarge\"")
  assert.include(answer, "\"limit\":100000")
  assert.deepStrictEqual(server.files(), [])
  if (request.connection === "close") yield* client.ended
})
