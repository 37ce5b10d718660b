/**
 * The servers that the reference server is compared with; the first argument is the kind, the second the directory.
 * Fastify, Express and node:http parse the body as JSON, call `Buffer.from` and `writeFile`, and validate nothing. As in
 * the reference server, the file is removed before the answer. `discard` reads the body and answers: the cost of
 * receiving it.
 */
import express from "express"
import Fastify from "fastify"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import * as fs from "node:fs"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { pipeline } from "node:stream/promises"
import * as Floor from "./floor.js"
import { mebibyte, type Payload } from "./frame.js"

const bodyLimit = 64 * mebibyte
const healthy = { status: "ok" }

const [, , kind, directory = "."] = process.argv

const newPath = (): string => path.join(directory, randomUUID())

// Nothing is validated: see above.
const store = async (payload: unknown) => {
  const { data, mime } = payload as Payload
  const bytes = Buffer.from(data, "base64")
  const file = newPath()
  await fs.promises.writeFile(file, bytes)
  await fs.promises.rm(file)
  return { mime, bytes: bytes.length }
}

const startFastify = async () => {
  const app = Fastify({ bodyLimit })
  app.get("/healthz", () => healthy)
  app.post("/v1/init-image", (request) => store(request.body))
  await app.listen({ host: "127.0.0.1", port: 0 })
  return app.server
}

const startExpress = () => {
  const app = express()
  app.use(express.json({ limit: bodyLimit }))
  app.get("/healthz", (_, response) => response.json(healthy))
  app.post("/v1/init-image", (request, response, next) => {
    store(request.body).then((answer) => response.json(answer), next)
  })
  return http.createServer(app).listen(0, "127.0.0.1")
}

const readJson = async (request: http.IncomingMessage): Promise<unknown> => {
  const chunks: Array<Uint8Array> = []
  for await (const chunk of request) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString())
}

const storeRaw = async (request: http.IncomingMessage) => {
  const file = newPath()
  const target = fs.createWriteStream(file, { flags: "wx", mode: 0o600 })
  await pipeline(request, target)
  await fs.promises.rm(file)
  return { bytes: target.bytesWritten }
}

const startNode = () =>
  http.createServer(async (request, response) => {
    const answer = request.method === "GET"
      ? healthy
      : request.headers["content-type"] === "application/json"
      ? await store(await readJson(request))
      : await storeRaw(request)
    response.setHeader("content-type", "application/json")
    response.end(JSON.stringify(answer))
  }).listen(0, "127.0.0.1")

const startDiscard = () =>
  http.createServer((request, response) => {
    request.resume().once("end", () => response.end(JSON.stringify(healthy)))
  }).listen(0, "127.0.0.1")

const start = async (kind: string | undefined): Promise<http.Server> => {
  switch (kind) {
    case "fastify":
      return startFastify()
    case "express":
      return startExpress()
    case "node:http":
      return startNode()
    case "floor":
      return Floor.make(directory, bodyLimit).listen(0, "127.0.0.1")
    case "discard":
      return startDiscard()
    default:
      throw new Error(`${kind} is not a server`)
  }
}

const server = await start(kind)
if (!server.listening) await once(server, "listening")
// The servers listen on TCP.
const { port } = server.address() as AddressInfo
console.log(`listening on http://127.0.0.1:${port}`)
