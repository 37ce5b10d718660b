/** An application's api: the init images of sessions and a group of the application, both behind a bearer token. */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiError from "@effect/platform/HttpApiError"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createHash, timingSafeEqual } from "node:crypto"
import { InitImageApi, InitImageLimits } from "session-init-image"
import { Clip, Generator } from "./generator.js"

export class Authorization extends HttpApiMiddleware.Tag<Authorization>()("example/Authorization", {
  failure: HttpApiError.Unauthorized,
  security: { token: HttpApiSecurity.bearer }
}) {}

export class Clips extends HttpApiGroup.make("clips")
  .add(
    HttpApiEndpoint.post("generate", "/sessions/:sessionId/clips")
      .setPath(Schema.Struct({ sessionId: Schema.String }))
      .setPayload(Schema.Struct({ prompt: Schema.String }))
      .addSuccess(Clip)
      .addError(HttpApiError.NotFound)
      .addError(HttpApiError.InternalServerError)
  )
  .middleware(Authorization)
{}

export class Api extends HttpApi.make("studio")
  .add(InitImageApi.group.middleware(Authorization))
  .add(Clips)
{}

/** Hashed, because `timingSafeEqual` requires equal lengths. */
const digest = (token: Redacted.Redacted) => createHash("sha256").update(Redacted.value(token)).digest()

const AuthorizationLive = Layer.effect(
  Authorization,
  Effect.map(Config.redacted("API_TOKEN"), (expected) => ({
    token: (given) => timingSafeEqual(digest(given), digest(expected)) ? Effect.void : new HttpApiError.Unauthorized()
  }))
)

const ClipsLive = HttpApiBuilder.group(Api, "clips", (handlers) =>
  Effect.gen(function*() {
    const sessions = yield* InitImageApi.Sessions
    const generator = yield* Generator
    return handlers.handle("generate", ({ path, payload }) =>
      Effect.gen(function*() {
        const slot = yield* Effect.flatten(sessions.find(path.sessionId))
        // The lease keeps the file until the request has ended, also if the client replaces the image.
        const image = yield* Effect.flatten(slot.lease)
        return yield* generator.generate(image, payload.prompt)
      }).pipe(Effect.catchTags({
        NoSuchElementException: () => new HttpApiError.NotFound(),
        BadArgument: () => new HttpApiError.InternalServerError(),
        SystemError: () => new HttpApiError.InternalServerError()
      })))
  }))

/** Serve it with `HttpApiBuilder.serve`. */
export const ApiLive = HttpApiBuilder.api(Api).pipe(
  Layer.provide([ClipsLive, InitImageApi.layer(Api)]),
  Layer.provide([
    AuthorizationLive,
    InitImageApi.layerSessions({ idleTimeToLive: "10 minutes" }),
    InitImageLimits.layer({ maxBytes: 8 * 1024 * 1024 })
  ])
)
