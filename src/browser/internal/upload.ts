/**
 * Sends images over an open WebSocket in binary frames, by the protocol of `InitImageSocket`.
 *
 * The server answers images in order and does not name the image that it answers. Each socket therefore has a queue of
 * expected answers. It includes those to abandoned images, which a later image would otherwise take for its own.
 */
import {
  cancelType,
  CloseCode,
  type ImageDescription,
  invalidMessageCode,
  openingType,
  payloadKey,
  type Progress,
  progressBytes,
  type updateType
} from "../../internal/protocol.js"
import { type Answer, decode, type Image } from "./answer.js"
import { check, checkOptions, readBytes } from "./blob.js"
import type { Failure, SocketClosed } from "./failure.js"

/**
 * The part of a WebSocket in use. Those of browsers, `ws` and `undici` have it.
 *
 * @since 0.1.0
 * @category models
 */
export interface WebSocketLike {
  readonly readyState: number
  /** Queues a text frame or a binary frame. */
  readonly send: (data: string | ArrayBuffer) => void
  /** Starts the closing handshake. */
  readonly close: (code?: number) => void
  /** Adds a listener for all later events of a type. */
  readonly addEventListener: {
    (type: "open" | "error", listener: () => void): void
    (type: "message", listener: (event: { readonly data: unknown }) => void): void
    (type: "close", listener: (event: { readonly code: number; readonly reason: string }) => void): void
  }
}

export interface Options {
  readonly type: typeof openingType | typeof updateType
  readonly message?: Readonly<Record<string, unknown>> | undefined
  readonly maxBytes?: number | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
  readonly onAcceptedLate?: ((image: ImageDescription) => void) | undefined
}

/** The server reports progress after each frame of this size, in bytes. */
const frameBytes = progressBytes

/** The most bytes that are sent ahead of the server's progress. */
const windowBytes = 1024 * 1024

const connecting = 0
const open = 1

/** RFC 6455 section 7.1.5: a connection that ended without a close frame. */
const abnormalClosure = 1006

const cancelMessage = JSON.stringify({ type: cancelType })

/** The answers that the server still owes to one image. */
interface PendingAnswers {
  /** Tells whether an answer belongs to the image, and whether it is the last one. */
  readonly take: (answer: Answer) => "more" | "last" | "not mine"
}

/** The answers to an abandoned image, and to the message that cancels it if one was sent. */
const abandoned = (isCancelled: boolean, onAcceptedLate: Options["onAcceptedLate"]): PendingAnswers => {
  let isAnswered = false
  return {
    take: (answer) => {
      if (isAnswered) {
        // An application that handles the message itself may have sent no answer.
        const isToCancel = isCancelled && answer._tag === "ServerError" && answer.code === invalidMessageCode
        return isToCancel ? "last" : "not mine"
      }
      if (answer._tag === "Progress") return "more"
      isAnswered = true
      if (answer._tag === "Image") onAcceptedLate?.(answer.image)
      return isCancelled ? "more" : "last"
    }
  }
}

/** The uploads of one socket. Only the first one runs. */
class Channel {
  readonly socket: WebSocketLike
  readonly #uploads: Array<Upload> = []
  readonly #pending: Array<PendingAnswers> = []

