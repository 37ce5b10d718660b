/**
 * A request's body as it comes, and answers for clients that are still sending it.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { IncomingMessage } from "node:http"
import { turn } from "../eventLoop.js"

/** How long to wait for a client, and how much to read of what nobody needs any more. */
export interface Patience {
  /** In bytes. */
  readonly maxDiscarded: number
  /** For how long no byte at all may come. */
  readonly stallTimeout: Duration.DurationInput
}

/** Node itself ends a request that takes longer than five minutes in all. */
export const defaultPatience: Patience = { maxDiscarded: 1024 * 1024 * 1024, stallTimeout: "30 seconds" }

/** A body that is being read. */
export interface RequestBody {
  /** Its bytes; to be run once. Fails with `RequestError` where the client goes away or says nothing for too long. */
  readonly stream: Stream.Stream<Uint8Array, HttpServerError.RequestError>
  /** How long it is, in bytes, where that is known beforehand. */
  readonly length: number | undefined
}

/** How long the body is, in bytes, where that is known beforehand. */
const lengthOf = (request: HttpServerRequest.HttpServerRequest): number | undefined => {
  const header = request.headers["content-length"]
  // Node has checked it; the request of a web handler may say anything.
  return header !== undefined && /^\d+$/.test(header) ? Number(header) : undefined
}

/**
 * Without the request's URL, which the error's message would have: in it are the client's name for the file and its
 * session's id, and a message goes to logs and spans.
 */
const requestError = (request: HttpServerRequest.HttpServerRequest, description: string) =>
  new HttpServerError.RequestError({ request: request.modify({ url: "" }), reason: "Decode", description })

/**
 * Not the request's own stream, which breaks the connection when it is left before its end, and with it the way for the
 * answer.
 */
const fromIncomingMessage = (
  incoming: IncomingMessage,
  stallTimeout: Duration.DurationInput,
  onStalled: Effect.Effect<never, HttpServerError.RequestError>,
  onGone: Effect.Effect<never, HttpServerError.RequestError>
): Stream.Stream<Uint8Array, HttpServerError.RequestError> =>
  Stream.fromPull(Effect.gen(function*() {
    type Pulled = Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<HttpServerError.RequestError>>
    const clock = yield* Effect.clock
    // Of a clock that nobody sets; no less than a timer can wait.
    const now = () => Number(clock.unsafeCurrentTimeNanos()) / 1e6
    const timeout = Math.max(1, Duration.toMillis(stallTimeout))
    let waiting: { readonly since: number; readonly resume: (pulled: Pulled) => void } | undefined

    const take = (): Pulled | undefined => {
      const chunk: Uint8Array | null = incoming.read()
      if (chunk !== null) return Effect.succeed(Chunk.of(chunk))
      if (incoming.readableEnded) return Effect.fail(Option.none())
      return incoming.destroyed ? Effect.mapError(onGone, Option.some) : undefined
    }
    const finish = (pull: () => Pulled | undefined) => {
      if (waiting === undefined) return
      const { resume } = waiting
      const pulled = pull()
      if (pulled === undefined) return
      waiting = undefined
      resume(pulled)
    }
    const wake = () => finish(take)
    yield* Effect.acquireRelease(
      Effect.sync(() => incoming.on("readable", wake).on("end", wake).on("close", wake).on("error", wake)),
      () => Effect.sync(() => incoming.off("readable", wake).off("end", wake).off("close", wake).off("error", wake))
    )

    // What keeps the client waiting here, a full disk queue or a spool, is not its fault.
    const left = () => waiting === undefined ? timeout : waiting.since + timeout - now()
    const watch = Effect.gen(function*() {
      while (true) {
        yield* Effect.sleep(left())
        // Nor is a busy event loop: it comes to its timers before it comes to what has arrived meanwhile.
        yield* turn
        if (left() <= 0) finish(() => Effect.mapError(onStalled, Option.some))
      }
    })
    // Only routers let what runs in them be interrupted.
    yield* Effect.forkScoped(Effect.interruptible(watch))

    return Effect.suspend(() =>
      take() ?? Effect.async((resume) => {
        waiting = { since: now(), resume }
        return Effect.sync(() => {
          waiting = undefined
        })
      })
    )
  }))

/**
 * How many connections are read on in a turn of the event loop. With a hundred in each, a turn takes so long that a new
 * connection waits for 0.6 s: there is one accepted in a turn.
 */
const dropsPerTurn = 8

/** What waits for its turn to drop something, in order. */
const drops = new Set<() => void>()
let immediate: NodeJS.Immediate | undefined

