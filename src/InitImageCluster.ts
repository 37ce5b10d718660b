/**
 * The init images of sessions in one order over all hosts, on Effect's cluster.
 *
 * A session is an entity of `@effect/cluster`. At each moment one runner of the cluster has it and handles its sets,
 * clears and reads one after the other. Messages carry an `ImageReference`, never the image, which is in an
 * `InitImageStore`. The current reference is a row of a PostgreSQL database, because an entity's memory ends with its
 * host: after a host has been killed, another one answers for its sessions as soon as the host's locks have expired
 * (`ShardingConfig.shardLockExpiration`).
 *
 * The cluster and the database see the SHA-256 of a session's id, not the id: entities' ids stand in spans and logs, and
 * a session's id is often the credential for its image.
 *
 * Every gateway runs sessions and serves them:
 *
 * ```ts
 * import { NodeClusterSocket } from "@effect/platform-node"
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Layer } from "effect"
 * import * as InitImageCluster from "session-init-image/InitImageCluster"
 *
 * // With the address of this runner, and the time of the locks: see `ShardingConfig` of `@effect/cluster`.
 * const Cluster = Layer.provideMerge(
 *   NodeClusterSocket.layer({ storage: "sql" }),
 *   PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })
 * )
 *
 * // Provides `InitImageApi.Sessions`, and needs an `InitImageStore`.
 * export const SessionsLive = Layer.merge(InitImageCluster.layerSessions(), InitImageCluster.layer()).pipe(
 *   Layer.provide(Cluster)
 * )
 * ```
 *
 * On an empty database, start one host before the others: `@effect/cluster` 0.60 creates its tables at the first start,
 * and fails where two hosts do so at once.
 *
 * Needs the optional peers `@effect/cluster`, `@effect/rpc` and `@effect/sql`, and a client of PostgreSQL such as
 * `@effect/sql-pg`. An entry point of its own, `session-init-image/InitImageCluster`.
 *
 * @since 0.1.0
 * @module
 */
import * as Entity from "@effect/cluster/Entity"
import type * as Sharding from "@effect/cluster/Sharding"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type * as Path from "@effect/platform/Path"
import * as Rpc from "@effect/rpc/Rpc"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { createHash, randomUUID } from "node:crypto"
import * as InitImageApi from "./InitImageApi.js"
import * as InitImageSlot from "./InitImageSlot.js"
import * as InitImageStore from "./InitImageStore.js"
import * as memory from "./internal/cluster/memory.js"
import * as rows from "./internal/cluster/rows.js"
import { respond } from "./internal/errorBody.js"
import * as storedSessions from "./internal/http/storedSessions.js"
import { check, durationProblem, timeoutProblem } from "./internal/options.js"
import * as tempFile from "./internal/persist/tempFile.js"

/**
 * Fails a call to a session. `reason` is one of:
 *
 * - `Timeout`: no runner has answered in time. The change may still take effect, or have taken effect
 * - `Overloaded`: too many messages wait for the session; nothing has changed
 * - `Storage`: the database has failed; the change may have taken effect if its answer was lost
 * - `Runner`: the runner failed to handle the message; the change may have taken effect
 *
 * HTTP status 503.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionUnavailable
  extends Schema.TaggedError<SessionUnavailable>("session-init-image/InitImageCluster/SessionUnavailable")(
    "SessionUnavailable",
    { reason: Schema.Literal("Timeout", "Overloaded", "Storage", "Runner") },
    HttpApiSchema.annotations({ status: 503 })
  )
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return "The session does not answer at the moment. Try again."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return respond(SessionUnavailable, this)
  }
}

/**
 * The entity of a session, for programs that talk to it without {@link client}.
 *
 * A change has an id, so that a message that the cluster delivers twice takes effect once. With `only`, `clear` changes
 * nothing if the current reference is another one. An entity's id is the session's id as {@link client} encodes it.
 *
 * @since 0.1.0
 * @category api
 */
export const Session = Entity.make("session-init-image/Session", [
  Rpc.make("set", {
    payload: { changeId: Schema.String, reference: InitImageStore.ImageReference },
    error: SessionUnavailable
  }),
  Rpc.make("clear", {
    payload: { changeId: Schema.String, only: Schema.Option(InitImageStore.ImageReference) },
    error: SessionUnavailable
  }),
  Rpc.make("current", {
    success: Schema.Option(InitImageStore.ImageReference),
    error: SessionUnavailable
  })
])

