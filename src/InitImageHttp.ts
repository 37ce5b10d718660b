/**
 * Persists the init image in an HTTP request's body.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApp from "@effect/platform/HttpApp"
import type { RequestError } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type * as Path from "@effect/platform/Path"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as ImageFormat from "./ImageFormat.js"
import { Empty, type InitImageError, TooLarge, UnsupportedEncoding } from "./InitImageError.js"
import * as InitImageFrame from "./InitImageFrame.js"
import * as InitImageLimits from "./InitImageLimits.js"
import * as InitImagePayload from "./InitImagePayload.js"
import * as InitImageSpool from "./InitImageSpool.js"
import * as verifier from "./internal/format/verifier.js"
import { boundaryOf, mediaTypeOf } from "./internal/http/formHeaders.js"
import { FormReader } from "./internal/http/multipart.js"
import * as origin from "./internal/http/origin.js"
import * as requestBody from "./internal/http/requestBody.js"
import { leastImage } from "./internal/json/messageSize.js"
import * as metrics from "./internal/metrics.js"
import { RawReader } from "./internal/persist/rawReader.js"
import * as tempFile from "./internal/persist/tempFile.js"
import * as writer from "./internal/persist/writer.js"
import * as protocol from "./internal/protocol.js"
import * as rooms from "./internal/spool/room.js"
import * as SessionInitImage from "./SessionInitImage.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface RequestOptions extends SessionInitImage.PayloadOptions {
  /**
   * The longest time without any byte of a body, while the server waits for one: then the connection is closed. 30
   * seconds by default. Time that the server takes for its own work does not count.
   */
  readonly stallTimeout?: Duration.DurationInput | undefined
  /**
   * The name of the form's field with the image: files of other fields are skipped, up to `InitImageLimits.MaxBytes` in
   * all. By default the form's first file is the image, under any name. It is the server's own word: errors carry it.
   */
  readonly field?: string | undefined
}

/**
 * The place of the image in a JSON body, and the options of {@link fromRequest}.
 *
 * @since 0.1.0
 * @category models
 */
export interface MessageOptions extends RequestOptions, InitImageFrame.FrameOptions {}

type Body = requestBody.RequestBody
type Received = Effect.Effect<
  InitImageFrame.InitImagesFrame,
  InitImageError | PlatformError | RequestError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
>

/** How a body is read. */
interface Reading {
  readonly frame: InitImageFrame.FrameOptions
  /** Whether the text fields of a form are kept. */
  readonly keepsFields: boolean
  /** The most images in JSON; `InitImageLimits.MaxImages` by default. */
  readonly maxImages: number | undefined
  readonly options: RequestOptions
}

/** Refuses a body whose image has at least `bytes` before any of it is read. */
const refuseTooLarge = (bytes: number, limit: number): Effect.Effect<void, TooLarge> =>
  bytes > limit ? new TooLarge({ bytes, limit }) : Effect.void

const fromJson = (body: Body, { frame, maxImages, options }: Reading): Received =>
  Effect.gen(function*() {
    const maxBytes = yield* InitImageLimits.MaxBytes
    const maxMessageBytes = yield* InitImageLimits.MaxMessageBytes
    yield* refuseTooLarge(leastImage(body.length ?? 0, maxMessageBytes), maxBytes)
    return yield* body.use((source) =>
      InitImageFrame.persistSourceScoped(source, body.length, frame, maxImages, options)
    )
  })

const nameIn = (request: HttpServerRequest.HttpServerRequest): string | undefined =>
  new URLSearchParams(request.url.replace(/^[^?]*/, "")).get("name") ?? undefined

