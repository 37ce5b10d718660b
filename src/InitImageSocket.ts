/**
 * A session over a WebSocket. The client opens it with its init image and may replace the image later.
 *
 * The client's first message is a text frame: a JSON object of the type `session_init_v2` with the payload as its
 * `initial_image`. The server answers with an {@link ImageMessage}, or with an {@link ErrorMessage} and closes with
 * 1003, or 1013 for `Busy`. Later messages of the type `init_image_updated` replace the image in the same way. If one of
 * them is refused, the server answers with an {@link ErrorMessage}, and the session keeps its image. A message without
 * `initial_image` is one without an image; it is refused where an image stands under a key that was probably meant, such
 * as `image`.
 *
 * With a dialect, the image is of another shape and may stand in another place: see `InitImageDialect`.
 *
 * A payload may have `bytes`, the size of the image, in place of `data`. The image then follows in binary frames of at
 * most 1 MiB each and is written as it arrives. The server sends a {@link ProgressMessage} as soon as it has room for
 * the image, which a client may wait for, and another one after at least every 256 KiB. A client that limits its unread
 * bytes by these messages fills no buffers on the way. A text frame before the last byte ends the image, which is
 * refused, and is then handled as a message. A message of the type `init_image_cancelled` only ends the image and is not
 * answered itself.
 *
 * A client that cannot send pings of the WebSocket protocol, such as a web page, may send `{"type":"ping"}` at any time,
 * also between the binary frames of an image; it is answered with a {@link PongMessage} at once. Neither pings nor pongs
 * count as progress of an image. A client that leaves 1 MiB of answers unread gets no more of them.
 *
 * On Node and Deno, a message of more than 64 KiB is admitted by the spool, as bytes in flight, before it is read further,
 * and one of more than {@link requiredFrameBytes} is refused before it is read: it is answered with `too_large` and the
 * session closes with 1009. A client that does not send at the lowest rate is refused as well; see `Options`.
 *
 * Bun reads messages itself and keeps them in memory, beside the spool, until they have arrived. The whole opening message
 * has to arrive within `openingTimeout`. A message that is too large is refused like any other; Bun closes the session with
 * 1009, without an answer, above 16 MiB with `BunHttpServer` and above 100 MiB with `NodeHttpServer`. Images in binary
 * frames are written as they arrive there, too.
 *
 * With `ws`, a text frame of 43 MiB (an image of 32 MiB) blocks the event loop for about 0.2 s before this module
 * receives it. Binary frames do not.
 *
 * @since 0.1.0
 * @module
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Path from "@effect/platform/Path"
import type * as Socket from "@effect/platform/Socket"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as InitImageFrame from "./InitImageFrame.js"
import * as InitImagePayload from "./InitImagePayload.js"
import * as InitImageSlot from "./InitImageSlot.js"
import * as InitImageSpool from "./InitImageSpool.js"
import { largestMessage } from "./internal/json/messageSize.js"
import * as metrics from "./internal/metrics.js"
import { check, sizeProblem } from "./internal/options.js"
import * as sources from "./internal/persist/sources.js"
import { withConnection } from "./internal/socket/connection.js"
import * as frameLimit from "./internal/socket/frameLimit.js"
import * as handshake from "./internal/socket/handshake.js"
import * as session from "./internal/socket/session.js"
import * as SessionInitImage from "./SessionInitImage.js"

export type {
  /**
   * @since 0.1.0
   * @category messages
   */
  ErrorMessage,
  /**
   * @since 0.1.0
   * @category messages
   */
  ImageMessage,
  /**
   * @since 0.1.0
   * @category messages
   */
  PongMessage,
  /**
   * @since 0.1.0
   * @category messages
   */
  ProgressMessage,
  /**
   * @since 0.1.0
   * @category messages
   */
  ServerMessage
} from "./internal/protocol.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Options,
  /**
   * @since 0.1.0
   * @category models
   */
  Prepare,
  /**
   * @since 0.1.0
   * @category models
   */
  Session
} from "./internal/socket/session.js"

