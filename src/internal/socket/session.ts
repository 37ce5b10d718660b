/** The conversation of a session: its opening, the messages that replace the image, and its end. */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import type * as Socket from "@effect/platform/Socket"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { ImageFormat } from "../../ImageFormat.js"
import type { InitImageDialect, Path as MessagePath } from "../../InitImageDialect.js"
import {
  type Busy,
  type DecodeTimeout,
  type InitImageError,
  type InvalidMime,
  InvalidPayload,
  TooLarge,
  type UndecodableImage
} from "../../InitImageError.js"
import * as InitImageLimits from "../../InitImageLimits.js"
import type { InitImageSlot } from "../../InitImageSlot.js"
import type { SessionInitImage } from "../../SessionInitImage.js"
import { leastImage } from "../json/messageSize.js"
import { check, functionProblem, sizeProblem, textProblem, timeoutProblem } from "../options.js"
import { prepared } from "../prepare.js"
import { messages } from "../process.js"
import * as protocol from "../protocol.js"
import * as frameLimit from "./frameLimit.js"
import * as frames from "./frames.js"
import { Inbox } from "./inbox.js"
import * as misplacedImage from "./misplacedImage.js"
import * as plainMessage from "./plainMessage.js"
import * as refusal from "./refusal.js"

/**
 * A session that its client has opened.
 *
 * @since 0.1.0
 * @category models
 */
export interface Session {
  /** The opening message without the image's `data`. */
  readonly message: unknown
  /** Holds the session's current image, which the client may replace at any time. */
  readonly slot: InitImageSlot<PlatformError>
  /** Sends a message of the application as JSON in a text frame. */
  readonly send: (message: unknown) => Effect.Effect<void>
}

/**
 * Replaces an image before a session holds it; see `Options`.
 *
 * @since 0.1.0
 * @category models
 */
export type Prepare<R = never> = (image: SessionInitImage) => Effect.Effect<
  SessionInitImage,
  InitImageError | UndecodableImage | DecodeTimeout | PlatformError,
  R | FileSystem.FileSystem | Path.Path | Scope.Scope
>

/**
 * The message types, timeouts and handlers of a session. A type that is empty or that the protocol has already, an empty
 * key and a timeout that is not above zero are defects of `run`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<E = never, R = never> {
  /**
   * The way to the image's value in a message. That of the dialect by default, or `["initial_image"]` where it is the
   * message itself. A message has one image at most.
   */
  readonly at?: MessagePath | undefined
  /**
   * The shape of the image's value; `InitImageDialect.payload` by default. Only that one can announce an image's `bytes`
   * in place of its `data`.
   */
  readonly dialect?: InitImageDialect | undefined
  /** The type of the opening message; `session_init_v2` by default. */
  readonly openingType?: string | undefined
  /** The type of messages that replace the image; `init_image_updated` by default. */
  readonly updateType?: string | undefined
  /**
   * Handles messages of all other types, one at a time and in order with those that replace the image. Ends the session
   * if it fails. By default such messages are answered with `invalid_message`. Gets no message of the type `ping` of at
   * most 125 bytes.
   */
  readonly onMessage?: ((message: unknown, session: Session) => Effect.Effect<void, E, R>) | undefined
  /** Acquires the session's slot, which lives as long as the session; `InitImageSlot.make` by default. */
  readonly slot?: Effect.Effect<InitImageSlot<PlatformError>, E, R> | undefined
  /**
   * Replaces each image before the session holds it, such as by a normalised one. Its errors are answered like those of
   * the image, and the session keeps its image. The given image's file is removed once another one is answered.
   */
  readonly prepare?: Prepare<R> | undefined
  /**
   * The time of the opening message before `minBytesPerSecond` applies, and the longest time without any byte of it; 10
   * seconds by default.
   */
  readonly openingTimeout?: Duration.DurationInput | undefined
  /** The same of an announced image, and of a large message after the opening; 30 seconds by default. */
  readonly stallTimeout?: Duration.DurationInput | undefined
  /**
   * The lowest rate of an opening message, an announced image or a message of more than 64 KiB that has begun to arrive,
   * in payload bytes per second; 240 by default, 0 for none. Pings are no payload. Time in which the server does not read
   * does not count.
   */
  readonly minBytesPerSecond?: number | undefined
  /**
   * The time between two pings of the server (RFC 6455 section 5.5.2), which keep a quiet connection open through proxies
   * that close idle ones; 20 seconds by default, `Duration.infinity` for none. From the client's first frame on. Only a
   * socket of `ws` can ping, as those of `@effect/platform-node` are.
   */
  readonly keepAlive?: Duration.DurationInput | undefined
}

