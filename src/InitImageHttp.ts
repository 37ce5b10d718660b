/**
 * From an HTTP request to its init image.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpApp from "@effect/platform/HttpApp"
import type { RequestError } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Path from "@effect/platform/Path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as ImageFormat from "./ImageFormat.js"
import { type InitImageError, TooLarge } from "./InitImageError.js"
import * as InitImageFrame from "./InitImageFrame.js"
import * as InitImageLimits from "./InitImageLimits.js"
import * as InitImagePayload from "./InitImagePayload.js"
import { formFile, mediaTypeOf } from "./internal/http/multipart.js"
import * as origin from "./internal/http/origin.js"
import * as requestBody from "./internal/http/requestBody.js"
import * as SessionInitImage from "./SessionInitImage.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface RequestOptions extends SessionInitImage.PersistOptions {
  /**
   * For how long a client may send nothing at all of a body that is waited for, before its connection is dropped; 30
   * seconds by default. What the server itself takes its time for is not counted.
   */
  readonly stallTimeout?: Duration.DurationInput | undefined
}

type Body = requestBody.RequestBody
type Persisted = Effect.Effect<
  Option.Option<SessionInitImage.SessionInitImage>,
  InitImageError | PlatformError | RequestError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
>

/**
 * What is written with escapes takes more room: as much as a quarter more where an encoder writes `+` and `/` as
 * `\u002B` and `\u002F`, as some do.
 */
const maxEscaped = 1.25

const refuseTooLarge = (bytes: number, limit: number): Effect.Effect<void, TooLarge> =>
  bytes > limit ? new TooLarge({ bytes, limit }) : Effect.void

/**
 * No image is larger than the body that brings it, of whose bytes it takes up that share: a spool need not make more
 * room for it.
 */
const withinBody = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  { length = Infinity }: Body,
  maxBytes: number,
  share: number
): Effect.Effect<A, E, R> => InitImageLimits.withMaxBytes(effect, Math.min(maxBytes, Math.floor(length * share)))

const fromJson = (body: Body, options: RequestOptions | undefined): Persisted =>
  Effect.gen(function*() {
    const maxBytes = yield* InitImageLimits.MaxBytes
    const maxMessageBytes = yield* InitImageLimits.MaxMessageBytes
    const least = Math.floor(((body.length ?? 0) - maxMessageBytes) / maxEscaped * 3 / 4)
    yield* refuseTooLarge(least, maxBytes)
    const persisted = InitImageFrame.persistScoped(body.stream, { at: [] }, options)
    return (yield* withinBody(persisted, body, maxBytes, 3 / 4)).image
  })

const nameIn = (request: HttpServerRequest.HttpServerRequest): string | undefined =>
  new URLSearchParams(request.url.replace(/^[^?]*/, "")).get("name") ?? undefined

const fromRaw = (
  request: HttpServerRequest.HttpServerRequest,
  mime: string,
  body: Body,
  options: RequestOptions | undefined
): Persisted =>
  Effect.gen(function*() {
    yield* InitImagePayload.decodeMime(mime)
    const maxBytes = yield* InitImageLimits.MaxBytes
    yield* refuseTooLarge(body.length ?? 0, maxBytes)
    const persisted = SessionInitImage.persistStreamScoped({ mime, name: nameIn(request) }, body.stream, options)
    return Option.some(yield* withinBody(persisted, body, maxBytes, 1))
  })

const fromForm = (
  request: HttpServerRequest.HttpServerRequest,
  body: Body,
  options: RequestOptions | undefined
): Persisted =>
  Effect.gen(function*() {
    const maxBytes = yield* InitImageLimits.MaxBytes
    const maxMessageBytes = yield* InitImageLimits.MaxMessageBytes
    yield* refuseTooLarge((body.length ?? 0) - maxMessageBytes, maxBytes)
    const persisted = formFile(
      request.headers,
      body.stream,
      (meta, bytes) => SessionInitImage.persistStreamScoped(meta, bytes, options)
    )
    return yield* withinBody(persisted, body, maxBytes, 1)
  })

