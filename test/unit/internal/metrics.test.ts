import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as MetricKeyType from "effect/MetricKeyType"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { Empty } from "../../../src/InitImageError.js"
import * as metrics from "../../../src/internal/metrics.js"
import { diskError } from "../../utils/spools.js"
import { withSpans } from "../../utils/tracing.js"

const image = { mime: "image/png", bytes: 5000 }

/** Metrics are global to the process, so each test uses its own tags. */
const stateOf = (name: string, tag: string, outcome?: string) => {
  const found = Metric.unsafeSnapshot().find(({ metricKey: { name: actual, tags } }) =>
    actual === name && tags.some(({ value }) => value === tag) &&
    (outcome === undefined || tags.some(({ key, value }) => key === "outcome" && value === outcome))
  )
  return found?.metricState as { readonly count: number; readonly sum: number } | undefined
}

const keyOf = (name: string) => Metric.unsafeSnapshot().find(({ metricKey }) => metricKey.name === name)?.metricKey

describe("metrics", () => {
  it.effect("records the outcome, size and duration of a persisted image, with the fiber's tags", () =>
    Effect.gen(function*() {
      const persisting = Effect.as(Effect.sleep("2 seconds"), Option.some(image)).pipe(
        metrics.observe("persist", (persisted) => persisted),
        Effect.tagMetrics("tenant", "some")
      )
      yield* TestClock.adjust("5 seconds")
      const fiber = yield* Effect.fork(persisting)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      assert.deepInclude(stateOf("session_init_image_outcomes", "some", "persisted"), { count: 1 })
      assert.deepInclude(stateOf("session_init_image_bytes", "some"), { count: 1, sum: 5000 })
      assert.deepInclude(stateOf("session_init_image_duration_seconds", "some"), { count: 1, sum: 2 })
    }))

  it.effect("runs in a span with the outcome, the format and the size of the image", () =>
    Effect.gen(function*() {
      const inner = Effect.as(Effect.withSpan(Effect.void, "inner"), image)
      const [span, child] = yield* withSpans(metrics.observe("persist", Option.some<typeof image>)(inner))
      assert.strictEqual(span?.name, "persist")
      assert.strictEqual(span?.status._tag, "Ended")
      assert.deepStrictEqual([...span?.attributes ?? []], [
        ["outcome", "persisted"],
        ["format", "image/png"],
        ["bytes", 5000]
      ])
      assert.strictEqual(Option.getOrUndefined(child?.parent ?? Option.none()), span)
    }))

  it.effect("makes spans without the stack trace of the caller, also of effects that fail", () =>
    Effect.gen(function*() {
      const spans = yield* withSpans(Effect.exit(metrics.withSpan("own")(new Empty())))
      assert.deepStrictEqual(spans.map(({ attributes, name }) => [name, [...attributes]]), [["own", []]])
      const [observed] = yield* withSpans(
        Effect.exit(metrics.observe("persist", Option.some<typeof image>)(new Empty()))
      )
      assert.deepStrictEqual([...observed?.attributes ?? []], [["outcome", "Empty"]])
    }))

  it.effect("records no size where there was no image", () =>
    Effect.gen(function*() {
      const none = metrics.observe("persist", (persisted: Option.Option<typeof image>) => persisted)(Effect.succeedNone)
      const [span] = yield* withSpans(Effect.tagMetrics(none, "tenant", "without image"))
      assert.deepInclude(stateOf("session_init_image_outcomes", "without image", "none"), { count: 1 })
      assert.deepInclude(stateOf("session_init_image_duration_seconds", "without image"), { count: 1 })
      assert.isUndefined(stateOf("session_init_image_bytes", "without image"))
      assert.deepStrictEqual([...span?.attributes ?? []], [["outcome", "none"]])
    }))

  it.effect("records nothing where no image was looked for", () =>
    Effect.gen(function*() {
      const other = metrics.observe("persist", () => undefined)(Effect.succeed(1))
      const [span] = yield* withSpans(Effect.tagMetrics(other, "tenant", "other"))
      assert.isUndefined(stateOf("session_init_image_outcomes", "other"))
      assert.isUndefined(stateOf("session_init_image_duration_seconds", "other"))
      assert.deepStrictEqual([...span?.attributes ?? []], [])
    }))

  it.effect("names the outcome of every end", () =>
    Effect.gen(function*() {
      const ends: ReadonlyArray<readonly [string, Effect.Effect<never, unknown>]> = [
        ["Empty", new Empty()],
        ["PlatformError", Effect.fail(diskError("open", "EIO"))],
        ["SourceError", Effect.fail("secret")],
        ["Defect", Effect.die("secret")],
        ["Interrupted", Effect.interrupt]
      ]
      for (const [outcome, end] of ends) {
        const observed = Effect.tagMetrics(metrics.observe("persist", () => undefined)(end), "tenant", "ends")
        const [span] = yield* withSpans(Effect.exit(observed))
        assert.deepInclude(stateOf("session_init_image_outcomes", "ends", outcome), { count: 1 })
        assert.strictEqual(span?.attributes.get("outcome"), outcome)
      }
    }))

  it.effect("describes its metrics, and has boundaries for the sizes and durations of images", () =>
    Effect.gen(function*() {
      yield* metrics.observe("persist", Option.some<typeof image>)(Effect.succeed(image))
      const bytes = keyOf("session_init_image_bytes")
      const seconds = keyOf("session_init_image_duration_seconds")
      for (const key of [keyOf("session_init_image_outcomes"), bytes, seconds]) {
        assert.isNotEmpty(Option.getOrElse(key?.description ?? Option.none(), () => ""))
      }
      const boundaries = [bytes, seconds].map((key) =>
        key !== undefined && MetricKeyType.isHistogramKey(key.keyType) ? key.keyType.boundaries.values : []
      )
      const [ofBytes = [], ofSeconds = []] = boundaries
      assert.deepStrictEqual([ofBytes[0], ofBytes.at(-2)], [1024, 1024 * 4 ** 8])
      assert.deepStrictEqual([ofSeconds[0], ofSeconds.at(-2)], [0.0005, 0.0005 * 2 ** 14])
    }))

  it.effect("changes a spool's metrics without the fiber's tags", () =>
    Effect.gen(function*() {
      const before = yield* Metric.value(metrics.keptBytes)
      yield* Effect.tagMetrics(Effect.sync(() => metrics.add(metrics.keptBytes, 5)), "tenant", "spool")
      assert.strictEqual((yield* Metric.value(metrics.keptBytes)).value, before.value + 5)
      assert.isUndefined(stateOf("session_init_image_spool_kept_bytes", "spool"))
      metrics.add(metrics.keptBytes, -5)
      assert.deepStrictEqual(yield* Metric.value(metrics.keptBytes), before)
      const swept = yield* Metric.value(metrics.sweptFiles)
      metrics.add(metrics.sweptFiles, 2)
      assert.strictEqual((yield* Metric.value(metrics.sweptFiles)).count, swept.count + 2)
    }))
})
