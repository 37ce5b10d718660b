/**
 * A worker in a process of its own: it fetches a session's picture from the store into a file, opens it and answers its
 * size. `GET /<session id>`.
 *
 * Environment: the store of the reference server, and `WORKER_DIRECTORY` for its own files. Writes `ready <url>`.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Http from "node:http"
import sharp from "sharp"
import { InitImageSpool } from "../../../src/index.js"
import * as InitImageStore from "../../../src/InitImageStore.js"

const open = Effect.gen(function*() {
  const { sessionId = "" } = yield* HttpRouter.params
  const store = yield* InitImageStore.InitImageStore
  const reference = yield* store.named.get(sessionId)
  if (Option.isNone(reference)) return HttpServerResponse.empty({ status: 404 })
  const image = yield* store.fetchScoped(reference.value)
  const { data, info } = yield* Effect.promise(() => sharp(image.path).raw().toBuffer({ resolveWithObject: true }))
  const { height, width } = info
  return HttpServerResponse.unsafeJson({ width, height, decoded: data.length, bytes: image.bytes })
})

const Store = InitImageStore.layerS3Config({
  endpoint: Config.string("AWS_ENDPOINT_URL_S3"),
  bucket: Config.string("INIT_IMAGE_BUCKET"),
  region: Config.string("AWS_REGION"),
  credentials: InitImageStore.credentialsConfig
}).pipe(Layer.provide(NodeHttpClient.layerUndici))

const Spool = InitImageSpool.layerConfig({
  directory: Config.string("WORKER_DIRECTORY"),
  staleAfter: Config.duration("INIT_IMAGE_STALE_AFTER")
})

const Worker = HttpRouter.empty.pipe(
  HttpRouter.get("/:sessionId", open),
  HttpServer.serve(),
  Layer.merge(Layer.effectDiscard(HttpServer.addressFormattedWith((address) => Console.log(`ready ${address} .`)))),
  Layer.provide([Store, Spool, NodeHttpServer.layer(() => Http.createServer(), { host: "127.0.0.1", port: 0 })]),
  Layer.provide(NodeContext.layer)
)

NodeRuntime.runMain(Layer.launch(Worker))
