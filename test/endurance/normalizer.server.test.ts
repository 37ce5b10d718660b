import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import sharp from "sharp"
import { serve } from "../integration/server/testServer.js"
import { webp } from "../utils/images.js"

const MiB = 1024 * 1024

/** The most memory that decoding may take in the reference server: `InitImageNormalizer`'s default. */
const mostGrowth = 1024 * MiB

const bombs = 40

describe("a server with INIT_IMAGE_NORMALIZE", () => {
  it.scopedLive("keeps its memory and its health check under a flood of bombs", () =>
    Effect.gen(function*() {
      const { empty, url } = yield* serve({ env: { INIT_IMAGE_NORMALIZE: "1280x704" } })
      const flat = sharp({ create: { width: 7000, height: 7000, channels: 3, background: "#808080" } })
      const interlaced = yield* Effect.promise(() => flat.png({ progressive: true }).toBuffer())
      const small = webp({ width: 7000, height: 7000 })
      const before = process.memoryUsage.rss()
      let highest = before

      const put = (id: number) =>
        Effect.promise(async () => {
          const [body, type] = id % 2 === 0 ? [interlaced, "image/png"] : [small, "image/webp"]
          const session = `${url}/sessions/${id}/init-image`
          const response = await fetch(session, { method: "PUT", body, headers: { "content-type": type } })
          await response.arrayBuffer()
          await fetch(session, { method: "DELETE" })
          return response.status
        })
      const flood = yield* Effect.fork(
        Effect.forEach(Array.from({ length: bombs }, (_, id) => id), put, { concurrency: 20 })
      )
      const waits: Array<number> = []
      while (flood.unsafePoll() === null) {
        const at = performance.now()
        const { status } = yield* Effect.promise(() => fetch(`${url}/healthz`))
        waits.push(performance.now() - at)
        assert.strictEqual(status, 200)
        highest = Math.max(highest, process.memoryUsage.rss())
        yield* Effect.sleep("10 millis")
      }
      const statuses = yield* Fiber.join(flood)
      assert.isTrue(statuses.every((status) => status === 200 || status === 422), statuses.join())
      assert.include(statuses, 200)
      // Looked at throughout the flood.
      assert.isAbove(waits.length, 20)
      process.stdout.write(
        `${bombs} bombs: /healthz worst ${Math.max(...waits).toFixed(0)} ms of ${waits.length}, ` +
          `${((highest - before) / MiB).toFixed(0)} MiB\n`
      )
      assert.isBelow(highest - before, mostGrowth)
      yield* empty
    }), 300_000)
})