const fromRaw = (
  request: HttpServerRequest.HttpServerRequest,
  mime: string,
  body: Body,
  options: RequestOptions
): Received =>
  Effect.gen(function*() {
    const { accepted, declaredType, maxBytes } = yield* InitImageSpool.settings
    yield* InitImagePayload.declaredFormat(mime, accepted, declaredType)
    yield* refuseTooLarge(body.length ?? 0, maxBytes)
    const meta = { mime, name: nameIn(request) }
    const image = yield* body.use((source) => SessionInitImage.persistSourceScoped(meta, source, body.length, options))
    return { message: {}, images: [image] }
  })

const fromForm = (
  request: HttpServerRequest.HttpServerRequest,
  body: Body,
  keepsFields: boolean,
  options: RequestOptions
): Received =>
  Effect.gen(function*() {
    const boundary = yield* boundaryOf(request.headers["content-type"] ?? "")
    const { accepted, declaredType, maxBytes, maxMessageBytes, maxPixels, spool } = yield* InitImageSpool.settings
    const { field } = options
    const maxSkippedBytes = keepsFields || field !== undefined ? maxBytes : 0
    yield* refuseTooLarge((body.length ?? 0) - maxMessageBytes - maxSkippedBytes, maxBytes)
    yield* tempFile.checkOptions(options)
    const makeReader = (room: rooms.Room) =>
      new FormReader({
        boundary,
        field,
        keepsFields,
        maxMessageBytes,
        maxSkippedBytes,
        formatOf: (mime) => InitImagePayload.declaredFormat(mime, accepted, declaredType),
        makeReader: (declared) =>
          new RawReader(
            verifier.counting(verifier.makeDeclared(declared, accepted, maxPixels), room.maxBytes),
            Math.min(body.length ?? Infinity, room.maxBytes)
          )
      })
    const { message, written } = yield* rooms.scoped(
      spool.makeRoom({ maxBytes, expectedBytes: body.length }, options),
      (room) => body.use((source) => writer.writeMessage(makeReader(room), source, room))
    )
    return {
      message: Object.fromEntries(message.fields),
      images: written === undefined ? [] : [SessionInitImage.makeImage(written, message.image?.name)]
    }
  })

const isJson = (mediaType: string): boolean =>
  mediaType === "application/json" || /^application\/.+\+json$/.test(mediaType)

/** Whether a body is sent as it is (RFC 9110 section 8.4): with no coding, or with `identity` (section 12.5.3). */
const isPlain = (contentEncoding: string): boolean =>
  contentEncoding.split(",").every((coding) => /^[\t ]*(?:identity)?[\t ]*$/i.test(coding))

const read = Effect.fnUntraced(
  function*(reading: Reading) {
    const { keepsFields, options } = reading
    const request = yield* HttpServerRequest.HttpServerRequest
    const body = yield* requestBody.open(request, {
      ...requestBody.defaultBounds,
      ...options.stallTimeout === undefined ? {} : { stallTimeout: options.stallTimeout }
    })
    if (!isPlain(request.headers["content-encoding"] ?? "")) return yield* new UnsupportedEncoding()
    const mediaType = mediaTypeOf(request.headers["content-type"] ?? "")
    if (isJson(mediaType)) return yield* fromJson(body, reading)
    if (mediaType === "multipart/form-data") return yield* fromForm(request, body, keepsFields, options)
    return yield* fromRaw(request, mediaType, body, options)
  }
)

const readOne = (reading: Omit<Reading, "maxImages">) =>
  Effect.map(read({ ...reading, maxImages: 1 }), InitImageFrame.toFrame)

