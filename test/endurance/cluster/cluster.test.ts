/** Sessions of a cluster of two processes with PostgreSQL. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { putImage, request } from "../../utils/apis.js"
import { list } from "../../utils/directory.js"
import { pngOfSize } from "../../utils/images.js"
import { leaveOut } from "../../utils/peers.js"
import * as postgres from "../../utils/postgres.js"
import * as hosts from "./hosts.js"

const ids = Array.from({ length: 12 }, (_, i) => `session-${i}`)

describe("InitImageCluster with PostgreSQL", () => {
  if (postgres.program === undefined) {
    return leaveOut("PostgreSQL", "another host answers for the sessions of a killed one")
  }

  it.scopedLive("after a host has been killed, the other answers for all of its sessions", () =>
    Effect.gen(function*() {
      const { database, start, store } = yield* hosts.make
      // One after the other: the cluster's own tables cannot be created by two hosts at once.
      const first = yield* start
      const second = yield* start
      const put = (url: string, size: number) =>
        Effect.forEach(
          ids,
          (id, i) =>
            Effect.map(putImage(url, pngOfSize(size + i), id), ({ status, text }) =>
              assert.strictEqual(status, 200, text)),
          { concurrency: 4 }
        )
      const has = (url: string, size: number) =>
        Effect.forEach(
          ids,
          (id, i) =>
            Effect.map(request(url, {}, id), ({ body, status }) =>
              assert.deepStrictEqual([status, body.length], [200, size + i])),
          { concurrency: 4 }
        )

      yield* put(first.url, 1000)
      yield* has(second.url, 1000)
      yield* put(second.url, 2000)
      yield* has(first.url, 2000)

      assert.strictEqual(yield* first.end("SIGKILL"), "SIGKILL")
      const killed = Date.now()
      yield* has(second.url, 2000)
      process.stderr.write(`The other host answered after ${Date.now() - killed} ms, with locks of 3,000 ms.\n`)
      yield* put(second.url, 3000)

      const third = yield* start
      yield* has(third.url, 3000)
      for (const id of ids) {
        assert.strictEqual((yield* request(third.url, { method: "DELETE" }, id)).status, 204)
        assert.strictEqual((yield* request(second.url, {}, id)).status, 404)
      }

      const sql = yield* Effect.provide(
        PgClient.PgClient,
        yield* Layer.build(
          PgClient.layer({ url: Redacted.make(database) })
        )
      )
      const sessions = [
        yield* sql`SELECT session_id FROM session_init_image_sessions`,
        yield* sql`SELECT DISTINCT session_id FROM session_init_image_changes`
      ] as const
      assert.deepStrictEqual(sessions[0], [])
      assert.lengthOf(sessions[1], ids.length)
      assert.notInclude(JSON.stringify(sessions), "session-1")
      // Replaced and deleted images are kept for the grace.
      assert.lengthOf(list(store), 3 * ids.length)

      yield* sql`DROP TABLE session_init_image_sessions`
      const { status, text } = yield* request(third.url, {}, "session-1")
      assert.deepStrictEqual([status, JSON.parse(text)._tag], [500, "InternalServerError"])
      const log = second.output() + third.output()
      // PostgreSQL's code for an undefined table.
      assert.include(log, "42P01")
      assert.notMatch(log, /SELECT|UPDATE|session-1/)

      for (const { directory, end } of [second, third]) {
        assert.strictEqual(yield* end("SIGTERM"), 0)
        assert.deepStrictEqual(list(directory), [])
      }
    }).pipe(Effect.provide(NodeContext.layer)))
})
