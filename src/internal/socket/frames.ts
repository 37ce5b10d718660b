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
import type * as Net from "node:net"
import { linger } from "../nodeServer/closing.js"
import * as protocol from "../protocol.js"
import { connectionOf, webSocketOf } from "./connection.js"
import { FrameMeter, type UnfinishedMessage } from "./frameMeter.js"
import type { Pace } from "./pace.js"

/** The queue is full at either bound. Frames that are in transit when the socket is paused are still added. */
const maxQueuedFrames = 16
const maxQueuedLength = 1024 * 1024

/** Bytes of answers that the client may leave unread before the next frame waits for it. */
const maxUnsentBytes = 1024 * 1024
const unsentInterval = "20 millis"

/** How long a client may take to answer the close frame, in milliseconds; `ws` waits for 30 seconds. */
const closingTimeout = 5000

/** A message of at most this many bytes needs no admission before it is complete. */
const smallMessageBytes = 64 * 1024

/** How long answers may wait for further ones while the client has more messages in the queue, in milliseconds. */
const corkTime = 1

const pong = JSON.stringify(protocol.pongMessage)

/** A text frame as a string, a binary frame as bytes. */
export type Frame = string | Uint8Array

/**
 * A message of which the first bytes have arrived. The socket is paused until {@link Frames.proceed}: what the client
 * sends next is kept in memory until the message is complete.
 */
export interface LargeMessage {
  readonly _tag: "Large"
  readonly isText: boolean
  /** Its size, or the largest one if the client has not said how large it becomes. */
  readonly bytes: number
}

/** A message above the limit. The socket stays paused. */
export interface TooLargeMessage {
  readonly _tag: "TooLarge"
  readonly isText: boolean
  readonly bytes: number
}

export type Incoming = Frame | LargeMessage | TooLargeMessage

/** One client's connection. */
export interface Frames {
  /** Takes the next frame, once the client has read most of its answers. */
  readonly take: Effect.Effect<Incoming>
  /** {@link take}, which fails once the client has no time left. */
  readonly takeWithin: <E>(pace: Pace, onLate: LazyArg<E>) => Effect.Effect<Incoming, E>
  /** Reads on behind a {@link LargeMessage}. */
  readonly proceed: Effect.Effect<void>
  /** Whether binary frames of an image are expected, which are then no large messages. */
  readonly expectBytes: (expected: boolean) => void
  readonly send: (message: unknown) => Effect.Effect<void>
  /** Starts the closing handshake. Frames that arrive later are dropped. */
  readonly close: (code: number) => Effect.Effect<void>
  /** Ends with the connection. */
  readonly closed: Effect.Effect<void>
}

export interface Options {
  /** The time between two pings of the server. */
  readonly keepAlive: Duration.Duration
  /** The largest message, in bytes. */
  readonly maxMessageBytes: number
}

/** The part of `ws` that a browser's WebSocket lacks. */
interface PausableWebSocket {
  readonly bufferedAmount: number
  readonly pause: () => void
  readonly resume: () => void
}

/** The control frames of `ws` (RFC 6455 section 5.5). */
interface PingingWebSocket {
  readonly ping: () => void
}

/** The part of `ws` that sends. */
interface SendingWebSocket {
  readonly send: (text: string) => void
  readonly close: (code: number) => void
}

const isPausable = (u: unknown): u is PausableWebSocket =>
  Predicate.hasProperty(u, "pause") && Predicate.isFunction(u.pause)
  && Predicate.hasProperty(u, "resume") && Predicate.isFunction(u.resume)
  && Predicate.hasProperty(u, "bufferedAmount") && Predicate.isNumber(u.bufferedAmount)

const isPinging = (u: unknown): u is PingingWebSocket =>
  Predicate.hasProperty(u, "ping") && Predicate.isFunction(u.ping)

const isSending = (u: unknown): u is SendingWebSocket =>
  Predicate.hasProperty(u, "send") && Predicate.isFunction(u.send)
  && Predicate.hasProperty(u, "close") && Predicate.isFunction(u.close)

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

const lengthOf = (incoming: Incoming): number =>
  typeof incoming === "string" || incoming instanceof Uint8Array ? incoming.length : 0

/**
 * Reads the socket while the scope is open, and then closes it. Sends a ping after each `keepAlive`, from the opening on
 * if the socket's connection is known, and otherwise from the client's first frame on.
 */
