/** RPCs with an image in their payload, over HTTP and over a WebSocket. */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as Rpc from "@effect/rpc/Rpc"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { InitImageError, InitImageLimits, InitImageSocket, SessionInitImage } from "session-init-image"
import { Clip, Generator } from "./generator.js"

/** Hides the details of a disk error. A defect would be sent to the client with its message. */
export class Failed extends Schema.TaggedError<Failed>()("Failed", {}) {}

export class Clips extends RpcGroup.make(
  Rpc.make("Generate", {
    payload: {
      prompt: Schema.String,
      // A schema's error repeats the refused value to the client. `persistScoped` takes any value and does not.
      image: Schema.Unknown
    },
    success: Schema.OptionFromNullOr(Clip),
    error: Schema.Union(InitImageError.InitImageError, Failed)
  })
) {}

const failed = (error: PlatformError) => Effect.zipRight(Effect.logError("A clip failed", error), new Failed())

const ClipsLive = Clips.toLayer(
  // `of` gives the handlers their types, which TypeScript 5.9 does not find through `Effect.map`.
  Effect.map(Generator, ({ generate }) =>
    Clips.of({
      Generate: ({ image, prompt }) =>
        SessionInitImage.persistScoped(image).pipe(
          Effect.flatMap(Effect.transposeMapOption((image) => generate(image, prompt))),
          Effect.catchTags({ BadArgument: failed, SystemError: failed }),
          // A handler's scope is the socket's over a WebSocket: without this, the file exists until the socket closes.
          Effect.scoped
        )
    }))
)

const maxBytes = 24 * 1024 * 1024

/** Fits a call with an image of `maxBytes` in base64 and the rest of its payload. The default buffer is 16 MiB. */
const maxMessage = InitImageSocket.requiredFrameBytes(maxBytes)

export const layerSerialization = RpcSerialization.layerNdjsonWith({ maxBufferSize: maxMessage })

/** Routes for `HttpLayerRouter.serve`. */
export const layer = Layer.mergeAll(
  RpcServer.layerHttpRouter({ group: Clips, path: "/rpc", protocol: "http" }),
  RpcServer.layerHttpRouter({ group: Clips, path: "/rpc/socket", protocol: "websocket" })
).pipe(
  Layer.provide([ClipsLive, layerSerialization]),
  Layer.provide(InitImageLimits.layer({ maxBytes }))
)

/** Provide it to the server: over HTTP a call is read as a whole, without a limit by default. */
export const layerMaxBodySize = Layer.succeed(
  HttpIncomingMessage.MaxBodySize,
  Option.some(FileSystem.Size(maxMessage))
)