/**
 * Persists the image in a request's body, with a file that lives as long as the scope; in a router that is the request's
 * own scope. The body's type (RFC 9110 section 8.3) selects the form:
 *
 * - `application/json`: a message of the option `dialect`, a payload by default, read as by `InitImageFrame`. Succeeds
 *   with `None` for `null`, and with nothing else
 * - `multipart/form-data` (RFC 7578): the first part that is a file, or the first one of the option `field`. A part is a
 *   file if it has a file name, an image's type or `application/octet-stream`. Up to 63 parts may stand before the file,
 *   and up to `InitImageLimits.MaxMessageBytes` bytes; parts after it are not read
 * - an image's type, no type, or a general one (`application/octet-stream`, `binary/octet-stream`, `image/*`): the image's
 *   bytes; its name is the query's `name`
 *
 * The bytes of a part or of a body decide what the image is where their type is absent or general; see
 * `InitImageLimits.DeclaredType`.
 *
 * Runs before any parser of the body such as `express.json()`: a body that was read before is a defect.
 *
 * Only a few chunks are in memory at a time. A body whose declared length exceeds the limits is refused before any of it
 * is read. A client can read the response in every case: an early response is sent at once, and ended when the client has
 * sent its whole body, of which up to 1 GiB is read and dropped.
 *
 * Fails with any `InitImageError`: `InvalidMime` among them for a body of any other type; `UnsupportedEncoding` for one
 * with a `Content-Encoding`; `Empty` for a JSON value other than `null` that has no image (`false`, `0`, `""`, `{}`,
 * `[]`); and `InvalidPayload` for a form without a file, as `NotAFile` where the option `field`, or else a usual name
 * such as `image` or `file`, is a text field. Fails with `PlatformError` where the disk does, and with `RequestError`
 * where the client goes away or stalls.
 *
 * @function
 * @since 0.1.0
 * @category persisting
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect, Option } from "effect"
 * import { InitImageHttp } from "session-init-image"
 *
 * const router = HttpRouter.empty.pipe(
 *   HttpRouter.post("/init-image", Effect.gen(function*() {
 *     const image = yield* InitImageHttp.fromRequest()
 *     return HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
 *   }))
 * )
 * ```
 */
export const fromRequest: (
  options?: RequestOptions
) => Effect.Effect<
  Option.Option<SessionInitImage.SessionInitImage>,
  InitImageError | PlatformError | RequestError,
  HttpServerRequest.HttpServerRequest | FileSystem.FileSystem | Path.Path | Scope.Scope
> = (options = {}) =>
  Effect.flatMap(
    readOne({ frame: { dialect: options.dialect }, keepsFields: false, options }),
    ({ image, message }): Effect.Effect<Option.Option<SessionInitImage.SessionInitImage>, Empty> =>
      Option.isNone(image) && message !== null ? new Empty() : Effect.succeed(image)
  ).pipe(metrics.observe("InitImageHttp.fromRequest", identity))

/**
 * {@link fromRequest} for a body that has more than the image: the message, and the image in it, as `InitImageFrame` has
 * them. The body's type selects the form:
 *
 * - `application/json`: the message is what `JSON.parse` gives, without the image's text. The image is the value `at`
 *   the given place, or at that of the option `dialect`, and there is no image where `InitImageFrame` has none
 * - `multipart/form-data`: the message is a record of the text fields, and the image is the first file, or the first
 *   one of the option `field`, before, between or after them. Of two text fields of one name the first is kept, as by
 *   `FormData.get`. Other files are skipped, up to `InitImageLimits.MaxBytes` in all. At most 64 parts and, without the
 *   files, `InitImageLimits.MaxMessageBytes` bytes are read. There is no image in a form without a file
 * - an image's bytes: the message is an empty record
 *
 * The message is not validated: decode it with a `Schema`. Fails as {@link fromRequest} does, except that a message
 * without an image is no failure; a text field in the place of the file is (`NotAFile`).
 *
 * @function
 * @since 0.1.0
 * @category persisting
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect, Option, Schema } from "effect"
 * import { InitImageHttp } from "session-init-image"
 *
 * const Prompt = Schema.Struct({ prompt: Schema.String })
 *
 * // { "prompt": "rain", "initial_image": { "mime": "image/png", "data": "..." } }, or a form with `prompt` and the file
 * const router = HttpRouter.empty.pipe(
 *   HttpRouter.post("/clips", Effect.gen(function*() {
 *     const { image, message } = yield* InitImageHttp.messageFromRequest({
 *       at: ["initial_image"],
 *       field: "initial_image"
 *     })
 *     const { prompt } = yield* Schema.decodeUnknown(Prompt)(message)
 *     return HttpServerResponse.unsafeJson({ prompt, hasImage: Option.isSome(image) })
 *   }))
 * )
 * ```
 */
