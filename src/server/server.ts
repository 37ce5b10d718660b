/**
 * The runnable reference server: `WS /v1/stream`, `POST /v1/init-image`, the init images of sessions under `/sessions`,
 * the API's document at `/docs`, `GET /metrics` and `GET /healthz`.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpServer from "@effect/platform/HttpServer"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import { constVoid } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Http from "node:http"
import type * as Net from "node:net"
import * as InitImageNormalizer from "../InitImageNormalizer.js"
import * as InitImageSocket from "../InitImageSocket.js"
import * as app from "./app.js"
import * as config from "./config.js"
import { Response } from "./response.js"

/** On shutdown, clients have 1 second to read the last response or to answer the closing handshake. */
const drain = { schedule: Schedule.spaced("10 millis"), times: 100 }

/** Idle time before TCP keep-alive probes, in milliseconds. A dead peer is detected about 10 seconds later. */
const keepAliveInitialDelay = 30_000

/** Makes a Node server that tracks its connections, including upgraded ones, which Node does not track. */
const makeNodeServer = () => {
  const connections = new Set<Net.Socket>()
  const server = Http.createServer({ keepAlive: true, keepAliveInitialDelay, ServerResponse: Response })
  server.on("connection", (socket) => {
    connections.add(socket)
    socket.once("close", () => connections.delete(socket))
    // During an upgrade a connection has no other listener, and an unhandled error event ends the process.
    socket.on("error", constVoid)
  })
  const endConnections = Effect.sync(() => {
    server.closeIdleConnections()
    return connections.size === 0
  }).pipe(
    Effect.repeat({ ...drain, until: (isDrained) => isDrained }),
    Effect.ensuring(Effect.sync(() => {
      for (const socket of connections) socket.destroy()
    }))
  )
  return { server, endConnections }
}

/** Normalises the images of sessions, if the environment asks for it. */
const makePrepare = Effect.gen(function*() {
  const size = yield* config.normalize
  if (size === undefined) return undefined
  const normalizer = yield* Layer.build(InitImageNormalizer.layer())
  const prepare: InitImageSocket.Prepare = (image) =>
    Effect.provide(
      InitImageNormalizer.normalizeScoped(image, { ...size, fit: "cover", background: "#000" }),
      normalizer
    )
  return prepare
})

/**
 * Serves until the scope closes. Then, in this order, the server stops accepting connections, closes its WebSockets,
 * interrupts uploads, waits until their files are removed, drains its connections and destroys the remaining ones.
 */
const make = Effect.gen(function*() {
  const { host, openingTimeout, origins, port } = yield* config.server
  const { endConnections, server } = makeNodeServer()

  // A separate scope: `NodeHttpServer.make` adds a finalizer later that waits until every WebSocket is closed. In the
  // parent scope it would run before the WebSockets are closed.
  const listening = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
  const http = yield* Scope.extend(NodeHttpServer.make(() => server, { host, port }), listening)
  yield* Effect.addFinalizer(() => endConnections)
  yield* InitImageSocket.checkFrameLimit()
  const prepare = yield* makePrepare
  yield* http.serve(yield* app.make({ origins, socket: { openingTimeout, prepare } }))
  yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
  return http
})

const makeDirectory = Effect.gen(function*() {
  const directory = yield* config.directory
  if (directory === undefined) return
  const fs = yield* FileSystem.FileSystem
  yield* fs.makeDirectory(directory, { recursive: true, mode: 0o700 })
})

/** The server, configured by the environment variables in `config.ts`. */
export const layer = HttpServer.withLogAddress(Layer.scoped(HttpServer.HttpServer, make)).pipe(
  Layer.provide([config.limits, Layer.provide(config.spool, Layer.effectDiscard(makeDirectory))]),
  Layer.provide(NodeHttpServer.layerContext)
)
