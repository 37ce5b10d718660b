/**
 * What operators see of an init image: sizes, formats and outcomes.
 */
import * as Error from "@effect/platform/Error"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as Option from "effect/Option"
import { isInitImageError } from "../InitImageError.js"

export const outcomes = Metric.counter("session_init_image_outcomes", {
  description: "Init images by outcome: persisted, none, the tag of what was wrong, or how it ended otherwise",
  incremental: true
})

export const bytes = Metric.histogram(
  "session_init_image_bytes",
  MetricBoundaries.exponential({ start: 1024, factor: 4, count: 10 }),
  "Size of the init images that were persisted, in bytes"
)

export const durationSeconds = Metric.histogram(
  "session_init_image_duration_seconds",
  MetricBoundaries.exponential({ start: 0.0005, factor: 2, count: 16 }),
  "Time taken to persist or refuse an init image, in seconds"
)

/** A closed vocabulary: whatever a caller's own source failed with is `SourceError`. */
const outcomeOfCause = (cause: Cause.Cause<unknown>): string =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => Cause.isInterruptedOnly(cause) ? "Interrupted" : "Defect",
    onSome: (error) =>
      isInitImageError(error) ? error._tag : Error.isPlatformError(error) ? "PlatformError" : "SourceError"
  })

interface Persisted {
  readonly mime: string
  readonly bytes: number
}

/** Records a whole persist in the metrics, and its outcome in the current span. */
export const observe: {
  <A>(imageOf: (a: A) => Option.Option<Persisted>): <E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(effect: Effect.Effect<A, E, R>, imageOf: (a: A) => Option.Option<Persisted>): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  imageOf: (a: A) => Option.Option<Persisted>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(Clock.currentTimeNanos, (start) =>
    Effect.onExit(
      effect,
      Effect.fnUntraced(function*(exit) {
        const image = Exit.isSuccess(exit) ? imageOf(exit.value) : Option.none()
        const outcome = Exit.isFailure(exit)
          ? outcomeOfCause(exit.cause)
          : Option.isSome(image)
          ? "persisted"
          : "none"
        const end = yield* Clock.currentTimeNanos
        yield* Metric.update(Metric.tagged(outcomes, "outcome", outcome), 1)
        yield* Metric.update(durationSeconds, Number(end - start) / 1e9)
        yield* Effect.annotateCurrentSpan("outcome", outcome)
        if (Option.isSome(image)) {
          yield* Metric.update(bytes, image.value.bytes)
          yield* Effect.annotateCurrentSpan({ format: image.value.mime, bytes: image.value.bytes })
        }
      })
    )))