const defaultOpeningTimeout: Duration.DurationInput = "10 seconds"
const defaultStallTimeout: Duration.DurationInput = "30 seconds"
const defaultMinBytesPerSecond = 240

/** Invalid messages in a row after which the session ends. */
const maxInvalidMessages = 64

/** Below the 60 seconds after which most proxies close an idle connection, also where one ping is lost. */
const defaultKeepAlive: Duration.DurationInput = "20 seconds"

const typeProblem = (name: string, type: string | undefined): string | undefined =>
  type === protocol.pingType || type === protocol.cancelType
    ? `${name} must not be ${type}, which is a type of the protocol`
    : textProblem(name, type)

const checkOptions = (options: Options<unknown, unknown>): void =>
  check(
    "InitImageSocket.run",
    ...(options.at ?? []).map((key) => typeof key === "string" ? textProblem("each key of at", key) : undefined),
    options.onMessage === undefined ? undefined : functionProblem("onMessage", options.onMessage),
    options.prepare === undefined ? undefined : functionProblem("prepare", options.prepare),
    typeProblem("openingType", options.openingType),
    typeProblem("updateType", options.updateType),
    timeoutProblem("openingTimeout", options.openingTimeout),
    timeoutProblem("stallTimeout", options.stallTimeout),
    sizeProblem("minBytesPerSecond", options.minBytesPerSecond),
    timeoutProblem("keepAlive", options.keepAlive)
  )

type Storage = FileSystem.FileSystem | Path.Path | Scope.Scope

/** A message after its image has been written, or with the payload of an image that is only announced. */
export interface ReceivedMessage {
  readonly message: unknown
  readonly image: Option.Option<SessionInitImage>
  readonly announced: Readonly<Record<string, unknown>> | undefined
}

interface AnnouncedImage {
  readonly mime: string | undefined
  readonly name: string | undefined
  readonly bytes: number
}

/** The operations on images, passed in by the public module. */
export interface Images {
  readonly makeSlot: Effect.Effect<InitImageSlot, never, Storage>
  readonly decodeFormat: (
    payload: Readonly<Record<string, unknown>>
  ) => Effect.Effect<Option.Option<ImageFormat>, InvalidMime>
  readonly persistMessage: (
    text: string,
    frame: { readonly at: MessagePath | undefined; readonly dialect: InitImageDialect | undefined }
  ) => Effect.Effect<ReceivedMessage, InitImageError | PlatformError, Storage>
  /**
   * The message of a short text that has no image, without room or a scope; fails if it is refused. `undefined` for any
   * other text.
   */
  readonly readShort: (
    text: string,
    frame: { readonly at: MessagePath | undefined; readonly dialect: InitImageDialect | undefined }
  ) => Effect.Effect<unknown, InitImageError>
  /** Reserves the memory of a message, and answers how to persist an image from it without reserving more. */
  readonly admit: (bytes: number) => Effect.Effect<Images["persistMessage"], Busy, Scope.Scope>
  readonly persistAnnounced: (
    image: AnnouncedImage,
    bytes: Stream.Stream<Uint8Array, InvalidPayload>
  ) => Effect.Effect<SessionInitImage, InitImageError | PlatformError, Storage>
}

