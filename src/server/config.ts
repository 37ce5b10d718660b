/**
 * The server's configuration, read from environment variables.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import type { SocketServerError } from "@effect/platform/SocketServer"
import type { SqlError } from "@effect/sql/SqlError"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as InitImageApi from "../InitImageApi.js"
import * as InitImageLimits from "../InitImageLimits.js"
import * as InitImageSpool from "../InitImageSpool.js"
import * as InitImageStore from "../InitImageStore.js"
import * as origin from "../internal/http/origin.js"
import * as originPolicy from "./originPolicy.js"

const port = Config.integer("PORT").pipe(
  Config.validate({ message: "Expected a port from 0 to 65535", validation: (n) => n >= 0 && n <= 65535 }),
  Config.withDefault(8787)
)

const duration = (name: string) =>
  Config.duration(name).pipe(
    Config.validate({
      message: "Expected a duration above zero, such as 10 seconds",
      validation: Duration.greaterThan(Duration.zero)
    })
  )

/** A list separated by commas. */
const list = (name: string, problemOf: (entries: ReadonlyArray<string>) => string | undefined) =>
  Config.array(Config.nonEmptyString(), name).pipe(
    Config.mapOrFail((entries) => {
      const problem = problemOf(entries)
      return problem === undefined ? Either.right(entries) : Either.left(ConfigError.InvalidData([name], problem))
    }),
    Config.withDefault(undefined)
  )

const optionalInteger = (name: string) => Config.integer(name).pipe(Config.withDefault(undefined))

/**
 * - `HOST`: the address to listen on; the loopback address by default, which other machines cannot reach
 * - `PORT`: 8787 by default; 0 takes a free port
 * - `INIT_IMAGE_MAX_CONNECTIONS`: see `NodeServer.Options`
 * - `INIT_IMAGE_OPENING_TIMEOUT`: how long a WebSocket may stay open without a first message; 10 seconds by default
 * - `INIT_IMAGE_KEEP_ALIVE`: the time between two pings on a WebSocket; 20 seconds by default. Below the idle limit of a
 *   proxy in between
 * - `INIT_IMAGE_ORIGINS`: the origins of other sites whose pages may use the server, such as `https://app.example.com`,
 *   separated by commas
 * - `INIT_IMAGE_HOSTS`: the host names that the server answers to, separated by commas; see `originPolicy.ts` for the
 *   default. To be set for a server on the loopback address behind a proxy
 * - `INIT_IMAGE_TRUST_PROXY`: `true` takes the host of a request from `X-Forwarded-Host`, and its address from
 *   `X-Forwarded-For`; only behind a proxy that sets both. `false` by default
 */
export const server = Config.all({
  host: Config.nonEmptyString("HOST").pipe(Config.withDefault("127.0.0.1")),
  port,
  maxConnections: Config.validate(optionalInteger("INIT_IMAGE_MAX_CONNECTIONS"), {
    message: "Expected a number of at least 1",
    validation: (n) => n === undefined || n >= 1
  }),
  openingTimeout: duration("INIT_IMAGE_OPENING_TIMEOUT").pipe(Config.withDefault(Duration.seconds(10))),
  keepAlive: duration("INIT_IMAGE_KEEP_ALIVE").pipe(Config.withDefault(undefined)),
  trustProxy: Config.boolean("INIT_IMAGE_TRUST_PROXY").pipe(Config.withDefault(false)),
  origins: list("INIT_IMAGE_ORIGINS", origin.originsProblem),
  hosts: list("INIT_IMAGE_HOSTS", origin.hostsProblem)
}).pipe(
  Config.map(({ hosts, origins, ...server }) => ({
    ...server,
    origins: { origins, hosts: hosts ?? originPolicy.defaultHosts(server.host) }
  }))
)

/**
 * - `INIT_IMAGE_MAX_BYTES`: see `InitImageLimits.MaxBytes`
 * - `INIT_IMAGE_MAX_PIXELS`: see `InitImageLimits.MaxPixels`
 */
export const limits = InitImageLimits.layerConfig({
  maxBytes: optionalInteger("INIT_IMAGE_MAX_BYTES"),
  maxPixels: optionalInteger("INIT_IMAGE_MAX_PIXELS")
})

