/**
 * A session over a WebSocket, which is opened with its init image and may replace it.
 *
 * The client's first message is a text frame, a JSON object of the type `session_init_v2` with the payload as its
 * `initial_image`. The server answers with an {@link ImageMessage}, or with an {@link ErrorMessage} and closes with
 * 1003, or 1013 for `Busy`. Later messages of the type `init_image_updated` replace the image in the same way; what is
 * wrong with one of them is answered, and the session goes on with the image it had.
 *
 * In the place of `data` a payload may say how many `bytes` the image has. They follow as they are, in binary frames of
 * at most 1 MiB each, and are written as they arrive. The server answers with {@link ProgressMessage}s: the first one as
 * soon as it has room for the image, so that a client may wait for it, and then one for every 256 KiB or more that it
 * has taken. It takes them as fast as it can write, and a client that keeps to what has been taken by then fills no
 * buffers on the way. A text frame that comes before all bytes ends the image, which is then refused, and is taken as
 * the message that it is. One of the type `init_image_cancelled` does only that, and is not answered itself.
 *
 * One text frame of 43 MiB, which is an image of 32 MiB, takes a server with `ws` about 0.2 s in which nobody else is
 * served, before any of this is reached. Binary frames do not.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Path from "@effect/platform/Path"
import type * as Socket from "@effect/platform/Socket"
import * as Chunk from "effect/Chunk"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type InitImageError, InvalidPayload, TooLarge } from "./InitImageError.js"
import type { ImageDescription } from "./InitImageHttp.js"
import * as InitImageLimits from "./InitImageLimits.js"
import * as InitImagePayload from "./InitImagePayload.js"
import * as InitImageSlot from "./InitImageSlot.js"
import * as frame from "./internal/json/message.js"
import * as telemetry from "./internal/metrics.js"
import * as tempFile from "./internal/persist/tempFile.js"
import * as wire from "./internal/protocol.js"
import * as socketFrames from "./internal/socket/frames.js"
import * as handshake from "./internal/socket/handshake.js"
import * as SessionInitImage from "./SessionInitImage.js"

/**
 * The server's answer to an image: that it is the session's now, or `null` where there was none in the message and the
 * session has none.
 *
 * @since 0.1.0
 * @category messages
 */
export interface ImageMessage {
  readonly type: "session_init_image"
  readonly image: ImageDescription | null
}

/**
 * Of an image of so many `bytes`, so many have been `received` and taken.
 *
 * @since 0.1.0
 * @category messages
 */
export interface ProgressMessage {
  readonly type: "init_image_progress"
  readonly received: number
  readonly bytes: number
}

/**
 * The server's answer to what it refuses. `code` is the tag of an `InitImageError` in snake case (`too_large`),
 * `internal_error` where the image could not be stored, or `invalid_message`. `message` is fit to show a person. What is
 * `retryable` may succeed later as it is.
 *
 * @since 0.1.0
 * @category messages
 */
export interface ErrorMessage {
  readonly type: "error"
  readonly code: string
  readonly message: string
  readonly retryable: boolean
}

/**
 * Everything that the server says of its own.
 *
 * @since 0.1.0
 * @category messages
 */
export type ServerMessage = ImageMessage | ProgressMessage | ErrorMessage

/**
 * A session that has been opened.
 *
 * @since 0.1.0
 * @category models
 */
