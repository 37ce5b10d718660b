/**
 * The server's routes.
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Error from "@effect/platform/Error"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as SessionInitImage from "../SessionInitImage.js"
import * as body from "./body.js"
import * as Frames from "./frames.js"
import * as handshake from "./handshake.js"
import * as Session from "./session.js"
import * as wire from "./wire.js"

const healthz = HttpServerResponse.unsafeJson({ status: "ok" })

const persistBody = Effect.fnUntraced(
  function*(options: SessionInitImage.PersistOptions) {
    const payload = yield* body.readJson(yield* HttpServerRequest.HttpServerRequest)
    const image = yield* SessionInitImage.persistScoped(payload, options)
    return HttpServerResponse.unsafeJson(wire.imageObject(image))
  },
  Effect.scoped,
  Effect.catchAll((error) => {
    if (error instanceof body.BodyTooLarge) {
      const response = HttpServerRespondable.toResponse(error.error)
      return error.complete ? response : Effect.map(response, HttpServerResponse.setHeader("connection", "close"))
    }
    if (!Error.isPlatformError(error)) return HttpServerRespondable.toResponse(error)
    return Effect.as(
      Effect.logError("An init image could not be stored", error),
      HttpServerResponse.empty({ status: 500 })
    )
  }),
  Effect.tapDefect((cause) => Effect.logError("A request failed", cause))
)

const stream = Effect.fnUntraced(function*(options: Session.Options) {
  const request = yield* HttpServerRequest.HttpServerRequest
  const incoming = NodeHttpServerRequest.toIncomingMessage(request)
  if (!handshake.isAcceptable(incoming)) {
    return HttpServerResponse.empty({
      status: 426,
      headers: { connection: "upgrade, close", upgrade: "websocket", "sec-websocket-version": "13" }
    })
  }
  const socket = yield* request.upgrade
  const frames = yield* Frames.make(socket, incoming.socket)
  yield* Session.run(frames, options)
  return HttpServerResponse.empty()
}, Effect.scoped)

/**
 * The routes. What a request has persisted is run in `requests`, and is gone once that has ended: a server that shuts
 * down waits for its WebSockets, and not for its requests.
 */
export const make = (options: Session.Options, requests: FiberSet.FiberSet<unknown, unknown>) =>
  HttpRouter.empty.pipe(
    HttpRouter.get("/healthz", healthz),
    HttpRouter.post(
      "/v1/init-image",
      Effect.acquireUseRelease(
        FiberSet.run(requests, Effect.interruptible(persistBody(options))),
        Fiber.join,
        Fiber.interrupt
      )
    ),
    HttpRouter.get("/v1/stream", stream(options))
  )
