/**
 * Persists the init images in a JSON message, read from its bytes.
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
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as InitImageDialect from "./InitImageDialect.js"
import type { InitImageError } from "./InitImageError.js"
import * as InitImageSpool from "./InitImageSpool.js"
import { type Message, MessageReader } from "./internal/json/messageReader.js"
import { fromBytes, fromStrings, type MessageText } from "./internal/json/text.js"
import * as metrics from "./internal/metrics.js"
import { Done, isRefused } from "./internal/persist/reader.js"
import * as sources from "./internal/persist/sources.js"
import * as tempFile from "./internal/persist/tempFile.js"
import * as writer from "./internal/persist/writer.js"
import { compile } from "./internal/places.js"
import * as rooms from "./internal/spool/room.js"
import { makeImage, type PersistOptions, type SessionInitImage } from "./SessionInitImage.js"

/**
 * The place of the image in the message, and its shape.
 *
 * @since 0.1.0
 * @category models
 */
export interface FrameOptions {
  /**
   * The way to the image's value, from the outermost one: keys of objects, indices of arrays, or
   * `InitImageDialect.each` for all of an array's items. That of the dialect by default; `[]` is the message itself.
   */
  readonly at?: InitImageDialect.Path | undefined
  /** The shape of the image's value; `InitImageDialect.payload` by default. */
  readonly dialect?: InitImageDialect.InitImageDialect | undefined
}

/**
 * A message as `JSON.parse` gives it, without the image's text, and its image. The field with the text is left out; where
 * the image's value is the text itself, `""` stands in its place.
 *
 * @since 0.1.0
 * @category models
 */
export interface InitImageFrame {
  readonly message: unknown
  readonly image: Option.Option<SessionInitImage>
}

/**
 * A message as `JSON.parse` gives it, without the images' texts, and its images in the order of the message.
 *
 * @since 0.1.0
 * @category models
 */
export interface InitImagesFrame {
  readonly message: unknown
  readonly images: ReadonlyArray<SessionInitImage>
}

type Json<E, R> = string | Uint8Array | Stream.Stream<Uint8Array, E, R>

/** How a message is read. */
interface Reading {
  readonly frame: FrameOptions
  /** Whether a payload may have `bytes` in the place of `data`. */
  readonly announces: boolean
  /** The most images; `InitImageLimits.MaxImages` by default. */
  readonly maxImages: number | undefined
  readonly options: PersistOptions | undefined
}

/** The size that a driver knows of a message before it arrives. */
interface MessageSize {
  /** An upper bound of the images' size in bytes, where one is known. */
  readonly expectedBytes: number | undefined
  /** Whether the bound is only declared, and the message still to arrive. */
  readonly isStream: boolean
}

/** An image's base64 takes four thirds of its bytes. */
const decodedAtMost = (units: number): number => Math.ceil(units / 4) * 3

/** A message, its images, and the payload of an image that is only announced. */
interface Received extends InitImagesFrame {
  readonly announced: Readonly<Record<string, unknown>> | undefined
}

const toReceived = ({ message, written }: writer.WrittenImages<Message>): Received => ({
  message: message.message,
  images: written.map((image, index) => makeImage(image, message.images[index]?.name)),
  announced: message.announced
})

/** The reader of a message, for images of `maxBytes` together. */
const makeReader = <Chunk>(
  text: MessageText<Chunk>,
  { announces, frame, maxImages }: Pick<Reading, "announces" | "frame" | "maxImages">,
  { expectedBytes, isStream }: MessageSize,
  settings: InitImageSpool.Settings,
  maxBytes: number
) =>
  new MessageReader(text, {
    places: compile((frame.dialect ?? InitImageDialect.payload).shapes, frame.at),
    announces,
    isStream,
    maxImages: maxImages ?? settings.maxImages,
    maxBytes,
    expectedBytes: Math.min(expectedBytes ?? Infinity, maxBytes),
    maxMessageBytes: settings.maxMessageBytes,
    maxPixels: settings.maxPixels,
    accepted: settings.accepted,
    declaredType: settings.declaredType
  })