export interface Session {
  /** The opening message, with the image's `data` left out. */
  readonly message: unknown
  /** Holds the session's current image, which the client may replace at any time. */
  readonly slot: InitImageSlot.InitImageSlot
  /** Sends a message of the application's own as JSON in a text frame. */
  readonly send: (message: unknown) => Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E = never, R = never> {
  /** Where the payload stands in a message; `["initial_image"]` by default. */
  readonly at?: ReadonlyArray<string> | undefined
  /** The type of the opening message; `session_init_v2` by default. */
  readonly openingType?: string | undefined
  /** The type of messages that replace the image; `init_image_updated` by default. */
  readonly updateType?: string | undefined
  /**
   * What becomes of messages of other types, one after the other and in their order with those that replace the image;
   * by default they are answered as not valid. It may fail, which ends the session.
   */
  readonly onMessage?: ((message: unknown, session: Session) => Effect.Effect<void, E, R>) | undefined
  /** The session's slot, which lives as long as the session; a new one by default. */
  readonly slot?: Effect.Effect<InitImageSlot.InitImageSlot, E, R> | undefined
  /** How long a client may send nothing before its opening message; 10 seconds by default. */
  readonly openingTimeout?: Duration.DurationInput | undefined
  /** How long a client may send nothing while the bytes of an image are awaited; 30 seconds by default. */
  readonly stallTimeout?: Duration.DurationInput | undefined
  /**
   * How many bytes have come on the socket by now, if that can be told: with it, a frame that takes long to arrive is
   * not taken for silence.
   */
  readonly bytesRead?: Effect.Effect<number> | undefined
}

/** No binary frame of an image may be larger, in bytes. */
const maxBinaryFrame = 1024 * 1024

/** The type of a message that ends an image's bytes, and says nothing else. */
const cancelType = "init_image_cancelled"

/** Progress is told again after so many bytes. */
const progressStep = 256 * 1024

const bytesNotACount = new InvalidPayload({ reason: "BytesNotACount" })
const moreBytes = new InvalidPayload({ reason: "MoreBytes" })
const fewerBytes = new InvalidPayload({ reason: "FewerBytes" })
const lateBytes = new InvalidPayload({ reason: "LateBytes" })
const frameTooLarge = new InvalidPayload({ reason: "FrameTooLarge" })

/** What to answer, and the code to close with where it was the opening. */
class Refusal {
  readonly message: ErrorMessage
  readonly closeCode: number
  constructor(message: ErrorMessage, closeCode: number) {
    this.message = message
    this.closeCode = closeCode
  }
}

const invalidMessage = (message: string) => new Refusal(wire.invalidMessage(message), wire.CloseCode.unsupportedData)

const refusalOf = (error: InitImageError): Refusal => {
  if (error._tag === "InvalidPayload" && error.reason === "NotJson") return invalidMessage("A message must be JSON.")
  if (error._tag === "InvalidPayload" && error.reason === "TooDeep") return invalidMessage(error.message)
  const closeCode = error._tag === "Busy" ? wire.CloseCode.tryAgainLater : wire.CloseCode.unsupportedData
  return new Refusal(wire.imageErrorMessage(error), closeCode)
}

const storageTrouble = (error: PlatformError) =>
  Effect.zipRight(
    Effect.logError("An init image could not be stored", error),
    Effect.fail(new Refusal(wire.internalErrorMessage, wire.CloseCode.internalError))
  )

interface Announced {
  readonly mime: string
  readonly name: string | undefined
  readonly bytes: number
}

const decodeAnnounced = Effect.fnUntraced(function*({ bytes, mime, name }: Readonly<Record<string, unknown>>) {
  const format = yield* InitImagePayload.decodeMime(mime)
  if (typeof bytes !== "number" || !Number.isSafeInteger(bytes) || bytes < 0) return yield* bytesNotACount
  const limit = yield* InitImageLimits.MaxBytes
  if (bytes > limit) return yield* new TooLarge({ bytes, limit })
  return { mime: format.mime, name: typeof name === "string" ? name : undefined, bytes } satisfies Announced
})

/** Fails with that once nothing has arrived for so long, not even a part of a frame, while something is awaited. */
const silence = Effect.fnUntraced(function*<E>(
  bytesRead: Effect.Effect<number>,
  isWaiting: () => boolean,
  timeout: Duration.DurationInput,
  error: E
) {
  let last: number | undefined
  while (true) {
    const now = isWaiting() ? yield* bytesRead : undefined
    if (now !== undefined && now === last) return yield* Effect.fail(error)
    last = now
    yield* Effect.sleep(timeout)
  }
})

/** A client's frames, as messages and as the bytes of images that were announced. */
class Inbox {
  readonly frames: socketFrames.Frames
  /** A text frame that has come too early. */
  private held: string | undefined
  /** How many bytes may still come of an image that is refused by now. */
  private toDrop = 0
  /** Whether what came last was an image's bytes. */
  private afterBytes = false

  constructor(frames: socketFrames.Frames) {
    this.frames = frames
  }

  /** The next text frame. Fails with what is wrong with a binary one in its place. */
  readonly text: Effect.Effect<string, Refusal> = Effect.suspend(() => {
    if (this.held === undefined) return Effect.flatMap(this.frames.take, (frame) => this.textOf(frame))
    const text = this.held
    this.held = undefined
    return Effect.succeed(text)
  })

  private textOf(frame: socketFrames.Frame): Effect.Effect<string, Refusal> {
    if (typeof frame === "string") {
      this.toDrop = 0
      this.afterBytes = false
      return Effect.succeed(frame)
    }
    if (frame.length <= this.toDrop) {
      this.toDrop -= frame.length
      return this.text
    }
    this.toDrop = 0
    return Effect.fail(this.afterBytes ? refusalOf(moreBytes) : invalidMessage("A message must be a text frame."))
  }

