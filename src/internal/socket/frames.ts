/**
 * A WebSocket's frames one at a time and in their order.
 *
 * `Socket.runRaw` runs its handler once per frame as each comes in, so frames that are handled by effects overtake each
 * other and pile up. Here they wait in a queue instead, and the socket is paused while too much is waiting: what a
 * client sends faster than it can be handled stays with the client.
 */
import * as Socket from "@effect/platform/Socket"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Mailbox from "effect/Mailbox"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"

/** The socket is paused from either of these on. A frame in transit, and what came with it, may still be added. */
const maxWaitingFrames = 16
const maxWaitingLength = 1024 * 1024

/** Nothing more is handled while this much of the answers, in bytes, has not been read by the client. */
const maxUnsentBytes = 1024 * 1024
const unsentInterval = "20 millis"

/** A text frame as a string, a binary frame as bytes. */
export type Frame = string | Uint8Array

/** One client's connection. */
export interface Frames {
  /** The next frame, as soon as the client has read most of what it was sent. */
  readonly take: Effect.Effect<Frame>
  readonly send: (message: unknown) => Effect.Effect<void>
  /** Starts the closing handshake; whatever comes after it is dropped. */
  readonly close: (code: number) => Effect.Effect<void>
  /** Ends when the connection has. */
  readonly closed: Effect.Effect<void>
  /** How many frames have come by now. */
  readonly received: Effect.Effect<number>
}

/** What `ws` has beyond a browser's WebSocket. */
interface PausableWebSocket {
  readonly bufferedAmount: number
  readonly pause: () => void
  readonly resume: () => void
}

const isPausable = (u: unknown): u is PausableWebSocket =>
  Predicate.hasProperty(u, "pause") && Predicate.isFunction(u.pause)
  && Predicate.hasProperty(u, "resume") && Predicate.isFunction(u.resume)
  && Predicate.hasProperty(u, "bufferedAmount") && Predicate.isNumber(u.bufferedAmount)

/** Reads the socket as long as the scope is open, and then closes it. */
export const make = Effect.fnUntraced(function*(
  socket: Socket.Socket
): Effect.fn.Return<Frames, never, Scope.Scope> {
  const runFork = yield* FiberSet.makeRuntime()
  const write = yield* socket.writer
  const inbox = yield* Mailbox.make<Frame>()
  const closed = yield* Deferred.make<void>()
  let ws: PausableWebSocket | undefined
  let waitingFrames = 0
  let waitingLength = 0
  let received = 0
  let paused = false
  let closing = false

  const regulate = () => {
    const full = !closing && (waitingFrames >= maxWaitingFrames || waitingLength >= maxWaitingLength)
    if (ws === undefined || full === paused) return
    paused = full
    if (full) ws.pause()
    else ws.resume()
  }

  /** Only a handler's effect is given the `ws` object, and only in its context. */
  const findWebSocket = Effect.map(Effect.serviceOption(Socket.WebSocket), (found) => {
    if (Option.isSome(found) && isPausable(found.value)) ws = found.value
    regulate()
  })

  yield* socket.runRaw((frame) => {
    received += 1
    if (closing) return undefined
    waitingFrames += 1
    waitingLength += frame.length
    inbox.unsafeOffer(frame)
    if (ws === undefined) return findWebSocket
    return regulate()
  }).pipe(
    Effect.interruptible,
    Effect.exit,
    Effect.ensuring(Deferred.succeed(closed, void 0)),
    Effect.forkScoped
  )

  const clientHasRead = Effect.suspend(function wait(): Effect.Effect<void> {
    return ws === undefined || ws.bufferedAmount <= maxUnsentBytes
      ? Effect.void
      : Effect.zipRight(Effect.sleep(unsentInterval), Effect.suspend(wait))
  })

  const take = Effect.map(inbox.take, (frame) => {
    waitingFrames -= 1
    waitingLength -= frame.length
    regulate()
    return frame
  })

  // A writer waits for ever once the socket is closed: so nobody waits for it, and what still waits ends with the scope.
  const post = (data: string | Socket.CloseEvent) => Effect.sync(() => void runFork(Effect.interruptible(write(data))))

  return {
    // Nobody ends the queue.
    take: Effect.zipRight(clientHasRead, Effect.orDie(take)),
    send: (message) => post(JSON.stringify(message)),
    close: (code) =>
      Effect.suspend(() => {
        closing = true
        regulate()
        return post(new Socket.CloseEvent(code))
      }),
    closed: Deferred.await(closed),
    received: Effect.sync(() => received)
  }
})