/** How a message is persisted: the rooms for its images, and the work in them. */
const prepare = Effect.fnUntraced(function*(reading: Reading, size: MessageSize) {
  const { options } = reading
  yield* tempFile.checkOptions(options)
  const settings = yield* InitImageSpool.settings
  const { maxBytes, spool } = settings
  const write = <Chunk, E, R>(text: MessageText<Chunk>, source: sources.Source<Chunk, E, R>, own: rooms.Own) => {
    const makeRoom = own(spool.makeRoom({ maxBytes, expectedBytes: size.expectedBytes }, options))
    return Effect.flatMap(makeRoom, (room) => {
      const reader = makeReader(text, reading, size, settings, room.maxBytes)
      return Effect.map(writer.writeImages(reader, source, room, makeRoom), toReceived)
    })
  }
  return { write }
})

/** {@link prepare} for any form of a message. */
const prepareJson = <E, R>(json: Json<E, R>, reading: Reading) => {
  const expectedBytes = typeof json === "string" || Predicate.isUint8Array(json)
    ? decodedAtMost(json.length)
    : undefined
  return Effect.map(
    prepare(reading, { expectedBytes, isStream: expectedBytes === undefined }),
    ({ write }) => (own: rooms.Own) => {
      if (typeof json === "string") return write(fromStrings(), sources.fromString(json), own)
      if (Predicate.isUint8Array(json)) return write(fromBytes(), sources.fromBytes(json), own)
      return Effect.scopedWith((scope) =>
        Effect.flatMap(Scope.extend(sources.fromStream(json), scope), (source) => write(fromBytes(), source, own))
      )
    }
  )
}

/** @internal */
export const toFrame = ({ images, message }: InitImagesFrame): InitImageFrame => ({
  message,
  image: Arr.head(images)
})

const toFrames = ({ images, message }: InitImagesFrame): InitImagesFrame => ({ message, images })

const imageIn = ({ image }: InitImageFrame) => image

/** The first image: a metric counts a message once. */
const firstIn = ({ images }: InitImagesFrame) => Arr.head(images)

const one = (frame: FrameOptions, options: PersistOptions | undefined): Reading => ({
  frame,
  announces: false,
  maxImages: 1,
  options
})

const all = (frame: FrameOptions, options: PersistOptions | undefined): Reading => ({
  ...one(frame, options),
  maxImages: undefined
})

/**
 * Persists the image in a JSON message (RFC 8259) and gives the file to the caller, who removes it.
 *
 * The message is a string, all of its bytes, or a stream of them. For any size and any order of keys, only a few chunks
 * of the image are in memory. The outcome is that of `JSON.parse` followed by `SessionInitImage.persist` of
 * the value at the image's place, with the same errors, with two exceptions. A stream is refused as `TooLarge` as soon as
 * it is. And a message in which a key that leads to the image, or a field of its dialect, occurs twice
 * is refused as soon as the second one is read (`DuplicateKey`): RFC 8259 section 4 leaves the meaning of such a message
 * open and RFC 7493 section 2.3 forbids it, and two parsers that choose differently are a way around checks.
 *
 * A second image is refused as `TooManyImages`, in a stream at once; {@link persistAll} takes several.
 *
 * Fails with any `InitImageError`, `InvalidPayload` among them where the message is not JSON or not UTF-8 (`NotJson`),
 * nested deeper than 128 (`TooDeep`), has a key twice (`DuplicateKey`), or has more than
 * `InitImageLimits.MaxMessageBytes` beside the image's text (`MessageTooLarge`), also where a text is of something
 * else, such as a PDF; with `PlatformError` where the disk does; and with the stream's own errors.
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
    prepareJson(json, one(frame, options)),
    (use) => Effect.map(rooms.allKept(use), toFrame)
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
    prepareJson(json, one(frame, options)),
    (use) => Effect.map(rooms.allScoped(use), toFrame)
  ).pipe(metrics.observe("InitImageFrame.persistScoped", imageIn))

/**
 * {@link persist} for a message with several images: up to `InitImageLimits.MaxImages`, of up to
 * `InitImageLimits.MaxBytes` together. Gives them in the order of the message. Where it fails, no file is left.
 *
 * Fails as {@link persist} does, in the order of the images.
 *
 * @since 0.1.0
 * @category persisting
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { InitImageDialect, InitImageFrame, InitImageLimits } from "session-init-image"
 *
 * // { "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "data:..." } }] }] }
 * const read = (request: Uint8Array) =>
 *   InitImageFrame.persistAllScoped(request, { dialect: InitImageDialect.openAiChat }).pipe(
 *     Effect.map(({ images }) => images.map(({ path }) => path)),
 *     InitImageLimits.withMaxImages(4)
 *   )
 * ```
 */
