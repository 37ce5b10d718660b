/**
 * A request's body as JSON, in bounded memory, so that a client that sends too much can read why it was refused.
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Buffer, constants } from "node:buffer"
import { InvalidPayload, TooLarge } from "../InitImageError.js"
import * as InitImageLimits from "../InitImageLimits.js"

/** What JSON, a name and an image slightly over the limit may take beyond the largest image's base64 text, in bytes. */
const slack = 1024 * 1024

/**
 * A body over the limit is read on to its end and dropped, as many clients look for the answer only once they have sent
 * everything. 1 GiB of it; whoever is still sending then has the connection closed behind the answer.
 */
const maxDiscarded = 1024 * 1024 * 1024

/** The size of what a base64 text of that length holds. */
const decodedSize = (length: number): number => Math.floor(length / 4) * 3

/** A body is one string before it is parsed, so that it may be no longer than one, whatever the limits say. */
const largestText = constants.MAX_STRING_LENGTH

const notJson = new InvalidPayload({ reason: "NotAnObject" })

/** A body over the limit: `complete` where all of it was read. */
export class BodyTooLarge {
  readonly error: TooLarge
  readonly complete: boolean
  constructor(error: TooLarge, complete: boolean) {
    this.error = error
    this.complete = complete
  }
}

/**
 * Reads and parses the body.
 *
 * Fails with `BodyTooLarge` where it is longer than any image within the limits makes it, with `InvalidPayload` where it
 * is not JSON, and with `RequestError` where the client goes away.
 */
export const readJson = Effect.fn("Body.readJson")(function*(request: HttpServerRequest.HttpServerRequest) {
  const maxBytes = yield* InitImageLimits.MaxBytes
  const maxLength = Math.min(Math.ceil(maxBytes / 3) * 4 + slack, largestText)

  const chunks: Array<Uint8Array> = []
  let length = 0
  // Not the request's own stream, which breaks the connection when it is left before its end.
  yield* NodeStream.fromReadable<HttpServerError.RequestError, Uint8Array>(
    () => NodeHttpServerRequest.toIncomingMessage(request),
    (cause) => new HttpServerError.RequestError({ request, reason: "Decode", cause }),
    { closeOnDone: false }
  ).pipe(
    Stream.runForEachWhile((chunk) =>
      Effect.sync(() => {
        length += chunk.length
        if (length <= maxLength) chunks.push(chunk)
        else chunks.length = 0
        return length <= maxLength + maxDiscarded
      })
    )
  )
  if (length > maxLength) {
    const limit = Math.min(maxBytes, decodedSize(largestText))
    return yield* Effect.fail(
      new BodyTooLarge(new TooLarge({ bytes: decodedSize(length), limit }), length <= maxLength + maxDiscarded)
    )
  }
  const text = Buffer.concat(chunks, length).toString()
  return yield* Effect.try({ try: (): unknown => JSON.parse(text), catch: () => notJson })
})