const persistMessage: session.Images["persistMessage"] = (text, frame) =>
  InitImageFrame.persistOrAnnounced(text, frame).pipe(
    metrics.observe(
      "InitImageSocket.receive",
      ({ announced, image }) => announced === undefined ? image : undefined
    )
  )

/** Counts a message here only if it is refused or has no image: any other is counted when its image is persisted. */
const readShort: session.Images["readShort"] = (text, frame) =>
  Effect.matchEffect(InitImageFrame.readShort(text, frame), {
    onFailure: (error) => recordReceived(Effect.fail(error)),
    onSuccess: (message) => message === undefined ? Effect.void : recordReceived(Effect.succeed(message))
  })

const recordReceived = metrics.observe("InitImageSocket.receive", () => Option.none())

const images: session.Images = {
  makeSlot: InitImageSlot.make,
  decodeFormat: InitImagePayload.decodePayloadFormat,
  persistMessage,
  readShort,
  admit: (bytes) =>
    Effect.gen(function*() {
      const spool = yield* InitImageSpool.InitImageSpool
      const admitted = yield* spool.admit(bytes)
      return (text, frame) =>
        Effect.provideService(persistMessage(text, frame), InitImageSpool.InitImageSpool, admitted)
    }),
  persistAnnounced: (image, bytes) =>
    Effect.scopedWith((scope) =>
      Effect.flatMap(
        Scope.extend(sources.fromStream(bytes), scope),
        (source) => SessionInitImage.persistSourceScoped(image, source, image.bytes, undefined)
      )
    ).pipe(metrics.observe("SessionInitImage.persistStreamScoped", Option.some))
}

/**
 * Runs a session on the socket until the handler ends or the client disconnects. The session's image lives that long.
 *
 * The handler starts once the client has opened the session, and runs while later messages are handled. Its scope, and
 * with it a lease of the slot, closes when the session ends. If the opening is refused, the client gets the answer and
 * this succeeds without calling the handler.
 *
 * Closes the socket with 1000 when the handler succeeds, with 1011 when the handler or `onMessage` fails, with 1001
 * when this is interrupted, with 1008 after 64 messages in a row that are invalid, and with 1013 after one that is not
 * admitted. On Node and Deno, also with 1008 after a large message that stops arriving, and with 1009 after one that is too
 * large. Fails with the errors of the handler, of `onMessage` and of `slot`.
 *
 * Messages are handled one at a time and in order. The socket is paused while 16 of them or 1 MiB wait, if it is a
 * socket of `ws`, as those of `@effect/platform-node` are; other sockets cannot be paused.
 *
 * @since 0.1.0
 * @category running
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect, Option } from "effect"
 * import { InitImageSocket } from "session-init-image"
 *
 * declare const generate: (path: string) => Effect.Effect<void>
 *
 * const router = HttpRouter.empty.pipe(
 *   HttpRouter.get("/stream", Effect.gen(function*() {
 *     const socket = yield* InitImageSocket.upgrade
 *     yield* InitImageSocket.run(socket, ({ slot }) =>
 *       Effect.gen(function*() {
 *         const image = yield* slot.lease
 *         if (Option.isSome(image)) yield* generate(image.value.path)
 *       }).pipe(Effect.scoped))
 *     return HttpServerResponse.empty()
 *   }))
 * )
 * ```
 */
export const run = <E, R, E2 = never, R2 = never>(
  socket: Socket.Socket,
  handler: (session: session.Session) => Effect.Effect<void, E, R>,
  options: session.Options<E2, R2> = {}
): Effect.Effect<
  void,
  E | E2,
  Exclude<R | R2, Scope.Scope> | FileSystem.FileSystem | Path.Path
> => Effect.withSpan(session.run(images, socket, handler, options), "InitImageSocket.run", { captureStackTrace: false })

