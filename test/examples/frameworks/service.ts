/** A service of the application, in one runtime for web requests and for code with promises. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import { InitImageHttp, InitImageLimits, SessionInitImage } from "session-init-image"

class Thumbnails extends Effect.Service<Thumbnails>()("example/Thumbnails", {
  accessors: true,
  effect: Effect.map(FileSystem.FileSystem, (fs) => ({
    // Stands in for a program that reads the file.
    render: (image: SessionInitImage.SessionInitImage) =>
      Effect.map(fs.stat(image.path), ({ size }) => ({ ...InitImageHttp.describe(image), size: Number(size) }))
  })),
  dependencies: [NodeContext.layer]
}) {}

const Limits = InitImageLimits.layer({ maxBytes: 8 * 1024 * 1024 })
const runtime = ManagedRuntime.make(Layer.mergeAll(Thumbnails.Default, NodeContext.layer, Limits))

/** For a payload in hand: a tRPC procedure, a server action, a message of a queue. The left is an `InitImageError`. */
export const fromPayload = (payload: unknown) =>
  SessionInitImage.persistScoped(payload).pipe(
    Effect.flatMap(Effect.transposeMapOption(Thumbnails.render)),
    Effect.map(Option.getOrNull),
    Effect.scoped,
    Effect.either,
    runtime.runPromise
  )

const receive = InitImageHttp.fromRequest().pipe(
  Effect.flatMap(Effect.transposeMapOption(Thumbnails.render)),
  Effect.map((thumbnail) => HttpServerResponse.unsafeJson(Option.getOrNull(thumbnail)))
)

const Services = Layer.effectContext(Effect.map(runtime.runtimeEffect, ({ context }) => context))
export const { handler } = InitImageHttp.toWebHandler(receive, Services)
