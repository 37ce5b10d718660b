/**
 * `GET /metrics`, for Prometheus.
 */
import * as Metrics from "@effect/opentelemetry/Metrics"
import * as Resource from "@effect/opentelemetry/Resource"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus"
import * as Effect from "effect/Effect"

/** The Prometheus text format. */
const contentType = "text/plain; version=0.0.4; charset=utf-8"

/** Without a prefix, timestamps, or metrics about the exporter. */
const serializer = new PrometheusSerializer(undefined, false, undefined, true, true)

/**
 * Adds `GET /metrics` to the router. It answers with all metrics of the process, including those of Effect's fibers, in
 * the Prometheus text format. Names and labels are the library's; a counter's name gets the suffix `_total`.
 *
 * The route has no access control: metrics contain only sizes, counts and outcomes.
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
