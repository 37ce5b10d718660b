/**
 * One client's session on `/v1/stream`: its opening, and the replacing of its image.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import type { InitImageError } from "../InitImageError.js"
import * as InitImageFrame from "../InitImageFrame.js"
import * as InitImageSlot from "../InitImageSlot.js"
import type { Frame, Frames } from "./frames.js"
import * as wire from "./wire.js"

/** How sessions are run. */
export interface Options {
  /** How long a client may say nothing before its first message. Not how long that message may take to arrive. */
  readonly openingTimeout: Duration.DurationInput
}

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

const imageRefusal = (error: InitImageError): Refusal => {
  if (error._tag === "InvalidPayload" && error.reason === "NotJson") return invalidMessage("A message must be JSON.")
  if (error._tag === "InvalidPayload" && error.reason === "TooDeep") return invalidMessage(error.message)
  const closeCode = error._tag === "Busy" ? wire.CloseCode.tryAgainLater : wire.CloseCode.unsupportedData
  return new Refusal(wire.imageErrorFrame(error), closeCode)
}

const storageTrouble = (error: PlatformError) =>
  Effect.zipRight(
    Effect.logError("An init image could not be stored", error),
    Effect.fail(new Refusal(wire.internalErrorFrame, wire.CloseCode.internalError))
  )

/**
 * The image in a message of that type; other fields are nobody's business here.
 *
 * What is wrong with the image is known before the rest of the message is, so that of a message which has the wrong
 * type as well the image's error is answered.
 */
const persist = Effect.fnUntraced(function*(frame: Frame, type: string) {
  if (typeof frame !== "string") return yield* Effect.fail(invalidMessage("A message must be a text frame."))
  const { image, message } = yield* InitImageFrame.persistScoped(frame, { at: ["initial_image"] })
  if (!Predicate.isRecord(message) || message["type"] !== type) {
    return yield* Effect.fail(invalidMessage(`The message's type must be ${type}.`))
  }
  return image
})

/** Only a message of the right type gets as far as to replace the slot's image. */
const setFrom = (slot: InitImageSlot.InitImageSlot, frame: Frame, type: string) =>
  slot.setWith(persist(frame, type)).pipe(
    Effect.map(wire.imageFrame),
    Effect.catchTags({
      SystemError: storageTrouble,
      BadArgument: storageTrouble
    }),
    Effect.mapError((error) => error instanceof Refusal ? error : imageRefusal(error))
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
  const slot = yield* InitImageSlot.make

  const opening = yield* Effect.raceFirst(frames.take, silence(frames, options.openingTimeout)).pipe(
    Effect.flatMap((frame) => setFrom(slot, frame, "session_init_v2")),
    Effect.either
  )
  if (Either.isLeft(opening)) {
    yield* frames.send(opening.left.frame)
    return yield* frames.close(opening.left.closeCode)
  }
  yield* frames.send(opening.right)

  while (true) {
    const frame = yield* frames.take
    const answer = yield* setFrom(slot, frame, "init_image_updated").pipe(
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