const isJson = (mediaType: string): boolean =>
  mediaType === "application/json" || /^application\/.+\+json$/.test(mediaType)

/**
 * Persists the image that a request's body brings, with a file that lives as long as the scope; in a router that is the
 * request's own. The body's type (RFC 9110 section 8.3) says how it comes:
 *
 * - `application/json`: as a payload, which is read as `InitImageFrame` does
 * - `image/png`, `image/jpeg`, `image/webp`: as it is; the name is the `name` of the query
 * - `multipart/form-data` (RFC 7578): the first part that is a file, as one is that has a file name or an image's type;
 *   what stands before it may be 63 parts and take as much room as `InitImageLimits.MaxMessageBytes` says, and what
 *   comes after it is not looked at
 *
 * `None` where there is no image in the JSON, or no file in the form.
 *
 * Nothing is held in memory but a few chunks. A body whose declared length is above what the limits leave room for is
 * refused before any of it is read. The client gets to read the answer in every case: it is sent at once, and ended when
 * the whole body has come, of which no more than 1 GiB is read on.
 *
 * Fails with any `InitImageError`, `InvalidMime` among them for a body of any other type; with `PlatformError` where the
 * disk does; and with `RequestError` where the client goes away or stalls.
 *
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
> = Effect.fn("InitImageHttp.fromRequest")(function*(options?: RequestOptions) {
  const request = yield* HttpServerRequest.HttpServerRequest
  const body = yield* requestBody.open(request, {
    ...requestBody.defaultPatience,
    ...options?.stallTimeout === undefined ? {} : { stallTimeout: options.stallTimeout }
  })
  const mediaType = mediaTypeOf(request.headers["content-type"] ?? "")
  if (isJson(mediaType)) return yield* fromJson(body, options)
  if (mediaType === "multipart/form-data") return yield* fromForm(request, body, options)
  return yield* fromRaw(request, mediaType, body, options)
})

/**
 * An image as its client may see it: without its path. `bytes` is its size, `width` and `height` are in pixels.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ImageDescription = Schema.Struct({
  mime: ImageFormat.Mime,
  display_name: Schema.String,
  bytes: Schema.Number,
  width: Schema.Number,
  height: Schema.Number
}).annotations({ identifier: "InitImageDescription", description: "An image as the server has verified it" })

/**
 * @since 0.1.0
 * @category models
 */
export type ImageDescription = typeof ImageDescription.Type

/**
 * What may be said of an image to its client.
 *
 * @since 0.1.0
 * @category conversions
 */
export const describe = (image: SessionInitImage.SessionInitImage): ImageDescription => ({
  mime: image.mime,
  display_name: image.displayName,
  bytes: image.bytes,
  width: image.width,
  height: image.height
})

/**
 * @since 0.1.0
 * @category models
 */
export interface OriginOptions {
  /** Origins of other sites whose pages may use the server, such as `https://app.example.com`. */
  readonly origins?: ReadonlyArray<string> | undefined
  /**
   * The host names that the server goes by, without ports; any by default. A server that anybody's browser can reach,
   * such as one on the loopback address, should name them: a page of another site whose name has been made to point
   * there is otherwise taken for the server's own. A request of any kind whose `Host` is another one is refused then.
   */
  readonly hosts?: ReadonlyArray<string> | undefined
}

/**
 * Refuses what pages of other sites send: a WebSocket, or a request other than `GET`, `HEAD` and `OPTIONS`, whose
 * `Origin` (RFC 6454 section 7) is neither the server's own nor one of those given, is answered with 403 and goes no
 * further. What comes without an `Origin` does not come from a page.
 *
 * @since 0.1.0
 * @category middleware
 */
export const checkOrigin = (options?: OriginOptions): <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<
  E,
  R | HttpServerRequest.HttpServerRequest
> => {
  const isAllowed = origin.makeCheck(options ?? {})
  return (app) =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      isAllowed(request)
        ? app
        : Effect.as(requestBody.open(request), HttpServerResponse.empty({ status: 403 })))
}