/** A message of another type than the expected one. */
class OtherMessage extends Data.TaggedClass("OtherMessage")<{ readonly received: unknown }> {}

const typeOf = (message: unknown): unknown => Predicate.isRecord(message) ? message["type"] : undefined

const wrongType = (expected: string) => refusal.invalidMessage(`The message's type must be ${expected}.`)

const misplaced = (found: string, keys: ReadonlyArray<string>) =>
  refusal.invalidMessage(`The message's image must be under ${keys.join(".")}, and not under ${found}.`)

/** The way to the image; `undefined` where the dialect knows it. */
const placeOf = ({ at, dialect }: Options<unknown, unknown>): MessagePath | undefined =>
  at ?? (dialect === undefined || dialect.shapes.every(({ at }) => at.length === 0) ? [protocol.payloadKey] : undefined)

const isKey = (step: MessagePath[number]): step is string => typeof step === "string"

/** The keys that lead to the image, where a message has only one place for it. */
const keysOf = ([first, ...others]: ReadonlyArray<MessagePath>): ReadonlyArray<string> =>
  first !== undefined && others.length === 0 && first.every(isKey) ? first : []

/** The keys of a message under which an image may stand; none where that is not known. */
const firstKeysOf = (places: ReadonlyArray<MessagePath>): ReadonlyArray<string> => {
  const keys = places.map(([step]) => step).filter(Predicate.isString)
  return keys.length === places.length ? keys : []
}

const bytesNotACount = new InvalidPayload({ reason: "BytesNotACount" })

const isCount = (u: unknown): u is number => Number.isSafeInteger(u) && Number(u) >= 0

const imageMessage = (image: Option.Option<SessionInitImage>) =>
  protocol.imageMessage(Option.getOrNull(Option.map(image, protocol.describe)))

const refuseUnstored = (error: PlatformError) =>
  Effect.zipRight(Effect.logError("An init image could not be stored", error), Effect.fail(refusal.fromError(error)))

const refuse = <A, R>(
  effect: Effect.Effect<A, InitImageError | UndecodableImage | DecodeTimeout | PlatformError | refusal.Refusal, R>
): Effect.Effect<A, refusal.Refusal, R> =>
  effect.pipe(
    Effect.catchTags({ SystemError: refuseUnstored, BadArgument: refuseUnstored }),
    Effect.mapError((error) => error._tag === "Refusal" ? error : refusal.fromError(error))
  )

/** Answers a message above the limit with the least size that its image has, in bytes. */
const refuseTooLarge = (messageBytes: number) =>
  Effect.gen(function*() {
    const limit = yield* InitImageLimits.MaxBytes
    const least = leastImage(messageBytes, yield* InitImageLimits.MaxMessageBytes)
    const bytes = Math.max(limit + 1, least)
    const { answer } = refusal.fromError(new TooLarge({ bytes, limit }))
    return yield* Effect.fail(new refusal.Refusal({ answer, closeCode: protocol.CloseCode.messageTooBig }))
  })

/** The memory of the large message that the session receives or handles. Ends with the scope. */
const makeReservation = Effect.fnUntraced(function*(images: Images) {
  let scope: Scope.CloseableScope | undefined
  let persistMessage = images.persistMessage
  const release = Effect.suspend(() => {
    const last = scope
    scope = undefined
    persistMessage = images.persistMessage
    return last === undefined ? Effect.void : Scope.close(last, Exit.void)
  })
  yield* Effect.addFinalizer(() => release)
  return {
    release,
    admit: (bytes: number) =>
      Effect.gen(function*() {
        yield* release
        scope = yield* Scope.make()
        persistMessage = yield* Scope.extend(images.admit(bytes), scope)
      }),
    persistMessage: (...message: Parameters<Images["persistMessage"]>) => persistMessage(...message)
  }
})