/**
 * Reports a request that is not a valid opening handshake (RFC 6455 section 4.2.1), or a server that cannot upgrade it.
 *
 * Answers 426 (RFC 9110 section 15.5.22).
 *
 * @since 0.1.0
 * @category errors
 */
export class UpgradeRequired
  extends Schema.TaggedError<UpgradeRequired>("session-init-image/InitImageSocket/UpgradeRequired")(
    "UpgradeRequired",
    {}
  )
  implements HttpServerRespondable.Respondable
{
  /** @since 0.1.0 */
  override get message(): string {
    return "The request must be an upgrade to a WebSocket."
  }
  /** @since 0.1.0 */
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(HttpServerResponse.empty({
      status: 426,
      headers: { connection: "upgrade, close", upgrade: "websocket", "sec-websocket-version": "13" }
    }))
  }
}

/**
 * Upgrades the request to a WebSocket for {@link run}, which opens it.
 *
 * Replaces `HttpServerRequest.upgrade` for untrusted clients. On Node, that one leaves an uninterruptible fiber behind,
 * which keeps the server from shutting down, if the handshake is invalid or the client disconnects during it. On Node
 * {@link run} also counts each byte of a frame as it arrives, and elsewhere whole messages; there, large messages are not
 * admitted before they are complete.
 *
 * Fails with {@link UpgradeRequired}.
 *
 * @since 0.1.0
 * @category running
 */
export const upgrade: Effect.Effect<
  Socket.Socket,
  UpgradeRequired,
  HttpServerRequest.HttpServerRequest
> = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
  handshake.isAcceptable(request)
    ? Effect.mapBoth(request.upgrade, {
      onFailure: () => new UpgradeRequired(),
      onSuccess: (socket) => withConnection(handshake.guard(request, socket), request)
    })
    : Effect.fail(new UpgradeRequired()))

/** The default `maxPayload` of `ws`, which the platform's server for Node keeps, in bytes. */
const defaultFrameBytes = 100 * 1024 * 1024

/**
 * Returns the largest text frame that an image of `maxBytes` may need, in bytes: its base64 text, a
 * quarter more for the escapes that some encoders write in it (`\/` in PHP, `\u002B` in .NET), and
 * `InitImageLimits.MaxMessageBytes` for the rest, 64 KiB by default. A transport with a lower limit closes the connection
 * on such a frame without an answer.
 *
 * @since 0.1.0
 * @category limits
 */
export const requiredFrameBytes = (maxBytes: number, maxMessageBytes: number = 64 * 1024): number =>
  largestMessage(maxBytes, maxMessageBytes)

/**
 * Reports a transport that accepts frames of at most `actual` bytes, while the limits on images require `required`.
 *
 * @since 0.1.0
 * @category errors
 */
export class FrameLimitTooLow
  extends Schema.TaggedError<FrameLimitTooLow>("session-init-image/InitImageSocket/FrameLimitTooLow")(
    "FrameLimitTooLow",
    { required: Schema.Number, actual: Schema.Number }
  )
{
  /** @since 0.1.0 */
  override get message(): string {
    return `The transport takes frames of ${this.actual} bytes, but an image of the allowed size needs ${this.required}.`
  }
}

/**
 * Checks, when a server starts, that its transport accepts the largest text frame that the limits on images allow.
 * `frameBytes` is the transport's own limit, by default the 100 MiB of `NodeHttpServer`. `BunHttpServer` accepts 16 MiB.
 *
 * Fails with {@link FrameLimitTooLow}.
 *
 * @since 0.1.0
 * @category limits
 */
export const checkFrameLimit = (frameBytes: number = defaultFrameBytes): Effect.Effect<void, FrameLimitTooLow> =>
  Effect.gen(function*() {
    check("InitImageSocket.checkFrameLimit", sizeProblem("frameBytes", frameBytes))
    const required = yield* frameLimit.maxFrameBytes
    if (required > frameBytes) return yield* new FrameLimitTooLow({ required, actual: frameBytes })
  })