/**
 * One session of the cluster.
 *
 * All calls of all hosts to one session take effect one after the other, each between its start and its end: a read sees
 * the last set or clear that had ended before the read began, or a later one.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionClient {
  /**
   * Makes the reference the session's current one. The image of the replaced reference is removed from the store after
   * `Options.grace`.
   *
   * @since 0.1.0
   */
  readonly set: (reference: InitImageStore.ImageReference) => Effect.Effect<void, SessionUnavailable>

  /**
   * Leaves the session without a reference. With `only`, changes nothing if the current reference is another one.
   *
   * @since 0.1.0
   */
  readonly clear: (only?: InitImageStore.ImageReference) => Effect.Effect<void, SessionUnavailable>

  /**
   * Answers the session's current reference, and counts as a use of the session.
   *
   * @since 0.1.0
   */
  readonly current: Effect.Effect<Option.Option<InitImageStore.ImageReference>, SessionUnavailable>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ClientOptions {
  /** How long a call waits for its answer; 60 seconds by default, longer than the default `shardLockExpiration`. */
  readonly timeout?: Duration.DurationInput | undefined
}

/** In 64 hex digits. */
const entityIdOf = (sessionId: string): string => createHash("sha256").update(sessionId).digest("hex")

class Interrupted extends Data.TaggedError("Interrupted")<{}> {}

/**
 * Sends a call again that its runner has interrupted, as one does that has lost its locks: it would look like an
 * interruption of the caller. Runs in a fiber of its own: an interruption of the caller does not wait for the cluster,
 * which tells the runner and has none at times.
 */
const sentAgain = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatMap(
    Effect.forkDaemon(Effect.interruptible(call)),
    (fiber) => Effect.onInterrupt(Fiber.await(fiber), () => Fiber.interruptFork(fiber))
  ).pipe(
    Effect.flatMap((exit): Effect.Effect<A, E | Interrupted> => Exit.isInterrupted(exit) ? new Interrupted() : exit),
    Effect.retry({ while: (error) => error instanceof Interrupted, schedule: Schedule.spaced("100 millis") }),
    Effect.catchIf((error) => error instanceof Interrupted, () => Effect.interrupt)
  )

/**
 * Makes the function from a session's id to its client. A call is sent again while the cluster has no runner for the
 * session, such as after a host was killed, until `timeout`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const client = (
  options?: ClientOptions
): Effect.Effect<(sessionId: string) => SessionClient, never, Sharding.Sharding> =>
  Effect.suspend(() => {
    check("InitImageCluster.client", timeoutProblem("timeout", options?.timeout))
    const timeout = options?.timeout ?? "60 seconds"
    const answered = <A, E extends { readonly _tag: string }>(call: Effect.Effect<A, SessionUnavailable | E>) =>
      sentAgain(call).pipe(
        Effect.timeoutFail({ duration: timeout, onTimeout: () => new SessionUnavailable({ reason: "Timeout" }) }),
        Effect.mapError((error) =>
          error instanceof SessionUnavailable
            ? error
            : new SessionUnavailable({ reason: error._tag === "MailboxFull" ? "Overloaded" : "Runner" })
        ),
        Effect.catchAllDefect(() => new SessionUnavailable({ reason: "Runner" }))
      )
    return Effect.map(Session.client, (entity) => (sessionId: string): SessionClient => {
      const session = entity(entityIdOf(sessionId))
      const change = <A>(call: (changeId: string) => Effect.Effect<A, SessionUnavailable>) =>
        Effect.suspend(() => call(randomUUID()))
      return {
        set: (reference) => change((changeId) => answered(session.set({ changeId, reference }))),
        clear: (only) => change((changeId) => answered(session.clear({ changeId, only: Option.fromNullable(only) }))),
        current: Effect.suspend(() => answered(session.current()))
      }
    })
  })

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long an unused session keeps its image; 5 minutes by default, and more than 30 seconds where sockets use it. */
  readonly timeToLive?: Duration.DurationInput | undefined
  /**
   * How long a replaced or cleared image is kept for readers of its reference; 5 minutes by default. At least
   * the longest `ClientOptions.timeout`: a change that is delivered twice is recognised that long.
   */
  readonly grace?: Duration.DurationInput | undefined
  /** The time between two removals of replaced images and of unused sessions; 10 seconds by default. */
  readonly removalInterval?: Duration.DurationInput | undefined
}

const decodeOptions = (owner: string, options: Options | undefined) => {
  check(
    owner,
    timeoutProblem("timeToLive", options?.timeToLive),
    timeoutProblem("grace", options?.grace),
    timeoutProblem("removalInterval", options?.removalInterval)
  )
  return {
    timeToLive: Duration.decode(options?.timeToLive ?? "5 minutes"),
    grace: Duration.decode(options?.grace ?? "5 minutes"),
    removalInterval: Duration.decode(options?.removalInterval ?? "10 seconds")
  }
}

const Encoded = Schema.parseJson(InitImageStore.ImageReference)
const encode = Schema.encodeSync(Encoded)
const decode = Schema.decodeSync(Encoded)

/** Logs the state that PostgreSQL answers (its appendix A) and nothing of the statement. */
const failed = (error: unknown): Effect.Effect<never, SessionUnavailable> => {
  const cause = error instanceof Error ? error.cause : undefined
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
  return Effect.zipRight(
    Effect.logError("The sessions' database has failed").pipe(Effect.annotateLogs("code", String(code ?? "unknown"))),
    new SessionUnavailable({ reason: "Storage" })
  )
}

