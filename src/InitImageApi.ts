/**
 * The init images of sessions as a group of endpoints, to be added to anybody's `HttpApi`.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiError from "@effect/platform/HttpApiError"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import type * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpMethod from "@effect/platform/HttpMethod"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import type * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RcMap from "effect/RcMap"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ImageFormat from "./ImageFormat.js"
import * as InitImageError from "./InitImageError.js"
import * as InitImageHttp from "./InitImageHttp.js"
import * as InitImageSlot from "./InitImageSlot.js"
import { contentDisposition } from "./internal/http/contentDisposition.js"

/**
 * The slots of sessions by their ids.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionsService {
  /**
   * The slot of that session, which is made where there is none. It is kept while the scope is open, and for as long
   * as the layer says after that.
   *
   * @since 0.1.0
   */
  readonly slot: (sessionId: string) => Effect.Effect<InitImageSlot.InitImageSlot, never, Scope.Scope>

  /**
   * The slot of that session, where there is one.
   *
   * @since 0.1.0
   */
  readonly find: (
    sessionId: string
  ) => Effect.Effect<Option.Option<InitImageSlot.InitImageSlot>, never, Scope.Scope>

  /**
   * Forgets the session: its slot ends as soon as nobody uses it.
   *
   * @since 0.1.0
   */
  readonly end: (sessionId: string) => Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Sessions extends Context.Tag("session-init-image/InitImageApi/Sessions")<Sessions, SessionsService>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface SessionsOptions {
  /** For how long a session that nobody uses keeps its image; 5 minutes by default. */
  readonly idleTimeToLive?: Duration.DurationInput | undefined
}

/** One life of a session: an id that is used again after its end gets another. */
interface Session {
  readonly id: string
  users: number
}

/**
 * Sessions that are there from the first use of their id until they have been idle for some time, and that end with the
 * layer. One that nobody uses and that has no image is forgotten at once: ids cost a client nothing.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSessions = (
  options?: SessionsOptions
): Layer.Layer<Sessions, never, FileSystem.FileSystem | Path.Path> =>
  Layer.scoped(
    Sessions,
    Effect.gen(function*() {
      const sessions = new Map<string, Session>()
      const forget = (session: Session) => {
        if (sessions.get(session.id) === session) sessions.delete(session.id)
      }
      // By session and not by id: what is invalidated while it is used takes a later one of the same key with it when it
      // is released (effect 3.22).
      const slots = yield* RcMap.make({
        lookup: (session: Session) =>
          Effect.zipLeft(InitImageSlot.make, Effect.addFinalizer(() => Effect.sync(() => forget(session)))),
        idleTimeToLive: options?.idleTimeToLive ?? "5 minutes"
      })

      const end = (session: Session | undefined) =>
        Effect.suspend(() => {
          if (session === undefined) return Effect.void
          forget(session)
          return RcMap.invalidate(slots, session)
        })
      const release = (session: Session, slot: InitImageSlot.InitImageSlot) =>
        Effect.suspend(() => {
          session.users -= 1
          return Effect.flatMap(Effect.scoped(slot.lease), (image) =>
            // Somebody may have come by now.
            Option.isNone(image) && session.users === 0 ? end(session) : Effect.void)
        })
      const use = (session: Session) => {
        session.users += 1
        return Effect.gen(function*() {
          const slot = yield* RcMap.get(slots, session)
          yield* Scope.addFinalizer(yield* Effect.scope, release(session, slot))
          return slot
        })
      }

      return {
        slot: (sessionId) =>
          Effect.uninterruptible(Effect.suspend(() => {
            const session = sessions.get(sessionId) ?? { id: sessionId, users: 0 }
            sessions.set(sessionId, session)
            return use(session)
          })),
        // Nothing that only looks makes a session.
        find: (sessionId) =>
          Effect.uninterruptible(Effect.suspend(() => {
            const session = sessions.get(sessionId)
            return session === undefined ? Effect.succeedNone : Effect.asSome(use(session))
          })),
        end: (sessionId) => Effect.suspend(() => end(sessions.get(sessionId)))
      } satisfies SessionsService
    })
  )

/** What a document says of the limits: the defaults, which a server may change. */
const limits = "By default at most 32 MiB (33,554,432 bytes) and 50,000,000 pixels"

