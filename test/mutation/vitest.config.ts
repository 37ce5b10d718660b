import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: process.env["MUTATION_TESTS"]?.split(",") ?? ["test/**/*.test.ts"],
    exclude: [
      "test/server/**",
      "test/endurance/**",
      "test/browser/bundle.test.ts",
      "test/browser/page.test.ts",
      "test/examples/**",
      "test/openapi/**",
      "test/documentation.test.ts",
      "test/package.test.ts",
      "test/types.test.ts",
      "test/internal/base64.longest.test.ts"
    ],
    runner: "test/mutation/runner.ts",
    setupFiles: ["test/mutation/setup.ts"],
    testTimeout: 60_000
  }
})
