/** A client's frames as messages and as the bytes of announced images. */
import * as Chunk from "effect/Chunk"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { InvalidPayload } from "../../InitImageError.js"
import * as protocol from "../protocol.js"
import type { Frame, Frames } from "./frames.js"
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
  /** A text frame has ended an image early and is the next message. */
  | { readonly _tag: "Queued"; readonly text: string }

const message: State = { _tag: "Message" }

export class Inbox {
  readonly #frames: Frames
  #state: State = message

  constructor(frames: Frames) {
    this.#frames = frames
  }

  /** Takes the next text frame and drops the remaining bytes of a refused image. Refuses any other binary frame. */
  get text(): Effect.Effect<string, refusal.Refusal> {
    return this.#nextText(this.#frames.take)
  }

  /** {@link text}, which is refused once the client has been silent for the timeout. */
  textWithin(idleTimeout: Duration.DurationInput): Effect.Effect<string, refusal.Refusal> {
    return this.#nextText(this.#frames.takeWithin(idleTimeout, () => lateMessage))
  }

  #nextText(take: Effect.Effect<Frame, refusal.Refusal>): Effect.Effect<string, refusal.Refusal> {
    return Effect.suspend(() => {
      if (this.#state._tag === "Queued") {
        const { text } = this.#state
        this.#state = message
        return Effect.succeed(text)
      }
      return Effect.flatMap(take, (frame) => {
        if (typeof frame !== "string") return Effect.zipRight(this.#drop(frame), this.#nextText(take))
        this.#state = message
        return Effect.succeed(frame)
      })
    })
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
  image(bytes: number, idleTimeout: Duration.DurationInput): Stream.Stream<Uint8Array, InvalidPayload> {
    this.#state = { _tag: "Image", remaining: bytes }
    const take = this.#frames.takeWithin(idleTimeout, () => Option.some(lateBytes))
    let received = 0
    let reported: number | undefined

    const accept = (frame: Frame): Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<InvalidPayload>> => {
      if (typeof frame === "string") {
        this.#state = { _tag: "Queued", text: frame }
        return Effect.fail(Option.some(fewerBytes))
      }
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
