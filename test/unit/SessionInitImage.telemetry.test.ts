import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as Tracer from "effect/Tracer"
import { inspect } from "node:util"
import { InitImagePayload, SessionInitImage } from "../../src/index.js"
import { makeDirectory } from "../utils/directory.js"
import { png } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { withSpans } from "../utils/tracing.js"

const payload = payloadOf("image/png", png({ width: 3, height: 2 }), "private-name.png")

const small = payloadOf("image/png", png())

const text = (spans: ReadonlyArray<Tracer.Span>) =>
  spans.map((span) => {
    const exit = span.status._tag === "Ended" ? span.status.exit : Exit.void
    const shown = Exit.isFailure(exit) ? Cause.pretty(exit.cause).split("\n")[0] : "succeeded"
    return `${span.name} ${inspect([...span.attributes])} ${
      inspect({ ...span, status: undefined, parent: undefined })
    } ${shown}`
  }).join("\n")

/** By outcome, whatever other tags a test of the same process has added. */
const counts = Effect.map(
  Effect.sync(() => Metric.unsafeSnapshot()),
  (pairs) => {
    const counts: Record<string, number> = {}
    for (const { metricKey, metricState } of pairs) {
      if (metricKey.name === "session_init_image_outcomes" && "count" in metricState) {
        const outcome = metricKey.tags.find((tag) => tag.key === "outcome")
        if (outcome === undefined) continue
        counts[outcome.value] = (counts[outcome.value] ?? 0) + Number(metricState.count)
      }
    }
    return counts
  }
)

const operations = (directory: string) =>
  [
    ["persist", Effect.asVoid(SessionInitImage.persist(small, { directory }))],
    ["persistScoped", Effect.asVoid(SessionInitImage.persistScoped(small, { directory }))],
    [
      "persistStream",
      Effect.asVoid(SessionInitImage.persistStream({ mime: "image/png" }, Stream.make(png()), { directory }))
    ],
    [
      "persistStreamScoped",
      Effect.asVoid(SessionInitImage.persistStreamScoped({ mime: "image/png" }, Stream.make(png()), { directory }))
    ]
  ] as const

describe("telemetry", () => {
  it.scopedLive("has a span for each public operation, with format, bytes and outcome", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      for (const [name, effect] of operations(directory)) {
        const spans = yield* withSpans(effect)
        assert.deepStrictEqual(spans.map((span) => span.name), [`SessionInitImage.${name}`])
        const [span] = spans
        assert.strictEqual(span?.attributes.get("outcome"), "persisted")
        assert.strictEqual(span?.attributes.get("format"), "image/png")
        assert.strictEqual(span?.attributes.get("bytes"), png().length)
      }
      const steps = yield* withSpans(Effect.gen(function*() {
        const decoded = Option.getOrThrow(yield* InitImagePayload.decode(payload))
        yield* SessionInitImage.checkSize(decoded)
        const verified = SessionInitImage.decode(decoded).pipe(SessionInitImage.verify(decoded))
        yield* Stream.run(verified, SessionInitImage.sink(decoded, { directory }))
        yield* Effect.scoped(Effect.flatMap(
          SessionInitImage.sinkScoped(decoded, { directory }),
          (sink) => Stream.run(verified, sink)
        ))
      }))
      assert.deepStrictEqual(
        new Set(steps.map((span) => span.name)),
        new Set([
          "InitImagePayload.decode",
          "SessionInitImage.checkSize",
          "SessionInitImage.decode",
          "SessionInitImage.verify",
          "SessionInitImage.sink",
          "SessionInitImage.sinkScoped"
        ])
      )
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("has no path, name or part of the image in its spans, however an operation ends", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const attempts = [
        SessionInitImage.persist(payload, { directory }),
        SessionInitImage.persist(payload, { directory: `${directory}/missing` }),
        SessionInitImage.persist({ ...payload, mime: "secret/mime" }, { directory }),
        SessionInitImage.persist({ ...payload, data: "private data" }, { directory }),
        SessionInitImage.persist({ ...payload, mime: "image/webp" }, { directory }),
        ...["image/png", "secret/mime"].map((mime) =>
          Effect.asSome(
            Stream.run(
              Stream.make(png()),
              SessionInitImage.sink({ mime, name: "private" }, {
                directory: `${directory}/missing`
              })
            )
          )
        )
      ]
      for (const attempt of attempts) {
        const shown = text(yield* withSpans(Effect.exit(attempt)))
        assert.match(shown, /SessionInitImage\.(?:persist|sink)/)
        for (const secret of [directory, "private", "secret", payload.data.slice(0, 12), "missing"]) {
          assert.notInclude(shown, secret)
        }
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("counts every outcome once, and records the size and the duration", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const before = yield* counts
      const sizes = yield* Metric.value(SessionInitImage.imageBytes)
      const durations = yield* Metric.value(SessionInitImage.durationSeconds)
      const stream = (source: Stream.Stream<Uint8Array, unknown>) =>
        SessionInitImage.persistStream({ mime: "image/png" }, source, { directory })
      const outcomes: Record<
        string,
        Effect.Effect<unknown, unknown, Effect.Effect.Context<ReturnType<typeof stream>>>
      > = {
        persisted: SessionInitImage.persist(payload, { directory }),
        none: SessionInitImage.persist(null, { directory }),
        InvalidPayload: SessionInitImage.persist(1, { directory }),
        TooLarge: SessionInitImage.persist({ mime: "image/png", data: "A".repeat(50_000_000) }, { directory }),
        PlatformError: SessionInitImage.persist(payload, { directory: `${directory}/missing` }),
        SourceError: stream(Stream.fail("secret")),
        Interrupted: stream(Stream.fromEffect(Effect.interrupt)),
        Defect: stream(Stream.dieMessage("secret"))
      }
      for (const [outcome, effect] of Object.entries(outcomes)) {
        yield* Effect.exit(effect)
        const now = yield* counts
        assert.strictEqual(now[outcome], (before[outcome] ?? 0) + 1, outcome)
      }
      const after = yield* counts
      const sum = (counts: Record<string, number>) => Object.values(counts).reduce((a, b) => a + b, 0)
      assert.strictEqual(sum(after) - sum(before), Object.keys(outcomes).length)
      const sizesAfter = yield* Metric.value(SessionInitImage.imageBytes)
      assert.strictEqual(sizesAfter.count - sizes.count, 1)
      assert.strictEqual(sizesAfter.sum - sizes.sum, png({ width: 3, height: 2 }).length)
      const durationsAfter = yield* Metric.value(SessionInitImage.durationSeconds)
      assert.strictEqual(durationsAfter.count - durations.count, Object.keys(outcomes).length)
      assert.isAbove(durationsAfter.sum, durations.sum)
    }).pipe(Effect.provide(NodeContext.layer)))
})
