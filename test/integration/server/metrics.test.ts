import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { InitImageApi } from "../../../src/index.js"
import { Api } from "../../../src/server/app.js"
import * as metrics from "../../../src/server/metrics.js"
import { request, serve } from "../../examples/serving.js"
import { png } from "../../utils/images.js"

const serveMetrics = serve(
  HttpApiBuilder.serve().pipe(
    Layer.provide(HttpApiBuilder.api(Api)),
    Layer.provide(HttpApiBuilder.Router.use(() => metrics.route)),
    Layer.provide(InitImageApi.layer(Api)),
    Layer.provide(InitImageApi.layerSessions()),
    Layer.provide(HttpApiBuilder.Router.Live)
  )
)

interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

interface Metric {
  readonly type: string
  readonly help: string
  readonly samples: ReadonlyArray<Sample>
}

const namePattern = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const samplePattern = /^([^\s{]+)(?:\{(.*)\})? (\S+)$/
const labelPattern = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y
const valuePattern = /^(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]Inf|NaN)$/

const parseLabels = (text: string): Record<string, string> => {
  const labels: Record<string, string> = {}
  labelPattern.lastIndex = 0
  while (labelPattern.lastIndex < text.length) {
    const [whole, name, value] = labelPattern.exec(text) ?? []
    if (whole === undefined || name === undefined || value === undefined) throw new Error(`labels: ${text}`)
    if (name in labels) throw new Error(`a label twice: ${text}`)
    labels[name] = value
  }
  return labels
}

const parseSample = (line: string): Sample => {
  const [, name = "", labels = "", value = ""] = samplePattern.exec(line) ?? []
  if (!namePattern.test(name) || !valuePattern.test(value)) throw new Error(`a sample: ${line}`)
  return { name, labels: parseLabels(labels), value: Number(value.replace("Inf", "Infinity")) }
}

/** The sample names of a metric. */
const sampleNames = (name: string, type: string): ReadonlyArray<string> =>
  type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]

/**
 * Parses the Prometheus text format 0.0.4. Each metric has one `HELP` and one `TYPE` before its samples, which are
 * adjacent and unique. Throws at the first invalid line.
 */
const parse = (text: string): ReadonlyMap<string, Metric> => {
  if (!text.endsWith("\n")) throw new Error("the last line does not end")
  const metrics = new Map<string, { help: string; type: string; samples: Array<Sample> }>()
  const seen = new Set<string>()
  let current = ""
  for (const line of text.slice(0, -1).split("\n")) {
    const [, keyword, name = "", rest = ""] = /^# (HELP|TYPE|UNIT) (\S+) (.*)$/.exec(line) ?? []
    if (keyword === "HELP") {
      if (metrics.has(name) || !namePattern.test(name)) throw new Error(`help: ${line}`)
      metrics.set(name, { help: rest, type: "", samples: [] })
      current = name
    } else if (keyword === "TYPE") {
      const metric = metrics.get(name)
      if (name !== current || metric === undefined || metric.type !== "") throw new Error(`type: ${line}`)
      if (!["counter", "gauge", "histogram", "summary", "untyped"].includes(rest)) throw new Error(`type: ${line}`)
      metric.type = rest
    } else if (keyword === undefined && !line.startsWith("#")) {
      const sample = parseSample(line)
      const metric = metrics.get(current)
      if (metric === undefined || !sampleNames(current, metric.type).includes(sample.name)) {
        throw new Error(`out of place: ${line}`)
      }
      const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
      if (seen.has(key)) throw new Error(`twice: ${line}`)
      seen.add(key)
      metric.samples.push(sample)
    }
  }
  return metrics
}

const valueOf = (metrics: ReadonlyMap<string, Metric>, name: string, sample: string, labels: object): number =>
  metrics.get(name)?.samples.find((it) => it.name === sample && JSON.stringify(it.labels) === JSON.stringify(labels))
    ?.value ?? 0

const scrape = (url: string) => request(`${url}/metrics`)

const put = (url: string, type: string, name = "private-name.png") =>
  request(`${url}/sessions/private-session/init-image?name=${name}`, {
    method: "PUT",
    body: png(),
    headers: { "content-type": type }
  })