  /** The bytes of an image, as they come. */
  readonly bytes = (
    { bytes }: Announced,
    onWaiting: (waiting: boolean) => void
  ): Stream.Stream<Uint8Array, InvalidPayload> => {
    let received = 0
    let told = -progressStep
    this.afterBytes = true
    const take = (frame: socketFrames.Frame): Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<InvalidPayload>> => {
      onWaiting(false)
      if (typeof frame === "string") {
        this.held = frame
        return Effect.fail(Option.some(fewerBytes))
      }
      received += frame.length
      this.toDrop = Math.max(0, bytes - received)
      if (received > bytes) return Effect.fail(Option.some(moreBytes))
      return frame.length > maxBinaryFrame
        ? Effect.fail(Option.some(frameTooLarge))
        : Effect.succeed(Chunk.of(frame))
    }
    this.toDrop = bytes
    return Stream.repeatEffectChunkOption(Effect.suspend(() => {
      if (received === bytes) return Effect.fail(Option.none())
      onWaiting(true)
      const next = Effect.flatMap(this.frames.take, take)
      if (received - told < progressStep) return next
      told = received
      return Effect.zipRight(this.frames.send(wire.progressMessage(received, bytes)), next)
    }))
  }
}

/** What a message is, once its image has been persisted. */
interface Received {
  readonly message: unknown
  readonly image: Option.Option<SessionInitImage.SessionInitImage>
}

const typeOf = (message: unknown): unknown => Predicate.isRecord(message) ? message["type"] : undefined

/** A message that is not to change the image. */
class Other {
  readonly message: unknown
  constructor(message: unknown) {
    this.message = message
  }
}

const persistText = (text: string, at: ReadonlyArray<string>) =>
  tempFile.scoped(frame.persistOrAnnounced(text, at)).pipe(
    telemetry.observe((received) => "image" in received ? received.image : undefined),
    telemetry.withSpan("InitImageFrame.persistScoped")
  )

const persistBytes = Effect.fnUntraced(function*(
  inbox: Inbox,
  payload: Readonly<Record<string, unknown>>,
  bytesRead: Effect.Effect<number>,
  stallTimeout: Duration.DurationInput
) {
  const announced = yield* decodeAnnounced(payload)
  let waiting = false
  const bytes = inbox.bytes(announced, (now) => {
    waiting = now
  })
  const persisted = SessionInitImage.persistStreamScoped(announced, bytes).pipe(
    InitImageLimits.withMaxBytes(announced.bytes)
  )
  return Option.some(
    yield* Effect.raceFirst(persisted, silence(bytesRead, () => waiting, stallTimeout, lateBytes))
  )
})

const converse = Effect.fnUntraced(function*<E, R, E2, R2>(
  frames: socketFrames.Frames,
  handler: (session: Session) => Effect.Effect<void, E, R>,
  options: Options<E2, R2>
) {
  const at = options.at ?? ["initial_image"]
  const openingType = options.openingType ?? "session_init_v2"
  const updateType = options.updateType ?? "init_image_updated"
  const openingTimeout = options.openingTimeout ?? "10 seconds"
  const stallTimeout = options.stallTimeout ?? "30 seconds"
  const bytesRead = options.bytesRead ?? frames.received
  const slot = yield* options.slot ?? InitImageSlot.make
  const inbox = new Inbox(frames)

  /**
   * Only a message of the right type gets as far as to replace the image. What is wrong with the image is known before
   * the rest of the message is, so that of one that has the wrong type as well the image's error is answered.
   */
  const receive = (text: string, type: string) =>
    slot.setWith(Effect.gen(function*() {
      const received = yield* persistText(text, at)
      if (typeOf(received.message) !== type) return yield* Effect.fail(new Other(received.message))
      const image = "image" in received
        ? received.image
        : yield* persistBytes(inbox, received.announced, bytesRead, stallTimeout)
      return { image, message: received.message } satisfies Received
    })).pipe(
      Effect.catchTags({ SystemError: storageTrouble, BadArgument: storageTrouble }),
      Effect.mapError((error) => error instanceof Refusal || error instanceof Other ? error : refusalOf(error))
    )

  const notOfType = (type: string) => invalidMessage(`The message's type must be ${type}.`)

  const late = new Refusal(wire.invalidMessage("No message arrived in time."), wire.CloseCode.policyViolation)
  const opening = yield* Effect.raceFirst(inbox.text, silence(bytesRead, () => true, openingTimeout, late)).pipe(
    Effect.flatMap((text) => receive(text, openingType)),
    Effect.mapError((error) => error instanceof Other ? notOfType(openingType) : error),
    Effect.either
  )
  if (Either.isLeft(opening)) {
    yield* frames.send(opening.left.message)
    return yield* frames.close(opening.left.closeCode)
  }
  yield* frames.send(wire.imageMessage(opening.right.image))
  const session: Session = { message: opening.right.message, slot, send: frames.send }

  const onOther = ({ message }: Other): Effect.Effect<void, E2, R2> => {
    if (typeOf(message) === cancelType) return Effect.void
    return options.onMessage === undefined
      ? frames.send(notOfType(updateType).message)
      : options.onMessage(message, session)
  }
  const listen = Effect.flatMap(inbox.text, (text) => receive(text, updateType)).pipe(
    Effect.matchEffect({
      onFailure: (error) => error instanceof Other ? onOther(error) : frames.send(error.message),
      onSuccess: ({ image }) => frames.send(wire.imageMessage(image))
    }),
    Effect.forever
  )
  yield* Effect.raceFirst(handler(session), listen)
  yield* frames.close(wire.CloseCode.normal)
}, Effect.scoped)

/**
 * Runs a session on the socket, until the handler ends or the client goes away; its image lives that long.
 *
 * The handler is called once the client has opened the session, and runs beside what the client sends after that. What
 * it acquires in its scope, such as a lease of the slot, is released when the session ends. When it ends the socket is
 * closed with 1000; when it fails, or `onMessage` does, with 1011, and this fails with the same; when this is
 * interrupted, with 1001. A client whose opening is refused has been answered, and this ends.
 *
 * Messages are handled one at a time, in the order in which they come, and the socket is not read any further while more
 * than 1 MiB of them waits: with `ws`, which is what `@effect/platform-node` has; other sockets cannot be paused.
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
  handler: (session: Session) => Effect.Effect<void, E, R>,
  options: Options<E2, R2> = {}
): Effect.Effect<
  void,
  E | E2,
  Exclude<R | R2, Scope.Scope> | FileSystem.FileSystem | Path.Path
> =>
  Effect.scoped(
    Effect.flatMap(socketFrames.make(socket), (frames) =>
      // Each can be ended by the other, also where this is run by what cannot be interrupted, as an app without a router.
      Effect.raceFirst(
        Effect.interruptible(converse(frames, handler, options)),
        Effect.interruptible(frames.closed)
      ).pipe(
        Effect.onExit((exit) =>
          Exit.isSuccess(exit)
            ? Effect.void
            : frames.close(Exit.isInterrupted(exit) ? wire.CloseCode.goingAway : wire.CloseCode.internalError)
        )
      ))
  ).pipe(Effect.withSpan("InitImageSocket.run", { captureStackTrace: false }))

/**
 * The request is no upgrade to a WebSocket, or not one that can be made.
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
 * The WebSocket of a request, which {@link run} opens.
 *
 * As `HttpServerRequest.upgrade`, and safe to offer to anybody: with that one, on Node, a handshake that is not as RFC
 * 6455 section 4.2.1 has it, or a client that leaves in the middle of it, leaves a fiber behind that nothing can
 * interrupt, and that a server waits for when it is to end.
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
      onSuccess: (socket) => handshake.guard(request, socket)
    })
    : Effect.fail(new UpgradeRequired()))

/** What `ws` takes by default and the platform's servers leave as it is, in bytes: 100 MiB. */
const defaultFrameBytes = 100 * 1024 * 1024

/**
 * How large a text frame with an image of so many bytes may be, in bytes: its base64 text, and
 * `InitImageLimits.MaxMessageBytes` for the rest, 1 MiB by default. A transport that takes fewer closes the connection
 * on such a client, with no answer.
 *
 * @since 0.1.0
 * @category limits
 */
export const requiredFrameBytes = (maxBytes: number, maxMessageBytes: number = 1024 * 1024): number =>
  Math.ceil(maxBytes / 3) * 4 + maxMessageBytes

/**
 * The transport takes frames of at most `actual` bytes, where the limits on images ask for `required`.
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
    return `The transport takes frames of ${this.actual} bytes, but an image of the allowed size takes ${this.required}.`
  }
}

/**
 * Fails with {@link FrameLimitTooLow} where an image that the limits allow would not get through a transport that takes
 * text frames of so many bytes; to be run when a server starts. 100 MiB by default, which is what `ws` takes as the
 * platform's servers use it.
 *
 * @since 0.1.0
 * @category limits
 */
export const checkFrameLimit = (frameBytes: number = defaultFrameBytes): Effect.Effect<void, FrameLimitTooLow> =>
  Effect.gen(function*() {
    const required = requiredFrameBytes(yield* InitImageLimits.MaxBytes, yield* InitImageLimits.MaxMessageBytes)
    if (required > frameBytes) return yield* new FrameLimitTooLow({ required, actual: frameBytes })
  })
