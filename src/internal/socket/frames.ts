/**
 * A WebSocket's frames, one at a time and in order.
 *
 * `Socket.runRaw` runs its handler once per frame as it arrives, so frames handled by effects overtake each other and
 * accumulate. Here they wait in a queue, and the socket is paused while the queue is full.
 *
 * Pings are not queued: a client may ask for a sign of life while its image is being written.
 */
import * as Socket from "@effect/platform/Socket"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type { LazyArg } from "effect/Function"
import * as Mailbox from "effect/Mailbox"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import * as protocol from "../protocol.js"
import { bytesReadOf } from "./bytesRead.js"

/** The queue is full at either bound. Frames that are in transit when the socket is paused are still added. */
const maxQueuedFrames = 16
const maxQueuedLength = 1024 * 1024

/** Bytes of answers that the client may leave unread before the next frame waits for it. */
const maxUnsentBytes = 1024 * 1024
const unsentInterval = "20 millis"

const pong = JSON.stringify(protocol.pongMessage)

/** A text frame as a string, a binary frame as bytes. */
export type Frame = string | Uint8Array

/** One client's connection. */
export interface Frames {
  /** Takes the next frame, once the client has read most of its answers. */
  readonly take: Effect.Effect<Frame>
  /** {@link take}, which fails once no byte has arrived for the timeout. */
  readonly takeWithin: <E>(idleTimeout: Duration.DurationInput, onIdle: LazyArg<E>) => Effect.Effect<Frame, E>
  readonly send: (message: unknown) => Effect.Effect<void>
  /** Starts the closing handshake. Frames that arrive later are dropped. */
  readonly close: (code: number) => Effect.Effect<void>
  /** Ends with the connection. */
  readonly closed: Effect.Effect<void>
  /** How much has arrived, without pings and pongs: bytes if the socket counts them, frames otherwise. */
  readonly received: Effect.Effect<number>
}

/** The part of `ws` that a browser's WebSocket lacks. */
interface PausableWebSocket {
  readonly bufferedAmount: number
  readonly pause: () => void
  readonly resume: () => void
}

/** The control frames of `ws` (RFC 6455 section 5.5). Each listener gets a frame's payload. */
interface PingingWebSocket {
  readonly ping: () => void
  readonly on: (event: "ping" | "pong", listener: (payload: Uint8Array) => void) => void
}

const isPausable = (u: unknown): u is PausableWebSocket =>
  Predicate.hasProperty(u, "pause") && Predicate.isFunction(u.pause)
  && Predicate.hasProperty(u, "resume") && Predicate.isFunction(u.resume)
  && Predicate.hasProperty(u, "bufferedAmount") && Predicate.isNumber(u.bufferedAmount)

const isPinging = (u: unknown): u is PingingWebSocket =>
  Predicate.hasProperty(u, "ping") && Predicate.isFunction(u.ping)
  && Predicate.hasProperty(u, "on") && Predicate.isFunction(u.on)

/** The bytes of a client's frame around a short payload: its header and its mask. */
const frameOverhead = 6

const isPing = (text: string): boolean => {
  // Spares all other messages the parser.
  if (text.length > protocol.maxPingBytes || !text.includes(protocol.pingType)) return false
  try {
    const message: unknown = JSON.parse(text.replace(/^\uFEFF/, ""))
    return Predicate.hasProperty(message, "type") && message.type === protocol.pingType
  } catch {
    return false
  }
}

/** `Closing` is final: the socket is read on for the closing handshake, and its frames are dropped. */
type ReadState = "Reading" | "Paused" | "Closing"

/**
 * Reads the socket while the scope is open, and then closes it. Sends a ping after each `keepAlive`, from the client's
 * first frame on.
 */