describe("GET /metrics", () => {
  it.scopedLive("counts persisted and refused images by outcome", () =>
    Effect.gen(function*() {
      const { url } = yield* serveMetrics
      const before = parse((yield* scrape(url)).text)
      assert.strictEqual((yield* put(url, "image/png")).status, 200)
      assert.strictEqual((yield* put(url, "image/webp")).status, 415)
      const after = parse((yield* scrape(url)).text)
      const grown = (name: string, sample: string, labels: object) =>
        valueOf(after, name, sample, labels) - valueOf(before, name, sample, labels)

      const outcomes = "session_init_image_outcomes_total"
      assert.strictEqual(after.get(outcomes)?.type, "counter")
      assert.include(after.get(outcomes)?.help, "Init images by outcome")
      assert.strictEqual(grown(outcomes, outcomes, { outcome: "persisted" }), 1)
      assert.strictEqual(grown(outcomes, outcomes, { outcome: "ContentMismatch" }), 1)

      const bytes = "session_init_image_bytes"
      assert.strictEqual(after.get(bytes)?.type, "histogram")
      assert.strictEqual(grown(bytes, `${bytes}_count`, {}), 1)
      assert.strictEqual(grown(bytes, `${bytes}_sum`, {}), png().length)
      assert.strictEqual(grown(bytes, `${bytes}_bucket`, { le: "1024" }), 1)
      assert.strictEqual(grown(bytes, `${bytes}_bucket`, { le: "+Inf" }), 1)
      const duration = "session_init_image_duration_seconds"
      assert.strictEqual(grown(duration, `${duration}_count`, {}), 2)

      const kept = "session_init_image_spool_kept_files"
      assert.strictEqual(after.get(kept)?.type, "gauge")
      assert.strictEqual(valueOf(after, kept, kept, {}), 1)
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("has cumulative buckets that end with the count", () =>
    Effect.gen(function*() {
      const { url } = yield* serveMetrics
      yield* put(url, "image/png")
      const histograms = [...parse((yield* scrape(url)).text)].filter(([, { type }]) => type === "histogram")
      assert.isAbove(histograms.length, 1)
      for (const [name, { samples }] of histograms) {
        // One for each set of tags: other tests of the process may have added some.
        for (const { labels: tags, value: count } of samples.filter((sample) => sample.name === `${name}_count`)) {
          const buckets = samples.filter(({ labels: { le, ...labels } }) =>
            le !== undefined && JSON.stringify(labels) === JSON.stringify(tags)
          )
          const bounds = buckets.map(({ labels }) => Number(labels["le"]?.replace("Inf", "Infinity")))
          const counts = buckets.map(({ value }) => value)
          assert.deepStrictEqual(bounds, bounds.toSorted((a, b) => a - b))
          assert.deepStrictEqual(counts, counts.toSorted((a, b) => a - b))
          assert.strictEqual(bounds.at(-1), Infinity)
          assert.strictEqual(counts.at(-1), count)
        }
      }
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("has the text format of Prometheus without names, session ids, paths or exporter metrics", () =>
    Effect.gen(function*() {
      const { directory, url } = yield* serveMetrics
      yield* put(url, "image/png")
      const { headers, status, text } = yield* scrape(url)
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8")
      assert.isAbove(parse(text).size, 5)
      for (const secret of ["private", directory, "target_info", "otel_scope"]) assert.notInclude(text, secret)
    }).pipe(Effect.provide(NodeContext.layer)))
})

describe("the parser of the text format", () => {
  it("refuses invalid text", () => {
    const good = "# HELP a_total b\n# TYPE a_total counter\na_total{x=\"y\\\"\",z=\"\"} 1\na_total 1.5e3\n"
    assert.deepStrictEqual(parse(good).get("a_total")?.samples.map(({ value }) => value), [1, 1500])
    for (
      const bad of [
        good.slice(0, -1),
        `${good}a_total 1\n`,
        `${good}b 1\n`,
        `${good}a_total{x="1} 1\n`,
        `${good}a_total{x="1" y="2"} 1\n`,
        `${good}a_total one\n`,
        `${good}# TYPE a_total counter\n`,
        `${good}# HELP a_total again\n`,
        `${good}\n`
      ]
    ) {
      assert.throws(() => parse(bad), Error, undefined, bad)
    }
  })
})
