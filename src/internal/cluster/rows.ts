/**
 * The rows of sessions in a database: one for each session with an image, and one for each change of late.
 *
 * The row of a change keeps two promises. A change that is delivered twice, because the runner that applied it ended
 * before it answered, is applied once. A replaced reference outlives the host that replaced it, until its image has been
 * removed.
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"

/** A reference as text. */
export type Encoded = string

export interface Rows<out E> {
  readonly set: (sessionId: string, reference: Encoded, changeId: string) => Effect.Effect<void, E>
  /** With `only`, clears nothing if the current reference is another one. */
  readonly clear: (sessionId: string, changeId: string, only: Option.Option<Encoded>) => Effect.Effect<void, E>
  /** Counts as a use of the session. */
  readonly current: (sessionId: string) => Effect.Effect<Option.Option<Encoded>, E>
  /** Takes the references of the images to remove now. Each is given to one caller. */
  readonly takeRemovable: Effect.Effect<ReadonlyArray<Encoded>, E>
}

export interface Options {
  /** How long an unused session keeps its image. */
  readonly timeToLive: Duration.Duration
  /** How long a replaced image is kept. */
  readonly grace: Duration.Duration
}

interface Row {
  readonly reference: Encoded | null
}

const referencesIn = (rows: ReadonlyArray<Row>): ReadonlyArray<Encoded> =>
  rows.flatMap(({ reference }) => reference === null ? [] : [reference])

/** Two hosts that create a table at once can fail on PostgreSQL's catalogue, in spite of `IF NOT EXISTS`. */
const again = Schedule.intersect(Schedule.recurs(5), Schedule.spaced("100 millis"))

const createTables = (sql: SqlClient) =>
  Effect.all([
    sql`
      CREATE TABLE IF NOT EXISTS session_init_image_sessions (
        session_id TEXT PRIMARY KEY,
        reference TEXT NOT NULL,
        used_at TIMESTAMPTZ NOT NULL DEFAULT now()
      )`,
    sql`
      CREATE TABLE IF NOT EXISTS session_init_image_changes (
        change_id TEXT PRIMARY KEY,
        session_id TEXT NOT NULL,
        reference TEXT,
        changed_at TIMESTAMPTZ NOT NULL DEFAULT now()
      )`,
    sql`CREATE INDEX IF NOT EXISTS session_init_image_sessions_used_at ON session_init_image_sessions (used_at)`,
    sql`CREATE INDEX IF NOT EXISTS session_init_image_changes_changed_at ON session_init_image_changes (changed_at)`
  ], { discard: true }).pipe(Effect.retry(again))

/** Rows in PostgreSQL, measured by its clock. Creates the tables. */
export const make = Effect.fnUntraced(function*(sql: SqlClient, options: Options) {
  yield* createTables(sql)
  const ago = (duration: Duration.Duration) => sql`now() - ${Duration.toSeconds(duration)} * interval '1 second'`

  /** Runs `replace`, which answers the rows that it replaces, unless the change has been applied already. */
  const change = (sessionId: string, changeId: string, replace: Effect.Effect<ReadonlyArray<Row>, SqlError>) =>
    sql.withTransaction(Effect.gen(function*() {
      const added = yield* sql`
        INSERT INTO session_init_image_changes (change_id, session_id) VALUES (${changeId}, ${sessionId})
        ON CONFLICT DO NOTHING RETURNING change_id`
      if (added.length === 0) return
      const [replaced] = referencesIn(yield* replace)
      if (replaced === undefined) return
      yield* sql`UPDATE session_init_image_changes SET reference = ${replaced} WHERE change_id = ${changeId}`
    }))

  const rows: Rows<SqlError> = {
    set: (sessionId, reference, changeId) =>
      change(
        sessionId,
        changeId,
        Effect.zipLeft(
          sql<Row>`SELECT reference FROM session_init_image_sessions WHERE session_id = ${sessionId} FOR UPDATE`,
          sql`
            INSERT INTO session_init_image_sessions (session_id, reference) VALUES (${sessionId}, ${reference})
            ON CONFLICT (session_id) DO UPDATE SET reference = excluded.reference, used_at = now()`
        )
      ),
    clear: (sessionId, changeId, only) =>
      change(
        sessionId,
        changeId,
        sql<Row>`
          DELETE FROM session_init_image_sessions
          WHERE session_id = ${sessionId} AND reference = COALESCE(${Option.getOrNull(only)}, reference)
          RETURNING reference`
      ),
    current: (sessionId) =>
      Effect.map(
        sql<Row>`
          UPDATE session_init_image_sessions SET used_at = now()
          WHERE session_id = ${sessionId} AND used_at > ${ago(options.timeToLive)} RETURNING reference`,
        (found) => Option.fromNullable(referencesIn(found)[0])
      ),
    takeRemovable: Effect.zipWith(
      sql<Row>`
        DELETE FROM session_init_image_sessions WHERE used_at <= ${ago(options.timeToLive)} RETURNING reference`,
      // A replaced reference may have been set again.
      sql<Row>`
        DELETE FROM session_init_image_changes AS change WHERE changed_at <= ${ago(options.grace)}
        RETURNING (
          SELECT change.reference WHERE NOT EXISTS (
            SELECT FROM session_init_image_sessions AS session
            WHERE session.session_id = change.session_id AND session.reference = change.reference
          )
        ) AS reference`,
      (idle, replaced) => [...referencesIn(idle), ...referencesIn(replaced)]
    )
  }
  return rows
})