/**
 * `INIT_IMAGE_LOG_LEVEL`: the least level of the messages in the log, such as `DEBUG`; `INFO` by default. At `DEBUG` each
 * request that is refused with 403 says which of the settings above would allow it.
 */
export const logLevel = Config.logLevel("INIT_IMAGE_LOG_LEVEL").pipe(
  Config.withDefault(LogLevel.Info),
  Effect.map(Logger.minimumLogLevel),
  Layer.unwrapEffect
)

/**
 * `INIT_IMAGE_DIRECTORY`: the parent of the server's own image directory, created if it is missing; the system's
 * temporary folder by default.
 */
export const directory = Config.nonEmptyString("INIT_IMAGE_DIRECTORY").pipe(Config.withDefault(undefined))

/**
 * See `InitImageSpool.Options`:
 *
 * - `INIT_IMAGE_MAX_BYTES_IN_FLIGHT`
 * - `INIT_IMAGE_MAX_BYTES_KEPT`
 * - `INIT_IMAGE_MAX_FILES_KEPT`
 * - `INIT_IMAGE_ON_FULL`: `wait` or `fail`
 * - `INIT_IMAGE_MAX_WAIT`: a duration such as `10 seconds`
 * - `INIT_IMAGE_STALE_AFTER`: a duration
 */
export const spool = InitImageSpool.layerConfig({
  directory,
  maxBytesInFlight: optionalInteger("INIT_IMAGE_MAX_BYTES_IN_FLIGHT"),
  maxBytesKept: optionalInteger("INIT_IMAGE_MAX_BYTES_KEPT"),
  maxFilesKept: optionalInteger("INIT_IMAGE_MAX_FILES_KEPT"),
  onFull: Config.literal("wait", "fail")("INIT_IMAGE_ON_FULL").pipe(Config.withDefault(undefined)),
  maxWait: duration("INIT_IMAGE_MAX_WAIT").pipe(Config.withDefault(undefined)),
  staleAfter: duration("INIT_IMAGE_STALE_AFTER").pipe(Config.withDefault(undefined))
})

/**
 * `INIT_IMAGE_NORMALIZE`: the size of the images of sessions, in pixels, such as `1280x704`. Each image is
 * turned upright, converted to sRGB and cropped to it. Needs the package `sharp`. Images stay as they are by default.
 */
export const normalize = Config.nonEmptyString("INIT_IMAGE_NORMALIZE").pipe(
  Config.mapOrFail((size) => {
    const [, width, height] = /^([1-9]\d{0,3})x([1-9]\d{0,3})$/.exec(size) ?? []
    return width === undefined || height === undefined
      ? Either.left(ConfigError.InvalidData([], `Expected a width and a height, such as 1280x704`))
      : Either.right({ width: Number(width), height: Number(height) })
  }),
  Config.withDefault(undefined)
)

const sweepInterval = Duration.minutes(1)

const timeToLive = Config.duration("INIT_IMAGE_STORE_TIME_TO_LIVE").pipe(
  Config.validate({
    message: "Expected a duration of at least 1 minute, which is longer than the time between an open socket's uses",
    validation: Duration.greaterThanOrEqualTo(Duration.minutes(1))
  }),
  Config.withDefault(Duration.minutes(5)),
  Config.map(Duration.decode)
)

const s3 = (timeToLive: Duration.Duration) =>
  InitImageStore.layerS3Config({
    endpoint: Config.nonEmptyString("AWS_ENDPOINT_URL_S3").pipe(
      Config.orElse(() => Config.nonEmptyString("AWS_ENDPOINT_URL"))
    ),
    bucket: Config.nonEmptyString("INIT_IMAGE_BUCKET"),
    region: Config.nonEmptyString("AWS_REGION").pipe(Config.withDefault(undefined)),
    credentials: InitImageStore.credentialsConfig,
    timeToLive: Config.succeed(timeToLive),
    sweepEvery: Config.succeed(sweepInterval)
  }).pipe(Layer.provide(NodeHttpClient.layerUndici))

const sharedDirectory = (timeToLive: Duration.Duration) =>
  Config.nonEmptyString("INIT_IMAGE_STORE_DIRECTORY").pipe(
    Effect.map((directory) => InitImageStore.layerFileSystem({ directory, timeToLive, sweepEvery: sweepInterval })),
    Layer.unwrapEffect
  )