export const make = Effect.fnUntraced(function*(
  socket: Socket.Socket,
  { keepAlive, maxMessageBytes }: Options
): Effect.fn.Return<Frames, never, Scope.Scope> {
  const runFork = yield* FiberSet.makeRuntime()
  const write = yield* socket.writer
  const queue = yield* Mailbox.make<Incoming>()
  const closed = yield* Deferred.make<void>()
  const connection = connectionOf(socket)
  let ws: PausableWebSocket | undefined
  let pinging: PingingWebSocket | undefined
  let sending: SendingWebSocket | undefined
  let meter: FrameMeter | undefined
  let readState: ReadState = "Reading"
  let queuedFrames = 0
  let queuedLength = 0
  /** Payload bytes of messages other than pings. */
  let receivedBytes = 0
  let pingBytes = 0
  /** A large message waits for {@link Frames.proceed}. */
  let isHeld = false
  let expectsBytes = false

  const received = (): number => meter === undefined ? receivedBytes : meter.payloadBytes - pingBytes

  const setReadState = (next: ReadState) => {
    if (readState === "Closing" || readState === next) return
    if (next === "Paused") ws?.pause()
    else if (readState === "Paused") ws?.resume()
    readState = next
  }

  const regulate = () => {
    if (ws === undefined) return
    const isFull = queuedFrames >= maxQueuedFrames || queuedLength >= maxQueuedLength
    setReadState(isFull || isHeld ? "Paused" : "Reading")
  }

  const enqueue = (incoming: Incoming): void => {
    queuedFrames += 1
    queuedLength += lengthOf(incoming)
    queue.unsafeOffer(incoming)
  }

  const adopt = (found: unknown): void => {
    if (isPausable(found)) ws = found
    if (isPinging(found)) pinging = found
    regulate()
  }

  /** `runRaw` provides the `ws` object to its handler's effect only. */
  const findWebSocket = Effect.map(Effect.serviceOption(Socket.WebSocket), (found) => {
    if (Option.isSome(found) && ws === undefined) adopt(found.value)
  })

  const hasUnsent = () => ws !== undefined && ws.bufferedAmount > maxUnsentBytes

  let isCorked = false
  /** Sends the answers until `schedule` calls back with one system call. */
  const cork = (schedule: (flush: () => void) => unknown): void => {
    if (connection === undefined || isCorked) return
    isCorked = true
    connection.cork()
    schedule(() => {
      isCorked = false
      connection.uncork()
    })
  }

  const post = (text: string): void => {
    if (queuedFrames > 0) cork((flush) => setTimeout(flush, corkTime))
    if (sending !== undefined) return sending.send(text)
    // The socket's writer waits forever once the connection has ended: the fibers end with the scope.
    runFork(Effect.interruptible(write(text)))
  }

  const postClose = (code: number): void => {
    if (sending !== undefined) return sending.close(code)
    runFork(Effect.interruptible(write(new Socket.CloseEvent(code))))
  }

  /** A client that does not read its answers gets no more of them: pings do not wait in the queue for that. */
  const answerPing = (ping: string): void => {
    pingBytes += Buffer.byteLength(ping)
    if (readState === "Closing" || hasUnsent()) return
    cork(setImmediate)
    post(pong)
  }

  /** Reads no further message, and closes the connection behind the close frame. Drops what still arrives. */
  const discard = (connection: Net.Socket): void => {
    connection.removeAllListeners("data").resume().end()
    linger(connection)
  }

  const largestUnreported = ({ isText }: UnfinishedMessage): number =>
    expectsBytes && !isText ? protocol.maxFrameBytes : smallMessageBytes

  /** Reports a large message once, behind all messages that have arrived before it. */
  const watch = (connection: Net.Socket): void => {
    const frameMeter = new FrameMeter()
    meter = frameMeter
    let reportedMessage = 0
    let reportedTag: "Large" | "TooLarge" = "Large"
    connection.on("data", (chunk: Uint8Array) => {
      frameMeter.push(chunk)
      const { messageCount, unfinished: message } = frameMeter
      if (message === undefined || message.bytes <= largestUnreported(message)) return
      const tag = message.bytes > maxMessageBytes ? "TooLarge" : "Large"
      if (reportedMessage === messageCount && reportedTag === tag) return
      reportedMessage = messageCount
      reportedTag = tag
      if (readState === "Closing") return discard(connection)
      isHeld = true
      const { bytes, isLast, isText } = message
      enqueue({ _tag: tag, isText, bytes: tag === "Large" && !isLast ? maxMessageBytes : bytes })
      regulate()
    })
  }

  // Before the first byte is read, and behind the listener of `ws`.
  const onOpen = Effect.sync(() => {
    const found = connection === undefined ? undefined : webSocketOf(connection)
    if (connection === undefined || !isPausable(found) || !isSending(found)) return
    sending = found
    adopt(found)
    // Bun reads frames itself: its connection has no listener of `ws`, and emits no data.
    if (connection.listenerCount("data") > 0) watch(connection)
  })

  yield* socket.runRaw((frame) => {
    if (typeof frame === "string" && isPing(frame)) {
      answerPing(frame)
      return ws === undefined ? findWebSocket : undefined
    }
    receivedBytes += frame.length
    if (readState === "Closing") return undefined
    enqueue(frame)
    if (ws === undefined) return findWebSocket
    return regulate()
  }, { onOpen }).pipe(
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

  const dequeue = Effect.map(queue.take, (incoming) => {
    queuedFrames -= 1
    queuedLength -= lengthOf(incoming)
    regulate()
    return incoming
  })

  // The queue is never ended, so that `orDie` only narrows the type.
  const take = Effect.zipRight(awaitClientRead, Effect.orDie(dequeue))

  const takeWithin = <E>(pace: Pace, onLate: LazyArg<E>): Effect.Effect<Incoming, E> =>
    Effect.clockWith((clock) => {
      if (queuedFrames > 0 && !hasUnsent()) return take
      const now = () => Number(clock.unsafeCurrentTimeNanos()) / 1e6
      const left = () => pace.left(now(), received())
      pace.start(now(), received())
      const late = Effect.suspend(() => Effect.sleep(left())).pipe(
        Effect.repeat({ while: () => left() > 0 }),
        Effect.zipRight(Effect.failSync(onLate))
      )
      const takeInTime = Effect.map(take, (incoming) => {
        left()
        return incoming
      })
      return Effect.raceFirst(takeInTime, late)
    })

  return {
    take,
    takeWithin,
    expectBytes: (expected) => {
      expectsBytes = expected
    },
    proceed: Effect.sync(() => {
      isHeld = false
      regulate()
    }),
    send: (message) => Effect.sync(() => post(JSON.stringify(message))),
    close: (code) =>
      Effect.sync(() => {
        setReadState("Closing")
        postClose(code)
        if (connection === undefined) return
        if (isHeld) return discard(connection)
        const timer = setTimeout(() => discard(connection), closingTimeout).unref()
        connection.once("close", () => clearTimeout(timer))
      }),
    closed: Deferred.await(closed)
  }
})
