/** Express 5. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import express from "express"
import { InitImageHttp, InitImageLimits } from "session-init-image"

const receive = Effect.gen(function*() {
  const image = yield* InitImageHttp.fromRequest()
  return HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
}).pipe(
  Effect.tapErrorTag("SystemError", (error) => Effect.logError("An image could not be stored", error)),
  // Ends when the client goes away.
  Effect.interruptible
)

const runtime = ManagedRuntime.make(
  Layer.merge(NodeContext.layer, InitImageLimits.layer({ maxBytes: 8 * 1024 * 1024 }))
)

export const app = express()

// Before `express.json()`, which would read the body.
app.post("/init-image", await runtime.runPromise(NodeHttpServer.makeHandler(receive)))

app.use(express.json({ limit: 100_000 }))
