/**
 * A `node:http` server for untrusted clients, to run an app on.
 *
 * A plain `createServer` behind `NodeHttpServer.layer` has these faults, each of which one client can use:
 *
 * - A connection that is reset during an upgrade ends the process, on any path: an upgraded socket has no listener for
 *   its `error` (Effect-TS/effect#6927).
 * - The body of a request with `Upgrade: h2c` is lost. Java's `HttpClient` and `curl --http2` send such requests.
 * - An upgrade that is answered with 403 or 426 keeps its descriptor if bytes follow the request.
 * - Pipelined requests whose client has left keep their fibers, files and leases.
 * - A client that does not read its responses holds them, with their leases, for as long as it likes.
 * - Every upload is cut after five minutes in all, and a client that sends one byte a minute is not cut before.
 * - Closing the server waits for its connections without a bound.
 *
 * @since 0.1.0
 * @module
 */
import * as Duration from "effect/Duration"
import type * as Http from "node:http"
import * as server from "./internal/nodeServer/server.js"

/**
 * The bounds on a server and its clients.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Connections at a time; further ones are closed at once. 2,048 by default. */
  readonly maxConnections?: number | undefined
  /**
   * Requests of one connection that wait for its running request (RFC 9112 section 9.3.2). The connection ends behind the
   * last of them, and further ones are not read. 16 by default.
   */
  readonly maxPipelinedRequests?: number | undefined
  /** Requests of one connection in all; the last response closes it. 1,000 by default. */
  readonly maxRequestsPerConnection?: number | undefined
  /**
   * The longest time from the connection, or from the first byte of a later request, to the end of the request's header.
   * Answered with 408. 30 seconds by default.
   */
  readonly headersTimeout?: Duration.DurationInput | undefined
  /** The longest time without a request on an open connection. 5 seconds by default. */
  readonly keepAliveTimeout?: Duration.DurationInput | undefined
  /**
   * The lowest rate of a body, in payload bytes per second, which applies after `requestGrace`. Answered with 408. Time
   * in which the server does not read does not count. There is no bound on the whole time of an upload. 240 by default.
   */
  readonly minRequestBytesPerSecond?: number | undefined
  /** The time before `minRequestBytesPerSecond` applies. 5 seconds by default. */
  readonly requestGrace?: Duration.DurationInput | undefined
  /** The longest time without any byte of a body. Answered with 408. 30 seconds by default. */
  readonly requestStallTimeout?: Duration.DurationInput | undefined
  /**
   * The longest time in which a client takes none of the bytes that wait for it, in a response or on a WebSocket; then
   * the connection is closed. 30 seconds by default.
   */
  readonly responseStallTimeout?: Duration.DurationInput | undefined
  /** How long `close` waits for open connections before it destroys them. 5 seconds by default. */
  readonly shutdownTimeout?: Duration.DurationInput | undefined
}

/**
 * Makes a server for `NodeHttpServer.layer`. Bounds are checked once a second.
 *
 * Requests of one connection are handled one after another. Of those that had to wait, one starts in each turn of the
 * event loop, so that a client with many pipelines does not hold up the others. A request with an `Upgrade` other than a
 * WebSocket's is handled as if the field were absent (RFC 9110 section 7.8). Its response closes the connection: Node's
 * parser drops what has arrived behind such a request, and does not say whether anything has. `100 Continue` is sent when
 * a handler reads the body. A request that is malformed or too slow is answered with a line of text.
 *
 * Complete on Node and Deno. Bun does not read HTTP with Node's parser. There, a reset during an upgrade does not end the
 * process and slow headers are answered with 408, but the bounds on connections, pipelines, bodies and responses do not
 * apply, and a body behind `Upgrade: h2c` is lost: a server on Bun needs a proxy in front of it.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { HttpRouter, HttpServer } from "@effect/platform"
 * import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import * as NodeServer from "session-init-image/NodeServer"
 *
 * const server = HttpServer.serve(HttpRouter.empty).pipe(
 *   Layer.provide(NodeHttpServer.layer(() => NodeServer.make({ maxConnections: 500 }), { port: 3000 }))
 * )
 *
 * NodeRuntime.runMain(Layer.launch(server))
 * ```
 */
export const make = (options: Options = {}): Http.Server =>
  new server.Server({
    maxConnections: options.maxConnections ?? 2048,
    maxPipelinedRequests: options.maxPipelinedRequests ?? 16,
    maxRequestsPerConnection: options.maxRequestsPerConnection ?? 1000,
    headersTimeout: Duration.toMillis(options.headersTimeout ?? "30 seconds"),
    keepAliveTimeout: Duration.toMillis(options.keepAliveTimeout ?? "5 seconds"),
    requestRate: {
      bytesPerSecond: options.minRequestBytesPerSecond ?? 240,
      grace: Duration.toMillis(options.requestGrace ?? "5 seconds"),
      stall: Duration.toMillis(options.requestStallTimeout ?? "30 seconds")
    },
    responseStallTimeout: Duration.toMillis(options.responseStallTimeout ?? "30 seconds"),
    shutdownTimeout: Duration.toMillis(options.shutdownTimeout ?? "5 seconds")
  })
