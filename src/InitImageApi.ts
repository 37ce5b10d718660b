/**
 * The init images of sessions as a group of endpoints for an `HttpApi`.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import type * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import type * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as ImageFormat from "./ImageFormat.js"
import * as InitImageError from "./InitImageError.js"
import * as InitImageHttp from "./InitImageHttp.js"
import * as InitImageLimits from "./InitImageLimits.js"
import * as InitImageSlot from "./InitImageSlot.js"
import type * as InitImageSocket from "./InitImageSocket.js"
import { InitImageStore } from "./InitImageStore.js"
import { withMessage } from "./internal/errorBody.js"
import { Gone, InternalServerError, NotFound, RequestTimeout } from "./internal/http/failures.js"
import * as internal from "./internal/http/handlers.js"
import * as namedImages from "./internal/http/namedImages.js"
import * as openApi from "./internal/http/openApi.js"
import * as sessions from "./internal/http/sessions.js"
import * as storedSessions from "./internal/http/storedSessions.js"
import { check, durationProblem, functionProblem } from "./internal/options.js"
import * as tempFile from "./internal/persist/tempFile.js"
import type { PersistOptions } from "./SessionInitImage.js"

/**
 * The slots of sessions, by session id.
 *
 * The slots of {@link layerSessionsStore} need a store: their `set` and `setWith` fail with `PlatformError` where it
 * fails, and their `lease` and `clear` die with it.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionsService {
  /**
   * Gives the slot of the session, and makes it if it does not exist. The slot exists at least as long as the scope;
   * `layerSessions` says how long it exists after that.
   *
   * @since 0.1.0
   */
  readonly slot: (sessionId: string) => Effect.Effect<InitImageSlot.InitImageSlot<PlatformError>, never, Scope.Scope>

  /**
   * Gives the slot of the session if it exists, and never makes one.
   *
   * @since 0.1.0
   */
  readonly find: (
    sessionId: string
  ) => Effect.Effect<Option.Option<InitImageSlot.InitImageSlot<PlatformError>>, never, Scope.Scope>

  /**
   * Ends the session. Its slot ends with the last scope that uses it; the next use of the id makes a new session.
   *
   * @since 0.1.0
   */
  readonly end: (sessionId: string) => Effect.Effect<void>
}

/**
 * The sessions that the endpoints read and write.
 *
 * @since 0.1.0
 * @category tags
 */
export class Sessions extends Context.Tag("session-init-image/InitImageApi/Sessions")<Sessions, SessionsService>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface SessionsOptions {
  /** How long an unused session keeps its image; 5 minutes by default. A negative one is a defect of the layer. */
  readonly idleTimeToLive?: Duration.DurationInput | undefined
}

/**
 * Provides sessions that start at the first use of their id and end with the layer, or after `idleTimeToLive` without
 * use. An unused session without an image ends at once, so unused ids take no memory.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSessions = (
  options?: SessionsOptions
): Layer.Layer<Sessions, never, FileSystem.FileSystem | Path.Path> =>
  Layer.scoped(
    Sessions,
    Effect.suspend(() => {
      check("InitImageApi.layerSessions", durationProblem("idleTimeToLive", options?.idleTimeToLive))
      return sessions.make(() => InitImageSlot.make, options?.idleTimeToLive ?? "5 minutes")
    })
  )

/**
 * The options of {@link layerSessionsStore}. `directory`, `prefix` and `mode` are of the copies.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionsStoreOptions extends PersistOptions {
  /**
   * How long a host keeps its copy of the image of a session that is not used there; 5 minutes by default. A negative one
   * is a defect of the layer.
   */
  readonly idleTimeToLive?: Duration.DurationInput | undefined
}

/**
 * Provides sessions that keep their current images in the `InitImageStore`, under the sessions' ids, so that every host
 * with the same store can put, read and delete them. The last write of all hosts wins, and a failed one keeps the image. A
 * session that no host uses ends after the store's `timeToLive`, which must be more than 30 seconds: an open socket uses
 * its session that often.
 *
 * A host keeps a copy of each image that it has received or read. Every read asks the store for the current image's
 * reference, and fetches the image if the copy is of another one. So a read is one whole image, and never an older one
 * than was current when the read began.
 *
 * The image of a socket that ends is removed only if it is still the current one. The store compares and removes in two
 * requests: an image that another host puts between them is removed as well. `InitImageCluster.layerSessions` has no such
 * gap.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { InitImageApi } from "session-init-image"
 * import * as InitImageStore from "session-init-image/InitImageStore"
 *
 * export const SessionsLive = InitImageApi.layerSessionsStore().pipe(
 *   Layer.provide(InitImageStore.layerFileSystem({ directory: "/mnt/images", timeToLive: "10 minutes" }))
 * )
 * ```
 */
