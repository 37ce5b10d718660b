/** A gateway that stores a job's image, and a worker on another host that opens it: only a reference goes between them. */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { InitImageHttp, SessionInitImage } from "session-init-image"
import { ImageReference, InitImageStore, layerFileSystem } from "session-init-image/InitImageStore"
import { Generator } from "./generator.js"

/** What a queue carries. */
export const Job = Schema.Struct({ prompt: Schema.String, image: ImageReference })

const Message = Schema.Struct({ prompt: Schema.String })

/** Answers the job that is to be queued: JSON of less than 1 KB. */
export const gateway = HttpRouter.empty.pipe(
  HttpRouter.post(
    "/jobs",
    Effect.gen(function*() {
      const { image, message } = yield* InitImageHttp.messageFromRequest({
        at: ["initial_image"],
        field: "initial_image"
      })
      const { prompt } = yield* Schema.decodeUnknown(Message)(message)
      const store = yield* InitImageStore
      const reference = yield* store.put(yield* SessionInitImage.required(Effect.succeed(image)))
      return yield* HttpServerResponse.schemaJson(Job)({ prompt, image: reference })
    })
  )
)

/** Runs a job. The worker's copy is gone at its end, and so is the stored image. */
export const work = Effect.fn("work")(function*(job: unknown) {
  const { image: reference, prompt } = yield* Schema.decodeUnknown(Job)(job)
  const store = yield* InitImageStore
  const image = yield* store.fetchScoped(reference)
  const clip = yield* Effect.flatMap(Generator, ({ generate }) => generate(image, prompt))
  yield* store.remove(reference)
  return clip
}, Effect.scoped)

/** A directory that both hosts mount; `layerS3Config` for a bucket takes its place without another change. */
export const Store = Layer.unwrapEffect(
  Effect.map(
    Config.nonEmptyString("STORE_DIRECTORY"),
    (directory) => layerFileSystem({ directory, timeToLive: "1 hour", sweepEvery: "10 minutes" })
  )
)
