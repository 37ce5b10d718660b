import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as MetricKeyType from "effect/MetricKeyType"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { Empty } from "../../../src/InitImageError.js"
import * as telemetry from "../../../src/internal/metrics.js"
import { diskError } from "../../utils/spools.js"
import { withSpans } from "../../utils/tracing.js"

const image = { mime: "image/png", bytes: 5000 }

/** Metrics are the process's: each test has tags of its own. */
const stateOf = (name: string, tag: string, outcome?: string) => {
  const found = Metric.unsafeSnapshot().find(({ metricKey: { name: actual, tags } }) =>
    actual === name && tags.some(({ value }) => value === tag) &&
    (outcome === undefined || tags.some(({ key, value }) => key === "outcome" && value === outcome))
  )
  return found?.metricState as { readonly count: number; readonly sum: number } | undefined
}

const keyOf = (name: string) => Metric.unsafeSnapshot().find(({ metricKey }) => metricKey.name === name)?.metricKey

describe("telemetry", () => {
  it.effect("counts, weighs and times what was persisted, by the fiber's own tags", () =>
    Effect.gen(function*() {
      const persisting = Effect.as(Effect.sleep("2 seconds"), Option.some(image)).pipe(
        telemetry.observe((persisted) => persisted),
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

  it.effect("tells a span how it ended, and of what format and size the image is", () =>
    Effect.gen(function*() {
      const persisting = telemetry.observe(Effect.succeed(image), Option.some)
      const [span] = yield* withSpans(Effect.withSpan(persisting, "own"))
      assert.deepStrictEqual([...span?.attributes ?? []], [
        ["outcome", "persisted"],
        ["format", "image/png"],
        ["bytes", 5000]
      ])
    }))

  it.effect("makes spans by their names, which have no stack trace even of what fails", () =>
    Effect.gen(function*() {
      const spans = yield* withSpans(Effect.exit(telemetry.withSpan("own")(new Empty())))
      assert.deepStrictEqual(spans.map(({ attributes, name }) => [name, [...attributes]]), [["own", []]])
    }))

  it.effect("weighs nothing where there was no image", () =>
    Effect.gen(function*() {
      const none = telemetry.observe(Effect.succeedNone, (persisted) => persisted)
      const [span] = yield* withSpans(Effect.withSpan(Effect.tagMetrics(none, "tenant", "none"), "own"))
      assert.deepInclude(stateOf("session_init_image_outcomes", "none", "none"), { count: 1 })
      assert.deepInclude(stateOf("session_init_image_duration_seconds", "none"), { count: 1 })
      assert.isUndefined(stateOf("session_init_image_bytes", "none"))
      assert.deepStrictEqual([...span?.attributes ?? []], [["outcome", "none"]])
    }))

  it.effect("records nothing of what was not to be persisted", () =>
    Effect.gen(function*() {
      const other = telemetry.observe(Effect.succeed(1), () => undefined)
      const [span] = yield* withSpans(Effect.withSpan(Effect.tagMetrics(other, "tenant", "other"), "own"))
      assert.isUndefined(stateOf("session_init_image_outcomes", "other"))
      assert.isUndefined(stateOf("session_init_image_duration_seconds", "other"))
      assert.deepStrictEqual([...span?.attributes ?? []], [])
    }))

  it.effect("names every end in words of its own", () =>
    Effect.gen(function*() {
      const ends: ReadonlyArray<readonly [string, Effect.Effect<never, unknown>]> = [
        ["Empty", new Empty()],
        ["PlatformError", Effect.fail(diskError("open", "EIO"))],
        ["SourceError", Effect.fail("secret")],
        ["Defect", Effect.die("secret")],
        ["Interrupted", Effect.interrupt]
      ]
      for (const [outcome, end] of ends) {
        const observed = Effect.tagMetrics(telemetry.observe(end, () => undefined), "tenant", "ends")
        const [span] = yield* withSpans(Effect.exit(Effect.withSpan(observed, "own")))
        assert.deepInclude(stateOf("session_init_image_outcomes", "ends", outcome), { count: 1 })
        assert.strictEqual(span?.attributes.get("outcome"), outcome)
      }
    }))

  it.effect("has metrics that say what they are, with boundaries for what there is", () =>
    Effect.gen(function*() {
      yield* telemetry.observe(Effect.succeed(image), Option.some)
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
})
