/**
 * A session whose images reach the model upright, in sRGB, and in its size. The client sends a photo as its phone took
 * it; the session only ever holds the normalised picture.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { InitImageSocket, type SessionInitImage } from "session-init-image"
import * as InitImageNormalizer from "session-init-image/InitImageNormalizer"
import { Generator } from "./generator.js"

/** The size of the model's frames: multiples of 32. */
const prepare = (image: SessionInitImage.SessionInitImage) =>
  InitImageNormalizer.normalizeScoped(image, { fit: "cover", width: 1280, height: 704, background: "#000" })

const serve = Effect.gen(function*() {
  const generator = yield* Generator
  const handler = ({ send, slot }: InitImageSocket.Session) =>
    Effect.gen(function*() {
      const image = yield* slot.lease
      const clip = Option.isSome(image) ? yield* generator.generate(image.value, "rain") : null
      yield* send({ type: "clip", clip })
      // Replacements are answered for as long as the handler runs.
      return yield* Effect.never
    }).pipe(Effect.scoped)
  yield* InitImageSocket.run(yield* InitImageSocket.upgrade, handler, { prepare })
  return HttpServerResponse.empty()
})

export const app = HttpRouter.empty.pipe(HttpRouter.get("/stream", serve))

/** Decodes two pictures at a time, in at most 300 MB and 5 seconds each. `layerChildProcess` can end a decode too. */
export const Normalizer = InitImageNormalizer.layer({
  concurrency: 2,
  maxMemory: 300_000_000,
  timeout: "5 seconds"
})
