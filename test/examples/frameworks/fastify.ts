/** Fastify 5. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import Fastify from "fastify"
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

export const app = Fastify()

app.register(async (images) => {
  // The body is left to the handler. Other routes keep Fastify's parsers.
  images.removeAllContentTypeParsers()
  images.addContentTypeParser("*", (_request, _body, done) => done(null))
  images.post("/init-image", (request, reply) => {
    reply.hijack()
    handler(request.raw, reply.raw)
  })
})
