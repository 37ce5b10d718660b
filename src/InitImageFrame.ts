/**
 * Persists the init image in a JSON message, read from its bytes.
 *
 * Most of such a message is one string, and parsing it costs more time and memory than all other steps. So the string is
 * found without parsing, decoded as it arrives, and `JSON.parse` reads the rest of the message.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { InitImageError } from "./InitImageError.js"
import * as InitImageSpool from "./InitImageSpool.js"
import { type Message, MessageReader } from "./internal/json/messageReader.js"
import { fromBytes, fromStrings, type MessageText } from "./internal/json/text.js"
import * as metrics from "./internal/metrics.js"
import * as sources from "./internal/persist/sources.js"
import * as tempFile from "./internal/persist/tempFile.js"
import * as writer from "./internal/persist/writer.js"
import * as rooms from "./internal/spool/room.js"
import { makeImage, type PersistOptions, type SessionInitImage } from "./SessionInitImage.js"

/**
 * The place of the payload in the message: the keys that lead to it, from the outermost object. Without keys the message
 * is the payload.
 *
 * @since 0.1.0
 * @category models
 */
export interface FrameOptions {
  readonly at: ReadonlyArray<string>
}

/**
 * A message as `JSON.parse` gives it, without the payload's `data`, and its image.
 *
 * @since 0.1.0
 * @category models
 */
export interface InitImageFrame {
  readonly message: unknown
  readonly image: Option.Option<SessionInitImage>
}

type Json<E, R> = string | Uint8Array | Stream.Stream<Uint8Array, E, R>

/** The size that a driver knows of a message before it arrives. */
interface MessageSize {
  /** An upper bound of the image's size in bytes, where one is known. */
  readonly expectedBytes: number | undefined
  /** Whether the bound is only declared, and the message still to arrive. */
  readonly isStream: boolean
}

/** An image's base64 takes four thirds of its bytes. */
const decodedAtMost = (units: number): number => Math.ceil(units / 4) * 3

/** The room for a message's image, and its reader. */
const prepare = Effect.fnUntraced(function*(
  at: ReadonlyArray<string>,
  announces: boolean,
  { expectedBytes, isStream }: MessageSize,
  options: PersistOptions | undefined
) {
  yield* tempFile.checkOptions(options)
  const { accepted, declaredType, maxBytes, maxMessageBytes, maxPixels, spool } = yield* InitImageSpool.settings
  return {
    makeRoom: spool.makeRoom({ maxBytes, expectedBytes }, options),
    makeReader: <Chunk>(text: MessageText<Chunk>, room: rooms.Room) =>
      new MessageReader(text, {
        at,
        announces,
        isStream,
        maxBytes: room.maxBytes,
        expectedBytes: Math.min(expectedBytes ?? Infinity, room.maxBytes),
        maxMessageBytes,
        maxPixels,
        accepted,
        declaredType
      })
  }
})

/** A message, its image, and the payload of an image that is only announced. */
interface Received extends InitImageFrame {
  readonly announced: Readonly<Record<string, unknown>> | undefined
}

const toReceived = ({ message, written }: writer.WrittenMessage<Message>): Received => ({
  message: message.message,
  image: written === undefined ? Option.none() : Option.some(makeImage(written, message.image?.name)),
  announced: message.announced
})

/** How a message is persisted: its room, and the work in it. */
const prepareJson = <E, R>(
  json: Json<E, R>,
  at: ReadonlyArray<string>,
  announces: boolean,
  options: PersistOptions | undefined
) => {
  const expectedBytes = typeof json === "string" || Predicate.isUint8Array(json)
    ? decodedAtMost(json.length)
    : undefined
  return Effect.map(
    prepare(at, announces, { expectedBytes, isStream: expectedBytes === undefined }, options),
    ({ makeReader, makeRoom }) => ({
      makeRoom,
      use: (
        room: rooms.Room
      ): Effect.Effect<Received, InitImageError | PlatformError | E, R> => {
        const write = <Chunk, R2>(text: MessageText<Chunk>, source: sources.Source<Chunk, E, R2>) =>
          Effect.map(writer.writeMessage(makeReader(text, room), source, room), toReceived)
        if (typeof json === "string") return write(fromStrings(), sources.fromString(json))
        if (Predicate.isUint8Array(json)) return write(fromBytes(), sources.fromBytes(json))
        return Effect.scopedWith((scope) =>
          Effect.flatMap(Scope.extend(sources.fromStream(json), scope), (source) => write(fromBytes(), source))
        )
      }
    })
  )
}

