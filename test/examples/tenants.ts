/** Limits per tenant. */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { InitImageHttp, InitImageLimits } from "session-init-image"

export interface TenantsService {
  /** The limits of the tenant with this key, which replace the server's defaults; `None` for an unknown key. */
  readonly limits: (key: string) => Effect.Effect<Option.Option<InitImageLimits.Limits>>
}

export class Tenants extends Context.Tag("example/Tenants")<Tenants, TenantsService>() {}

/** Applies the tenant's limits to everything that runs within the route. */
const withTenantLimits = <E, R>(route: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    const tenants = yield* Tenants
    const limits = yield* tenants.limits(headers["x-api-key"] ?? "")
    if (Option.isNone(limits)) return HttpServerResponse.empty({ status: 401 })
    return yield* InitImageLimits.withLimits(route, limits.value)
  })

export const app = HttpRouter.empty.pipe(
  HttpRouter.put(
    "/avatar",
    Effect.map(
      InitImageHttp.fromRequest(),
      (image) => HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
    )
  ),
  HttpRouter.use(withTenantLimits)
)