const runDrops = () => {
  immediate = undefined
  let left = dropsPerTurn
  for (const drop of drops) {
    drops.delete(drop)
    drop()
    left -= 1
    if (left === 0) break
  }
  if (drops.size > 0) immediate ??= setImmediate(runDrops)
}

const inTurn = (drop: () => void): void => {
  drops.add(drop)
  immediate ??= setImmediate(runDrops)
}

/**
 * Reads on and drops what comes, in turns: as fast as it comes, libuv would take 2 MiB of every connection before
 * anybody else has a turn. Closes the connection where that does not end.
 */
const discard = (incoming: IncomingMessage, { maxDiscarded, stallTimeout }: Patience): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (incoming.destroyed || incoming.readableEnded) return Effect.void
    let discarded = 0
    const close = Effect.sync(() => incoming.socket.destroySoon())
    const end = Effect.async<void>((resume) => {
      const drop = () => {
        const chunk: Uint8Array | null = incoming.read()
        // Only from here on does a stream have to say again that there is something to read.
        if (chunk === null) return
        discarded += chunk.length
        if (discarded > maxDiscarded) finish(close)
        else inTurn(drop)
      }
      const onReadable = () => inTurn(drop)
      const onEnd = () => finish(Effect.void)
      const stop = () => {
        drops.delete(drop)
        incoming.off("readable", onReadable).off("end", onEnd).off("close", onEnd).off("error", onEnd)
      }
      const finish = (how: Effect.Effect<void>) => {
        stop()
        resume(how)
      }
      incoming.on("readable", onReadable).on("end", onEnd).on("close", onEnd).on("error", onEnd)
      onReadable()
      return Effect.sync(stop)
    })
    const silent = Effect.gen(function*() {
      let last: number
      do {
        last = discarded
        yield* Effect.sleep(stallTimeout)
      } while (last !== discarded)
      yield* close
    })
    return Effect.raceFirst(Effect.interruptible(end), Effect.interruptible(silent))
  })

/**
 * The same response, sent at once and all of it, but ended only when the client has sent its whole body: many clients
 * look for the answer only then, and a connection that is closed while they write, or before they have read, takes the
 * answer with it. One that sends too much, or nothing for too long, has the connection closed behind the answer.
 */
const answerEarly = (
  incoming: IncomingMessage,
  response: HttpServerResponse.HttpServerResponse,
  patience: Patience
): HttpServerResponse.HttpServerResponse => {
  const { body } = response
  if (incoming.complete || (body._tag !== "Uint8Array" && body._tag !== "Empty")) return response
  const bytes = body._tag === "Empty" ? new Uint8Array() : body.body
  const held = Stream.concat(Stream.succeed(bytes), Stream.execute(discard(incoming, patience)))
  return response.pipe(
    // Without a type that the response does not have, which the platform would give to a stream.
    HttpServerResponse.setBody(HttpBody.stream(held, body.contentType ?? "")),
    // The platform leaves a length of 0 out.
    HttpServerResponse.setHeader("content-length", String(bytes.length))
  )
}

/**
 * Begins to read the body. From then on the request may be answered at any time, whatever of the body is still on its
 * way: the response that this fiber comes to is held open until the client has sent it.
 *
 * A server that is not node's has ways of its own for that; there the body is the request's stream.
 */
export const open = (
  request: HttpServerRequest.HttpServerRequest,
  patience: Patience = defaultPatience
): Effect.Effect<RequestBody> => {
  const incoming = request.source
  const length = lengthOf(request)
  const stalled = () => requestError(request, "the client has sent nothing for too long")
  if (!(incoming instanceof IncomingMessage)) {
    const isEmpty = Predicate.hasProperty(incoming, "body") && incoming.body === null
    // The stream of a request without a body fails.
    const bytes = isEmpty ? Stream.empty : request.stream
    return Effect.succeed({ stream: Stream.timeoutFail(bytes, stalled, patience.stallTimeout), length })
  }
  let left = patience
  const onStalled = Effect.suspend(() => {
    left = { ...patience, maxDiscarded: 0, stallTimeout: 0 }
    return Effect.fail(stalled())
  })
  const onGone = Effect.suspend(() => Effect.fail(requestError(request, "the client has gone away")))
  return Effect.as(
    HttpApp.appendPreResponseHandler((_, response) => Effect.sync(() => answerEarly(incoming, response, left))),
    { stream: fromIncomingMessage(incoming, patience.stallTimeout, onStalled, onGone), length }
  )
}
