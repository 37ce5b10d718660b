/** A server that exports its spans and metrics to OpenTelemetry. */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as HttpTraceContext from "@effect/platform/HttpTraceContext"
import type { MetricReader } from "@opentelemetry/sdk-metrics"
import type { SpanProcessor } from "@opentelemetry/sdk-trace-base"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { InitImageHttp } from "session-init-image"

export interface Exporters {
  /** For example a `BatchSpanProcessor` with an `OTLPTraceExporter`. */
  readonly spans: SpanProcessor
  /** For example a `PeriodicExportingMetricReader` with an `OTLPMetricExporter`. */
  readonly metrics: MetricReader
}

/**
 * Replaces the platform's span of a request, which contains the URL and all headers, and with them file names and session
 * ids. A route's error is answered inside the span, because its message can contain the URL too.
 */
const withRouteSpan = <E, R>(route: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const { headers, method } = yield* HttpServerRequest.HttpServerRequest
    const { path } = (yield* HttpRouter.RouteContext).route
    return yield* route.pipe(
      Effect.catchAll((error) =>
        HttpServerRespondable.toResponseOrElse(error, HttpServerResponse.empty({ status: 500 }))
      ),
      Effect.tap(({ status }) => Effect.annotateCurrentSpan("http.response.status_code", status)),
      Effect.withSpan(`${method} ${path}`, {
        kind: "server",
        parent: Option.getOrUndefined(HttpTraceContext.fromHeaders(headers)),
        attributes: { "http.request.method": method, "http.route": path },
        captureStackTrace: false
      })
    )
  })

const router = HttpRouter.empty.pipe(
  HttpRouter.put(
    "/sessions/:sessionId/image",
    Effect.map(
      InitImageHttp.fromRequest(),
      (image) => HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
    )
  ),
  HttpRouter.use(withRouteSpan)
)

export const layer = ({ metrics, spans }: Exporters) =>
  HttpServer.serve(router).pipe(
    HttpMiddleware.withTracerDisabledWhen(constTrue),
    Layer.provide(NodeSdk.layer(() => ({
      resource: { serviceName: "clips", serviceVersion: "1.0.0" },
      spanProcessor: spans,
      metricReader: metrics
    })))
  )
