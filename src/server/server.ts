/**
 * The runnable reference server: `WS /v1/stream`, `POST /v1/init-image`, the init images of sessions under `/sessions`,
 * the API's document at `/docs`, `GET /metrics` and `GET /healthz`.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpServer from "@effect/platform/HttpServer"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type * as Http from "node:http"
import * as InitImageNormalizer from "../InitImageNormalizer.js"
import * as InitImageSocket from "../InitImageSocket.js"
import * as InitImageSpool from "../InitImageSpool.js"
import * as NodeServer from "../NodeServer.js"
import * as app from "./app.js"
import * as config from "./config.js"
import * as shutdown from "./shutdown.js"

/**
 * How long clients have, on shutdown, to read the last response or to answer the closing handshake. Shorter than the
 * deadline of the whole shutdown.
 */
const shutdownTimeout = "1 second"

/** Waits until a server that is closing has no connection. */
const closed = (server: Http.Server) =>
  Effect.async<void>((resume) => {
    server.close(() => resume(Effect.void))
  })

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
 * interrupts uploads, waits until their files are removed, and waits for its connections, which end within
 * `shutdownTimeout`.
 */
const make = Effect.gen(function*() {
  const { host, keepAlive, maxConnections, openingTimeout, origins, port, trustProxy } = yield* config.server
  const server = NodeServer.make({ maxConnections, shutdownTimeout })

  // A separate scope: `NodeHttpServer.make` adds a finalizer later that waits until every WebSocket is closed. In the
  // parent scope it would run before the WebSockets are closed.
  const listening = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
  const http = yield* Scope.extend(NodeHttpServer.make(() => server, { host, port }), listening)
  yield* Effect.addFinalizer(() => closed(server))
  yield* InitImageSocket.checkFrameLimit()
  const spool = yield* InitImageSpool.InitImageSpool
  const directory = yield* spool.directory
  if (directory !== undefined) (yield* shutdown.OwnDirectory)(directory)
  const prepare = yield* makePrepare
  const { sessions } = config
  yield* http.serve(yield* app.make({ origins, sessions, trustProxy, socket: { keepAlive, openingTimeout, prepare } }))
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
  Layer.provide([config.limits, config.logLevel, Layer.provide(config.spool, Layer.effectDiscard(makeDirectory))]),
  Layer.provide(NodeHttpServer.layerContext)
)
