/**
 * What the server counts and measures, for Prometheus to fetch.
 */
import * as Metrics from "@effect/opentelemetry/Metrics"
import * as Resource from "@effect/opentelemetry/Resource"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus"
import * as Effect from "effect/Effect"

/** The text format of Prometheus. */
const contentType = "text/plain; version=0.0.4; charset=utf-8"

/** Names and labels as they are: no prefix, no timestamps, nothing about the exporter itself. */
const serializer = new PrometheusSerializer(undefined, false, undefined, true, true)

/**
 * Adds `GET /metrics` to the router: all metrics of the process, those of Effect's fibers among them, in the text format
 * of Prometheus. They have the names and labels that the library gives them, but that the name of a counter ends in
 * `_total`. They are sizes, numbers and outcomes, and anybody who reaches the server may read them.
 */
export const route: Effect.Effect<void, never, HttpApiBuilder.Router> = Effect.gen(function*() {
  const router = yield* HttpApiBuilder.Router
  const producer = yield* Metrics.makeProducer
  yield* router.get(
    "/metrics",
    Effect.promise(() => producer.collect()).pipe(
      Effect.map(({ resourceMetrics }) =>
        HttpServerResponse.text(serializer.serialize(resourceMetrics), { contentType })
      )
    )
  )
}).pipe(Effect.provide(Resource.layerEmpty))
