/**
 * The body of a web request (Fetch standard, section 3.3), read by hand: the platform's stream cancels it where the image
 * is refused, and a server built on node's breaks the connection then.
 */
import type { RequestError } from "@effect/platform/HttpServerError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"

/** The bounds on what is read and dropped; see `Bounds` of the request's body. */
interface DrainBounds {
  readonly maxDrainedBytes: number
  readonly stallTimeout: Duration.DurationInput
}

/** A body that has one reader. */
export interface WebBody {
  readonly bytes: Stream.Stream<Uint8Array, RequestError>
  /** Reads and drops the rest, within the bounds, and cancels what remains. */
  readonly drain: (bounds: DrainBounds) => Effect.Effect<void>
  readonly isEnded: () => boolean
}

/**
 * Takes the reader of a request of any realm or framework: `null` for a request without a body, `"used"` for one whose
 * body is or was read elsewhere, and `undefined` for one that is no web request.
 */
export const open = (
  request: unknown,
  onGone: Effect.Effect<never, RequestError>
): WebBody | null | "used" | undefined => {
  if (!Predicate.hasProperty(request, "body")) return undefined
  if (request.body === null) return null
  if (!Predicate.hasProperty(request.body, "getReader")) return undefined
  // A `body` with a reader is a stream of bytes (Fetch standard, section 3.2.5).
  const stream = request.body as unknown as ReadableStream<Uint8Array>
  const isUsed = stream.locked || (Predicate.hasProperty(request, "bodyUsed") && request.bodyUsed === true)
  return isUsed ? "used" : read(stream.getReader(), onGone)
}

const read = (
  reader: ReadableStreamDefaultReader<Uint8Array>,
  onGone: Effect.Effect<never, RequestError>
): WebBody => {
  let isEnded = false

  /** The next chunk, or `None` at the end. */
  const next: Effect.Effect<Uint8Array, Option.Option<RequestError>> = Effect.async((resume) => {
    const end = (effect: Effect.Effect<never, Option.Option<RequestError>>) => {
      isEnded = true
      resume(effect)
    }
    reader.read().then(
      ({ done, value }) => done ? end(Effect.fail(Option.none())) : resume(Effect.succeed(value)),
      () => end(Effect.mapError(onGone, Option.some))
    )
  })

  const drop = (limit: number, stallTimeout: Duration.DurationInput): Effect.Effect<void, unknown> =>
    limit < 0
      ? Effect.void
      : Effect.flatMap(
        Effect.timeout(next, stallTimeout),
        (chunk) => drop(limit - chunk.length, stallTimeout)
      )

  // The stream's own error is that of the client, which is gone.
  const cancel = Effect.promise(() => reader.cancel().catch(() => {}))

  return {
    bytes: Stream.repeatEffectOption(next),
    drain: ({ maxDrainedBytes, stallTimeout }) =>
      Effect.ensuring(Effect.interruptible(Effect.ignore(drop(maxDrainedBytes, stallTimeout))), cancel),
    isEnded: () => isEnded
  }
}
