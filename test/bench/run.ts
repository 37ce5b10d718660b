/**
 * `npm run bench` measures all sections and writes `results.json` and `chart.svg`. `-- --quick` and
 * `-- --only=server,memory` print their figures and write no file.
 */
import { writeFileSync } from "node:fs"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { chart } from "./chart.js"
import { sources } from "./paths.js"
import * as plan from "./plan.js"
import { machine, type Results, versions } from "./results.js"
import * as sections from "./sections.js"
import { render } from "./tables.js"
import { targetsOf } from "./targets.js"

const { values } = parseArgs({ options: { quick: { type: "boolean", default: false }, only: { type: "string" } } })

const asked = values.only?.split(",") ?? plan.sections
const unknown = asked.filter((name) => !plan.sections.some((section) => section === name))
if (unknown.length > 0) throw new Error(`${unknown.join(", ")}: not one of ${plan.sections.join(", ")}`)

const isAsked = (section: plan.Section): boolean => asked.includes(section)

const when = async <A>(section: plan.Section, rows: () => Promise<ReadonlyArray<A>>): Promise<ReadonlyArray<A>> =>
  isAsked(section) ? rows() : []

const results = await sections.withDirectory(async (directory): Promise<Results> => {
  const options = { quick: values.quick, directory }
  const from = (["persist", "frame"] as const).filter(isAsked).flatMap((section) => plan.sourcesOf[section])
  return {
    machine: machine(),
    versions: versions(),
    timing: from.length === 0 ? [] : await sections.time(options, from),
    refusals: await when("refusals", () => sections.refuse(options)),
    memory: await when("memory", () => sections.memory(options)),
    concurrent: await when("concurrent", () => sections.concurrent(options)),
    small: await when("small", () => sections.small(options)),
    server: await when("server", () => sections.server(options)),
    cpu: await when("cpu", () => sections.cpu(options)),
    upload: await when("cpu", () => sections.upload(options)),
    socket: await when("socket", () => sections.socket(options))
  }
})

const targets = targetsOf(results)
console.log(render(results, targets))

if (!values.quick && values.only === undefined) {
  writeFileSync(path.join(sources, "results.json"), `${JSON.stringify({ ...results, targets }, undefined, 2)}\n`)
  writeFileSync(path.join(sources, "chart.svg"), chart(results))
}
