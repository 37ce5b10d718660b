/** Plain `node:http`. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as http from "node:http"
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
const handler = await runtime.runPromise(NodeHttpServer.makeHandler(receive))

export const server = http.createServer((request, response) => {
  if (request.method === "POST" && request.url === "/init-image") return handler(request, response)
  response.writeHead(404).end()
})
