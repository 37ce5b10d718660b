/**
 * One client's session on `/v1/stream`: its opening, and the replacing of its image.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import type { InitImageError } from "../InitImageError.js"
import * as SessionInitImage from "../SessionInitImage.js"
import type { Frame, Frames } from "./frames.js"
import * as wire from "./wire.js"

/** How sessions are run. */
export interface Options extends SessionInitImage.PersistOptions {
  /** How long a client may say nothing before its first message. Not how long that message may take to arrive. */
  readonly openingTimeout: Duration.DurationInput
}

type SetImage = (
  payload: unknown
) => Effect.Effect<
  Option.Option<SessionInitImage.SessionInitImage>,
  InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path
>

/** The session's current image: the next one is on disk before the last one goes, and a refused one changes nothing. */
const makeSlot = Effect.fnUntraced(function*(
  options: SessionInitImage.PersistOptions
): Effect.fn.Return<SetImage, never, Scope.Scope> {
  const scope = yield* Effect.scope
  let current = yield* Scope.fork(scope, ExecutionStrategy.sequential)
  return (payload) =>
    Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
      const next = yield* Scope.fork(scope, ExecutionStrategy.sequential)
      const exit = yield* Effect.exit(
        restore(SessionInitImage.persistScoped(payload, options)).pipe(Scope.extend(next))
      )
      const last = Exit.isSuccess(exit) ? current : next
      if (Exit.isSuccess(exit)) current = next
      // In a fiber of its own: a finalizer of `Effect.addFinalizer` puts back the fiber's references that it found, and with
      // them loses an interruption that arrives meanwhile, after which this fiber could not be ended any more.
      yield* Fiber.await(yield* Effect.forkDaemon(Scope.close(last, Exit.void)))
      return yield* exit
    }))
})

/** Refused: what to answer, and the code to close with where it was the opening. */
class Refusal {
  readonly frame: wire.ServerFrame
  readonly closeCode: number
  constructor(frame: wire.ServerFrame, closeCode: number) {
    this.frame = frame
    this.closeCode = closeCode
  }
}

const invalidMessage = (message: string) =>
  new Refusal(wire.invalidMessageFrame(message), wire.CloseCode.unsupportedData)

/** The message in a frame, if it is one of that type; other fields are nobody's business here. */
const parseMessage = (frame: Frame, type: string): Either.Either<{ readonly [key: string]: unknown }, Refusal> => {
  if (typeof frame !== "string") return Either.left(invalidMessage("A message must be a text frame."))
  return Either.flatMap(
    Either.try({ try: (): unknown => JSON.parse(frame), catch: () => invalidMessage("A message must be JSON.") }),
    (message) =>
      Predicate.isRecord(message) && message["type"] === type
        ? Either.right(message)
        : Either.left(invalidMessage(`The message's type must be ${type}.`))
  )
}

const setFrom = (setImage: SetImage, frame: Frame, type: string) =>
  Effect.flatMap(parseMessage(frame, type), (message) => setImage(message["initial_image"])).pipe(
    Effect.map(wire.imageFrame),
    Effect.catchTags({
      SystemError: storageTrouble,
      BadArgument: storageTrouble
    }),
    Effect.mapError((error) =>
      error instanceof Refusal ? error : new Refusal(wire.imageErrorFrame(error), wire.CloseCode.unsupportedData)
    )
  )

const storageTrouble = (error: PlatformError) =>
  Effect.zipRight(
    Effect.logError("An init image could not be stored", error),
    Effect.fail(new Refusal(wire.internalErrorFrame, wire.CloseCode.internalError))
  )

/** Fails once nothing has arrived for that long, not even a part of a frame. */
const silence = Effect.fnUntraced(function*(frames: Frames, timeout: Duration.DurationInput) {
  let last: number | undefined
  let now = yield* frames.bytesRead
  while (now !== last) {
    last = now
    yield* Effect.sleep(timeout)
    now = yield* frames.bytesRead
  }
  return yield* Effect.fail(
    new Refusal(wire.invalidMessageFrame("No message arrived in time."), wire.CloseCode.policyViolation)
  )
})

const converse = Effect.fnUntraced(function*(frames: Frames, options: Options) {
  const setImage = yield* makeSlot(options)

  const opening = yield* Effect.raceFirst(frames.take, silence(frames, options.openingTimeout)).pipe(
    Effect.flatMap((frame) => setFrom(setImage, frame, "session_init_v2")),
    Effect.either
  )
  if (Either.isLeft(opening)) {
    yield* frames.send(opening.left.frame)
    return yield* frames.close(opening.left.closeCode)
  }
  yield* frames.send(opening.right)

  while (true) {
    const frame = yield* frames.take
    const answer = yield* setFrom(setImage, frame, "init_image_updated").pipe(
      Effect.catchAll((refusal) => Effect.succeed(refusal.frame))
    )
    yield* frames.send(answer)
  }
})

/**
 * Runs a session until its socket closes; its image lives that long. An interrupted one is closed with 1001.
 */
export const run: (
  frames: Frames,
  options: Options
) => Effect.Effect<void, never, FileSystem.FileSystem | Path.Path> = Effect.fn("Session.run")((frames, options) =>
  Effect.raceFirst(Effect.scoped(converse(frames, options)), frames.closed).pipe(
    Effect.onInterrupt(() => frames.close(wire.CloseCode.goingAway)),
    Effect.catchAllDefect((defect) =>
      Effect.zipRight(
        Effect.logError("A session failed", defect),
        frames.close(wire.CloseCode.internalError)
      )
    )
  )
)
