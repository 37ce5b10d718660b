import { defineConfig, mergeConfig } from "vitest/config"
import suite from "../../vitest.config.js"
import { leftOutOn, runtimeOf } from "./plan.js"

const runtime = runtimeOf(process.env["RUNTIMES_NAME"])
const files = leftOutOn(runtime.name).flatMap(({ files, tests }) => tests === undefined ? [files] : [])
const tests = leftOutOn(runtime.name).flatMap(({ tests }) => tests === undefined ? [] : [tests.source])
const context = process.env["RUNTIMES_CONTEXT"]

export default mergeConfig(
  suite,
  defineConfig({
    resolve: {
      alias: context === undefined ? [] : [{ find: /^@effect\/platform-node\/NodeContext$/, replacement: context }]
    },
    test: {
      exclude: ["**/node_modules/**", ...files],
      ...tests.length === 0 ? {} : { testNamePattern: new RegExp(`^(?!${tests.join("|")})`) },
      setupFiles: ["test/runtimes/setup.ts"],
      // Processes work in all runtimes; worker threads do not.
      pool: "forks",
      isolate: true,
      cache: false
    }
  })
)
