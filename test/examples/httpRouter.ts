/** A route that takes a prompt and an image, in JSON or in a form. */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { InitImageHttp } from "session-init-image"
import { Generator } from "./generator.js"

const Message = Schema.Struct({ prompt: Schema.String })

/** JSON `{ "prompt": "rain", "initial_image": { … } }`, or a form with the field `prompt` and the file `initial_image`. */
const generate = Effect.gen(function*() {
  const { image, message } = yield* InitImageHttp.messageFromRequest({
    at: ["initial_image"],
    field: "initial_image",
    stallTimeout: "10 seconds"
  })
  const { prompt } = yield* Schema.decodeUnknown(Message)(message)
  if (Option.isNone(image)) return HttpServerResponse.empty({ status: 204 })
  const generator = yield* Generator
  const clip = yield* generator.generate(image.value, prompt)
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
