/** `Deno.serve`. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { InitImageHttp, InitImageLimits } from "session-init-image"

const receive = Effect.gen(function*() {
  const image = yield* InitImageHttp.fromRequest()
  return HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
})

const Services = Layer.merge(NodeContext.layer, InitImageLimits.layer({ maxBytes: 8 * 1024 * 1024 }))

const { handler } = InitImageHttp.toWebHandler(receive, Services)

export const server = Deno.serve({ hostname: "127.0.0.1", port: 3000 }, (request) => handler(request))
