/** RPCs that bring an image, over HTTP and over a WebSocket. */
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

/** The operator's trouble, of which a client learns no more. A defect would be sent to it, with what it says. */
export class Failed extends Schema.TaggedError<Failed>()("Failed", {}) {}

export class Clips extends RpcGroup.make(
  Rpc.make("Generate", {
    payload: {
      prompt: Schema.String,
      // What a schema refuses is repeated to the client in full. `persistScoped` takes anything and says less.
      image: Schema.Unknown
    },
    success: Schema.OptionFromNullOr(Clip),
    error: Schema.Union(InitImageError.InitImageError, Failed)
  })
) {}

const failed = (error: PlatformError) => Effect.zipRight(Effect.logError("A clip failed", error), new Failed())

const ClipsLive = Clips.toLayer(
  Effect.map(Generator, ({ generate }) => ({
    Generate: ({ image, prompt }) =>
      SessionInitImage.persistScoped(image).pipe(
        Effect.flatMap(Effect.transposeMapOption((image) => generate(image, prompt))),
        Effect.catchTags({ BadArgument: failed, SystemError: failed }),
        // Otherwise the file would stay until the scope closes that a handler is run in: over a WebSocket the socket's.
        Effect.scoped
      )
  }))
)

const maxBytes = 24 * 1024 * 1024

/** A call with an image of that size in base64, with room for the rest: what the serialization holds is 16 MiB otherwise. */
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

/** For the server: over HTTP a call is read as a whole, however long it is, unless that is limited. */
export const layerMaxBodySize = Layer.succeed(
  HttpIncomingMessage.MaxBodySize,
  Option.some(FileSystem.Size(maxMessage))
)
