/** Runs the test suite in one runtime. */
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join, relative, sep } from "node:path"
import { root } from "./paths.js"
import { leftOutOn, type Runtime, sizes } from "./plan.js"

export interface Suite {
  readonly passed: number
  readonly failures: ReadonlyArray<string>
  /** Files and single tests that the plan leaves out. */
  readonly leftOut: { readonly files: number; readonly tests: number }
  /** Tests that skip themselves. */
  readonly skipped: ReadonlyArray<string>
}

/** The fields of vitest's JSON report that are read here. */
interface Report {
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: ReadonlyArray<{ readonly fullName: string; readonly status: string }>
  }>
}

const testFiles = (): ReadonlyArray<string> =>
  readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".test.ts") && !file.includes("node_modules"))
    .map((file) => `test/${file.split(sep).join("/")}`)

const isIn = (files: string, file: string): boolean =>
  files.endsWith("/**") ? file.startsWith(files.slice(0, -2)) : file === files

/** Runs the suite; `context` is a module that replaces `NodeContext`. */
export const runSuite = (
  directory: string,
  { name, parameters }: Runtime,
  program: string,
  context: string | undefined
): Suite => {
  const file = join(directory, `${name}.json`)
  const { NODE_OPTIONS: _, ...inherited } = process.env
  const { error, signal, status } = spawnSync(program, [
    ...parameters,
    join(root, "node_modules", "vitest", "vitest.mjs"),
    "run",
    "--config",
    "test/runtimes/vitest.config.ts",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${file}`
  ], {
    cwd: root,
    stdio: "inherit",
    env: {
      ...sizes,
      ...inherited,
      RUNTIMES_NAME: name,
      ...context === undefined ? {} : { RUNTIMES_CONTEXT: context }
    }
  })
  const plan = leftOutOn(name)
  const whole = plan.filter(({ tests }) => tests === undefined)
  const files = testFiles()
  const leftOutFiles = files.filter((file) => whole.some((entry) => isIn(entry.files, file)))
  const stale = whole.filter((entry) => !files.some((file) => isIn(entry.files, file))).map(({ files }) =>
    `${files} is left out, but does not exist`
  )
  const ended = `vitest ended with ${String(error ?? signal ?? status)}`
  let report: Report
  try {
    // The report of vitest.
    report = JSON.parse(readFileSync(file, "utf8")) as Report
  } catch {
    return { passed: 0, failures: [ended], leftOut: { files: leftOutFiles.length, tests: 0 }, skipped: [] }
  }
  const results = report.testResults.map((result) => ({
    ...result,
    file: relative(root, result.name).split(sep).join("/")
  }))
  const tests = results.flatMap(({ assertionResults, file }) => assertionResults.map((test) => ({ ...test, file })))
  const titles = (some: typeof tests): ReadonlyArray<string> => some.map(({ file, fullName }) => `${file}: ${fullName}`)
  const broken = results.filter(({ assertionResults, status }) =>
    status === "failed" && assertionResults.every((test) => test.status !== "failed")
  )
  const missing = files.filter((file) =>
    !leftOutFiles.includes(file) && !results.some((result) => result.file === file)
  )
  const others = tests.filter(({ status }) => status !== "passed" && status !== "failed")
  const single = plan.filter((entry) => entry.tests !== undefined)
  const named = others.filter(({ file, fullName }) =>
    single.some((entry) => entry.files === file && entry.tests?.test(fullName) === true)
  )
  const failures = [
    ...titles(tests.filter(({ status }) => status === "failed")),
    ...broken.map(({ file, message }) => `${file}: ${message}`),
    ...missing.map((file) => `${file}: was not run`),
    ...stale,
    ...single.filter((entry) =>
      !named.some(({ file, fullName }) => file === entry.files && entry.tests?.test(fullName))
    )
      .map(({ files, tests }) => `${files}: ${String(tests)} is left out, but does not exist`)
  ]
  return {
    passed: tests.filter(({ status }) => status === "passed").length,
    // An error outside of a test fails no test.
    failures: failures.length === 0 && status !== 0 ? [ended] : failures,
    leftOut: { files: leftOutFiles.length, tests: named.length },
    skipped: titles(others.filter((test) => !named.includes(test)))
  }
}