export const layerSessionsStore = (
  options?: SessionsStoreOptions
): Layer.Layer<Sessions, never, InitImageStore | FileSystem.FileSystem | Path.Path> =>
  Layer.scoped(
    Sessions,
    Effect.gen(function*() {
      check(
        "InitImageApi.layerSessionsStore",
        durationProblem("idleTimeToLive", options?.idleTimeToLive),
        tempFile.optionsProblem(options)
      )
      return yield* storedSessions.make(namedImages.make(yield* InitImageStore), InitImageSlot.makeWith, options)
    })
  )

export {
  /**
   * Refuses a request for an image whose file has been removed from the disk by another process. HTTP status 410.
   *
   * @since 0.1.0
   * @category errors
   */
  Gone,
  /**
   * Answers a request that failed for a reason of the server's own, without the reason. HTTP status 500.
   *
   * @since 0.1.0
   * @category errors
   */
  InternalServerError,
  /**
   * Refuses a request for an image that does not exist. HTTP status 404.
   *
   * @since 0.1.0
   * @category errors
   */
  NotFound,
  /**
   * Refuses a request whose client has sent nothing for too long. HTTP status 408.
   *
   * @since 0.1.0
   * @category errors
   */
  RequestTimeout
}

const limits = openApi.defaultLimits

const Payload = Schema.Struct({
  mime: Schema.String.annotations({
    jsonSchema: { type: "string", enum: ImageFormat.Mime.literals },
    description: "The image's media type"
  }),
  name: Schema.optionalWith(Schema.String, { exact: true }).annotations({
    description: "The client's name for the file"
  }),
  data: Schema.String.annotations({
    jsonSchema: {
      type: "string",
      contentEncoding: "base64",
      minLength: 4,
      maxLength: openApi.base64Length(InitImageLimits.MaxBytes.defaultValue()),
      description: `The image in base64 (RFC 4648 section 4). ${limits}`
    }
  })
}).annotations({ identifier: "InitImagePayload", description: "An init image in JSON" })

const Form = HttpApiSchema.MultipartStream(
  Schema.Struct({
    image: Schema.Unknown.annotations({
      jsonSchema: openApi.binary(`The image. The server takes the form's first file, under any field name. ${limits}`)
    })
  })
)

const bytesAs = (contentType: ImageFormat.Mime | "application/octet-stream") =>
  HttpApiSchema.Uint8Array({ contentType }).annotations({
    jsonSchema: openApi.binary(`The bytes of the image. ${limits}`)
  })

/** Bytes that tell by themselves what they are. */
const Octets = bytesAs("application/octet-stream")
const Png = bytesAs("image/png")
const Jpeg = bytesAs("image/jpeg")
const Webp = bytesAs("image/webp")

const internalServerError = withMessage(InternalServerError, "The server failed")

const SessionPath = Schema.Struct({
  sessionId: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(sessions.maxSessionIdLength)).annotations({
    description: `The session's id, of at most ${sessions.maxSessionIdLength} characters`
  })
})

const path = "/sessions/:sessionId/init-image"

/**
 * The endpoint group `initImage`, for an `HttpApi`. {@link layer} implements it.
 *
 * - `PUT /sessions/:sessionId/init-image` accepts the bodies that `InitImageHttp.fromRequest` accepts. It answers 200
 *   with an `InitImageHttp.ImageDescription`, or 204 for JSON's `null`, which removes the session's image
 * - `GET` answers with the image and its media type, with 404 if there is none, or with 410 if its file has been removed
 *   from the disk; `HEAD` with the same headers and no body
 * - `DELETE` removes the session's image and answers 204
 *
 * A session's id is the only credential for its image: add a middleware to the group where ids can be guessed. An id has
 * at most 100 characters; the platform's routers answer 404 to a longer one.
 *
 * Every error's body has its `_tag`, its fields and its `message`.
 *
 * The client that `HttpApiClient` derives sends bytes as `application/octet-stream`: they decide what the image is.
 *
 * @since 0.1.0
 * @category api
 */
