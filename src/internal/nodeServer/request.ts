/** A Node request that watches the pace of its body and decides on its upgrade. */
import * as Predicate from "effect/Predicate"
import * as Http from "node:http"
import type * as Net from "node:net"
import { isDeno } from "../runtime.js"
import { BodyDeadline } from "./bodyDeadline.js"
import { Connection } from "./connection.js"

const isWebSocket = ({ headers, method }: Http.IncomingMessage): boolean =>
  method === "GET" && headers.upgrade?.toLowerCase() === "websocket"

/** What becomes of a request. */
type Course = "handled" | "upgraded" | "refused"

export class Request extends Http.IncomingMessage {
  /** Whether the parser has seen an `Upgrade`. A private field is not defined yet when Node's constructor sets it. */
  declare private asksForUpgrade: unknown
  readonly #connection: Connection | undefined
  #course: Course | undefined
  #body: BodyDeadline | undefined
  #invite: (() => void) | undefined

  /** Bun passes further parameters. */
  constructor(...parameters: ConstructorParameters<typeof Http.IncomingMessage>) {
    super(...parameters)
    this.#connection = Connection.of(parameters[0])
  }

  /** The server takes no further request of this connection. */
  get isRefused(): boolean {
    return this.#course === "refused"
  }

  /**
   * Node's parser sets this, and reads it to tell whether the connection becomes another protocol's. `true` makes it stop
   * reading, which also ends a connection at a request that is one too many.
   *
   * Any `Upgrade` but a WebSocket's is ignored (RFC 9110 section 7.8): Node would hand it to the `upgrade` listeners
   * without its body.
   */
  get upgrade(): boolean {
    this.#course ??= this.#decide()
    return this.#course !== "handled"
  }

  set upgrade(value: unknown) {
    this.asksForUpgrade = value
  }

  #decide(): Course {
    const connection = this.#connection
    if (connection === undefined) return this.asksForUpgrade === true && isWebSocket(this) ? "upgraded" : "handled"
    const isUpgrade = this.asksForUpgrade === true
      && (this.method === "CONNECT" || (isWebSocket(this) && !connection.isBusy && connection.canUpgrade()))
    // The parser drops what has arrived behind an `Upgrade`.
    if (!connection.accept({ isLast: this.asksForUpgrade === true && !isUpgrade })) return "refused"
    if (isUpgrade) return "upgraded"
    this.#body = new BodyDeadline(connection.bounds.requestRate)
    connection.body = this.#body
    return "handled"
  }

  /** Delays `100 Continue` until the body is read: an early refusal does not ask for it. */
  awaitInvitation(invite: () => void): void {
    this.#body?.pause()
    this.#invite = invite
  }

  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    const hasRoom = super.push(chunk, encoding)
    const body = this.#body
    if (body === undefined) return hasRoom
    if (chunk instanceof Uint8Array) {
      body.arrived(chunk.length)
      if (!hasRoom) body.pause()
    } else if (this.#connection?.body === body) {
      this.#connection.body = undefined
    }
    return hasRoom
  }

  override _read(size: number): void {
    this.#invite?.()
    this.#invite = undefined
    this.#body?.resume()
    super._read(size)
  }
}

/** What Node returns to its parser from the callback of a header, to stop reading there. */
const stopReading = 2

/**
 * Stops Deno's parser at a refused request. Deno returns 0 for every upgrade, and its parser stops only where it has seen
 * an `Upgrade` itself. Otherwise it reads on, and the upgrade behind that throws an error, which ends the process.
 */
export const stopAtRefused = (socket: Net.Socket): void => {
  const parser = isDeno && Predicate.hasProperty(socket, "parser") ? socket.parser : undefined
  if (!Predicate.hasProperty(parser, "onIncoming") || !Predicate.isFunction(parser.onIncoming)) return
  const { onIncoming } = parser
  parser.onIncoming = (request: unknown, ...parameters: ReadonlyArray<unknown>): unknown => {
    const course: unknown = Reflect.apply(onIncoming, parser, [request, ...parameters])
    return request instanceof Request && request.isRefused ? stopReading : course
  }
}
