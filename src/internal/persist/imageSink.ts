/** A sink that writes an image's bytes to its room as they arrive. */
import type { PlatformError } from "@effect/platform/Error"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import type { Busy, Empty, InvalidMime, TooLarge } from "../../InitImageError.js"
import type { VerifyError } from "../format/verifier.js"
import * as rooms from "../spool/room.js"
import type { RawReader } from "./rawReader.js"
import { Done, isRefused, type Step } from "./reader.js"
import type { Written } from "./writer.js"

/** The errors of an image whose size is not known beforehand. */
export type SinkError = InvalidMime | VerifyError | TooLarge | Empty | Busy | PlatformError

/** The room of an image that comes as its bytes, and its reader. */
export interface Prepared<R> {
  readonly makeRoom: Effect.Effect<rooms.Room, never, R>
  readonly makeReader: (room: rooms.Room) => RawReader
}

/** The file belongs to the `owner`, or else to the caller. The room is released where the sink does not succeed. */
export const make = <R, R2>(
  prepare: Effect.Effect<Prepared<R2>, SinkError, R>,
  owner: Scope.Scope | undefined
): Sink.Sink<Written, Uint8Array, never, SinkError, Exclude<R | R2, Scope.Scope>> =>
  Sink.unwrapScoped(Effect.gen(function*() {
    const { makeReader, makeRoom } = yield* prepare
    const scope = yield* Effect.scope
    const room = yield* makeRoom
    // The room changes its owner here, and not when it is published: an interruption of the last write comes in between.
    yield* Scope.addFinalizerExit(scope, (exit) => {
      if (Exit.isFailure(exit) || !room.isPublished()) return room.release
      return owner === undefined ? room.handOver : Effect.void
    })
    yield* room.reserve
    const reader = makeReader(room)
    yield* Scope.addFinalizer(scope, Effect.sync(() => reader.buffer.release()))

    const advance = (step: Step<VerifyError | TooLarge | Empty>): Effect.Effect<void, SinkError> => {
      if (isRefused(step)) return Effect.fail(step)
      return step === "full"
        ? Effect.flatMap(
          room.append(reader.extension(), reader.buffer.take()),
          () => advance(reader.resume())
        )
        : Effect.void
    }
    const finish = Effect.uninterruptible(Effect.gen(function*() {
      const end = reader.end()
      if (!(end instanceof Done)) return yield* Effect.fail(end)
      const { bytes } = reader.buffer
      const file = yield* room.publish(reader.extension(), reader.buffer.take())
      if (owner !== undefined) yield* rooms.attach(room, owner)
      return { ...end.value, ...file, bytes }
    }))
    type End = readonly [Either.Either<Written, SinkError>, Chunk.Chunk<never>]
    const end = (result: Either.Either<Written, SinkError>): Effect.Effect<never, End> =>
      Effect.fail([result, Chunk.empty()])
    const push = (pushed: Option.Option<Chunk.Chunk<Uint8Array>>): Effect.Effect<void, End> =>
      Option.isSome(pushed)
        ? Effect.forEach(pushed.value, (chunk) => advance(reader.push(chunk)), { discard: true }).pipe(
          Effect.catchAll((error) => end(Either.left(error)))
        )
        : Effect.flatMap(Effect.either(finish), end)
    return Sink.fromPush(Effect.succeed(push))
  }))
