/**
 * The runnable reference server: `WS /v1/stream`, `POST /v1/init-image`, the init images of sessions under `/sessions`,
 * their document at `/docs`, `GET /metrics` and `GET /healthz`.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpServer from "@effect/platform/HttpServer"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as FiberSet from "effect/FiberSet"
import { constVoid } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Http from "node:http"
import type * as Net from "node:net"
import * as InitImageSocket from "../InitImageSocket.js"
import * as app from "./app.js"
import * as config from "./config.js"
import { Response } from "./response.js"

/** How long clients have to read a last answer, or to answer a closing handshake, when the server ends. */
const farewell = { schedule: Schedule.spaced("10 millis"), times: 100 }

/** A client that went away without a word is found out after this long and about ten seconds more, in milliseconds. */
const keepAliveInitialDelay = 30_000

/** A node server that knows its connections, upgraded ones among them, which node forgets. */
const makeNodeServer = () => {
  const connections = new Set<Net.Socket>()
  const server = Http.createServer({ keepAlive: true, keepAliveInitialDelay, ServerResponse: Response })
  server.on("connection", (socket) => {
    connections.add(socket)
    socket.once("close", () => connections.delete(socket))
    // While a connection is upgraded nobody else listens, and an error that nobody hears ends the process.
    socket.on("error", constVoid)
  })
  const endConnections = Effect.sync(() => {
    server.closeIdleConnections()
    return connections.size === 0
  }).pipe(
    Effect.repeat({ ...farewell, until: (none) => none }),
    Effect.ensuring(Effect.sync(() => {
      for (const socket of connections) socket.destroy()
    }))
  )
  return { server, endConnections }
}

/**
 * Serves until the scope closes, which then, in this order: accepts nobody any more; ends what runs and waits until its
 * files are gone; gives clients a second to hear of it; ends their connections.
 */
const make = Effect.gen(function*() {
  const { host, openingTimeout, origins, port } = yield* config.server
  const { endConnections, server } = makeNodeServer()

  // In a scope of its own, as it adds to it later what must not end first: it waits for every WebSocket to be closed.
  const listening = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
  const http = yield* Scope.extend(NodeHttpServer.make(() => server, { host, port }), listening)
  yield* Effect.addFinalizer(() => endConnections)
  yield* InitImageSocket.checkFrameLimit()
  const requests = yield* FiberSet.make<unknown, unknown>()
  yield* http.serve(yield* app.make({ origins, socket: { openingTimeout } }, requests))
  yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
  return http
})

const makeDirectory = Effect.gen(function*() {
  const directory = yield* config.directory
  if (directory === undefined) return
  const fs = yield* FileSystem.FileSystem
  yield* fs.makeDirectory(directory, { recursive: true, mode: 0o700 })
})

/** The server, configured by the environment; see `config.ts`. */
export const layer = HttpServer.withLogAddress(Layer.scoped(HttpServer.HttpServer, make)).pipe(
  Layer.provide([config.limits, Layer.provide(config.spool, Layer.effectDiscard(makeDirectory))]),
  Layer.provide(NodeHttpServer.layerContext)
)
