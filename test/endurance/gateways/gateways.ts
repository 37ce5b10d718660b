/** Gateways of the reference server behind a balancer, a worker, and Ceph, each with files of its own. */
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { imagesIn } from "../../integration/server/testServer.js"
import * as balancer from "../../utils/balancer.js"
import * as ceph from "../../utils/ceph.js"
import { makeDirectory } from "../../utils/directory.js"
import * as programs from "../../utils/programs.js"

/** Files of a killed process are removed within twice this time. */
const staleAfter = "2 seconds"

/** A process that is killed and started again with the same directory. */
const makeProcess = Effect.fnUntraced(
  function*(path: string, env: Readonly<Record<string, string>>, directory: string, pattern: RegExp) {
    const start = programs.run(path, env, pattern)
    let running = yield* start
    return {
      url: () => running.said,
      files: () => imagesIn(directory),
      output: () => running.output(),
      kill: Effect.suspend(() => running.end("SIGKILL")),
      restart: Effect.map(start, (program) => {
        running = program
      }),
      stop: Effect.suspend(() => running.end("SIGTERM"))
    }
  }
)

export type Process = Effect.Effect.Success<ReturnType<typeof makeProcess>>

/** Starts all of them until the scope closes. */
export const make = Effect.gen(function*() {
  const store = yield* Effect.acquireRelease(
    Effect.promise(() => ceph.start()),
    ({ stop }) => Effect.promise(stop)
  )
  const environment = {
    PATH: process.env["PATH"] ?? "",
    AWS_ENDPOINT_URL_S3: store.endpoint,
    AWS_ACCESS_KEY_ID: store.accessKeyId,
    AWS_SECRET_ACCESS_KEY: store.secretAccessKey,
    AWS_REGION: store.region,
    INIT_IMAGE_BUCKET: store.bucket,
    INIT_IMAGE_STALE_AFTER: staleAfter
  }
  const server = yield* programs.compile(join(import.meta.dirname, "../../../src/server/main.ts"))
  const makeGateway = Effect.gen(function*() {
    const directory = yield* makeDirectory
    return yield* makeProcess(
      server,
      { ...environment, PORT: "0", INIT_IMAGE_STORE: "s3", INIT_IMAGE_DIRECTORY: directory },
      directory,
      /Listening on (http:\S+)/
    )
  })
  const makeWorker = Effect.gen(function*() {
    const path = yield* programs.compile(join(import.meta.dirname, "worker.ts"))
    const directory = yield* makeDirectory
    return yield* makeProcess(path, { ...environment, WORKER_DIRECTORY: directory }, directory, /ready (\S+) /)
  })
  const [gateways, worker] = yield* Effect.all([Effect.all([makeGateway, makeGateway]), makeWorker])
  const url = yield* balancer.make(() => gateways.map((gateway) => gateway.url()))
  return { gateways, worker, url, store: ceph.makeInspector(store) }
})
