/** Draws the figures of 32 MiB: a bar for the time, with event-loop delay and peak memory. */
import { mebibyte } from "./frame.js"
import { memoryOf, type Results, timingOf } from "./results.js"
import { names, type Source } from "./variants.js"

interface Bar {
  readonly label: string
  readonly ours: boolean
  /** In milliseconds. */
  readonly time: number
  readonly delay: number | undefined
  /** In bytes. */
  readonly memory: number | undefined
}

interface Group {
  readonly title: string
  readonly bars: ReadonlyArray<Bar>
}

const image = "32 MiB"

const shortNames: Readonly<Record<string, string>> = {
  [names.loop]: "sync chunk loop, unvalidated",
  [names.encoding]: "Encoding.decodeBase64",
  [names.schema]: "Schema.Uint8ArrayFromBase64",
  [names.buffer]: "Buffer.from, unvalidated",
  [names.python]: "Python, validated",
  "session-init-image": "this repository's server",
  floor: "node:http, strict, data events"
}

const ours: ReadonlySet<string> = new Set([names.persist, names.frame])

const barsOf = (results: Results, from: Source, shown: ReadonlyArray<string>): ReadonlyArray<Bar> =>
  shown.flatMap((name) => {
    const row = timingOf(results, image, name, from)
    return row === undefined ? [] : [{
      label: shortNames[name] ?? name,
      ours: ours.has(name),
      time: row.milliseconds,
      delay: row.delay,
      memory: memoryOf(results, image, name, from)?.peak
    }]
  })

const groupsOf = (results: Results): ReadonlyArray<Group> => [
  {
    title: "From the parsed payload to the file",
    bars: barsOf(results, "payload", [
      names.persist,
      names.loop,
      names.buffer,
      names.python,
      names.encoding,
      names.schema
    ])
  },
  {
    title: "From the frame's bytes to the file, JSON included",
    bars: barsOf(results, "bytes", [names.frame, names.buffer, names.python, names.encoding, names.schema])
  },
  {
    title: "HTTP POST of JSON to a server; delay is the longest GET /healthz, memory the server's growth",
    bars: results.server.map(({ growth, milliseconds, name, worstHealthz }) => ({
      label: shortNames[name] ?? name,
      ours: name === "session-init-image",
      time: milliseconds,
      delay: worstHealthz,
      memory: growth
    }))
  }
]

const width = 880
const labelWidth = 236
const barWidth = 340
const [timeAt, delayAt, memoryAt] = [labelWidth + barWidth, 756, 864]
const [barHeight, pitch, gap, headHeight] = [14, 22, 26, 60]

const style = `
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
    .quiet { fill: #59636e } .bold { font-weight: 600 } .end { text-anchor: end }
    .bar { fill: #a8b1bb } .ours { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc } .quiet { fill: #9198a1 } .bar { fill: #59636e } .ours { fill: #4493f8 }
    }`

const escape = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;")

const text = (x: number, y: number, content: string, className = ""): string =>
  `  <text x="${x}" y="${y}"${className === "" ? "" : ` class="${className}"`}>${escape(content)}</text>`

const figure = (value: number | undefined): string =>
  value === undefined || Number.isNaN(value) ? "–" : value.toFixed(value < 10 ? 1 : 0)

const renderBar = ({ delay, label, memory, ours, time }: Bar, y: number, scale: number, reference: number) => {
  const length = Math.max(1, Math.round(time * scale))
  const bold = ours ? "bold" : ""
  const baseline = y + barHeight - 3
  const ratio = ours ? "" : ` · ${figure(time / reference)}×`
  return [
    text(labelWidth - 12, baseline, label, `end ${bold}`.trim()),
    `  <rect x="${labelWidth}" y="${y}" width="${length}" height="${barHeight}" rx="2" class="${
      ours ? "ours" : "bar"
    }"/>`,
    text(labelWidth + length + 6, baseline, `${figure(time)} ms${ratio}`, bold),
    text(delayAt, baseline, figure(delay), `end ${bold}`.trim()),
    text(memoryAt, baseline, memory === undefined ? "–" : figure(memory / mebibyte), `end ${bold}`.trim())
  ]
}

export const chart = (results: Results): string => {
  const groups = groupsOf(results).filter(({ bars }) => bars.length > 0)
  const longest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ time }) => time)))
  const scale = (timeAt - labelWidth - 40) / longest
  const lines = [
    text(16, 26, "A 32 MiB image, from what the server received to a file", "bold"),
    text(delayAt, 26, "loop delay, ms", "end quiet"),
    text(memoryAt, 26, "memory, MiB", "end quiet")
  ]
  let y = headHeight - gap
  for (const { bars, title } of groups) {
    y += gap
    lines.push(text(16, y, title, "quiet"))
    y += 12
    const reference = bars.find(({ ours }) => ours)?.time ?? Number.NaN
    for (const bar of bars) {
      lines.push(...renderBar(bar, y, scale, reference))
      y += pitch
    }
  }
  const { cores, cpu } = results.machine
  lines.push(
    text(
      16,
      y + 20,
      `Medians, × against the first bar. ${cpu}, ${cores} cores, node ${results.versions.node}.`,
      "quiet"
    )
  )
  const height = y + 36
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Time to persist a 32 MiB image">
  <style>${style}
  </style>
${lines.join("\n")}
</svg>
`
}
