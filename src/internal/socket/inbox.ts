/** A client's frames as messages and as the bytes of announced images. */
import * as Chunk from "effect/Chunk"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type Busy, InvalidPayload } from "../../InitImageError.js"
import * as protocol from "../protocol.js"
import type { Frames, Incoming, LargeMessage, TooLargeMessage } from "./frames.js"
import { Pace, type Rate } from "./pace.js"
import * as refusal from "./refusal.js"

const moreBytes = new InvalidPayload({ reason: "MoreBytes" })
const fewerBytes = new InvalidPayload({ reason: "FewerBytes" })
const lateBytes = new InvalidPayload({ reason: "LateBytes" })
const frameTooLarge = new InvalidPayload({ reason: "FrameTooLarge" })

const notText = refusal.invalidMessage("A message must be a text frame.")
const unannouncedBytes = refusal.fromError(moreBytes)
const lateMessage = refusal.invalidMessage("No message arrived in time.", protocol.CloseCode.policyViolation)

type State =
  /** No image has been announced since the last text frame. */
  | { readonly _tag: "Message" }
  /** Binary frames are an announced image, of which `remaining` bytes have not arrived. */
  | { readonly _tag: "Image"; readonly remaining: number }
  /** A frame has ended an image early; it is read again in the state `next`. */
  | { readonly _tag: "Queued"; readonly incoming: Incoming; readonly next: State }

const message: State = { _tag: "Message" }

/** A binary frame of an announced image needs no admission: the image has one. */
const isFrameOfImage = (incoming: LargeMessage | TooLargeMessage): boolean =>
  incoming._tag === "Large" && !incoming.isText && incoming.bytes <= protocol.maxFrameBytes

/** A message that the session cannot skip: the rest of it is not read. */
export class UnreadMessage extends Data.TaggedClass("UnreadMessage")<{ readonly refusal: refusal.Refusal }> {}

type Problem = refusal.Refusal | UnreadMessage

interface Source {
  readonly take: Effect.Effect<Incoming, Problem>
  /** Takes a large message that has been admitted. */
  readonly takeRest: Effect.Effect<Incoming, Problem>
}

const unreadLate = new UnreadMessage({ refusal: lateMessage })

/** Reserves the memory of a large message. */
export interface Admission {
  /** Fails with `Busy`. Holds one message at a time. */
  readonly admit: (bytes: number) => Effect.Effect<void, Busy>
  readonly release: Effect.Effect<void>
  /** Refuses a message above the limit on messages. */
  readonly refuse: (bytes: number) => Effect.Effect<never, refusal.Refusal>
}

export class Inbox {
  readonly #frames: Frames
  readonly #admission: Admission
  readonly #rate: Rate
  #state: State = message

  /** `rate` is that of images, and of large messages that have begun to arrive. */
  constructor(frames: Frames, admission: Admission, rate: Rate) {
    this.#frames = frames
    this.#admission = admission
    this.#rate = rate
  }

  /**
   * Takes the next text frame and drops the remaining bytes of a refused image. Refuses any other binary frame. Releases
   * the memory of the last message.
   */
  get text(): Effect.Effect<string, Problem> {
    const takeRest = Effect.suspend(() => this.#frames.takeWithin(new Pace(this.#rate), () => unreadLate))
    return this.#next({ take: this.#frames.take, takeRest })
  }

  /** {@link text}, which is refused once the client has no time left. */
  textWithin(rate: Rate): Effect.Effect<string, Problem> {
    return Effect.suspend(() => {
      const take = this.#frames.takeWithin(new Pace(rate), () => lateMessage)
      return this.#next({ take, takeRest: take })
    })
  }

  #next(source: Source): Effect.Effect<string, Problem> {
    return Effect.zipRight(
      this.#admission.release,
      Effect.suspend(() => {
        this.#frames.expectBytes(false)
        if (this.#state._tag !== "Queued") {
          return Effect.flatMap(source.take, (incoming) => this.#read(incoming, source))
        }
        const { incoming, next } = this.#state
        this.#state = next
        return this.#read(incoming, source)
      })
    )
  }

  #read(incoming: Incoming, source: Source): Effect.Effect<string, Problem> {
    if (typeof incoming === "string") {
      this.#state = message
      return Effect.succeed(incoming)
    }
    if (incoming instanceof Uint8Array) return Effect.zipRight(this.#drop(incoming), this.#next(source))
    if (this.#state._tag === "Image" && isFrameOfImage(incoming)) {
      return Effect.zipRight(this.#frames.proceed, this.#next(source))
    }
    const rest = Effect.zipRight(this.#frames.proceed, source.takeRest)
    return Effect.zipRight(this.#admit(incoming), Effect.flatMap(rest, (next) => this.#read(next, source)))
  }

  #admit({ _tag, bytes }: LargeMessage | TooLargeMessage): Effect.Effect<void, UnreadMessage> {
    const admitted = _tag === "TooLarge"
      ? this.#admission.refuse(bytes)
      : Effect.mapError(this.#admission.admit(bytes), refusal.fromError)
    return Effect.mapError(admitted, (refusal) => new UnreadMessage({ refusal }))
  }

  #drop(frame: Uint8Array): Effect.Effect<void, refusal.Refusal> {
    if (this.#state._tag !== "Image") return Effect.fail(notText)
    const remaining = this.#state.remaining - frame.length
    this.#state = { _tag: "Image", remaining: Math.max(0, remaining) }
    return remaining < 0 ? Effect.fail(unannouncedBytes) : Effect.void
  }

  /**
   * Expects the `bytes` of an announced image, and reads them as they arrive. The client waits for the first progress
   * message, which is sent when the stream is first pulled.
   */
  image(bytes: number): Stream.Stream<Uint8Array, InvalidPayload> {
    this.#state = { _tag: "Image", remaining: bytes }
    this.#frames.expectBytes(true)
    const take = this.#frames.takeWithin(new Pace(this.#rate), () => Option.some(lateBytes))
    let received = 0
    let reported: number | undefined

    const end = (incoming: Incoming, next: State, error: InvalidPayload) => {
      this.#state = { _tag: "Queued", incoming, next }
      return Effect.fail(Option.some(error))
    }

    const accept = (incoming: Incoming): Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<InvalidPayload>> => {
      if (typeof incoming === "string") return end(incoming, message, fewerBytes)
      if (incoming instanceof Uint8Array) return acceptBytes(incoming)
      if (isFrameOfImage(incoming)) return Effect.as(this.#frames.proceed, Chunk.empty())
      return incoming.isText ? end(incoming, message, fewerBytes) : end(incoming, this.#state, frameTooLarge)
    }

    const acceptBytes = (frame: Uint8Array) => {
      received += frame.length
      this.#state = { _tag: "Image", remaining: Math.max(0, bytes - received) }
      if (received > bytes) return Effect.fail(Option.some(moreBytes))
      return frame.length > protocol.maxFrameBytes
        ? Effect.fail(Option.some(frameTooLarge))
        : Effect.succeed(Chunk.of(frame))
    }

    const reportProgress = Effect.suspend(() => {
      if (reported !== undefined && received - reported < protocol.progressBytes) return Effect.void
      reported = received
      return this.#frames.send(protocol.progressMessage(received, bytes))
    })

    const next = Effect.zipRight(reportProgress, Effect.flatMap(take, accept))
    return Stream.repeatEffectChunkOption(
      Effect.suspend(() => received === bytes ? Effect.fail(Option.none()) : next)
    )
  }
}
