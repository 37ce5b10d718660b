/**
 * The body of a request, and responses to clients that are still sending it.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import { identity } from "effect/Function"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { IncomingMessage } from "node:http"
import { turn } from "../eventLoop.js"
import { check, durationProblem } from "../options.js"
import type { Reader, Step } from "../persist/reader.js"
import { answer, ended, fromStream, type Source, type Stop } from "../persist/sources.js"
import { drains } from "../process.js"
import { isBun, isDeno } from "../runtime.js"
import * as webBody from "./webBody.js"

/** The bounds on a client that sends a body. */
export interface Bounds {
  /** Bytes that are read on and dropped behind an early response. */
  readonly maxDrainedBytes: number
  /** How long a client may send no byte at all while the server waits for one. */
  readonly stallTimeout: Duration.DurationInput
}

/** Node itself ends a request after five minutes in all. */
export const defaultBounds: Bounds = { maxDrainedBytes: 1024 * 1024 * 1024, stallTimeout: "30 seconds" }

/** A body that is being read. */
export interface RequestBody {
  /** The bytes; to be run once. Fails with `RequestError` where the client goes away or stalls. */
  readonly use: <A, E, R>(
    read: (source: Source<Uint8Array, HttpServerError.RequestError, never>) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  /** The declared length in bytes, if there is one. */
  readonly length: number | undefined
}

const declaredLength = (request: HttpServerRequest.HttpServerRequest): number | undefined => {
  const header = request.headers["content-length"]
  // Checked by node; the request of a web handler may have any text there.
  return header !== undefined && /^\d+$/.test(header) ? Number(header) : undefined
}

/**
 * An error without the request's URL, which the message would show: it holds the client's name for the file and the
 * session's id, and messages go to logs and spans.
 */
const requestError = (request: HttpServerRequest.HttpServerRequest, description: string) =>
  new HttpServerError.RequestError({ request: request.modify({ url: "" }), reason: "Decode", description })

/** Ends a wait for the client's next bytes after a time without any. */
class IdleTimer {
  readonly #runtime: Runtime.Runtime<never>
  readonly #clock: Clock.Clock
  readonly #timeout: number
  readonly #onTimeout: () => void
  #since: number
  #start: NodeJS.Immediate | undefined
  #fiber: Fiber.RuntimeFiber<void> | undefined

  /**
   * Starts in the next turn of the event loop, by when a small body has arrived: a timer of Effect's clock takes a fiber.
   */
  constructor(
    runtime: Runtime.Runtime<never>,
    clock: Clock.Clock,
    timeout: Duration.DurationInput,
    onTimeout: () => void
  ) {
    this.#runtime = runtime
    this.#clock = clock
    // A timer waits for a millisecond at least.
    this.#timeout = Math.max(1, Duration.toMillis(timeout))
    this.#onTimeout = onTimeout
    this.#since = this.#now()
    this.#start = setImmediate(() => {
      this.#start = undefined
      this.#fiber = Runtime.runFork(this.#runtime, Effect.interruptible(this.#run))
    })
  }

  #now(): number {
    return Number(this.#clock.unsafeCurrentTimeNanos()) / 1e6
  }

  #remaining(): number {
    return this.#since + this.#timeout - this.#now()
  }

  restart(): void {
    this.#since = this.#now()
  }

  stop(): void {
    clearImmediate(this.#start)
    this.#fiber?.unsafeInterruptAsFork(FiberId.none)
  }

  readonly #run: Effect.Effect<void> = Effect.gen(this, function*() {
    while (true) {
      yield* Effect.sleep(this.#remaining())
      // Timers run before the event loop reads the bytes that have arrived meanwhile.
      yield* turn
      if (this.#remaining() <= 0) return this.#onTimeout()
    }
  })
}

/**
 * A node request as a source: chunks go to the reader as they arrive, and the request is paused while the reader cannot
 * take more.
 *
 * Not the request's own stream: leaving it before its end breaks the connection, and with it the way for the response.
 */
