/**
 * A host of a cluster, in a process of its own: it runs sessions and serves them over HTTP until it is killed.
 *
 * Environment: `DATABASE_URL`, `STORE_DIRECTORY`, `HOST_DIRECTORY` for its own files, `RUNNER_PORT`. Writes `ready <url>`.
 */
import * as RunnerAddress from "@effect/cluster/RunnerAddress"
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServer from "@effect/platform/HttpServer"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Http from "node:http"
import { InitImageApi } from "../../../src/index.js"
import * as InitImageCluster from "../../../src/InitImageCluster.js"
import * as InitImageStore from "../../../src/InitImageStore.js"

class Api extends HttpApi.make("api").add(InitImageApi.group) {}

const makeHost = Effect.gen(function*() {
  const { directory, port, store } = yield* Config.all({
    directory: Config.string("HOST_DIRECTORY"),
    port: Config.integer("RUNNER_PORT"),
    store: Config.string("STORE_DIRECTORY")
  })

  const cluster = NodeClusterSocket.layer({
    storage: "sql",
    shardingConfig: {
      runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", port)),
      shardLockExpiration: "3 seconds",
      shardLockRefreshInterval: "1 second",
      refreshAssignmentsInterval: "500 millis"
    }
  }).pipe(Layer.provideMerge(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })))

  const sessions = Layer.merge(
    InitImageCluster.layerSessions({ directory }),
    InitImageCluster.layer({ timeToLive: "1 hour", grace: "1 hour" })
  ).pipe(
    Layer.provide(cluster),
    Layer.provide(InitImageStore.layerFileSystem({ directory: store }))
  )

  return HttpApiBuilder.serve().pipe(
    Layer.provide(HttpApiBuilder.api(Api)),
    Layer.provide(InitImageApi.layer(Api, { directory })),
    Layer.provide(sessions),
    Layer.provideMerge(NodeHttpServer.layer(() => Http.createServer(), { host: "127.0.0.1", port: 0 })),
    Layer.provide(NodeContext.layer)
  )
})

const main = Effect.gen(function*() {
  const host = yield* Layer.build(yield* makeHost)
  yield* Effect.provide(HttpServer.addressFormattedWith((address) => Console.log(`ready ${address} .`)), host)
  return yield* Effect.never
})

NodeRuntime.runMain(Effect.scoped(main))
