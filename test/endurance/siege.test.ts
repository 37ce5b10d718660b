import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import { imagesIn } from "../integration/server/testServer.js"
import { list, makeDirectory } from "../utils/directory.js"
import type { Target } from "./siege/client.js"
import * as connections from "./siege/connections.js"
import * as probe from "./siege/probe.js"
import * as requests from "./siege/requests.js"
import * as sockets from "./siege/sockets.js"
import * as Server from "./soak/server.js"

const mebibyte = 1024 * 1024

/** In milliseconds: ten times the target on an idle machine, as other tests run beside this one. */
const maxHealthTime = 2500

/** The server must have released everything in this time after an attack, in milliseconds. */
const recoveryTime = 10_000
const maxResidentGrowth = 100 * mebibyte

interface Server extends Omit<Target, "port" | "directory"> {
  readonly name: string
  readonly entry?: string
}

const attacks = [...sockets.attacks, ...requests.attacks, ...connections.attacks]

const servers: ReadonlyArray<Server> = [
  { name: "the reference server", upload: "/v1/init-image", stream: "/v1/stream", hasSessions: true },
  {
    name: "the README's first server",
    entry: fileURLToPath(new URL("siege/readmeServer.ts", import.meta.url)),
    upload: "/init-image",
    stream: "/stream",
    hasSessions: false
  }
]

describe.concurrent("under attack", () => {
  for (const { entry, hasSessions, name, stream, upload } of servers) {
    it.scopedLive(`${name} answers others, and has released everything afterwards`, () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const server = yield* Server.start(directory, { TMPDIR: directory }, entry)
        const target: Target = { port: server.port, stream, upload, hasSessions, directory }
        yield* Effect.promise(() => connections.warmUp(target))
        yield* Effect.sleep("200 millis")
        const start = yield* server.usage
        const failures: Array<string> = []

        for (const { run, title } of attacks.filter(({ referenceOnly }) => hasSessions || referenceOnly !== true)) {
          const { health, result: requests } = yield* probe.beside(target.port, Effect.promise(() => run(target)))
          const since = Date.now()
          let usage = yield* server.usage
          const isRecovered = () =>
            usage.fibers <= start.fibers && usage.sockets <= start.sockets
            && imagesIn(directory).length === 0 && usage.resident - start.resident < maxResidentGrowth
          while (!isRecovered() && Date.now() - since < recoveryTime) {
            yield* Effect.sleep("100 millis")
            usage = yield* server.usage
          }
          process.stdout.write(
            `siege: ${name}: ${title}: ${requests} requests, healthz p99 ${health.p99.toFixed(0)} ms, `
              + `worst ${health.worst.toFixed(0)} ms, `
              + `resident ${((usage.resident - start.resident) / mebibyte).toFixed(0)} MiB more, `
              + `sockets ${start.sockets} to ${usage.sockets}, fibers ${start.fibers} to ${usage.fibers}, `
              + `files ${imagesIn(directory).length}, after ${((Date.now() - since) / 1000).toFixed(1)} s\n`
          )
          if (health.failed > 0) failures.push(`${title}: ${health.failed} health checks failed`)
          if (health.worst > maxHealthTime) failures.push(`${title}: a health check took ${health.worst.toFixed(0)} ms`)
          if (!isRecovered()) failures.push(`${title}: something is left`)
        }
        assert.deepStrictEqual(failures, [])

        assert.strictEqual(yield* server.stop, "0")
        assert.deepStrictEqual(list(directory), [])
      }).pipe(Effect.provide(NodeContext.layer)))
  }
})
