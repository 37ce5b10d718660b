/** A route that takes an image as a JSON payload, as raw bytes, or in a form. */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { InitImageHttp } from "session-init-image"
import { Generator } from "./generator.js"

const generate = Effect.gen(function*() {
  const image = yield* InitImageHttp.fromRequest({ stallTimeout: "10 seconds" })
  if (Option.isNone(image)) return HttpServerResponse.empty({ status: 204 })
  const generator = yield* Generator
  const clip = yield* generator.generate(image.value, "a slow pan")
  return HttpServerResponse.unsafeJson({ image: InitImageHttp.describe(image.value), clip })
}).pipe(
  // An image error answers for itself with its status. A disk error is for the log.
  Effect.tapErrorTag("SystemError", (error) => Effect.logError("An image could not be stored", error))
)

/** Refuses pages of other sites, except the application's. */
export const app = HttpRouter.empty.pipe(
  HttpRouter.post("/clips", generate),
  InitImageHttp.checkOrigin({ origins: ["https://app.example.com"] })
)
