import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { alias: [{ find: /^session-init-image$/, replacement: `${import.meta.dirname}/src/index.ts` }] },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    coverage: {
      include: ["src/**"],
      exclude: ["src/server/**", "src/index.ts"],
      reporter: ["text", "json-summary"],
      thresholds: { branches: 97 }
    }
  }
})