export const messageFromRequest: (
  options: MessageOptions
) => Effect.Effect<
  InitImageFrame.InitImageFrame,
  InitImageError | PlatformError | RequestError,
  HttpServerRequest.HttpServerRequest | FileSystem.FileSystem | Path.Path | Scope.Scope
> = (options) =>
  readOne({ frame: options, keepsFields: true, options }).pipe(
    metrics.observe("InitImageHttp.messageFromRequest", ({ image }) => image)
  )

/**
 * {@link messageFromRequest} for a JSON body with several images, as `InitImageFrame.persistAll` reads it: up to
 * `InitImageLimits.MaxImages`. A form and an image's bytes have one image at most.
 *
 * @function
 * @since 0.1.0
 * @category persisting
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect } from "effect"
 * import { InitImageDialect, InitImageHttp, InitImageLimits } from "session-init-image"
 *
 * const router = HttpRouter.empty.pipe(
 *   HttpRouter.post("/v1/messages", Effect.gen(function*() {
 *     const { images } = yield* InitImageHttp.imagesFromRequest({ dialect: InitImageDialect.anthropic })
 *     return HttpServerResponse.unsafeJson(images.map(InitImageHttp.describe))
 *   }).pipe(InitImageLimits.withMaxImages(8)))
 * )
 * ```
 */
export const imagesFromRequest: (
  options: MessageOptions
) => Effect.Effect<
  InitImageFrame.InitImagesFrame,
  InitImageError | PlatformError | RequestError,
  HttpServerRequest.HttpServerRequest | FileSystem.FileSystem | Path.Path | Scope.Scope
> = (options) =>
  read({ frame: options, keepsFields: true, maxImages: undefined, options }).pipe(
    metrics.observe("InitImageHttp.imagesFromRequest", ({ images }) => Arr.head(images))
  )

/**
 * The description of an image for its client: without its path. `bytes` is the file's size; `width` and `height` are in
 * pixels, as stored; `upright_width` and `upright_height` are in pixels, as seen after the turn that `orientation` names
 * (EXIF 2.32 tag 0x0112).
 *
 * @since 0.1.0
 * @category schemas
 */
export const ImageDescription = Schema.Struct({
  mime: ImageFormat.Mime,
  display_name: Schema.String,
  bytes: Schema.Number,
  width: Schema.Number,
  height: Schema.Number,
  orientation: Schema.Literal(1, 2, 3, 4, 5, 6, 7, 8),
  upright_width: Schema.Number,
  upright_height: Schema.Number
}).annotations({
  identifier: "InitImageDescription",
  description: "A verified image"
}) satisfies Schema.Schema<protocol.ImageDescription>

/**
 * @since 0.1.0
 * @category models
 */
export type ImageDescription = typeof ImageDescription.Type

/**
 * Describes an image to its client.
 *
 * @function
 * @since 0.1.0
 * @category conversions
 */
export const describe: (image: SessionInitImage.SessionInitImage) => ImageDescription = protocol.describe

/**
 * @since 0.1.0
 * @category models
 */
export interface OriginOptions {
  /**
   * The origins of other sites whose pages may use the server, such as `https://app.example.com`: their requests are not
   * refused, and their pages may read the responses. A trailing slash, a default port and the case do not matter.
   */
  readonly origins?: ReadonlyArray<string> | undefined
  /**
   * The server's host names, without ports; any by default. Every request with another `Host` is refused. A server on the
   * loopback address should set them: a site that points its own name there (DNS rebinding) otherwise passes for the
   * server's own pages.
   */
  readonly hosts?: ReadonlyArray<string> | undefined
}

