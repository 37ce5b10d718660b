/**
 * Runs the first server of the README, and reports its resources to the parent process on request. With `STALE_AFTER` in
 * its environment, in milliseconds, it has a spool.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as InitImageHttp from "../../../src/InitImageHttp.js"
import * as InitImageSpool from "../../../src/InitImageSpool.js"
import * as NodeServer from "../../../src/NodeServer.js"
import "../soak/report.js"

const describe = Effect.map(
  InitImageHttp.fromRequest(),
  (image) => HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
)

const router = HttpRouter.empty.pipe(HttpRouter.post("/init-image", describe))
const { INIT_IMAGE_DIRECTORY: directory, STALE_AFTER: staleAfter } = process.env
const spool = staleAfter === undefined
  ? Layer.empty
  : InitImageSpool.layer({ directory, staleAfter: Number(staleAfter) })
const server = HttpServer.serve(router).pipe(
  HttpServer.withLogAddress,
  Layer.provide(NodeHttpServer.layer(() => NodeServer.make(), { port: 0, host: "127.0.0.1" })),
  Layer.provide(Layer.provide(spool, NodeHttpServer.layerContext))
)

NodeRuntime.runMain(Layer.launch(server))
