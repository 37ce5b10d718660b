/**
 * `npm run runtimes` runs the built package and the test suite in each runtime, and prints a table of the results.
 * `-- --only=node-20,bun` selects runtimes. Exits with 1 on a failure.
 */
import { join } from "node:path"
import { parseArgs } from "node:util"
import { install, locate } from "./install.js"
import { leftOutOn, platformBun, type Runtime, runtimeOf, runtimes } from "./plan.js"
import { runSuite } from "./suite.js"
import { render, type Result } from "./table.js"
import { makeWorkshop, runSmoke, type Workshop } from "./workshop.js"

const { values } = parseArgs({ options: { only: { type: "string" } } })
const asked = values.only === undefined ? runtimes : values.only.split(",").map(runtimeOf)

const print = (text: string): void => void process.stdout.write(`${text}\n`)

const run = (workshop: Workshop, runtime: Runtime): Result => {
  print(`\n${runtime.title} ${runtime.version}\n`)
  const installed = join(install(runtime.packageName, runtime.version), "node_modules")
  const program = locate(installed, runtime.program)
  const isBun = runtime.key === "bun"
  if (isBun) workshop.add(platformBun.name, install(platformBun.name, platformBun.version))
  const context = isBun ? workshop.moduleOf(platformBun.name, "BunContext") : undefined
  return {
    runtime,
    smoke: runSmoke(workshop, runtime, program),
    suite: runSuite(workshop.directory, runtime, program, context),
    leftOut: leftOutOn(runtime.name)
  }
}

const runAll = (): ReadonlyArray<Result> => {
  const workshop = makeWorkshop()
  try {
    return asked.map((runtime) => run(workshop, runtime))
  } finally {
    workshop.remove()
  }
}

const results = runAll()
print(`\n${render(results)}`)

const failures = results.flatMap(({ runtime, smoke, suite }) => [
  ...smoke ? [] : [`${runtime.name}: the built package`],
  ...suite.failures.map((failure) => `${runtime.name}: ${failure}`)
])
if (failures.length > 0) {
  print(`\nFailed:\n\n${failures.map((failure) => `- ${failure}`).join("\n")}`)
  process.exitCode = 1
}
