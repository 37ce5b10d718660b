/** Lies about the length and the coding of a body (RFC 9112 section 6). */
import { Buffer } from "node:buffer"
import { gzipSync } from "node:zlib"
import { png, pngOfSize } from "../../utils/images.js"
import { type Attack, volley } from "./attack.js"
import { connectMany, destroyAll, head, isAnswered, post, statusesOf, until } from "./client.js"

const image = png()
const chunkedFields = { "Content-Type": "image/png", "Transfer-Encoding": "chunked" }

/** The body in chunks of a size, each with an extension. */
const chunks = (body: Uint8Array, size: number, extension = ""): Buffer =>
  Buffer.concat([
    ...Array.from({ length: Math.ceil(body.length / size) }, (_, i) => {
      const part = body.subarray(i * size, (i + 1) * size)
      return Buffer.concat([Buffer.from(`${part.length.toString(16)}${extension}\r\n`), part, Buffer.from("\r\n")])
    }),
    Buffer.from("0\r\n")
  ])

const chunkedPost = (upload: string, body: Uint8Array | string, end = "\r\n"): Buffer =>
  Buffer.concat([Buffer.from(head("POST", upload, chunkedFields)), Buffer.from(body), Buffer.from(end)])

const lengths = ["-1", "+70", "0x46", "7e1", "70, 71", "70,70", "7 0", "70;", "9".repeat(30), "\u00b2"]
const brokenChunks = [
  "zz\r\n",
  "-1\r\na\r\n",
  "5\r\nab\r\n0\r\n",
  "1\r\nabc\r\n",
  "1 \0\r\na",
  "ffffffffffffffffff\r\na",
  "\r\n\r\n"
]
const encodings = ["gzip", "br", "deflate", "zstd", "gzip, gzip", "identity, br", "x".repeat(500)]
const bomb = gzipSync(Buffer.alloc(10_000_000))

export const attacks: ReadonlyArray<Attack> = [
  volley({
    title: "bodies that are shorter than their Content-Length",
    everywhere: true,
    ending: "end",
    request: (random, _, target) =>
      post(target, image.subarray(0, random.below(image.length)), { "Content-Length": String(image.length) }),
    statuses: [400, 408, "none"]
  }),
  volley({
    title: "bodies that are longer than their Content-Length",
    everywhere: true,
    request: (random, _, target) =>
      post(target, Buffer.concat([image, Buffer.from(`\0${"x".repeat(random.below(500))}\r\n`)]), {
        "Content-Length": String(image.length)
      }),
    statuses: [200, 400]
  }),
  volley({
    title: "Content-Lengths that are no number, and two of them",
    everywhere: true,
    request: (random, i, { upload }) =>
      i % 3 === 0
        ? `POST ${upload} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: ${3 + random.below(2)}\r\n\r\nabc`
        : `POST ${upload} HTTP/1.1\r\nHost: a\r\nContent-Length: ${random.pick(lengths)}\r\n\r\nabc`,
    statuses: [400]
  }),
  volley({
    title: "a Content-Length beside a Transfer-Encoding, and unknown codings",
    everywhere: true,
    request: (random, i, { upload }) =>
      i % 2 === 0
        ? head("POST", upload, { "Content-Length": "5", "Transfer-Encoding": "chunked" }) +
          "0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        : head("POST", upload, { "Transfer-Encoding": random.pick(["gzip", "chunked, gzip", "xchunked", "chunked,"]) }),
    statuses: [400, "none"]
  }),
  volley({
    title: "announced terabytes",
    request: (_, i, target) => post(target, image, { "Content-Length": String(2 ** (30 + i % 20)) }),
    statuses: [413]
  }),
  volley({
    title: "chunks of one byte",
    everywhere: true,
    request: (_, __, { upload }) => chunkedPost(upload, chunks(image, 1)),
    statuses: [200]
  }),
  volley({
    title: "broken chunks",
    everywhere: true,
    request: (random, _, { upload }) => chunkedPost(upload, random.pick(brokenChunks)),
    statuses: [400, 415]
  }),
  volley({
    title: "chunk extensions and trailers of 20 KiB",
    everywhere: true,
    request: (_, i, { upload }) =>
      i % 2 === 0
        ? chunkedPost(upload, chunks(image, 10, `;${"x".repeat(20_000)}`))
        : chunkedPost(upload, chunks(image, 10), `X-Trailer: ${"x".repeat(20_000)}\r\n\r\n`),
    statuses: [200, 413, 431]
  }),
  volley({
    title: "encoded bodies, and a bomb of 10 MB",
    request: (random, _, target) => post(target, bomb, { "Content-Encoding": random.pick(encodings) }),
    statuses: [415]
  }),
  volley({
    title: "bodies of requests that have none",
    everywhere: true,
    request: (random, _, { upload }) =>
      Buffer.concat([
        Buffer.from(
          head(random.pick(["GET", "HEAD", "DELETE", "OPTIONS"]), upload, { "Content-Length": String(image.length) })
        ),
        image
      ]),
    statuses: [200, 204, 404]
  }),
  {
    title: "bodies of 33 MiB without a length",
    referenceOnly: true,
    run: async ({ port, upload }) => {
      const clients = await connectMany(port, 2)
      const body = chunkedPost(upload, chunks(pngOfSize(33 * 1024 * 1024), 256 * 1024))
      for (const { socket } of clients) socket.write(body)
      await until(() => clients.every(isAnswered), "an answer")
      const statuses = clients.map((client) => statusesOf(client)[0])
      destroyAll(clients)
      if (statuses.some((status) => status !== "413")) throw new Error(`answered ${statuses.join()}`)
      return clients.length
    }
  }
]