  constructor(socket: WebSocketLike) {
    this.socket = socket
    socket.addEventListener("open", () => this.#uploads[0]?.announce())
    socket.addEventListener("message", ({ data }) => this.#receive(data))
    socket.addEventListener("close", ({ code, reason }) => this.#end({ _tag: "SocketClosed", code, reason }))
    // `ws` throws an error without a listener. A close always follows.
    socket.addEventListener("error", () => {})
  }

  enter(upload: Upload) {
    this.#uploads.push(upload)
    if (this.#uploads.length === 1) upload.start()
  }

  leave(upload: Upload) {
    const at = this.#uploads.indexOf(upload)
    if (at < 0) return
    this.#uploads.splice(at, 1)
    if (at === 0) this.#uploads[0]?.start()
  }

  expect(answers: PendingAnswers) {
    this.#pending.push(answers)
  }

  replace(old: PendingAnswers, answers: PendingAnswers) {
    const at = this.#pending.indexOf(old)
    if (at >= 0) this.#pending[at] = answers
  }

  #receive(data: unknown) {
    const answer = decode(data)
    if (answer === undefined) return
    for (let first = this.#pending[0]; first !== undefined; first = this.#pending[0]) {
      const taken = first.take(answer)
      // `take` may have replaced it.
      if (taken !== "more" && this.#pending[0] === first) this.#pending.shift()
      if (taken !== "not mine") return
    }
  }

  #end(closed: SocketClosed) {
    this.#pending.length = 0
    for (const upload of this.#uploads.splice(0)) upload.finish(closed)
  }
}

const channels = new WeakMap<WebSocketLike, Channel>()

const channelOf = (socket: WebSocketLike): Channel => {
  const known = channels.get(socket)
  if (known !== undefined) return known
  const channel = new Channel(socket)
  channels.set(socket, channel)
  return channel
}

type State =
  /** The upload waits for those before it, or its blob is being checked. */
  | { readonly _tag: "Checking" }
  /** The upload waits for the socket to open. */
  | { readonly _tag: "Ready"; readonly announcement: string }
  | { readonly _tag: "Announced" }
  | { readonly _tag: "Done" }

class Upload implements PendingAnswers {
  readonly #channel: Channel
  readonly #blob: Blob
  readonly #options: Options
  readonly #onDone: (outcome: Image | Failure) => void
  /** The message without the image. Made first, so that the caller gets the error of a value that JSON cannot encode. */
  readonly #message: string
  #state: State = { _tag: "Checking" }
  #isReading = false
  #sent = 0
  #received = 0

  constructor(channel: Channel, blob: Blob, options: Options, onDone: (outcome: Image | Failure) => void) {
    checkOptions(options)
    this.#channel = channel
    this.#blob = blob
    this.#options = options
    this.#onDone = onDone
    this.#message = JSON.stringify({ ...options.message, type: options.type, [payloadKey]: undefined })
  }

  start() {
    void check(this.#blob, this.#options.maxBytes).then((head) => {
      if (this.#state._tag !== "Checking") return
      if ("_tag" in head) return this.finish(head)
      const image = JSON.stringify({ ...head, bytes: this.#blob.size })
      this.#state = { _tag: "Ready", announcement: `${this.#message.slice(0, -1)},"${payloadKey}":${image}}` }
      this.announce()
    })
  }

  announce() {
    const { readyState } = this.#channel.socket
    if (this.#state._tag !== "Ready" || readyState === connecting) return
    if (readyState !== open) return this.finish({ _tag: "SocketClosed", code: abnormalClosure, reason: "" })
    const { announcement } = this.#state
    this.#state = { _tag: "Announced" }
    this.#channel.expect(this)
    this.#channel.socket.send(announcement)
  }

  take(answer: Answer) {
    if (this.#isDone()) return "not mine"
    const { onProgress } = this.#options
    const bytes = this.#blob.size
    if (answer._tag !== "Progress") {
      this.finish(answer)
      if (answer._tag === "Image") onProgress?.({ received: bytes, bytes })
      return "last"
    }
    this.#received = answer.received
    void this.#pump()
    onProgress?.({ received: this.#received, bytes })
    return "more"
  }

  /** Fills the window. */
  async #pump() {
    if (this.#isReading) return
    this.#isReading = true
    while (!this.#isDone()) {
      const end = Math.min(this.#sent + frameBytes, this.#blob.size)
      if (end === this.#sent || end - this.#received > windowBytes) break
      const bytes = await readBytes(this.#blob, this.#sent, end)
      if (this.#isDone()) break
      if ("_tag" in bytes) {
        this.#abandon()
        this.finish(bytes)
        break
      }
      this.#sent = end
      this.#channel.socket.send(bytes)
    }
    this.#isReading = false
  }

  /** Tells the server that the image ends here. */
  #abandon() {
    if (this.#state._tag !== "Announced") return
    const { socket } = this.#channel
    if (this.#options.type === openingType) return socket.close(CloseCode.normal)
    const isIncomplete = this.#sent < this.#blob.size
    this.#channel.replace(this, abandoned(isIncomplete, this.#options.onAcceptedLate))
    if (isIncomplete) socket.send(cancelMessage)
  }

  #isDone() {
    return this.#state._tag === "Done"
  }

  abort() {
    if (this.#isDone()) return
    this.#abandon()
    this.#state = { _tag: "Done" }
    this.#channel.leave(this)
  }

  finish(outcome: Image | Failure) {
    if (this.#isDone()) return
    this.#state = { _tag: "Done" }
    this.#channel.leave(this)
    this.#onDone(outcome)
  }
}

/** Sends the blob after the earlier ones on this socket. Returns the function that aborts it. */
export const send = (
  socket: WebSocketLike,
  blob: Blob,
  options: Options,
  onDone: (outcome: Image | Failure) => void
): () => void => {
  const channel = channelOf(socket)
  const upload = new Upload(channel, blob, options, onDone)
  channel.enter(upload)
  return () => upload.abort()
}