/** The entity on this runner, and the removal of images. */
const layerRows = (rows: rows.Rows<SqlError>, removalInterval: Duration.Duration) => {
  const handlers = Effect.map(Entity.CurrentAddress, ({ entityId }) =>
    Session.of({
      set: ({ payload }) => Effect.catchAll(rows.set(entityId, encode(payload.reference), payload.changeId), failed),
      clear: ({ payload }) =>
        Effect.catchAll(rows.clear(entityId, payload.changeId, Option.map(payload.only, encode)), failed),
      current: () => Effect.catchAll(Effect.map(rows.current(entityId), Option.map(decode)), failed)
    }))

  const remove = Effect.gen(function*() {
    const store = yield* InitImageStore.InitImageStore
    const references = yield* Effect.catchAll(rows.takeRemovable, failed)
    yield* Effect.forEach(references, (reference) => Effect.ignoreLogged(store.remove(decode(reference))), {
      concurrency: 4,
      discard: true
    })
  })
  const removal = Effect.forkScoped(Effect.repeat(Effect.ignore(remove), Schedule.spaced(removalInterval)))

  return Layer.merge(Session.toLayer(handlers), Layer.scopedDiscard(Effect.interruptible(removal)))
}

/**
 * Runs sessions on this runner, with their rows in PostgreSQL. Creates the tables `session_init_image_sessions` and
 * `session_init_image_changes` where they do not exist. The options are to be the same on all runners.
 *
 * An image is removed from the store `grace` after it was replaced or cleared, and when its session has been unused for
 * `timeToLive`. Each host removes; the database gives each image to one of them. After a failed removal, or one that ends
 * with its host, the store's own `sweep` removes the image.
 *
 * An image ends with its reference (`ImageReference.expiresAt`) in any case: give the store a longer time to live than
 * the longest session.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options?: Options
): Layer.Layer<never, SqlError, Sharding.Sharding | SqlClient.SqlClient | InitImageStore.InitImageStore> =>
  Layer.unwrapEffect(Effect.suspend(() => {
    const decoded = decodeOptions("InitImageCluster.layer", options)
    return Effect.map(
      Effect.flatMap(SqlClient.SqlClient, (sql) => rows.make(sql.withoutTransforms(), decoded)),
      (rows) => layerRows(rows, decoded.removalInterval)
    )
  }))

/**
 * {@link layer} with rows in the memory of this process, for tests and for a cluster of one runner that may forget.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = (
  options?: Options
): Layer.Layer<never, never, Sharding.Sharding | InitImageStore.InitImageStore> =>
  Layer.unwrapEffect(Effect.sync(() => {
    const decoded = decodeOptions("InitImageCluster.layerMemory", options)
    return layerRows(memory.make(decoded), decoded.removalInterval)
  }))

/**
 * The options of {@link layerSessions}.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionsOptions extends ClientOptions, InitImageApi.SessionsStoreOptions {}

const unavailable = (method: string) => (error: SessionUnavailable) =>
  storedSessions.trouble(method, error, error.reason === "Timeout" ? "TimedOut" : "Unknown")

/**
 * After a failed or interrupted `set`, the image stays in the store until it expires: the cluster may have
 * applied the `set`.
 */
const imagesIn = (
  { fetchScoped, put }: InitImageStore.Store,
  session: (sessionId: string) => SessionClient
): storedSessions.Images => ({
  put: (sessionId, image) =>
    Effect.tap(
      Effect.mapError(put(image), (error) => storedSessions.trouble(error.operation, error)),
      (reference) => Effect.mapError(session(sessionId).set(reference), unavailable("set"))
    ),
  current: (sessionId) => Effect.mapError(session(sessionId).current, unavailable("current")),
  clear: (sessionId, only) => Effect.mapError(session(sessionId).clear(only), unavailable("clear")),
  fetchScoped
})

/**
 * Provides the sessions of `InitImageApi` and of sockets through the cluster: images are put into the `InitImageStore`,
 * and their references into the cluster. As `InitImageApi.layerSessionsStore`, with one order of all calls, so that a read
 * on any host sees each set and clear that has ended before, and the end of a socket removes no image of another.
 *
 * The host may be a client of the cluster only. At least one host runs {@link layer}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSessions = (
  options?: SessionsOptions
): Layer.Layer<
  InitImageApi.Sessions,
  never,
  Sharding.Sharding | InitImageStore.InitImageStore | FileSystem.FileSystem | Path.Path
> =>
  Layer.scoped(
    InitImageApi.Sessions,
    Effect.gen(function*() {
      check(
        "InitImageCluster.layerSessions",
        durationProblem("idleTimeToLive", options?.idleTimeToLive),
        tempFile.optionsProblem(options)
      )
      const images = imagesIn(yield* InitImageStore.InitImageStore, yield* client(options))
      return yield* storedSessions.make(images, InitImageSlot.makeWith, options)
    })
  )
