/** Reference servers in processes, with a database and a store that they share. */
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { makeDirectory } from "../../utils/directory.js"
import * as postgres from "../../utils/postgres.js"
import * as programs from "../../utils/programs.js"

const entry = join(import.meta.dirname, "../../../src/server/main.ts")

/** Makes the function that starts a host. */
export const make = Effect.gen(function*() {
  const database = yield* postgres.run
  const store = yield* makeDirectory
  const path = yield* programs.compile(entry)
  const start = Effect.gen(function*() {
    const directory = yield* makeDirectory
    const port = yield* postgres.freePort
    const { said, ...program } = yield* programs.run(path, {
      PORT: "0",
      INIT_IMAGE_DIRECTORY: directory,
      INIT_IMAGE_STORE: "directory",
      INIT_IMAGE_STORE_DIRECTORY: store,
      INIT_IMAGE_STORE_TIME_TO_LIVE: "1 hour",
      INIT_IMAGE_CLUSTER_DATABASE_URL: database,
      INIT_IMAGE_CLUSTER_PORT: String(port),
      SHARD_LOCK_EXPIRATION: "3 seconds",
      SHARD_LOCK_REFRESH_INTERVAL: "1 second",
      REFRESH_ASSIGNMENTS_INTERVAL: "500 millis"
    }, /Listening on (http:\/\/[\d.:]+)/)
    return { ...program, url: said, directory }
  })
  return { database, store, start }
})
