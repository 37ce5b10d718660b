/** One connection: its requests in order, and the bounds on them. */
import type * as Http from "node:http"
import type * as Net from "node:net"
import { performance } from "node:perf_hooks"
import type { TurnQueue } from "../eventLoop.js"
import type { BodyDeadline, Rate } from "./bodyDeadline.js"
import { answer, linger, type Status } from "./closing.js"
import { watchUpgrade } from "./response.js"
import { WriteProgress } from "./writeProgress.js"

/** The bounds on a connection; times are in milliseconds. */
export interface Bounds {
  readonly maxPipelinedRequests: number
  readonly maxRequestsPerConnection: number
  readonly requestRate: Rate
  readonly responseStallTimeout: number
}

/** A request and its response. */
export interface Exchange {
  readonly request: Http.IncomingMessage
  readonly response: Http.ServerResponse
  /** Hands both to the server's `request` listeners. */
  readonly start: () => void
}

const connections = new WeakMap<Net.Socket, Connection>()

/**
 * Runs the requests of a connection one after another: the handler of a pipelined request (RFC 9112 section 9.3.2) starts
 * when the response before it has been sent, and never on a connection that is closed by then. Node starts all of them
 * at once, and a response that waits for its turn never learns that its client has gone.
 *
 * Pipelined requests of all connections start one in each turn of the event loop. Otherwise a turn answers thousands of
 * them, and other clients wait for as long: node accepts one connection a turn.
 */
export class Connection {
  readonly socket: Net.Socket
  readonly bounds: Bounds
  /** Whether the server has a listener for upgrades. */
  readonly canUpgrade: () => boolean
  /** The body that is arriving. */
  body: BodyDeadline | undefined
  readonly #progress: WriteProgress
  readonly #starts: TurnQueue
  readonly #waiting: Array<Exchange> = []
  #running: Exchange | undefined
  #requestCount = 0
  #bytesRead = 0
  /** No further request is accepted, and the connection ends behind the last response. */
  #isEnding = false

  constructor(socket: Net.Socket, bounds: Bounds, starts: TurnQueue, canUpgrade: () => boolean) {
    this.socket = socket
    this.bounds = bounds
    this.#starts = starts
    this.canUpgrade = canUpgrade
    this.#progress = new WriteProgress(socket, performance.now())
    connections.set(socket, this)
    socket.once("close", () => this.#waiting.length = 0)
  }

  static of(socket: Net.Socket): Connection | undefined {
    return connections.get(socket)
  }

  /** The request that is answered, or the next one. */
  get #current(): Exchange | undefined {
    return this.#running ?? this.#waiting[0]
  }

  /** A request is being answered, or waits to be. */
  get isBusy(): boolean {
    return this.#current !== undefined
  }

  /** Accepts the next request, or ends the connection behind the ones before it. */
  accept({ isLast }: { readonly isLast: boolean }): boolean {
    if (this.#isEnding) return false
    if (this.#waiting.length >= this.bounds.maxPipelinedRequests) {
      this.end()
      return false
    }
    this.#requestCount += 1
    if (isLast || this.#requestCount >= this.bounds.maxRequestsPerConnection) this.#isEnding = true
    return true
  }

  /** Starts the exchange, or queues it behind the ones before it. */
  add(exchange: Exchange): void {
    // Sends `Connection: close`, and Node then closes the connection.
    if (this.#isEnding) exchange.response.shouldKeepAlive = false
    if (this.isBusy) this.#waiting.push(exchange)
    else this.#start(exchange)
  }

  #start(exchange: Exchange): void {
    this.#running = exchange
    exchange.response.once("close", () => this.#finish(exchange))
    exchange.start()
  }

  #finish(exchange: Exchange): void {
    if (this.#running !== exchange) return
    this.#running = undefined
    if (this.#waiting.length > 0) this.#starts.add(() => this.#startNext())
    else if (this.#isEnding) this.socket.destroySoon()
  }

  #startNext(): void {
    const next = this.#waiting.shift()
    if (next !== undefined) this.#start(next)
  }

  /** Accepts no further request. */
  end(): void {
    this.#isEnding = true
    const last = this.#waiting.at(-1) ?? this.#running
    if (last !== undefined) last.response.shouldKeepAlive = false
  }

  /**
   * Takes over a connection whose parser has stopped at a refused request: Node has removed its listeners, and has no
   * other way to stop reading requests.
   */
  stop(): void {
    if (!this.isBusy) return this.socket.destroySoon()
    this.socket.on("drain", () => this.#running?.response.emit("drain"))
    this.socket.once("end", () => this.socket.destroy()).resume()
  }

  /**
   * Watches a connection that has been handed over to an `upgrade` listener. Node neither reads from it nor closes it
   * after an answer such as 403: bytes that the client sends behind its request would keep it open for ever.
   */
  upgrade(): void {
    this.socket.once("finish", () => linger(this.socket))
    watchUpgrade(this.socket)
  }

  /** Ends the connection over an error of its client, with an answer where no response has started. */
  refuse(status: Status, text: string): void {
    const running = this.#running
    // An error behind a complete request does not cost that request its response.
    if (this.#current?.request.complete === true && this.body === undefined && !this.socket.readableEnded) {
      return this.end()
    }
    if (this.#waiting.length > 0 || running?.response.headersSent === true) return void this.socket.destroy()
    this.#isEnding = true
    this.#running = undefined
    answer(this.socket, status, text)
    // Tells the handler now, and not after the client has closed its side, that its response is not wanted.
    running?.response.emit("close")
  }

  /** Whether the client reads or sends too slowly. */
  isOverdue(now: number): boolean {
    const { bounds, socket } = this
    // Node drops what arrives behind a response without telling the request.
    if (!this.isBusy) this.body?.arrived(socket.bytesRead - this.#bytesRead)
    this.#bytesRead = socket.bytesRead
    return this.#progress.isStalled(now, bounds.responseStallTimeout) || this.body?.isOver(now) === true
  }

  /** Ends a connection that is overdue. */
  expire(now: number): void {
    if (this.body?.isOver(now) === true) this.refuse(408, "The request's body arrived too slowly.")
    else this.socket.destroy()
  }
}