const fromIncomingMessage = (
  incoming: IncomingMessage,
  stallTimeout: Duration.DurationInput,
  onStalled: Effect.Effect<never, HttpServerError.RequestError>,
  onGone: Effect.Effect<never, HttpServerError.RequestError>
): Source<Uint8Array, HttpServerError.RequestError, never> => {
  /** Pushes chunks as they arrive, until the reader stops or the body ends. */
  const receive = <E extends object>(
    reader: Reader<Uint8Array, unknown, E>,
    runtime: Runtime.Runtime<never>,
    clock: Clock.Clock
  ) =>
    Effect.async<Stop, E | HttpServerError.RequestError>((resume) => {
      const onData = (chunk: Uint8Array) => {
        timer.restart()
        const step = reader.push(chunk)
        if (step !== "more") finish(answer(step))
      }
      const onEnd = () => finish(ended)
      const onClose = () => finish(incoming.readableEnded ? ended : onGone)
      const detach = () => {
        timer.stop()
        incoming.off("data", onData).off("end", onEnd).off("close", onClose).off("error", onClose).pause()
      }
      const finish = (result: Effect.Effect<Stop, E | HttpServerError.RequestError>) => {
        detach()
        resume(result)
      }
      // Time that the server itself takes, for a full disk queue or a full spool, does not count: each wait has a timer.
      const timer = new IdleTimer(runtime, clock, stallTimeout, () => finish(onStalled))
      incoming.on("data", onData).on("end", onEnd).on("close", onClose).on("error", onClose).resume()
      return Effect.sync(detach)
    })

  const pump = <E extends object>(
    reader: Reader<Uint8Array, unknown, E>
  ): Effect.Effect<Stop, E | HttpServerError.RequestError> => {
    const step: Step<E> = reader.resume()
    if (step !== "more") return answer(step)
    if (incoming.readableEnded) return ended
    if (incoming.destroyed) return onGone
    return Effect.flatMap(
      Effect.runtime<never>(),
      (runtime) => Effect.clockWith((clock) => receive(reader, runtime, clock))
    )
  }
  return { pump: (reader) => Effect.suspend(() => pump(reader)) }
}

/**
 * Reads and drops the rest of a body, in turns of the event loop: libuv would otherwise read 2 MiB of each connection
 * before it serves another. Closes the connection behind a client that sends too much, or nothing for too long.
 */
const drain = (incoming: IncomingMessage, { maxDrainedBytes, stallTimeout }: Bounds): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (incoming.destroyed || incoming.readableEnded) return Effect.void
    let drained = 0
    const close = Effect.sync(() => incoming.socket.destroySoon())
    const end = Effect.async<void>((resume) => {
      const drainChunk = () => {
        const chunk: Uint8Array | null = incoming.read()
        // A stream announces further bytes only after a read has returned null.
        if (chunk === null) return
        drained += chunk.length
        if (drained > maxDrainedBytes) finish(close)
        else drains.add(drainChunk)
      }
      const onReadable = () => drains.add(drainChunk)
      const onEnd = () => finish(Effect.void)
      const detach = () => {
        drains.delete(drainChunk)
        incoming.off("readable", onReadable).off("end", onEnd).off("close", onEnd).off("error", onEnd)
      }
      const finish = (result: Effect.Effect<void>) => {
        detach()
        resume(result)
      }
      incoming.on("readable", onReadable).on("end", onEnd).on("close", onEnd).on("error", onEnd)
      onReadable()
      return Effect.sync(detach)
    })
    const stalled = Effect.gen(function*() {
      let last: number
      do {
        last = drained
        yield* Effect.sleep(stallTimeout)
      } while (last !== drained)
      yield* close
    })
    return Effect.raceFirst(Effect.interruptible(end), Effect.interruptible(stalled))
  })

/** The bytes of a response that is in memory. */
const bytesOf = ({ body }: HttpServerResponse.HttpServerResponse): Uint8Array | undefined =>
  body._tag === "Uint8Array" ? body.body : body._tag === "Empty" ? new Uint8Array() : undefined

/**
 * The response, sent at once and whole, but ended only when the client has sent its body: many clients look for the
 * response only then, and a connection that is closed while they write, or before they have read, takes the response
 * with it. The length is its end for a client that stops sending to read it, such as curl.
 */