export const group = HttpApiGroup.make("initImage")
  .add(
    HttpApiEndpoint.put("put", path)
      .setPath(SessionPath)
      .setPayload(Schema.Union(Payload, Octets, Png, Jpeg, Webp, Form))
      .addSuccess(InitImageHttp.ImageDescription)
      .addSuccess(HttpApiSchema.NoContent.annotations({
        description: "The body was `null`; the session has no image now"
      }))
      .addError(withMessage(InitImageError.InvalidPayload, "The request is not an init image"))
      .addError(withMessage(InitImageError.Empty, "The image has no bytes"))
      .addError(withMessage(InitImageError.RemoteImage, "The image is not in the request"))
      .addError(withMessage(InitImageError.TooManyImages, "The request has more than one image"))
      .addError(withMessage(InitImageError.BadBase64, "The image's data is not valid base64"))
      .addError(withMessage(InitImageError.InvalidMime, "The image's media type is not accepted"))
      .addError(withMessage(
        InitImageError.UnsupportedEncoding,
        "The request's body has a content encoding"
      ))
      .addError(withMessage(
        InitImageError.ContentMismatch,
        "The image's bytes do not match its media type"
      ))
      .addError(withMessage(InitImageError.TooLarge, "The image has too many bytes"))
      .addError(withMessage(InitImageError.MalformedImage, "The image is malformed or incomplete"))
      .addError(withMessage(InitImageError.TooManyPixels, "The image has too many pixels"))
      .addError(withMessage(
        InitImageError.UndecodableImage,
        "The image cannot be decoded; from a server that decodes images"
      ))
      .addError(withMessage(
        InitImageError.DecodeTimeout,
        "The image takes too long to decode; from a server that decodes images"
      ))
      .addError(withMessage(InitImageError.Busy, "The server has no room for the image at the moment"))
      .addError(withMessage(RequestTimeout, "The client has sent nothing for too long"))
      .addError(internalServerError)
      .annotate(OpenApi.Summary, "Replace a session's init image")
      .annotate(OpenApi.Description, `Accepts the image in JSON, as a binary body, or in a form. ${limits}.`)
      .annotateContext(openApi.put)
  )
  .add(
    HttpApiEndpoint.get("get", path)
      .setPath(SessionPath)
      .addSuccess(Schema.Union(Png, Jpeg, Webp))
      .addError(withMessage(NotFound, "The session has no image"))
      .addError(withMessage(Gone, "The session's image has been removed from the disk"))
      .addError(internalServerError)
      .annotate(OpenApi.Summary, "Read a session's init image")
      .annotateContext(openApi.get(ImageFormat.Mime.literals))
  )
  .add(
    HttpApiEndpoint.del("delete", path)
      .setPath(SessionPath)
      .addSuccess(HttpApiSchema.NoContent.annotations({ description: "The session has no image" }))
      .addError(internalServerError)
      .annotate(OpenApi.Summary, "Remove a session's init image")
  )
  .annotate(OpenApi.Title, "Init images")

/**
 * Makes a transform of the OpenAPI document that states other limits than the default ones, for the `HttpApi` that the
 * group was added to. An omitted limit is stated with its default.
 *
 * @since 0.1.0
 * @category api
 * @example
 * ```ts
 * import { HttpApi, OpenApi } from "@effect/platform"
 * import { InitImageApi } from "session-init-image"
 *
 * class Api extends HttpApi.make("api").add(InitImageApi.group)
 *   .annotate(OpenApi.Transform, InitImageApi.documentLimits({ maxBytes: 8 * 1024 * 1024 }))
 * {}
 * ```
 */
export const documentLimits = ({
  maxBytes = InitImageLimits.MaxBytes.defaultValue(),
  maxPixels = InitImageLimits.MaxPixels.defaultValue()
}: Pick<InitImageLimits.Limits, "maxBytes" | "maxPixels">) =>
(document: Record<string, unknown>): Record<string, unknown> => openApi.withLimits(document, maxBytes, maxPixels)

/**
 * @since 0.1.0
 * @category models
 */
export type Group = typeof group

/**
 * The options of {@link layer}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends InitImageHttp.RequestOptions {
  /**
   * Replaces each image before a session holds it, such as by a normalised one. Its errors are answered like those of the
   * image, and the session keeps its image. The given image's file is removed once another one is answered.
   */
  readonly prepare?: InitImageSocket.Prepare | undefined
  /**
   * The `Cross-Origin-Resource-Policy` of the images (Fetch standard, section 3.6): the sites whose pages may embed them,
   * such as in an `<img>`. `same-origin` by default. `cross-origin` is needed for pages of the `origins` of
   * `InitImageHttp.checkOrigin` that embed images; those that read them with `fetch` or `<img crossorigin>` need nothing.
   */
  readonly resourcePolicy?: "same-origin" | "same-site" | "cross-origin" | undefined
}

