/** The rows of sessions, in memory and in PostgreSQL. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as memory from "../../../../src/internal/cluster/memory.js"
import * as rows from "../../../../src/internal/cluster/rows.js"
import { leaveOut } from "../../../utils/peers.js"
import * as postgres from "../../../utils/postgres.js"

type Make = (options?: Partial<rows.Options>) => Effect.Effect<rows.Rows<unknown>, unknown>

const withDefaults = (options: Partial<rows.Options> = {}): rows.Options => ({
  timeToLive: Duration.hours(1),
  grace: Duration.hours(1),
  ...options
})

const is = (rows: rows.Rows<unknown>, session: string, expected: string | undefined) =>
  Effect.map(rows.current(session), (current) => assert.strictEqual(Option.getOrUndefined(current), expected))

const promises: Record<string, (make: Make) => Effect.Effect<void, unknown>> = {
  "a session has the reference that was set last, and none after a clear": (make) =>
    Effect.gen(function*() {
      const rows = yield* make()
      yield* is(rows, "a", undefined)
      yield* rows.set("a", "1", "c1")
      yield* rows.set("b", "2", "c2")
      yield* rows.set("a", "3", "c3")
      yield* is(rows, "a", "3")
      yield* rows.clear("a", "c4", Option.some("1"))
      yield* is(rows, "a", "3")
      yield* rows.clear("a", "c5", Option.some("3"))
      yield* is(rows, "a", undefined)
      yield* rows.clear("b", "c6", Option.none())
      yield* is(rows, "b", undefined)
    }),
  "a change takes effect once": (make) =>
    Effect.gen(function*() {
      const rows = yield* make({ grace: Duration.zero })
      yield* rows.set("a", "1", "c1")
      yield* rows.clear("a", "c2", Option.none())
      yield* rows.set("a", "3", "c3")
      yield* rows.set("a", "1", "c1")
      yield* rows.clear("a", "c2", Option.none())
      yield* is(rows, "a", "3")
      assert.deepStrictEqual(yield* rows.takeRemovable, ["1"])
    }),
  "a replaced reference is kept for the grace": (make) =>
    Effect.gen(function*() {
      const rows = yield* make()
      yield* rows.set("a", "1", "c1")
      yield* rows.set("a", "2", "c2")
      yield* rows.clear("a", "c3", Option.none())
      assert.deepStrictEqual(yield* rows.takeRemovable, [])
    }),
  "a replaced reference is removable once after the grace, unless it is current again": (make) =>
    Effect.gen(function*() {
      const rows = yield* make({ grace: Duration.zero })
      for (const [i, reference] of ["1", "2", "3", "4"].entries()) yield* rows.set("a", reference, `c${i}`)
      yield* rows.clear("a", "c5", Option.none())
      yield* rows.set("a", "2", "c6")
      const taken = yield* Effect.all([rows.takeRemovable, rows.takeRemovable], { concurrency: 2 })
      assert.deepStrictEqual(taken.flat().toSorted(), ["1", "3", "4"])
      assert.deepStrictEqual(yield* rows.takeRemovable, [])
      yield* is(rows, "a", "2")
    }),
  "an unused session ends, and its reference is removable once": (make) =>
    Effect.gen(function*() {
      const rows = yield* make({ timeToLive: Duration.millis(50) })
      yield* rows.set("a", "1", "c1")
      yield* Effect.sleep(100)
      yield* is(rows, "a", undefined)
      assert.deepStrictEqual(yield* rows.takeRemovable, ["1"])
      assert.deepStrictEqual(yield* rows.takeRemovable, [])
    })
}

describe("the rows of sessions in memory", () => {
  for (const [title, promise] of Object.entries(promises)) {
    it.live(title, () => promise((options) => Effect.sync(() => memory.make(withDefaults(options)))))
  }
})

describe("the rows of sessions in PostgreSQL", () => {
  if (postgres.program === undefined) return leaveOut("PostgreSQL", "a cluster's sessions are kept in its tables")

  it.scopedLive("keep the promises of those in memory, and their tables are created by several hosts at once", () =>
    Effect.gen(function*() {
      const url = Redacted.make(yield* postgres.run)
      const sql = yield* Effect.provide(PgClient.PgClient, yield* Layer.build(PgClient.layer({ url })))
      const make: Make = (options) => rows.make(sql, withDefaults(options))
      yield* Effect.all(Array.from({ length: 6 }, () => make()), { concurrency: "unbounded" })
      for (const promise of Object.values(promises)) {
        yield* promise(make)
        yield* sql`TRUNCATE session_init_image_sessions, session_init_image_changes`
      }
    }))
})
