/**
 * Sessions in one order over all servers, by `@effect/cluster` and PostgreSQL. Imported only where the environment asks
 * for them: the packages are the operator's to install.
 */
import * as RunnerAddress from "@effect/cluster/RunnerAddress"
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as InitImageCluster from "../InitImageCluster.js"

export interface Options {
  readonly databaseUrl: Redacted.Redacted
  /** The address under which the other servers reach this one. */
  readonly host: string
  readonly port: number
  /** How long an unused session keeps its image. */
  readonly timeToLive: Duration.DurationInput
}

/** The times of the cluster's locks are those of `ShardingConfig.layerFromEnv`. */
export const layerSessions = ({ databaseUrl, host, port, timeToLive }: Options) =>
  Layer.merge(InitImageCluster.layerSessions(), InitImageCluster.layer({ timeToLive })).pipe(
    Layer.provide(NodeClusterSocket.layer({
      storage: "sql",
      shardingConfig: { runnerAddress: Option.some(RunnerAddress.make(host, port)) }
    })),
    Layer.provide(PgClient.layer({ url: databaseUrl }))
  )
