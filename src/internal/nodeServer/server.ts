/** A Node server that survives hostile clients. */
import { constVoid } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Http from "node:http"
import * as Net from "node:net"
import { performance } from "node:perf_hooks"
import { afterTransfers, TurnQueue } from "../eventLoop.js"
import { spreadClose, type Status } from "./closing.js"
import { type Bounds, Connection } from "./connection.js"
import { Request, stopAtRefused } from "./request.js"
import { Response } from "./response.js"

/** The bounds on a server; times are in milliseconds. */
export interface Limits extends Bounds {
  readonly maxConnections: number
  readonly headersTimeout: number
  readonly keepAliveTimeout: number
  readonly shutdownTimeout: number
}

/** The time between two looks at all connections, in milliseconds. */
const checkInterval = 1000

/** Idle time before TCP keep-alive probes, in milliseconds. A dead peer is detected about 10 seconds later. */
const keepAliveInitialDelay = 30_000

const errors: Readonly<Record<string, readonly [status: Status, text: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, "The request's header arrived too slowly."],
  HPE_HEADER_OVERFLOW: [431, "The request's header is too large."],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, "The extensions of the body's chunks are too large."]
}
const malformed = [400, "The request is not valid HTTP."] as const

export class Server extends Http.Server<typeof Request, typeof Response> {
  readonly #limits: Limits
  readonly #connections = new Set<Connection>()
  readonly #closes = new TurnQueue()
  /** Pipelined requests: each of them takes as long as any other. */
  readonly #starts = new TurnQueue(1)
  #shutdown: NodeJS.Timeout | undefined

  constructor(limits: Limits) {
    super({
      IncomingMessage: Request,
      ServerResponse: Response,
      keepAlive: true,
      keepAliveInitialDelay,
      // Replaced by the lowest rate of a body.
      requestTimeout: 0,
      headersTimeout: limits.headersTimeout,
      keepAliveTimeout: limits.keepAliveTimeout,
      connectionsCheckingInterval: checkInterval
    })
    this.#limits = limits
    this.maxConnections = limits.maxConnections
    this.on("connection", (socket) => this.#open(socket))
    this.on("clientError", (error, socket) => {
      const code = Predicate.hasProperty(error, "code") ? String(error.code) : ""
      const [status, text] = errors[code] ?? malformed
      const connection = socket instanceof Net.Socket ? Connection.of(socket) : undefined
      if (connection === undefined) socket.destroy()
      else connection.refuse(status, text)
    })
    this.on("timeout", (socket) => {
      const { bytesRead } = socket
      // After a busy turn the next request may have arrived in time.
      afterTransfers(() => {
        if (socket.bytesRead === bytesRead) socket.destroy()
      })
    })
    this.on("checkContinue", (request, response) => {
      // A client that has kept its body back leaves the connection in the middle of a request.
      response.shouldKeepAlive = false
      request.awaitInvitation(() => {
        if (!response.headersSent) response.writeContinue()
      })
      this.emit("request", request, response)
    })
    // Node stops at a refused request only if there is a listener.
    this.on("upgrade", constVoid)
    let checks: NodeJS.Timeout | undefined
    this.on("listening", () => {
      checks = setInterval(() => this.#check(), checkInterval).unref()
    })
    this.on("close", () => {
      clearInterval(checks)
      clearTimeout(this.#shutdown)
    })
  }

  /**
   * Stops accepting connections and requests, lets running responses end, and destroys the connections that are open
   * after the shutdown timeout, upgraded ones among them.
   */
  override close(callback?: (error?: Error) => void): this {
    for (const connection of this.#connections) connection.end()
    this.#shutdown ??= setTimeout(() => {
      for (const { socket } of this.#connections) socket.destroy()
    }, this.#limits.shutdownTimeout)
    return super.close(callback)
  }

  /** Queues requests behind the running one of their connection. */
  override emit(event: string | symbol, ...parameters: ReadonlyArray<unknown>): boolean {
    const emit = (): boolean => Reflect.apply(super.emit, this, [event, ...parameters])
    const [request, response] = parameters
    if (!(request instanceof Request)) return emit()
    const connection = Connection.of(request.socket)
    if (connection === undefined) return emit()
    if (event === "upgrade") {
      if (request.isRefused) {
        connection.stop()
        return true
      }
      connection.upgrade()
    } else if (event === "request" && response instanceof Response) {
      connection.add({ request, response, start: emit })
      return true
    }
    return emit()
  }

  #open(socket: Net.Socket): void {
    const connection = new Connection(socket, this.#limits, this.#starts, () => this.listenerCount("upgrade") > 1)
    this.#connections.add(connection)
    socket.once("close", () => this.#connections.delete(connection))
    spreadClose(socket, this.#closes)
    stopAtRefused(socket)
    // Node removes its own listener at an upgrade, and an `error` event without a listener ends the process.
    socket.on("error", constVoid)
  }

  #check(): void {
    const now = performance.now()
    const isOverdue = (connection: Connection): boolean => connection.isOverdue(now)
    const overdue = [...this.#connections].filter(isOverdue)
    if (overdue.length === 0) return
    afterTransfers(() => {
      for (const connection of overdue) {
        if (isOverdue(connection)) connection.expire(now)
      }
    })
  }
}