const Payload = Schema.Struct({
  mime: Schema.String.annotations({
    jsonSchema: { type: "string", enum: ImageFormat.Mime.literals },
    description: "What the image's bytes must be"
  }),
  name: Schema.optionalWith(Schema.String, { exact: true }).annotations({
    description: "The client's name for the file"
  }),
  data: Schema.String.annotations({
    jsonSchema: {
      type: "string",
      contentEncoding: "base64",
      minLength: 4,
      maxLength: 44_739_244,
      description: `The image as base64 (RFC 4648 section 4). ${limits}`
    }
  })
}).annotations({ identifier: "InitImagePayload", description: "An init image in JSON" })

const binary = (description: string) => ({ type: "string", format: "binary", description })

const Form = HttpApiSchema.MultipartStream(
  Schema.Struct({
    image: Schema.Unknown.annotations({
      jsonSchema: binary(`The image; the form's first file is taken, whatever its name. ${limits}`)
    })
  })
)

const bytesAs = (contentType: ImageFormat.Mime) =>
  HttpApiSchema.Uint8Array({ contentType }).annotations({ jsonSchema: binary(`The image as it is. ${limits}`) })

const Png = bytesAs("image/png")
const Jpeg = bytesAs("image/jpeg")
const Webp = bytesAs("image/webp")

/**
 * Names of its own in a document, where the schemas of the whole api are beside each other and may hold no `/` (OpenAPI
 * 3.1 section 4.8.7).
 */
const documented = <A, I>(schema: Schema.Schema<A, I>, name: string, description: string) =>
  schema.annotations({ identifier: `InitImage${name}`, description })

/** What `OpenApi.fromApi` leaves to be said of an operation. */
interface Operation {
  readonly parameters: ReadonlyArray<unknown>
  readonly responses: { readonly [status: number]: object }
}

const transform = (change: (operation: Operation) => object) =>
  OpenApi.annotations({
    // It is an operation of the document, for which the platform has no better type here.
    transform: (operation) => ({ ...operation, ...change(operation as Operation) })
  })

const nameParameter = {
  name: "name",
  in: "query",
  required: false,
  schema: { type: "string" },
  description: "The client's name for the file, where the body is the image as it is"
}

const describeRetry = ({ responses }: Operation) => ({
  ...responses[503],
  headers: {
    "Retry-After": { description: "After how many seconds to try again", schema: { type: "integer", minimum: 1 } }
  }
})

const describeImage = ({ responses }: Operation) => ({
  ...responses[200],
  description: "The image",
  content: Object.fromEntries(
    ImageFormat.Mime.literals.map((mime) => [mime, { schema: { type: "string", format: "binary" } }])
  )
})

/** As many characters as the platform's routers take for a parameter by default. */
const maxIdLength = 100

const SessionPath = Schema.Struct({
  sessionId: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(maxIdLength)).annotations({
    description: `The session's id, of at most ${maxIdLength} characters`
  })
})

const path = "/sessions/:sessionId/init-image"

/**
 * `initImage`, to be added to an `HttpApi`; see {@link layer} for what it does.
 *
 * - `PUT /sessions/:sessionId/init-image` takes what `InitImageHttp.fromRequest` takes, and answers 200 with an
 *   `InitImageHttp.ImageDescription`, or 204 where there was no image in it and the session has none now
 * - `GET` answers the image with its own type, or 404; `HEAD` the same without the image
 * - `DELETE` leaves the session without one, and answers 204
 *
 * Whoever knows a session's id has its image: give the group a middleware where ids can be guessed. An id has at most
 * 100 characters; the platform's routers answer 404 to a longer one.
 *
 * The client that `HttpApiClient` derives sends bytes as `image/png`; other types go as JSON or in a form.
 *
 * @since 0.1.0
 * @category api
 */
