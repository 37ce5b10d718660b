/** Two hosts in processes, with a database and a store that they share. */
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { makeDirectory } from "../../utils/directory.js"
import * as postgres from "../../utils/postgres.js"
import * as programs from "../../utils/programs.js"

/** Makes the function that starts a host. */
export const make = Effect.gen(function*() {
  const database = yield* postgres.run
  const store = yield* makeDirectory
  const path = yield* programs.compile(join(import.meta.dirname, "host.ts"))
  const start = Effect.gen(function*() {
    const directory = yield* makeDirectory
    const port = yield* postgres.freePort
    const { said, ...program } = yield* programs.run(path, {
      DATABASE_URL: database,
      STORE_DIRECTORY: store,
      HOST_DIRECTORY: directory,
      RUNNER_PORT: String(port)
    }, /ready (\S+) /)
    return { ...program, url: said, directory }
  })
  return { database, store, start }
})

export type Host = Effect.Effect.Success<Effect.Effect.Success<typeof make>["start"]>