const converse = Effect.fnUntraced(function*<E, R, E2, R2>(
  images: Images,
  connection: frames.Frames,
  handler: (session: Session) => Effect.Effect<void, E, R>,
  options: Options<E2, R2>
) {
  const at = placeOf(options)
  const places = at === undefined ? options.dialect?.shapes.map(({ at }) => at) ?? [] : [at]
  const keys = keysOf(places)
  const firstKeys = firstKeysOf(places)
  const openingType = options.openingType ?? protocol.openingType
  const updateType = options.updateType ?? protocol.updateType
  const rate = {
    bytesPerSecond: options.minBytesPerSecond ?? defaultMinBytesPerSecond,
    stall: Duration.toMillis(options.stallTimeout ?? defaultStallTimeout)
  }
  const reservation = yield* makeReservation(images)
  const inbox = new Inbox(connection, { ...reservation, refuse: refuseTooLarge }, rate)
  const slot: InitImageSlot<PlatformError> = yield* options.slot ?? images.makeSlot

  const decodeAnnounced = Effect.fnUntraced(function*(payload: Readonly<Record<string, unknown>>) {
    const format = yield* images.decodeFormat(payload)
    const { bytes, name } = payload
    if (!isCount(bytes)) return yield* bytesNotACount
    const limit = yield* InitImageLimits.MaxBytes
    if (bytes > limit) return yield* new TooLarge({ bytes, limit })
    return { mime: Option.getOrUndefined(format)?.mime, name: typeof name === "string" ? name : undefined, bytes }
  })

  const persistAnnounced = (payload: Readonly<Record<string, unknown>>) =>
    Effect.flatMap(
      decodeAnnounced(payload),
      (image) => images.persistAnnounced(image, inbox.image(image.bytes))
    )

  const frame = { at, dialect: options.dialect }

  /** Errors of the image come before those of the type: the type may follow the image in the message. */
  const checkMessage = (
    message: unknown,
    type: string,
    hasImage: boolean
  ): Effect.Effect<void, OtherMessage | refusal.Refusal> => {
    if (typeOf(message) !== type) return Effect.fail(new OtherMessage({ received: message }))
    const found = hasImage ? undefined : misplacedImage.find(message, keys)
    return found === undefined ? Effect.void : Effect.fail(misplaced(found, keys))
  }

  const persist = (text: string, type: string) =>
    Effect.gen(function*() {
      const { announced, image, message } = yield* reservation.persistMessage(text, frame).pipe(
        Effect.catchTag("InvalidPayload", (error) => {
          const found = error.reason === "MessageTooLarge" ? misplacedImage.findInText(text, keys, type) : undefined
          return Effect.fail(found === undefined ? error : misplaced(found, keys))
        }),
        refuse
      )
      yield* checkMessage(message, type, announced !== undefined || Option.isSome(image))
      return announced === undefined
        ? { message, image }
        : { message, image: Option.some(yield* refuse(persistAnnounced(announced))) }
    })

  const { prepare } = options
  const receive = (text: string, type: string) =>
    slot.setWith(
      prepare === undefined ? persist(text, type) : prepared(
        persist(text, type),
        ({ image }) => Option.getOrUndefined(image),
        (image) => refuse(prepare(image)),
        (received, image) => ({ ...received, image: Option.some(image) })
      )
    ).pipe(Effect.catchTags({ SystemError: refuseUnstored, BadArgument: refuseUnstored }))

  /** Spares most refused messages the slot's fiber, and those without an image the image's room. */
  const update = (text: string) =>
    Effect.flatMap(refuse(images.readShort(text, frame)), (message): ReturnType<typeof receive> =>
      message === undefined
        ? receive(text, updateType)
        : Effect.as(
          Effect.zipRight(checkMessage(message, updateType, false), refuse(slot.setWith(Effect.succeedNone))),
          { message, image: Option.none() }
        ))

  // A socket may deliver thousands of small messages at once, and thousands of sockets may deliver one: few of them are
  // handled in one turn of the event loop, and none behind another one of its socket.
  const openingTimeout = Duration.toMillis(options.openingTimeout ?? defaultOpeningTimeout)
  const opening = yield* inbox.textWithin({ ...rate, stall: openingTimeout }).pipe(
    Effect.tap(() => messages.wait),
    Effect.flatMap((text) => receive(text, openingType)),
    Effect.catchTags({
      OtherMessage: () => Effect.fail(wrongType(openingType)),
      UnreadMessage: ({ refusal }) => Effect.fail(refusal)
    }),
    Effect.either
  )
  if (Either.isLeft(opening)) {
    yield* connection.send(opening.left.answer)
    return yield* connection.close(opening.left.closeCode)
  }
  yield* connection.send(imageMessage(opening.right.image))
  const session: Session = { message: opening.right.message, slot, send: connection.send }

  let invalidMessages = 0
  const answerRefusal = ({ answer }: refusal.Refusal) => {
    if (answer.code === protocol.invalidMessageCode) invalidMessages += 1
    return connection.send(answer)
  }
  const accept = Effect.sync(() => {
    invalidMessages = 0
  })
  const onOther = (received: unknown): Effect.Effect<void, E2, R2> => {
    if (typeOf(received) === protocol.cancelType) return accept
    return options.onMessage === undefined
      ? answerRefusal(wrongType(updateType))
      : Effect.zipRight(accept, options.onMessage(received, session))
  }
  /** The code to close the session with, once it cannot read on. */
  let closeCode: number | undefined
  const answerNext = Effect.zipRight(messages.wait, inbox.text).pipe(
    Effect.flatMap((text): ReturnType<typeof receive> => {
      const plain = plainMessage.parse(text, firstKeys)
      if (plain === undefined) return update(text)
      if (plain === "NotJson") return Effect.fail(refusal.notJson)
      return typeOf(plain.message) === updateType
        ? update(text)
        : Effect.fail(new OtherMessage({ received: plain.message }))
    }),
    Effect.flatMap(({ image }) => Effect.zipRight(accept, connection.send(imageMessage(image)))),
    Effect.catchTags({
      Refusal: answerRefusal,
      OtherMessage: ({ received }) => onOther(received),
      UnreadMessage: ({ refusal }) => {
        closeCode = refusal.closeCode
        return connection.send(refusal.answer)
      }
    })
  )
  // `Effect.repeat` runs a schedule, which takes longer than a short message.
  const listen = Effect.whileLoop({
    while: () => closeCode === undefined && invalidMessages < maxInvalidMessages,
    body: () => answerNext,
    step: constVoid
  }).pipe(Effect.map(() => closeCode ?? protocol.CloseCode.policyViolation))
  yield* connection.close(
    yield* Effect.raceFirst(
      Effect.as(handler(session), protocol.CloseCode.normal),
      listen
    )
  )
}, Effect.scoped)

export const run = <E, R, E2, R2>(
  images: Images,
  socket: Socket.Socket,
  handler: (session: Session) => Effect.Effect<void, E, R>,
  options: Options<E2, R2>
): Effect.Effect<void, E | E2, Exclude<R | R2, Scope.Scope> | FileSystem.FileSystem | Path.Path> => {
  checkOptions(options)
  const keepAlive = Duration.decode(options.keepAlive ?? defaultKeepAlive)
  return Effect.scoped(Effect.gen(function*() {
    const connection = yield* frames.make(socket, { keepAlive, maxMessageBytes: yield* frameLimit.maxFrameBytes })
    // An app without a router runs in an uninterruptible region; each side must still be able to end the other.
    yield* Effect.raceFirst(
      Effect.interruptible(converse(images, connection, handler, options)),
      Effect.interruptible(connection.closed)
    ).pipe(
      Effect.onExit((exit) => {
        if (Exit.isSuccess(exit)) return Effect.void
        const { goingAway, internalError } = protocol.CloseCode
        return connection.close(Exit.isInterrupted(exit) ? goingAway : internalError)
      })
    )
  }))
}
