/**
 * The responses of `InitImageApi`'s endpoints.
 */
import { isPlatformError, type PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpMethod from "@effect/platform/HttpMethod"
import type { RequestError } from "@effect/platform/HttpServerError"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { DecodeTimeout, InitImageError, UndecodableImage } from "../../InitImageError.js"
import type { InitImageSlot } from "../../InitImageSlot.js"
import type { SessionInitImage } from "../../SessionInitImage.js"
import { prepared } from "../prepare.js"
import type { Prepare } from "../socket/session.js"
import { contentDisposition } from "./contentDisposition.js"
import { Gone, InternalServerError, NotFound, RequestTimeout } from "./failures.js"

const storageFailed = (error: PlatformError) =>
  Effect.zipRight(
    Effect.logError("An init image could not be stored", error),
    Effect.fail(new InternalServerError())
  )

/** Errors of an `HttpApi` carry no headers. */
const setHeader = (name: string, value: string) =>
  HttpApp.appendPreResponseHandler((_, response) => Effect.succeed(HttpServerResponse.setHeader(response, name, value)))

/** Replaces the image of a request by a prepared one. */
export const prepare = <E, R>(
  received: Effect.Effect<Option.Option<SessionInitImage>, E, R>,
  prepare: Prepare
) => prepared(received, Option.getOrUndefined, prepare, (_, image) => Option.some(image))

/** Answers with the description of the image that the effect stores, or 204 for `None`, JSON's `null`. */
export const put = <A, R>(
  stored: Effect.Effect<
    Option.Option<A>,
    InitImageError | UndecodableImage | DecodeTimeout | PlatformError | RequestError,
    R
  >,
  describe: (image: A) => unknown
) =>
  stored.pipe(
    Effect.tapErrorTag("Busy", ({ retryAfter }) => setHeader("retry-after", String(retryAfter))),
    Effect.tapErrorTag("UnsupportedEncoding", () => setHeader("accept-encoding", "identity")),
    Effect.catchTags({
      BadArgument: storageFailed,
      SystemError: storageFailed,
      RequestError: () => new RequestTimeout()
    }),
    Effect.map(Option.match({
      onNone: () => HttpServerResponse.empty(),
      onSome: (image) => HttpServerResponse.unsafeJson(describe(image))
    }))
  )

/**
 * Logs the reason only: the error itself contains the file's path. A missing file was removed from outside, such as by
 * another spool after this process had been suspended for too long.
 */
const readFailed = (error: PlatformError): Effect.Effect<never, Gone | InternalServerError> => {
  const reason = error._tag === "SystemError" ? error.reason : error._tag
  return reason === "NotFound"
    ? Effect.zipRight(Effect.logWarning("An init image's file is gone"), Effect.fail(new Gone()))
    : Effect.zipRight(
      Effect.logError("An init image could not be read", reason),
      Effect.fail(new InternalServerError())
    )
}

/** In bytes. */
const readChunkSize = 64 * 1024

/** Opens the file before the response starts, so that a failure can still be answered. */
const openFile = (fs: FileSystem.FileSystem, path: string) =>
  Effect.map(fs.open(path), (file) =>
    Stream.repeatEffectOption(
      // Uninterruptible, because the descriptor must not be closed during a read.
      Effect.uninterruptible(file.readAlloc(readChunkSize)).pipe(
        Effect.mapError(Option.some),
        Effect.flatMap(Option.match({ onNone: () => Effect.fail(Option.none()), onSome: Effect.succeed }))
      )
    ))

/** Sites whose pages may embed an image (Fetch standard, section 3.6). */
export type ResourcePolicy = "same-origin" | "same-site" | "cross-origin"

/** Slots of a store die with its failures where their type has no place for them. */
const catchDiedStorage = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.catchSomeDefect(
    effect,
    (defect) => isPlatformError(defect) ? Option.some(storageFailed(defect)) : Option.none()
  )

/** Removes the current image. */
export const clear = (slot: InitImageSlot<unknown>) => catchDiedStorage(slot.clear)

/** Answers with the current image, or 404. The lease ends with the request's scope. */
export const get = Effect.fnUntraced(function*(
  fs: FileSystem.FileSystem,
  slot: InitImageSlot<unknown>,
  method: HttpMethod.HttpMethod,
  resourcePolicy: ResourcePolicy
) {
  const image = yield* catchDiedStorage(slot.lease)
  if (Option.isNone(image)) return yield* new NotFound()
  const { bytes, displayName, mime, path } = image.value
  const headers = {
    "cache-control": "no-store",
    "content-disposition": contentDisposition(displayName),
    "cross-origin-resource-policy": resourcePolicy,
    "x-content-type-options": "nosniff"
  }
  const stream = yield* Effect.catchAll(openFile(fs, path), readFailed)
  // A web handler would hold the lease for as long as the stream of a HEAD response, which is never read.
  if (method === "HEAD") {
    return HttpServerResponse.empty({
      status: 200,
      headers: { ...headers, "content-type": mime, "content-length": String(bytes) }
    })
  }
  return HttpServerResponse.stream(stream, { contentType: mime, contentLength: bytes, headers })
})