export const group = HttpApiGroup.make("initImage")
  .add(
    HttpApiEndpoint.put("put", path)
      .setPath(SessionPath)
      .setPayload(Schema.Union(Payload, Png, Jpeg, Webp, Form))
      .addSuccess(InitImageHttp.ImageDescription)
      .addSuccess(HttpApiSchema.NoContent.annotations({
        description: "There was no image in it, and the session has none now"
      }))
      .addError(documented(InitImageError.InvalidPayload, "InvalidPayload", "The request is not an init image"))
      .addError(documented(InitImageError.Empty, "Empty", "The image has no bytes"))
      .addError(documented(InitImageError.BadBase64, "BadBase64", "The image's data is not base64"))
      .addError(documented(InitImageError.InvalidMime, "InvalidMime", "The image's type is not accepted"))
      .addError(documented(InitImageError.ContentMismatch, "ContentMismatch", "The image is not of its type"))
      .addError(documented(InitImageError.TooLarge, "TooLarge", "The image has too many bytes"))
      .addError(documented(InitImageError.MalformedImage, "MalformedImage", "The image is broken"))
      .addError(documented(InitImageError.TooManyPixels, "TooManyPixels", "The image has too many pixels"))
      .addError(documented(InitImageError.Busy, "Busy", "There is no room for the image at the moment"))
      .addError(HttpApiError.RequestTimeout)
      .addError(HttpApiError.InternalServerError)
      .annotate(OpenApi.Summary, "Replace a session's init image")
      .annotate(OpenApi.Description, `The image in JSON, as it is, or in a form. ${limits}.`)
      .annotateContext(transform((operation) => ({
        parameters: [...operation.parameters, nameParameter],
        responses: { ...operation.responses, 503: describeRetry(operation) }
      })))
  )
  .add(
    HttpApiEndpoint.get("get", path)
      .setPath(SessionPath)
      .addSuccess(Schema.Union(Png, Jpeg, Webp))
      .addError(HttpApiError.NotFound)
      .addError(HttpApiError.InternalServerError)
      .annotate(OpenApi.Summary, "Read a session's init image")
      .annotateContext(transform((operation) => ({
        responses: { ...operation.responses, 200: describeImage(operation) }
      })))
  )
  .add(
    HttpApiEndpoint.del("delete", path)
      .setPath(SessionPath)
      .addSuccess(HttpApiSchema.NoContent.annotations({ description: "The session has no image" }))
      .annotate(OpenApi.Summary, "Leave a session without an init image")
  )
  .annotate(OpenApi.Title, "Init images")

/**
 * @since 0.1.0
 * @category models
 */
export type Group = typeof group

const storageTrouble = (error: PlatformError) =>
  Effect.zipRight(
    Effect.logError("An init image could not be stored", error),
    Effect.fail(new HttpApiError.InternalServerError())
  )

/** An error of an `HttpApi` has no headers of its own. */
const tellWhen = ({ retryAfter }: InitImageError.Busy) =>
  HttpApp.appendPreResponseHandler((_, response) =>
    Effect.succeed(HttpServerResponse.setHeader(response, "retry-after", String(retryAfter)))
  )

const putImage = (slot: InitImageSlot.InitImageSlot, options: InitImageHttp.RequestOptions | undefined) =>
  slot.setWith(InitImageHttp.fromRequest(options)).pipe(
    Effect.tapErrorTag("Busy", tellWhen),
    Effect.catchTags({
      BadArgument: storageTrouble,
      SystemError: storageTrouble,
      RequestError: () => new HttpApiError.RequestTimeout()
    }),
    Effect.map(Option.match({
      onNone: () => HttpServerResponse.empty(),
      onSome: (image) => HttpServerResponse.unsafeJson(InitImageHttp.describe(image))
    }))
  )

