/**
 * Metrics and spans: sizes, formats and outcomes, never contents, names or paths.
 */
import * as Error from "@effect/platform/Error"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as Option from "effect/Option"
import { isInitImageError } from "../InitImageError.js"

export const outcomes = Metric.counter("session_init_image_outcomes", {
  description: "Init images by outcome: persisted, none, the tag of the error, or the way it ended otherwise",
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

/** The names of outcomes are a closed vocabulary; a failure of the caller's own source is `SourceError`. */
const outcomeNames = [
  "persisted",
  "none",
  "InvalidPayload",
  "InvalidMime",
  "RemoteImage",
  "TooManyImages",
  "UnsupportedEncoding",
  "TooLarge",
  "Empty",
  "BadBase64",
  "ContentMismatch",
  "MalformedImage",
  "TooManyPixels",
  "Busy",
  "PlatformError",
  "SourceError",
  "Interrupted",
  "Defect"
] as const

type Outcome = (typeof outcomeNames)[number]

/** Made once: a tagged metric finds its state by hashing all of its tags. */
const outcomeCounters = new Map(
  outcomeNames.map((outcome) => [outcome, Metric.tagged(outcomes, "outcome", outcome)] as const)
)

const outcomeOfCause = (cause: Cause.Cause<unknown>): Outcome =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => Cause.isInterruptedOnly(cause) ? "Interrupted" : "Defect",
    onSome: (error) =>
      isInitImageError(error) ? error._tag : Error.isPlatformError(error) ? "PlatformError" : "SourceError"
  })

interface Persisted {
  readonly mime: string
  readonly bytes: number
}

/** The image in a result; `undefined` where no image was looked for, which is not recorded. */
type ImageOf<A> = (a: A) => Option.Option<Persisted> | undefined

/** Without the caller's stack trace, which costs more than the rest of the span. */
const spanOptions = { captureStackTrace: false }

/** Runs the effect in a span of this name, without the caller's stack trace. */
export const withSpan =
  (name: string): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> => (effect) =>
    Effect.withSpan(effect, name, spanOptions)

/** Runs an operation on one image in a span of this name; records its outcome there and in the metrics. */
export const observe = <A>(
  name: string,
  imageOf: ImageOf<A>
): <E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> =>
(effect) =>
  Effect.useSpan(name, spanOptions, (span) =>
    Effect.clockWith((clock) => {
      const start = clock.unsafeCurrentTimeNanos()
      return Effect.onExit(Effect.withParentSpan(effect, span), (exit) => {
        const image = Exit.isSuccess(exit) ? imageOf(exit.value) : Option.none()
        if (image === undefined) return Effect.void
        const outcome = Exit.isFailure(exit) ? outcomeOfCause(exit.cause) : Option.isSome(image) ? "persisted" : "none"
        const seconds = Number(clock.unsafeCurrentTimeNanos() - start) / 1e9
        span.attribute("outcome", outcome)
        return Effect.map(FiberRef.get(FiberRef.currentMetricLabels), (labels) => {
          outcomeCounters.get(outcome)?.unsafeUpdate(1, labels)
          durationSeconds.unsafeUpdate(seconds, labels)
          if (Option.isNone(image)) return
          bytes.unsafeUpdate(image.value.bytes, labels)
          span.attribute("format", image.value.mime)
          span.attribute("bytes", image.value.bytes)
        })
      })
    }))

/** Bytes reserved for images that are being persisted, in all spools of the process. */
export const inFlightBytes = Metric.gauge("session_init_image_spool_in_flight_bytes", {
  description: "Bytes reserved for init images that are being persisted"
})

export const waiting = Metric.gauge("session_init_image_spool_waiting", {
  description: "Init images that wait for bytes in flight to be given back"
})

export const keptBytes = Metric.gauge("session_init_image_spool_kept_bytes", {
  description: "Bytes of the init images that are persisted and not yet removed"
})

export const keptFiles = Metric.gauge("session_init_image_spool_kept_files", {
  description: "Init images that are persisted and not yet removed"
})

export const sweptFiles = Metric.counter("session_init_image_spool_swept_files", {
  description: "Files of dead processes that were removed",
  incremental: true
})

/**
 * Changes a spool's metric by a difference, without the running fiber's labels: another fiber, with other labels, takes
 * the same amount off, and both figures would be wrong.
 */
export const add = (metric: Metric.Metric.Gauge<number> | Metric.Metric.Counter<number>, difference: number): void =>
  metric.unsafeModify(difference, [])
