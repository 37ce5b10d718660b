/** A router with a route that takes an image as a payload in JSON, as it is, or in a form. */
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
  // What is wrong with the image answers for itself, with its own status. What is wrong with the disk is for the log.
  Effect.tapErrorTag("SystemError", (error) => Effect.logError("An image could not be stored", error))
)

/** No page of another site may use it but those of the application. */
export const app = HttpRouter.empty.pipe(
  HttpRouter.post("/clips", generate),
  InitImageHttp.checkOrigin({ origins: ["https://app.example.com"] })
)