const toFrame = ({ image, message }: Received): InitImageFrame => ({ message, image })

const imageIn = ({ image }: InitImageFrame) => image

/**
 * Persists the image in a JSON message (RFC 8259) and gives the file to the caller, who removes it.
 *
 * The message is a string, all of its bytes, or a stream of them. For any size and any order of keys, only a few chunks
 * of the image are in memory. The outcome is that of `JSON.parse` followed by `SessionInitImage.persist` of
 * the value `at` the given place, with the same errors, with two exceptions. A stream is refused as `TooLarge` as soon as
 * it is. And a message in which a key that leads to the payload, or `mime`, `name` or `data` in the payload, occurs twice
 * is refused as soon as the second one is read (`DuplicateKey`): RFC 8259 section 4 leaves the meaning of such a message
 * open and RFC 7493 section 2.3 forbids it, and two parsers that choose differently are a way around checks.
 *
 * Fails with any `InitImageError`, `InvalidPayload` among them where the message is not JSON or not UTF-8 (`NotJson`),
 * nested deeper than 128 (`TooDeep`), has a key twice (`DuplicateKey`), or has more than `InitImageLimits.MaxMessageBytes`
 * beside the data (`MessageTooLarge`); with `PlatformError` where the disk does; and with the stream's own errors.
 *
 * @since 0.1.0
 * @category persisting
 */
export const persist = <E = never, R = never>(
  json: Json<E, R>,
  frame: FrameOptions,
  options?: PersistOptions
): Effect.Effect<InitImageFrame, InitImageError | PlatformError | E, FileSystem.FileSystem | Path.Path | R> =>
  Effect.flatMap(
    prepareJson(json, frame.at, false, options),
    ({ makeRoom, use }) => Effect.map(rooms.kept(makeRoom, use), toFrame)
  ).pipe(metrics.observe("InitImageFrame.persist", imageIn))

/**
 * {@link persist}, with a file that lives as long as the scope.
 *
 * @since 0.1.0
 * @category persisting
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { InitImageFrame } from "session-init-image"
 *
 * // { "type": "session_init", "initial_image": { "mime": "image/png", "data": "..." } }
 * const open = (frame: string | Uint8Array) =>
 *   Effect.gen(function*() {
 *     const { image, message } = yield* InitImageFrame.persistScoped(frame, { at: ["initial_image"] })
 *     return { message, path: Option.map(image, ({ path }) => path) }
 *   })
 * ```
 */
export const persistScoped = <E = never, R = never>(
  json: Json<E, R>,
  frame: FrameOptions,
  options?: PersistOptions
): Effect.Effect<
  InitImageFrame,
  InitImageError | PlatformError | E,
  FileSystem.FileSystem | Path.Path | Scope.Scope | R
> =>
  Effect.flatMap(
    prepareJson(json, frame.at, false, options),
    ({ makeRoom, use }) => Effect.map(rooms.scoped(makeRoom, use), toFrame)
  ).pipe(metrics.observe("InitImageFrame.persistScoped", imageIn))

/**
 * {@link persistScoped} for a message whose payload may have `bytes` in the place of `data`: it is then answered as
 * `announced`. Records nothing: the caller does.
 *
 * @internal
 */
export const persistOrAnnounced = (
  json: string,
  at: ReadonlyArray<string>
): Effect.Effect<
  Received,
  InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> =>
  Effect.flatMap(
    prepareJson<never, never>(json, at, true, undefined),
    ({ makeRoom, use }) => rooms.scoped(makeRoom, use)
  )

/**
 * {@link persistScoped} for a request's body, of `length` bytes where that is known. Records nothing: the caller does.
 *
 * @internal
 */
export const persistSourceScoped = <E, R>(
  source: sources.Source<Uint8Array, E, R>,
  length: number | undefined,
  at: ReadonlyArray<string>,
  options: PersistOptions | undefined
): Effect.Effect<
  InitImageFrame,
  InitImageError | PlatformError | E,
  FileSystem.FileSystem | Path.Path | Scope.Scope | R
> => {
  const expectedBytes = length === undefined ? undefined : decodedAtMost(length)
  return Effect.flatMap(
    prepare(at, false, { expectedBytes, isStream: true }, options),
    ({ makeReader, makeRoom }) =>
      rooms.scoped(
        makeRoom,
        (room) =>
          Effect.map(writer.writeMessage(makeReader(fromBytes(), room), source, room), (message) =>
            toFrame(toReceived(message)))
      )
  )
}
