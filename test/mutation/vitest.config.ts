import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: process.env["MUTATION_TESTS"]?.split(",") ?? ["test/unit/**/*.test.ts"],
    exclude: ["test/unit/types.test.ts"],
    runner: "test/mutation/runner.ts",
    setupFiles: ["test/mutation/setup.ts"],
    testTimeout: 60_000
  }
})