/**
 * Provides the handlers of the group, for the `HttpApi` that the group was added to.
 *
 * `PUT` reads the image with `InitImageHttp.fromRequest` and the given options, under the `InitImageLimits` and the
 * `InitImageSpool` that this layer is provided with. The group's document describes the default dialect of its JSON. A
 * storage failure is logged and answered with 500, a stalled client with 408. The response to `Busy` has a
 * `Retry-After` header, that to `UnsupportedEncoding` an `Accept-Encoding` header.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { HttpApi, HttpApiBuilder } from "@effect/platform"
 * import { Layer } from "effect"
 * import { InitImageApi, InitImageLimits } from "session-init-image"
 *
 * class Api extends HttpApi.make("api").add(InitImageApi.group) {}
 *
 * const ApiLive = HttpApiBuilder.api(Api).pipe(
 *   Layer.provide(InitImageApi.layer(Api)),
 *   Layer.provide(InitImageApi.layerSessions({ idleTimeToLive: "10 minutes" })),
 *   Layer.provide(InitImageLimits.layer({ maxBytes: 8 * 1024 * 1024 }))
 * )
 * ```
 */
export const layer = <Id extends string, Groups extends HttpApiGroup.HttpApiGroup.Any, E, R>(
  api: HttpApi.HttpApi<Id, Groups, E, R> & MustHaveGroup<Groups>,
  options?: Options
): Layer.Layer<
  HttpApiGroup.ApiGroup<Id, "initImage">,
  never,
  Sessions | FileSystem.FileSystem | Path.Path | Middleware<Groups>
> =>
  HttpApiBuilder.group(
    // The handlers depend on this group only. The platform adds the middleware from the `HttpApi` at run time, and
    // `Middleware` adds its requirements to the type.
    api as unknown as HttpApi.HttpApi<Id, Group, never, never>,
    "initImage",
    Effect.fnUntraced(function*(handlers) {
      check(
        "InitImageApi.layer",
        durationProblem("stallTimeout", options?.stallTimeout),
        tempFile.optionsProblem(options),
        options?.prepare === undefined ? undefined : functionProblem("prepare", options.prepare),
        resourcePolicyProblem(options?.resourcePolicy)
      )
      const resourcePolicy = options?.resourcePolicy ?? "same-origin"
      const fs = yield* FileSystem.FileSystem
      const service = yield* Sessions
      const received = InitImageHttp.fromRequest(options)
      const image = options?.prepare === undefined ? received : internal.prepare(received, options.prepare)
      const store = (slot: InitImageSlot.InitImageSlot<PlatformError>) =>
        internal.put(slot.setWith(image), InitImageHttp.describe)
      return handlers
        .handleRaw("put", ({ path }) => Effect.flatMap(service.slot(path.sessionId), store))
        .handleRaw("get", ({ path, request }) =>
          Effect.flatMap(
            service.find(path.sessionId),
            Option.match({
              onNone: () => new NotFound(),
              onSome: (slot) => internal.get(fs, slot, request.method, resourcePolicy)
            })
          ))
        .handleRaw("delete", ({ path }) =>
          Effect.flatMap(
            service.find(path.sessionId),
            Option.match({ onNone: () => Effect.void, onSome: internal.clear })
          ).pipe(Effect.as(HttpServerResponse.empty())))
    })
  )

const resourcePolicies: ReadonlySet<unknown> = new Set(["same-origin", "same-site", "cross-origin", undefined])

const resourcePolicyProblem = (policy: unknown): string | undefined =>
  resourcePolicies.has(policy) ? undefined : "resourcePolicy must be same-origin, same-site or cross-origin"

/** The middleware of the group and of its endpoints. */
type Middleware<Groups extends HttpApiGroup.HttpApiGroup.Any> = HttpApiMiddleware.HttpApiMiddleware.Only<
  HttpApiGroup.HttpApiGroup.ClientContext<HttpApiGroup.HttpApiGroup.WithName<Groups, "initImage">>
>

type MustHaveGroup<Groups> = [Extract<Groups, { readonly identifier: "initImage" }>] extends [never]
  ? "InitImageApi.group has not been added to this HttpApi"
  : unknown