/** Without the path, which the error has in it. */
const readTrouble = (error: PlatformError) =>
  Effect.zipRight(
    Effect.logError("An init image could not be read", error._tag === "SystemError" ? error.reason : error._tag),
    Effect.fail(new HttpApiError.InternalServerError())
  )

/** How much of a file is read at once, in bytes. */
const readSize = 64 * 1024

/** Opened before the answer begins, while it can still be another one. */
const openImage = (fs: FileSystem.FileSystem, path: string) =>
  Effect.map(fs.open(path), (file) =>
    Stream.repeatEffectOption(
      // A descriptor must not be closed while it is read.
      Effect.uninterruptible(file.readAlloc(readSize)).pipe(
        Effect.mapError(Option.some),
        Effect.flatMap(Option.match({ onNone: () => Effect.fail(Option.none()), onSome: Effect.succeed }))
      )
    ))

const getImage = Effect.fnUntraced(function*(
  fs: FileSystem.FileSystem,
  slot: InitImageSlot.InitImageSlot,
  method: HttpMethod.HttpMethod
) {
  const image = yield* slot.lease
  if (Option.isNone(image)) return yield* new HttpApiError.NotFound()
  const { bytes, displayName, mime, path } = image.value
  const headers = {
    "cache-control": "no-store",
    "content-disposition": contentDisposition(displayName),
    "x-content-type-options": "nosniff"
  }
  // A web handler would keep the lease for a stream that nobody reads.
  if (method === "HEAD") {
    return HttpServerResponse.empty({
      status: 200,
      headers: { ...headers, "content-type": mime, "content-length": String(bytes) }
    })
  }
  const stream = yield* Effect.catchAll(openImage(fs, path), readTrouble)
  return HttpServerResponse.stream(stream, { contentType: mime, contentLength: bytes, headers })
})

/**
 * The group's handlers, for the `HttpApi` that the group was added to.
 *
 * The limits and the `InitImageSpool` are those that this layer is provided with. An image is read from the request as
 * `InitImageHttp.fromRequest` does, which the options are for. Storage trouble is logged and answers 500, a client that
 * stalls 408; `Busy` has a `Retry-After`.
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
  options?: InitImageHttp.RequestOptions
): Layer.Layer<
  HttpApiGroup.ApiGroup<Id, "initImage">,
  never,
  Sessions | FileSystem.FileSystem | Path.Path | Middleware<Groups>
> =>
  HttpApiBuilder.group(
    // What else the api has, and what was added to the group by now, is nothing to its handlers. Its middleware is the
    // platform's to look up.
    api as unknown as HttpApi.HttpApi<Id, Group, never, never>,
    "initImage",
    Effect.fnUntraced(function*(handlers) {
      const fs = yield* FileSystem.FileSystem
      const sessions = yield* Sessions
      return handlers
        .handleRaw(
          "put",
          ({ path }) => Effect.flatMap(sessions.slot(path.sessionId), (slot) => putImage(slot, options))
        )
        .handleRaw("get", ({ path, request }) =>
          Effect.flatMap(
            sessions.find(path.sessionId),
            Option.match({
              onNone: () => new HttpApiError.NotFound(),
              onSome: (slot) => getImage(fs, slot, request.method)
            })
          ))
        .handleRaw("delete", ({ path }) =>
          Effect.flatMap(
            sessions.find(path.sessionId),
            Option.match({
              onNone: () => Effect.void,
              onSome: (slot) => slot.clear
            })
          ).pipe(Effect.as(HttpServerResponse.empty())))
    })
  )

/** What has been put before the group, or one of its endpoints. */
type Middleware<Groups extends HttpApiGroup.HttpApiGroup.Any> = HttpApiMiddleware.HttpApiMiddleware.Only<
  HttpApiGroup.HttpApiGroup.ClientContext<HttpApiGroup.HttpApiGroup.WithName<Groups, "initImage">>
>

type MustHaveGroup<Groups> = [Extract<Groups, { readonly identifier: "initImage" }>] extends [never]
  ? "InitImageApi.group has not been added to this HttpApi"
  : unknown
