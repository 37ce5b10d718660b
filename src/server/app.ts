/**
 * The server's HTTP app: the documented API, the other routes, the origin policy and the handling of uploads.
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiSwagger from "@effect/platform/HttpApiSwagger"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as OpenApi from "@effect/platform/OpenApi"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as InitImageApi from "../InitImageApi.js"
import * as InitImageHttp from "../InitImageHttp.js"
import * as InitImageLimits from "../InitImageLimits.js"
import type * as InitImageSocket from "../InitImageSocket.js"
import * as document from "./document.js"
import * as routes from "./routes.js"
import * as securityHeaders from "./securityHeaders.js"
import * as uploads from "./uploads.js"
import { version } from "./version.js"

/** The endpoints of the API. */
export class Api extends HttpApi.make("sessionInitImage")
  .add(InitImageApi.group)
  .annotate(OpenApi.Title, "session-init-image")
  .annotate(OpenApi.Version, version)
  .annotate(OpenApi.Description, "The init images of sessions")
{}

/** The API with its document: every route of the server, and the limits of the server that runs. */
export const documented = Effect.gen(function*() {
  const limits = { maxBytes: yield* InitImageLimits.MaxBytes, maxPixels: yield* InitImageLimits.MaxPixels }
  return Api.annotate(OpenApi.Transform, (spec) => document.addRoutes(InitImageApi.documentLimits(limits)(spec)))
})

export interface Options<E, R> {
  readonly sessions: Layer.Layer<InitImageApi.Sessions, E, R>
  readonly socket: InitImageSocket.Options
  readonly origins: InitImageHttp.OriginOptions
  /** Whether `X-Forwarded-Host` and `X-Forwarded-For` are those of a proxy. */
  readonly trustProxy: boolean
}

const layer = <E, R>({ origins: { origins = [] }, sessions, socket }: Options<E, R>) =>
  Layer.mergeAll(
    routes.layer(socket),
    HttpApiSwagger.layer({ path: "/docs" }),
    HttpApiBuilder.middlewareOpenApi({ path: "/openapi.json" })
  ).pipe(
    Layer.provideMerge(Layer.unwrapEffect(Effect.map(documented, HttpApiBuilder.api))),
    Layer.provide(InitImageApi.layer(Api, {
      prepare: socket.prepare,
      resourcePolicy: origins.length === 0 ? "same-origin" : "cross-origin"
    })),
    Layer.provide(sessions),
    Layer.provideMerge(Layer.mergeAll(HttpApiBuilder.Router.Live, HttpApiBuilder.Middleware.layer))
  )

const notFound = HttpServerRespondable.toResponse(new InitImageApi.NotFound())

/** Answers a path without a route. The platform's type of the app lacks this failure. */
const answerNotFound = <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<unknown, R> =>
  Effect.catchAll(app, (error: unknown) => Predicate.isTagged(error, "RouteNotFound") ? notFound : Effect.fail(error))

/**
 * Makes the app. When the scope closes, uploads are interrupted first, and then the sessions end.
 */
export const make = <E, R>(options: Options<E, R>) =>
  Effect.gen(function*() {
    const { origins, trustProxy } = options
    const context = yield* Layer.build(layer(options))
    const app = yield* Effect.provide(HttpApiBuilder.httpApp, context)
    const handleUploads = yield* uploads.makeMiddleware
    return app.pipe(
      answerNotFound,
      InitImageHttp.checkOrigin(origins),
      securityHeaders.add,
      trustProxy ? HttpMiddleware.xForwardedHeaders : identity,
      handleUploads
    )
  })