export const make = Effect.fnUntraced(function*(
  socket: Socket.Socket,
  keepAlive: Duration.Duration
): Effect.fn.Return<Frames, never, Scope.Scope> {
  const runFork = yield* FiberSet.makeRuntime()
  const write = yield* socket.writer
  const queue = yield* Mailbox.make<Frame>()
  const closed = yield* Deferred.make<void>()
  let ws: PausableWebSocket | undefined
  let pinging: PingingWebSocket | undefined
  let readState: ReadState = "Reading"
  let queuedFrames = 0
  let queuedLength = 0
  let receivedFrames = 0
  /** In pings and pongs, which are no progress of an image or a message. */
  let ignoredBytes = 0
  const bytesRead = bytesReadOf(socket)
  const received = bytesRead === undefined
    ? Effect.sync(() => receivedFrames)
    : Effect.map(bytesRead, (bytes) => bytes - ignoredBytes)

  const setReadState = (next: ReadState) => {
    if (readState === "Closing" || readState === next) return
    if (next === "Paused") ws?.pause()
    else if (readState === "Paused") ws?.resume()
    readState = next
  }

  const regulate = () => {
    if (ws === undefined) return
    const isFull = queuedFrames >= maxQueuedFrames || queuedLength >= maxQueuedLength
    setReadState(isFull ? "Paused" : "Reading")
  }

  /** `runRaw` provides the `ws` object to its handler's effect only. */
  const findWebSocket = Effect.map(Effect.serviceOption(Socket.WebSocket), (found) => {
    if (Option.isSome(found) && isPausable(found.value)) ws = found.value
    if (Option.isSome(found) && isPinging(found.value) && pinging === undefined) {
      pinging = found.value
      for (const event of ["ping", "pong"] as const) pinging.on(event, ({ length }) => ignore(length))
    }
    regulate()
  })

  const ignore = (payloadBytes: number): void => {
    ignoredBytes += payloadBytes + frameOverhead
  }

  const hasUnsent = () => ws !== undefined && ws.bufferedAmount > maxUnsentBytes

  // The socket's writer waits forever once the connection has ended: the fibers end with the scope.
  const post = (data: string | Socket.CloseEvent): void => void runFork(Effect.interruptible(write(data)))

  /** A client that does not read its answers gets no more of them: pings do not wait in the queue for that. */
  const answerPing = (ping: string): void => {
    ignore(Buffer.byteLength(ping))
    if (readState !== "Closing" && !hasUnsent()) post(pong)
  }

  yield* socket.runRaw((frame) => {
    if (typeof frame === "string" && isPing(frame)) {
      answerPing(frame)
      return ws === undefined ? findWebSocket : undefined
    }
    receivedFrames += 1
    if (readState === "Closing") return undefined
    queuedFrames += 1
    queuedLength += frame.length
    queue.unsafeOffer(frame)
    if (ws === undefined) return findWebSocket
    return regulate()
  }).pipe(
    Effect.interruptible,
    Effect.exit,
    Effect.ensuring(Deferred.succeed(closed, void 0)),
    Effect.forkScoped
  )

  if (Duration.isFinite(keepAlive)) {
    const ping = Effect.sync(() => pinging?.ping())
    yield* Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.delay(ping, keepAlive))))
  }

  const awaitClientRead = Effect.suspend(() =>
    hasUnsent() ? Effect.repeat(Effect.sleep(unsentInterval), { while: hasUnsent }) : Effect.void
  )

  const dequeue = Effect.map(queue.take, (frame) => {
    queuedFrames -= 1
    queuedLength -= frame.length
    regulate()
    return frame
  })

  // The queue is never ended, so that `orDie` only narrows the type.
  const take = Effect.zipRight(awaitClientRead, Effect.orDie(dequeue))

  const takeWithin = <E>(idleTimeout: Duration.DurationInput, onIdle: LazyArg<E>): Effect.Effect<Frame, E> => {
    const hasGrown = Effect.flatMap(
      received,
      (before) => Effect.map(Effect.zipRight(Effect.sleep(idleTimeout), received), (after) => after > before)
    )
    const failWhenIdle = Effect.zipRight(Effect.repeat(hasGrown, { while: (grown) => grown }), Effect.failSync(onIdle))
    return Effect.suspend(() => queuedFrames > 0 && !hasUnsent() ? take : Effect.raceFirst(take, failWhenIdle))
  }

  return {
    take,
    takeWithin,
    send: (message) => Effect.sync(() => post(JSON.stringify(message))),
    close: (code) =>
      Effect.sync(() => {
        setReadState("Closing")
        post(new Socket.CloseEvent(code))
      }),
    closed: Deferred.await(closed),
    received
  }
})
