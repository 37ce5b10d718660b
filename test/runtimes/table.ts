/** Renders the results as Markdown. */
import type { LeftOut, Runtime } from "./plan.js"
import type { Suite } from "./suite.js"

export interface Result {
  readonly runtime: Runtime
  /** Whether the smoke test of the built package passed. */
  readonly smoke: boolean
  readonly suite: Suite
  readonly leftOut: ReadonlyArray<LeftOut>
}

const count = (number: number, one: string, more = `${one}s`): string => `${number} ${number === 1 ? one : more}`

const tests = ({ failures, passed }: Suite): string =>
  failures.length === 0 ? `${passed} passed` : `${passed} passed, ${failures.length} failed`

const leftOutCount = ({ leftOut }: Suite): string =>
  [
    ...leftOut.files > 0 ? [count(leftOut.files, "file")] : [],
    ...leftOut.tests > 0 ? [count(leftOut.tests, "test")] : []
  ].join(", ")

const reasons = (results: ReadonlyArray<Result>): ReadonlyArray<string> => {
  const all = new Set(results.flatMap(({ leftOut }) => leftOut))
  return Array.from(all, (entry) => {
    const where = results.filter(({ leftOut }) => leftOut.includes(entry)).map(({ runtime }) => runtime.name)
    const what = entry.tests === undefined ? `\`${entry.files}\`` : `\`${entry.files}\`, \`${entry.tests.source}\``
    return `- ${what}${where.length === results.length ? "" : ` on ${where.join(", ")}`}: ${entry.reason}`
  })
}

const skipped = (results: ReadonlyArray<Result>): ReadonlyArray<string> =>
  results.flatMap(({ runtime, suite }) => suite.skipped.map((title) => `- on ${runtime.name}: ${title}`))

export const render = (results: ReadonlyArray<Result>): string => {
  const skippedTests = skipped(results)
  return [
    "| runtime | version | built package | test suite | left out |",
    "| --- | --- | --- | --- | --- |",
    ...results.map(({ runtime, smoke, suite }) =>
      `| ${runtime.title} | ${runtime.version} | ${smoke ? "passed" : "failed"} | ${tests(suite)} | ${
        leftOutCount(suite)
      } |`
    ),
    "",
    "Left out:",
    "",
    ...reasons(results),
    ...skippedTests.length === 0 ? [] : ["", "Skipped by the tests themselves:", "", ...skippedTests]
  ].join("\n")
}
