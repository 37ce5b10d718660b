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
import * as Option from "effect/Option"
import { TooLarge } from "../InitImageError.js"
import * as InitImageFrame from "../InitImageFrame.js"
import * as InitImageLimits from "../InitImageLimits.js"
import * as InitImagePayload from "../InitImagePayload.js"
import * as SessionInitImage from "../SessionInitImage.js"
import * as body from "./body.js"
import * as Frames from "./frames.js"
import * as handshake from "./handshake.js"
import * as Session from "./session.js"
import * as wire from "./wire.js"

const healthz = HttpServerResponse.unsafeJson({ status: "ok" })

/** What the request says it sends: an image as it is, or otherwise JSON, whatever it calls that. */
const mediaType = (request: HttpServerRequest.HttpServerRequest): string =>
  (request.headers["content-type"] ?? "").replace(/;.*/s, "").trim().toLowerCase()

/**
 * No image is larger than the body that brings it, of whose bytes it takes up that share: the spool need not make more
 * room for it.
 */
const withinBody = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  request: HttpServerRequest.HttpServerRequest,
  share: number
) =>
  Effect.flatMap(InitImageLimits.MaxBytes, (maxBytes) => {
    const length = body.length(request) ?? Infinity
    return InitImageLimits.withMaxBytes(effect, Math.min(maxBytes, Math.floor(length * share)))
  })

const persistRaw = Effect.fnUntraced(function*(request: HttpServerRequest.HttpServerRequest, mime: string) {
  yield* InitImagePayload.decodeMime(mime)
  const bytes = body.length(request) ?? 0
  const limit = yield* InitImageLimits.MaxBytes
  if (bytes > limit) return yield* new TooLarge({ bytes, limit })
  const { name } = yield* HttpServerRequest.ParsedSearchParams
  const meta = { mime, name: typeof name === "string" ? name : undefined }
  const persisted = SessionInitImage.persistStreamScoped(meta, body.stream(request))
  return Option.some(yield* withinBody(persisted, request, 1))
})

const persistJson = Effect.fnUntraced(function*(request: HttpServerRequest.HttpServerRequest) {
  const persisted = InitImageFrame.persistScoped(body.stream(request), { at: [] })
  return (yield* withinBody(persisted, request, 3 / 4)).image
})

const persistBody = Effect.fnUntraced(
  function*(request: HttpServerRequest.HttpServerRequest) {
    const mime = mediaType(request)
    const image = mime.startsWith("image/") ? yield* persistRaw(request, mime) : yield* persistJson(request)
    return HttpServerResponse.unsafeJson(wire.imageObject(image))
  },
  Effect.scoped,
  Effect.catchAll((error) => {
    if (!Error.isPlatformError(error)) return HttpServerRespondable.toResponse(error)
    return Effect.as(
      Effect.logError("An init image could not be stored", error),
      HttpServerResponse.empty({ status: 500 })
    )
  }),
  Effect.tapDefect((cause) => Effect.logError("A request failed", cause)),
  (response, request) => Effect.map(response, (response) => body.answerEarly(request, response))
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
        Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
          FiberSet.run(requests, Effect.interruptible(persistBody(request)))),
        Fiber.join,
        Fiber.interrupt
      )
    ),
    HttpRouter.get("/v1/stream", stream(options))
  )