export const persistAll = <E = never, R = never>(
  json: Json<E, R>,
  frame: FrameOptions,
  options?: PersistOptions
): Effect.Effect<InitImagesFrame, InitImageError | PlatformError | E, FileSystem.FileSystem | Path.Path | R> =>
  Effect.flatMap(
    prepareJson(json, all(frame, options)),
    (use) => Effect.map(rooms.allKept(use), toFrames)
  ).pipe(metrics.observe("InitImageFrame.persistAll", firstIn))

/**
 * {@link persistAll}, with files that live as long as the scope.
 *
 * @since 0.1.0
 * @category persisting
 */
export const persistAllScoped = <E = never, R = never>(
  json: Json<E, R>,
  frame: FrameOptions,
  options?: PersistOptions
): Effect.Effect<
  InitImagesFrame,
  InitImageError | PlatformError | E,
  FileSystem.FileSystem | Path.Path | Scope.Scope | R
> =>
  Effect.flatMap(
    prepareJson(json, all(frame, options)),
    (use) => Effect.map(rooms.allScoped(use), toFrames)
  ).pipe(metrics.observe("InitImageFrame.persistAllScoped", firstIn))

const oneOrAnnounced = (frame: FrameOptions): Reading => ({
  ...one(frame, undefined),
  announces: frame.dialect === undefined || frame.dialect === InitImageDialect.payload
})

/**
 * {@link persistScoped} for a message whose payload may have `bytes` in the place of `data`: it is then answered as
 * `announced`. Records nothing: the caller does.
 *
 * @internal
 */
export const persistOrAnnounced = (
  json: string,
  frame: FrameOptions
): Effect.Effect<
  InitImageFrame & Pick<Received, "announced">,
  InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> =>
  Effect.flatMap(
    prepareJson<never, never>(json, oneOrAnnounced(frame)),
    (use) =>
      Effect.map(rooms.allScoped(use), (received) => ({
        ...toFrame(received),
        announced: received.announced
      }))
  )

/** The longest text whose image fills no buffer, in characters. */
const maxShortLength = 1024

/**
 * Reads a short message that needs no room: one that is refused, or that has no image. A flood of those costs a quarter of
 * what {@link persistOrAnnounced} does. Gives `undefined` for any other message. Records nothing: the caller does.
 *
 * @internal
 */
export const readShort = (json: string, frame: FrameOptions): Effect.Effect<unknown, InitImageError> =>
  json.length > maxShortLength ? Effect.void : Effect.flatMap(InitImageSpool.settings, (settings) => {
    const size = { expectedBytes: decodedAtMost(json.length), isStream: false }
    const reader = makeReader(fromStrings(), oneOrAnnounced(frame), size, settings, settings.maxBytes)
    let step = reader.push(json)
    // Asks for the room of an image, which nothing is written to.
    while (step === "image") step = reader.resume()
    reader.buffer.release()
    if (isRefused(step)) return Effect.fail(step)
    const end = reader.end()
    if (!(end instanceof Done)) return Effect.fail(end)
    const { announced, images, message } = end.value
    return images.length > 0 || announced !== undefined ? Effect.void : Effect.succeed(message)
  })

/**
 * {@link persistAllScoped} for a request's body, of `length` bytes where that is known, with `maxImages` in place of the
 * limit. Records nothing: the caller does.
 *
 * @internal
 */
export const persistSourceScoped = <E, R>(
  source: sources.Source<Uint8Array, E, R>,
  length: number | undefined,
  frame: FrameOptions,
  maxImages: number | undefined,
  options: PersistOptions | undefined
): Effect.Effect<
  InitImagesFrame,
  InitImageError | PlatformError | E,
  FileSystem.FileSystem | Path.Path | Scope.Scope | R
> => {
  const expectedBytes = length === undefined ? undefined : decodedAtMost(length)
  return Effect.flatMap(
    prepare({ ...all(frame, options), maxImages }, { expectedBytes, isStream: true }),
    ({ write }) => Effect.map(rooms.allScoped((own) => write(fromBytes(), source, own)), toFrames)
  )
}
