/**
 * The routes beside the documented API: `GET /healthz`, `POST /v1/init-image`, `WS /v1/stream`, `GET /metrics` and the
 * page at `/`.
 */
import * as Error from "@effect/platform/Error"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomUUID } from "node:crypto"
import * as InitImageApi from "../InitImageApi.js"
import * as InitImageHttp from "../InitImageHttp.js"
import * as InitImageSocket from "../InitImageSocket.js"
import { maxSessionIdLength } from "../internal/http/sessions.js"
import * as metrics from "./metrics.js"
import * as page from "./page.js"

const failed = HttpServerRespondable.toResponse(new InitImageApi.InternalServerError())

const persistBody = Effect.map(
  InitImageHttp.fromRequest(),
  (image) => HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
).pipe(
  Effect.catchAll((error) => {
    if (Error.isPlatformError(error)) {
      return Effect.zipRight(Effect.logError("An init image could not be stored", error), failed)
    }
    return HttpServerRespondable.toResponse(error._tag === "RequestError" ? new InitImageApi.RequestTimeout() : error)
  }),
  Effect.catchAllDefect((defect) => Effect.zipRight(Effect.logError("A request failed", defect), failed))
)

/** The `session_id` of the query. A client that reads its image back over HTTP sets it. */
const sessionIdIn = (
  { session_id: id }: Context.Tag.Service<typeof HttpServerRequest.ParsedSearchParams>
): string | undefined => typeof id === "string" && id.length > 0 && id.length <= maxSessionIdLength ? id : undefined

/**
 * A slot that the API serves. The socket's image ends with the scope; that of another socket under the same id, such as a
 * reconnected client's, or of a `PUT` stays.
 */
const slotOf = (sessions: InitImageApi.SessionsService, sessionId: string) =>
  Effect.flatMap(sessions.slot(sessionId), (slot) => slot.own)

const stream = (sessions: InitImageApi.SessionsService, options: InitImageSocket.Options) =>
  Effect.gen(function*() {
    const socket = yield* InitImageSocket.upgrade
    const sessionId = sessionIdIn(yield* HttpServerRequest.ParsedSearchParams) ?? randomUUID()
    yield* InitImageSocket.run(socket, () => Effect.never, {
      ...options,
      slot: slotOf(sessions, sessionId)
    })
    return HttpServerResponse.empty()
  }).pipe(
    Effect.catchAllDefect((defect) => Effect.zipRight(Effect.logError("A session failed", defect), failed))
  )

/** Adds the routes to the API's router. */
export const layer = (options: InitImageSocket.Options) =>
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
