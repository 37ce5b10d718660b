/**
 * The server's routes.
 */
import * as Error from "@effect/platform/Error"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiSwagger from "@effect/platform/HttpApiSwagger"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { randomUUID } from "node:crypto"
import { IncomingMessage } from "node:http"
import * as InitImageApi from "../InitImageApi.js"
import * as InitImageHttp from "../InitImageHttp.js"
import * as InitImageSocket from "../InitImageSocket.js"
import { joinFiber } from "../internal/joinFiber.js"
import * as metrics from "./metrics.js"
import { turnToBegin } from "./pacing.js"
import * as page from "./page.js"

/** The endpoints that have a document, at `/docs` and `/openapi.json`. */
export class Api extends HttpApi.make("sessionInitImage")
  .add(InitImageApi.group)
  .annotate(OpenApi.Title, "session-init-image")
  .annotate(OpenApi.Description, "The init images of sessions")
{}

const persistBody = Effect.map(
  InitImageHttp.fromRequest(),
  (image) => HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
).pipe(
  Effect.catchAll((error) =>
    Error.isPlatformError(error)
      ? Effect.as(
        Effect.logError("An init image could not be stored", error),
        HttpServerResponse.empty({ status: 500 })
      )
      : HttpServerRespondable.toResponse(error)
  ),
  Effect.tapDefect((cause) => Effect.logError("A request failed", cause))
)

/** As many characters as the api's paths take. */
const maxIdLength = 100

/** A client that would read its image back names its session in the query. */
const sessionIdIn = (
  { session_id: id }: Context.Tag.Service<typeof HttpServerRequest.ParsedSearchParams>
): string | undefined => typeof id === "string" && id.length > 0 && id.length <= maxIdLength ? id : undefined

/** A slot among those of the api, where it can be read for as long as the socket is open. */
const slotOf = (sessions: InitImageApi.SessionsService, sessionId: string) =>
  Effect.zipLeft(sessions.slot(sessionId), Effect.addFinalizer(() => sessions.end(sessionId)))

const stream = (sessions: InitImageApi.SessionsService, options: InitImageSocket.Options) =>
  Effect.gen(function*() {
    const { source } = yield* HttpServerRequest.HttpServerRequest
    const socket = yield* InitImageSocket.upgrade
    const sessionId = sessionIdIn(yield* HttpServerRequest.ParsedSearchParams) ?? randomUUID()
    yield* InitImageSocket.run(socket, () => Effect.never, {
      ...options,
      slot: slotOf(sessions, sessionId),
      ...(source instanceof IncomingMessage ? { bytesRead: Effect.sync(() => source.socket.bytesRead) } : {})
    })
    return HttpServerResponse.empty()
  }).pipe(
    Effect.catchAllDefect((defect) =>
      Effect.as(Effect.logError("A session failed", defect), HttpServerResponse.empty({ status: 500 }))
    )
  )

const routes = (options: InitImageSocket.Options) =>
  HttpApiBuilder.Router.use((router) =>
    Effect.gen(function*() {
      const sessions = yield* InitImageApi.Sessions
      yield* router.get("/healthz", HttpServerResponse.unsafeJson({ status: "ok" }))
      yield* router.post("/v1/init-image", persistBody)
      yield* router.get("/v1/stream", stream(sessions, options))
      yield* page.addTo(router)
      yield* metrics.route
    })
  )

/** What brings no image: a WebSocket, which ends by itself, and what only reads. */
const bringsNothing = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ method }) => method === "GET" || method === "HEAD"
)

/**
 * Runs each request that may bring an image in that set: a server that shuts down waits for its WebSockets, and not for
 * its requests, and what those have persisted is gone once the set has ended.
 */
const runIn = (requests: FiberSet.FiberSet<unknown, unknown>) => <E, R>(app: HttpApp.Default<E, R>) =>
  Effect.if(bringsNothing, {
    onTrue: () => app,
    onFalse: () =>
      Effect.acquireUseRelease(
        FiberSet.run(requests, Effect.interruptible(Effect.zipRight(turnToBegin, app))),
        (fiber) => Effect.interruptible(joinFiber(fiber)),
        Fiber.interrupt
      )
  })

/** All that the server answers, and who may ask it from a page. */
export interface Options {
  readonly socket: InitImageSocket.Options
  readonly origins: InitImageHttp.OriginOptions
}

const layer = (options: InitImageSocket.Options) =>
  Layer.mergeAll(
    routes(options),
    HttpApiSwagger.layer({ path: "/docs" }),
    HttpApiBuilder.middlewareOpenApi({ path: "/openapi.json" })
  ).pipe(
    Layer.provideMerge(HttpApiBuilder.api(Api)),
    Layer.provide(InitImageApi.layer(Api)),
    Layer.provide(InitImageApi.layerSessions()),
    Layer.provideMerge(Layer.mergeAll(HttpApiBuilder.Router.Live, HttpApiBuilder.Middleware.layer))
  )

/** The app, which runs its requests in that set, and holds what it needs as long as the scope is open. */
export const make = ({ origins, socket }: Options, requests: FiberSet.FiberSet<unknown, unknown>) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(layer(socket))
    const app = yield* Effect.provide(HttpApiBuilder.httpApp, context)
    return app.pipe(InitImageHttp.checkOrigin(origins), runIn(requests))
  })