type StoreFailure = Layer.Layer.Error<ReturnType<typeof s3> | ReturnType<typeof sharedDirectory>>

type Store = Layer.Layer<InitImageStore.InitImageStore, StoreFailure, FileSystem.FileSystem | Path.Path>

const store = (kind: "s3" | "directory", timeToLive: Duration.Duration): Store =>
  kind === "s3" ? s3(timeToLive) : sharedDirectory(timeToLive)

/** A cluster removes the images of its sessions; the store removes what a killed server has left. */
const longestSession = Duration.days(1)

const cluster = Config.all({
  databaseUrl: Config.redacted("INIT_IMAGE_CLUSTER_DATABASE_URL"),
  host: Config.nonEmptyString("INIT_IMAGE_CLUSTER_HOST").pipe(Config.withDefault("127.0.0.1")),
  port: Config.port("INIT_IMAGE_CLUSTER_PORT").pipe(Config.withDefault(34431))
}).pipe(Config.option)

/** Reports that the packages of a cluster are not installed. */
export class ClusterNotAvailable extends Data.TaggedError("ClusterNotAvailable")<{}> {
  override readonly message = "INIT_IMAGE_CLUSTER_DATABASE_URL needs the packages of a cluster: "
    + "npm install @effect/cluster @effect/platform-node @effect/rpc @effect/sql @effect/sql-pg"
}

const clusterModule = Effect.tryPromise({
  try: () => import("./cluster.js"),
  catch: () => new ClusterNotAvailable()
})

/**
 * The sessions under `/sessions` and of WebSockets with a `session_id`.
 *
 * - `INIT_IMAGE_STORE`: where several servers behind a balancer keep the images of their sessions: `s3`, or `directory`
 *   for one on a volume that they share. Each server has sessions of its own by default
 * - `INIT_IMAGE_STORE_TIME_TO_LIVE`: how long an unused session keeps its image; 5 minutes by default, and at
 *   least 1 minute. The same for all servers
 * - `INIT_IMAGE_STORE_DIRECTORY`: the directory of `directory`
 *
 * Of `s3`, an S3-compatible object store; needs the package `aws4fetch`, and Node or Deno:
 *
 * - `AWS_ENDPOINT_URL_S3`, or `AWS_ENDPOINT_URL`: its URL
 * - `INIT_IMAGE_BUCKET`: an existing bucket
 * - `AWS_REGION`: `us-east-1` by default
 * - `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if there is one, `AWS_SESSION_TOKEN`
 *
 * One order of all changes and reads of a session over all servers, in place of the last write wins; needs a store, and
 * the packages `@effect/cluster`, `@effect/platform-node`, `@effect/rpc`, `@effect/sql` and `@effect/sql-pg`. An image
 * then ends after a day at the latest:
 *
 * - `INIT_IMAGE_CLUSTER_DATABASE_URL`: a PostgreSQL database. On an empty one, start one server before the others
 * - `INIT_IMAGE_CLUSTER_HOST`, `INIT_IMAGE_CLUSTER_PORT`: the address under which the other servers reach this one;
 *   127.0.0.1 and 34431 by default
 * - `SHARD_LOCK_EXPIRATION` and others: see `ShardingConfig.layerFromEnv` of `@effect/cluster`
 */
export const sessions: Layer.Layer<
  InitImageApi.Sessions,
  StoreFailure | ConfigError.ConfigError | ClusterNotAvailable | SqlError | SocketServerError,
  FileSystem.FileSystem | Path.Path
> = Effect.gen(function*() {
  const kind = yield* Config.withDefault(Config.literal("s3", "directory")("INIT_IMAGE_STORE"), undefined)
  const clustered = yield* cluster
  if (kind === undefined) {
    return Option.isNone(clustered)
      ? InitImageApi.layerSessions()
      : yield* Effect.fail(ConfigError.MissingData(["INIT_IMAGE_STORE"], "A cluster keeps its images in a store"))
  }
  const unused = yield* timeToLive
  if (Option.isNone(clustered)) return Layer.provide(InitImageApi.layerSessionsStore(), store(kind, unused))
  const { layerSessions } = yield* clusterModule
  return Layer.provide(
    layerSessions({ ...clustered.value, timeToLive: unused }),
    store(kind, Duration.max(unused, longestSession))
  )
}).pipe(Layer.unwrapEffect)
