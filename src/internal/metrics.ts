/**
 * What operators see of an init image: sizes, formats and outcomes.
 */
import * as Error from "@effect/platform/Error"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import { dual } from "effect/Function"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as Option from "effect/Option"
import { isInitImageError } from "../InitImageError.js"

export const outcomes = Metric.counter("session_init_image_outcomes", {
  description: "Init images by outcome: persisted, none, the tag of what was wrong, or how it ended otherwise",
  incremental: true
})

/** Tagging makes a new metric, and finds its state by hashing all of it: so once for each outcome. */
const outcomesBy = new Map<string, typeof outcomes>()
const outcomeCounter = (outcome: string): typeof outcomes => {
  let counter = outcomesBy.get(outcome)
  if (counter === undefined) {
    counter = Metric.tagged(outcomes, "outcome", outcome)
    outcomesBy.set(outcome, counter)
  }
  return counter
}

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

/** What has been persisted; `undefined` where that has not been tried, and nothing is to be recorded. */
type ImageOf<A> = (a: A) => Option.Option<Persisted> | undefined

/** Records a whole persist in the metrics, and its outcome in the current span. */
export const observe: {
  <A>(imageOf: ImageOf<A>): <E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(effect: Effect.Effect<A, E, R>, imageOf: ImageOf<A>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(effect: Effect.Effect<A, E, R>, imageOf: ImageOf<A>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) => {
      const start = clock.unsafeCurrentTimeNanos()
      return Effect.onExit(effect, (exit) => {
        const image = Exit.isSuccess(exit) ? imageOf(exit.value) : Option.none()
        if (image === undefined) return Effect.void
        const outcome = Exit.isFailure(exit)
          ? outcomeOfCause(exit.cause)
          : Option.isSome(image)
          ? "persisted"
          : "none"
        const seconds = Number(clock.unsafeCurrentTimeNanos() - start) / 1e9
        return Effect.flatMap(FiberRef.get(FiberRef.currentMetricLabels), (labels) => {
          outcomeCounter(outcome).unsafeUpdate(1, labels)
          durationSeconds.unsafeUpdate(seconds, labels)
          if (Option.isNone(image)) return Effect.annotateCurrentSpan({ outcome })
          bytes.unsafeUpdate(image.value.bytes, labels)
          return Effect.annotateCurrentSpan({ outcome, format: image.value.mime, bytes: image.value.bytes })
        })
      })
    })
)

/** Without the stack trace that a span takes of its caller: it costs more than the rest of the span. */
export const withSpan = (name: string): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> => {
  const options = { captureStackTrace: false }
  return (effect) => Effect.withSpan(effect, name, options)
}
