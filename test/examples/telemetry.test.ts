import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  PeriodicExportingMetricReader
} from "@opentelemetry/sdk-metrics"
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { inspect } from "node:util"
import { moveAway } from "../integration/server/testServer.js"
import { png } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { connectRaw, eventually } from "../utils/webSocketClient.js"
import { request, serve } from "./serving.js"
import { layer } from "./telemetry.js"

/** Runs the example's server and collects its exports. */
const serveExported = Effect.gen(function*() {
  const spans = new InMemorySpanExporter()
  const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter: metrics, exportIntervalMillis: 3_600_000 })
  const server = yield* serve(layer({ spans: new SimpleSpanProcessor(spans), metrics: reader }))

  /** Exports the current metrics. */
  const collect = Effect.promise(async () => {
    metrics.reset()
    await reader.forceFlush()
    return metrics.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics).flatMap(({ metrics }) => metrics)
  })
  return {
    ...server,
    spans: () => spans.getFinishedSpans(),
    metrics: collect,
    put: (type: string, body: string | Uint8Array, query = "") =>
      request(`${server.url}/sessions/private-session/image${query}`, {
        method: "PUT",
        body,
        headers: { "content-type": type, "x-private-header": "private" }
      })
  }
})

type Exported = Effect.Effect.Success<typeof serveExported>

const spanOf = (spans: ReadonlyArray<ReadableSpan>, name: string): ReadableSpan => {
  const found = spans.filter((span) => span.name === name)
  assert.lengthOf(found, 1, name)
  return found[0] ?? assert.fail(name)
}

/** Prints the parts of a span that an exporter can send. */
const exported = ({ attributes, events, links, name, resource, status }: ReadableSpan): string =>
  inspect({ attributes, events, links, name, resource: resource.attributes, status }, { depth: null })

/** Values of counters and gauges, counts and sums of histograms, by name and attributes. */
const valuesOf = ({ metrics }: Exported) =>
  Effect.map(
    metrics,
    (metrics): Record<string, number> =>
      Object.fromEntries(metrics.flatMap(({ dataPoints, descriptor }) =>
        dataPoints.flatMap(({ attributes, value }) => {
          const name = [descriptor.name, ...Object.entries(attributes).map((pair) => pair.join("="))].join(" ")
          return typeof value === "number"
            ? [[name, value]]
            : [[`${name} count`, value.count], [`${name} sum`, value.sum ?? 0]]
        })
      ))
  )

const image = png({ width: 3, height: 2 })
const payload = payloadOf("image/png", image, "private-name.png")
const json = "application/json"

describe("the export to OpenTelemetry", () => {
  it.scopedLive("has a span for the route and one for each operation under it, with the outcome", () =>
    Effect.gen(function*() {
      const { put, spans } = yield* serveExported
      assert.strictEqual((yield* put(json, JSON.stringify(payload))).status, 200)
      const route = spanOf(spans(), "PUT /sessions/:sessionId/image")
      const fromRequest = spanOf(spans(), "InitImageHttp.fromRequest")
      assert.lengthOf(spans(), 2)
      assert.deepStrictEqual(route.attributes, {
        "http.request.method": "PUT",
        "http.route": "/sessions/:sessionId/image",
        "http.response.status_code": 200
      })
      assert.deepStrictEqual(fromRequest.attributes, { outcome: "persisted", format: "image/png", bytes: image.length })
      assert.strictEqual(fromRequest.parentSpanContext?.spanId, route.spanContext().spanId)
      assert.include(route.resource.attributes, { "service.name": "clips", "service.version": "1.0.0" })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("has the error of a refused image in its span", () =>
    Effect.gen(function*() {
      const { put, spans } = yield* serveExported
      assert.strictEqual((yield* put("image/webp", image)).status, 415)
      const fromRequest = spanOf(spans(), "InitImageHttp.fromRequest")
      assert.deepStrictEqual(fromRequest.attributes, { outcome: "ContentMismatch" })
      assert.strictEqual(fromRequest.status.message, "The image was sent as webp, but its bytes are png.")
      const route = spanOf(spans(), "PUT /sessions/:sessionId/image")
      assert.include(route.attributes, { "http.response.status_code": 415 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("counts each image once", () =>
    Effect.gen(function*() {
      const server = yield* serveExported
      const before = yield* valuesOf(server)
      yield* server.put(json, JSON.stringify(payload))
      yield* server.put("image/png", image)
      yield* server.put("image/webp", image)
      const after = yield* valuesOf(server)
      const grown = (name: string) => (after[name] ?? 0) - (before[name] ?? 0)
      assert.strictEqual(grown("session_init_image_outcomes outcome=persisted"), 2)
      assert.strictEqual(grown("session_init_image_outcomes outcome=ContentMismatch"), 1)
      assert.strictEqual(grown("session_init_image_bytes count"), 2)
      assert.strictEqual(grown("session_init_image_bytes sum"), 2 * image.length)
      assert.strictEqual(grown("session_init_image_duration_seconds count"), 3)
      assert.isAbove(grown("session_init_image_duration_seconds sum"), 0)
      // A request's file is removed while its answer is being sent.
      const idle = yield* valuesOf(server).pipe(
        Effect.filterOrFail((values) => values["session_init_image_spool_kept_files"] === 0),
        Effect.retry({ schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("10 seconds")
      )
      assert.strictEqual(idle["session_init_image_spool_in_flight_bytes"], 0)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("has no name, no path and no part of an image, for any outcome", () =>
    Effect.gen(function*() {
      const server = yield* serveExported
      const { directory, port, put, spans } = server
      yield* put(json, JSON.stringify(payload))
      yield* put("image/png", image, "?name=private-name.png")
      yield* put("image/private", image, "?name=private-name.png")
      yield* put(json, JSON.stringify({ ...payload, mime: "private/mime" }))
      yield* put(json, JSON.stringify({ ...payload, data: "private data" }))
      yield* put(json, "{\"private\":")
      // A client that disconnects during the upload.
      const client = yield* connectRaw(port)
      client.socket.write(
        "PUT /sessions/private-session/image?name=private-name.png HTTP/1.1\r\nHost: localhost\r\n"
          + "Content-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
      )
      client.socket.write(image.subarray(0, 20))
      yield* Effect.sleep("100 millis")
      client.socket.destroy()
      yield* eventually(() => assert.lengthOf(spans().filter(({ name }) => name.startsWith("PUT ")), 7))
      yield* Effect.scoped(Effect.zipRight(moveAway(directory), put("image/png", image)))

      const all = [...spans().map(exported), inspect(yield* server.metrics, { depth: null })]
      assert.isAbove(spans().length, 12)
      for (const secret of ["private", directory, payload.data.slice(0, 12), "localhost", "x-private-header"]) {
        assert.deepStrictEqual(all.filter((text) => text.includes(secret)), [], secret)
      }
    }).pipe(Effect.provide(NodeContext.layer)))
})
