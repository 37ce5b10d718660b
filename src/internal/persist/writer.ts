/**
 * Writes the image that a reader finds in its input: the input fills one buffer while the other is written.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Busy, TooLarge } from "../../InitImageError.js"
import type { Verified } from "../format/verifier.js"
import type { PublishedFile, Room } from "../spool/room.js"
import { Done, type Reader } from "./reader.js"
import type { Source, Stop } from "./sources.js"

/** A verified image in a file. */
export interface Written extends Verified, PublishedFile {
  /** In bytes. */
  readonly bytes: number
}

/** A reader that tells the extension of its image's file. */
export interface ImageReader<in Chunk, out A, out E extends object> extends Reader<Chunk, A, E> {
  /** The extension of the image's format, with its dot; asked for once the buffer was full, or at the end. */
  readonly extension: () => string
}

/** Publishes the verified image whose last bytes are in the reader's buffer. */
const publish = (
  reader: ImageReader<never, unknown, object>,
  room: Room,
  verified: Verified
): Effect.Effect<Written, PlatformError | Busy> =>
  Effect.suspend(() => {
    const { bytes } = reader.buffer
    return Effect.map(
      room.publish(reader.extension(), reader.buffer.take()),
      (file): Written => ({ format: verified.format, header: verified.header, ...file, bytes })
    )
  })

const releaseBuffer = (reader: ImageReader<never, unknown, object>) => Effect.sync(() => reader.buffer.release())

/**
 * Drives the source into the reader and writes the image to the room. Creates no file for an image that is refused in
 * its first buffer, and publishes nothing that was not verified to its end.
 */
export const write = <Chunk, E, E2 extends object, R>(
  reader: ImageReader<Chunk, Verified, E2>,
  source: Source<Chunk, E, R>,
  room: Room
): Effect.Effect<Written, E | E2 | Busy | TooLarge | PlatformError, R> =>
  Effect.flatMap(
    room.reserve,
    () => Effect.flatMap(drive(reader, source, () => room, Effect.void), (end) => publish(reader, room, end))
  ).pipe(Effect.ensuring(releaseBuffer(reader)))

/** {@link write} for a message that may carry an image: room is reserved when the image begins. */
export const writeMessage = <Chunk, A extends { readonly image: Verified | undefined }, E, E2 extends object, R>(
  reader: ImageReader<Chunk, A, E2>,
  source: Source<Chunk, E, R>,
  room: Room
): Effect.Effect<WrittenMessage<A>, E | E2 | Busy | TooLarge | PlatformError, R> =>
  Effect.flatMap(
    drive(reader, source, () => room, room.reserve),
    (message): Effect.Effect<WrittenMessage<A>, Busy | PlatformError> =>
      message.image === undefined
        ? Effect.succeed({ message, written: undefined })
        : Effect.map(publish(reader, room, message.image), (written) => ({ message, written }))
  ).pipe(Effect.ensuring(releaseBuffer(reader)))

/** A message, and the file of its image. */
export interface WrittenMessage<out A> {
  readonly message: A
  readonly written: Written | undefined
}

/** A reader of a message with several images. */
export interface ImagesReader<in Chunk, out A, out E extends object> extends ImageReader<Chunk, A, E> {
  /** The images that have been verified so far. */
  readonly images: ReadonlyArray<Verified>
}

/** {@link writeMessage} for a message that may carry several images, each in a room of its own. */
export const writeImages = <Chunk, A, E, E2 extends object, E3, R, R3>(
  reader: ImagesReader<Chunk, A, E2>,
  source: Source<Chunk, E, R>,
  first: Room,
  nextRoom: Effect.Effect<Room, E3, R3>
): Effect.Effect<WrittenImages<A>, E | E2 | E3 | Busy | TooLarge | PlatformError, R | R3> =>
  Effect.suspend(() => {
    const written: Array<Written> = []
    let room = first
    let isReserved = false
    /** Publishes the last verified image: it is complete, and only its last bytes are in the reader's buffer. */
    const publishLast = Effect.suspend(() => {
      const image = reader.images[written.length]
      return image === undefined ? Effect.void : Effect.map(publish(reader, room, image), (file) => {
        written.push(file)
      })
    })
    const reserve = Effect.suspend(() =>
      Effect.map(room.reserve, () => {
        isReserved = true
      })
    )
    const reserveNext = Effect.flatMap(nextRoom, (next) => {
      room = next
      return reserve
    })
    const begin = Effect.suspend((): Effect.Effect<void, E3 | Busy | TooLarge | PlatformError, R3> => {
      if (!isReserved) return reserve
      // A text that was of no image leaves its room to the next one.
      const ready = reader.images.length > written.length
        ? Effect.zipRight(publishLast, reserveNext)
        : room.discard
      return Effect.zipRight(ready, releaseBuffer(reader))
    })
    return Effect.flatMap(
      drive(reader, source, () => room, begin),
      (message) => Effect.map(publishLast, (): WrittenImages<A> => ({ message, written }))
    ).pipe(Effect.ensuring(releaseBuffer(reader)))
  })

/** A message, and the files of its images. */
export interface WrittenImages<out A> {
  readonly message: A
  readonly written: ReadonlyArray<Written>
}

/** Drives the source into the reader; answers the reader's result. The last bytes stay in the buffer. */
const drive = Effect.fnUntraced(function*<Chunk, A, E, E2 extends object, E3, R, R3>(
  reader: ImageReader<Chunk, A, E2>,
  source: Source<Chunk, E, R>,
  room: () => Room,
  begin: Effect.Effect<void, E3, R3>
): Effect.fn.Return<A, E | E2 | E3 | PlatformError, R | R3> {
  let stop: Stop = yield* source.pump(reader)
  while (stop !== "ended") {
    if (stop === "image") {
      yield* begin
      stop = yield* source.pump(reader)
    } else if (stop === "discard") {
      yield* room().discard
      stop = yield* source.pump(reader)
    } else {
      stop = yield* whileWriting(room().append(reader.extension(), reader.buffer.take()), source.pump(reader))
    }
  }
  const end = reader.end()
  return end instanceof Done ? end.value : yield* Effect.fail(end)
})

/**
 * Fills the next buffer while the last one is written. Waits for the write also where it is interrupted: the write uses
 * the buffer and the file, which the caller then gives back. The error of the write comes first.
 */
const whileWriting = <A, E, R, E2, R2>(
  write: Effect.Effect<void, E, R>,
  fill: Effect.Effect<A, E2, R2>
): Effect.Effect<A, E | E2, R | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const writing = yield* Effect.fork(restore(write))
      // Yields first, so that the write runs in the system while the next buffer is filled.
      const filled = yield* Effect.exit(restore(Effect.zipRight(Effect.yieldNow(), fill)))
      yield* yield* Exit.isInterrupted(filled) ? Fiber.interrupt(writing) : Fiber.await(writing)
      return yield* filled
    })
  )
