/**
 * A request's body as it comes, and answers for clients that are still sending it.
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Headers from "@effect/platform/Headers"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Http from "node:http"

/** How much is read of a body that nobody needs any more, so that its client gets to the answer. */
export interface Patience {
  /** In bytes. */
  readonly maxDiscarded: number
  /** For how long no byte at all may come. */
  readonly silence: Duration.DurationInput
}

/** Node itself ends a request that takes longer than five minutes in all. */
const defaultPatience: Patience = { maxDiscarded: 1024 * 1024 * 1024, silence: "30 seconds" }

/**
 * The body's bytes. Fails with `RequestError` where the client goes away.
 *
 * Not the request's own stream, which breaks the connection when it is left before its end.
 */
export const stream = (
  request: HttpServerRequest.HttpServerRequest
): Stream.Stream<Uint8Array, HttpServerError.RequestError> =>
  NodeStream.fromReadable(
    () => NodeHttpServerRequest.toIncomingMessage(request),
    (cause) => new HttpServerError.RequestError({ request, reason: "Decode", cause }),
    { closeOnDone: false }
  )

/** How long the body is, in bytes, where that is known beforehand. */
export const length = (request: HttpServerRequest.HttpServerRequest): number | undefined => {
  const header = request.headers["content-length"]
  return header === undefined ? undefined : Number(header)
}

/** Reads on and drops what comes. Closes the connection where that does not end. */
const discard = (incoming: Http.IncomingMessage, { maxDiscarded, silence }: Patience): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (incoming.destroyed || incoming.readableEnded) return Effect.void
    let discarded = 0
    const close = Effect.sync(() => incoming.socket.destroySoon())
    const end = Effect.async<void>((resume) => {
      const onData = (chunk: Uint8Array) => {
        discarded += chunk.length
        if (discarded > maxDiscarded) resume(close)
      }
      const onEnd = () => resume(Effect.void)
      incoming.on("data", onData).once("end", onEnd).once("close", onEnd).once("error", onEnd).resume()
      return Effect.sync(() => {
        incoming.off("data", onData).off("end", onEnd).off("close", onEnd).off("error", onEnd)
      })
    })
    const silent = Effect.gen(function*() {
      let last = -1
      while (last !== discarded) {
        last = discarded
        yield* Effect.sleep(silence)
      }
      yield* close
    })
    return Effect.raceFirst(end, silent)
  })

/**
 * The same response, sent at once and all of it, but ended only when the client has sent its whole body: many clients
 * look for the answer only then, and a connection that is closed while they write, or before they have read, takes the
 * answer with it. One that sends too much, or nothing for too long, has the connection closed behind the answer.
 */
export const answerEarly = (
  request: HttpServerRequest.HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse,
  patience: Patience = defaultPatience
): HttpServerResponse.HttpServerResponse => {
  const incoming = NodeHttpServerRequest.toIncomingMessage(request)
  const { body, headers, status } = response
  if (incoming.complete || (body._tag !== "Uint8Array" && body._tag !== "Empty")) return response
  const bytes = body._tag === "Empty" ? new Uint8Array() : body.body
  return HttpServerResponse.stream(
    Stream.concat(Stream.succeed(bytes), Stream.execute(discard(incoming, patience))),
    // The platform leaves a length of 0 out.
    { status, headers: Headers.set(headers, "content-length", String(bytes.length)) }
  )
}