/**
 * Refuses requests of other sites' pages, and answers those of `origins` by the CORS protocol (Fetch standard, section
 * 3.2), preflights among them.
 *
 * A WebSocket, or a request other than `GET`, `HEAD` and `OPTIONS`, is answered with 403 if its `Origin` (RFC 6454 section
 * 7) is neither the server's own nor in `origins`; the log says at level debug which option it was missing from. Requests
 * without an `Origin` do not come from a page and pass, unless their `Sec-Fetch-Site` (Fetch Metadata, section 2.4) is
 * `cross-site` or `same-site`.
 *
 * The server's own origin is that of the request's `Host`. Behind a proxy, either the proxy passes the `Host` on, or
 * `HttpMiddleware.xForwardedHeaders` of the platform goes around this; use that only if the proxy sets `X-Forwarded-Host`
 * itself.
 *
 * Throws for an entry of `origins` or `hosts` that is no origin or no host name, and for an empty list of hosts.
 *
 * @since 0.1.0
 * @category middleware
 */
export const checkOrigin = (options?: OriginOptions): <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<
  E,
  R | HttpServerRequest.HttpServerRequest
> => origin.middleware(options ?? {})

/**
 * A handler of web requests (Fetch standard), and the end of its layer.
 *
 * @since 0.1.0
 * @category models
 */
export interface WebHandler {
  /** Answers a request. Never rejects for a request; rejects where the layer cannot be built. */
  readonly handler: (request: Request) => Promise<Response>
  /** Ends the layer's resources, such as its spool with all files. */
  readonly dispose: () => Promise<void>
}

/**
 * Turns an app into a handler of web requests, for servers and frameworks that are not Effect's: Hono, a route of Next.js,
 * `Bun.serve`, `Deno.serve`. The layer provides the app's services, the platform's `FileSystem` and `Path`, the limits and
 * the spool among them; it is built at the first request and shared by all.
 *
 * As `HttpApp.toWebHandlerLayer`, and the app is interrupted where the request's signal is aborted, also without a router;
 * failures that are no answer, such as a `PlatformError`, are logged, and answered with 500 and nothing else. A client
 * that is still sending its body can read every answer: see {@link fromRequest}.
 *
 * Where a framework gives handlers node's own request and response (`node:http`, Express, Fastify),
 * `NodeHttpServer.makeHandler` of `@effect/platform-node` runs the same app, before any parser of the body.
 *
 * @since 0.1.0
 * @category conversions
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { NodeContext } from "@effect/platform-node"
 * import { Effect, Layer, Option } from "effect"
 * import { InitImageHttp, InitImageLimits } from "session-init-image"
 *
 * const app = Effect.gen(function*() {
 *   const image = yield* InitImageHttp.fromRequest()
 *   return HttpServerResponse.unsafeJson(Option.getOrNull(Option.map(image, InitImageHttp.describe)))
 * })
 *
 * const { handler } = InitImageHttp.toWebHandler(
 *   app,
 *   Layer.merge(NodeContext.layer, InitImageLimits.layer({ maxBytes: 8 * 1024 * 1024 }))
 * )
 *
 * // Next.js: the file app/init-image/route.ts
 * export const POST = handler
 * ```
 */
export const toWebHandler = <E, R, E2>(
  app: HttpApp.Default<E, R | Scope.Scope>,
  layer: Layer.Layer<R, E2>
): WebHandler => {
  const { dispose, handler } = HttpApp.toWebHandlerLayer(
    Effect.tapErrorCause(Effect.interruptible(app), logFailure),
    layer
  )
  return { dispose, handler: (request) => handler(request) }
}

/** Errors that respond by themselves are the client's, or were logged where they were made. */
const logFailure = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Cause.isInterruptedOnly(cause) || HttpServerRespondable.isRespondable(Cause.squash(cause))
    ? Effect.void
    : Effect.logError("A request failed", cause)
