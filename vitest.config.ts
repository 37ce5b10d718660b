import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

const workers = Math.ceil(availableParallelism() * 1.5)

export default defineConfig({
  resolve: {
    alias: [
      { find: /^session-init-image$/, replacement: `${import.meta.dirname}/src/index.ts` },
      { find: /^session-init-image\/testing$/, replacement: `${import.meta.dirname}/src/testing/index.ts` },
      { find: /^session-init-image\/([\w/]+)$/, replacement: `${import.meta.dirname}/src/$1.ts` }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    // A test that hangs is ended; a slow machine must not get there.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // The modules of Effect take half of the time of a small file, so files of one worker share them.
    isolate: false,
    // Many tests wait for a socket or a disk: three workers keep two processors busy.
    minWorkers: workers,
    maxWorkers: workers,
    coverage: {
      include: ["src/**"],
      exclude: ["src/server/**", "src/index.ts"],
      reporter: ["text", "json-summary"],
      thresholds: { branches: 97 }
    }
  }
})