const hold = (
  response: HttpServerResponse.HttpServerResponse,
  bytes: Uint8Array,
  drain: Effect.Effect<void>,
  hasLength: boolean
): HttpServerResponse.HttpServerResponse =>
  response.pipe(
    // Drops the length.
    HttpServerResponse.setBody(HttpBody.empty),
    HttpServerResponse.setBody(HttpBody.stream(
      Stream.concat(Stream.succeed(bytes), Stream.execute(drain)),
      // An empty type: the platform gives a stream one otherwise.
      response.headers["content-type"] ?? ""
    )),
    // The platform leaves a length of 0 out.
    hasLength ? HttpServerResponse.setHeader("content-length", String(bytes.length)) : identity
  )

const answerEarly = (
  incoming: IncomingMessage,
  response: HttpServerResponse.HttpServerResponse,
  bounds: Bounds
): HttpServerResponse.HttpServerResponse => {
  const bytes = bytesOf(response)
  if (incoming.complete || bytes === undefined) return response
  return hold(response, bytes, drain(incoming, bounds), true)
}

const answerWebEarly = (
  body: webBody.WebBody,
  response: HttpServerResponse.HttpServerResponse,
  bounds: Bounds
): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  const bytes = bytesOf(response)
  if (body.isEnded() || bytes === undefined) return Effect.succeed(response)
  const drain = body.drain(bounds)
  // `Bun.serve` drops the length of a stream, and reads on behind a response that has ended. `Response` takes no stream
  // for a status without a body (Fetch standard, section 2.2.3).
  if (isBun || [204, 205, 304].includes(response.status)) {
    return Effect.as(Effect.forkDaemon(drain), response)
  }
  // Hyper, the server of Deno, ends with the last byte of a length, and closes the connection.
  return Effect.succeed(hold(response, bytes, drain, !isDeno))
}

/** A body that a middleware has read is gone: the client is not to blame. */
const readBefore = Effect.dieMessage(
  "The request's body was read before: put the handler before parsers of the body such as express.json()"
)

/**
 * Starts to read a body. From then on the request may be answered at any time: the response that this fiber makes is held
 * open until the client has sent the rest of its body. A body that was read before is a defect.
 */
export const open = (
  request: HttpServerRequest.HttpServerRequest,
  bounds: Bounds = defaultBounds
): Effect.Effect<RequestBody> => {
  check("RequestOptions", durationProblem("stallTimeout", bounds.stallTimeout))
  const incoming = request.source
  const length = declaredLength(request)
  const { stallTimeout } = bounds
  let current = bounds
  const onStalled = Effect.suspend(() => {
    // The client gets the response and nothing more is read.
    current = { maxDrainedBytes: 0, stallTimeout: 0 }
    return Effect.fail(requestError(request, "the client has sent nothing for too long"))
  })
  const onGone = Effect.suspend(() => Effect.fail(requestError(request, "the client has gone away")))
  const respond = (
    change: (response: HttpServerResponse.HttpServerResponse) => Effect.Effect<HttpServerResponse.HttpServerResponse>
  ) => HttpApp.appendPreResponseHandler((_, response) => Effect.suspend(() => change(response)))

  if (incoming instanceof IncomingMessage) {
    if (incoming.readableDidRead) return readBefore
    const source = fromIncomingMessage(incoming, stallTimeout, onStalled, onGone)
    return Effect.as(
      respond((response) => Effect.succeed(answerEarly(incoming, response, current))),
      { use: (read) => read(source), length }
    )
  }

  const useStream = (stream: Stream.Stream<Uint8Array, HttpServerError.RequestError>): RequestBody => {
    const timely = Stream.timeoutTo(stream, stallTimeout, Stream.fromEffect(onStalled))
    return {
      use: (read) => Effect.scopedWith((scope) => Effect.flatMap(Scope.extend(fromStream(timely), scope), read)),
      length
    }
  }
  const body = webBody.open(incoming, onGone)
  if (body === "used") return readBefore
  if (body === undefined) return Effect.succeed(useStream(request.stream))
  // The platform's stream of a request without a body fails.
  if (body === null) return Effect.succeed(useStream(Stream.empty))
  return Effect.as(
    respond((response) => answerWebEarly(body, response, current)),
    useStream(body.bytes)
  )
}
