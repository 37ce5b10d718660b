/**
 * Images over an open WebSocket, in binary frames; the protocol is that of `InitImageSocket`.
 *
 * The server answers images in the order in which they came, and says nothing of which one it means. So it is kept here,
 * for each socket, whose answers are still to come: also those of images that were given up, as a later one would take
 * them for its own.
 */
import { check, readBytes, Unreadable } from "./blob.js"
import {
  type Failure,
  type Progress,
  read,
  type ServerFailure,
  type ServerMessage,
  type Success,
  type WebSocketLike
} from "./protocol.js"

/** In bytes; the server takes up to 1 MiB. */
const frameBytes = 256 * 1024

/** In bytes, how much is under way at most. */
const windowBytes = 1024 * 1024

const connecting = 0
const open = 1

const cancelled = JSON.stringify({ type: "init_image_cancelled" })

/** Where none is known, RFC 6455 section 7.1.5. */
const abnormalClosure = 1006

export interface Options {
  readonly type: "session_init_v2" | "init_image_updated"
  readonly message?: Readonly<Record<string, unknown>> | undefined
  readonly maxBytes?: number | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** What the server is still to say of an image that has been announced. */
interface Unanswered {
  /** Whether the message is the last one. */
  readonly take: (message: ServerMessage) => "more" | "last" | "not mine"
}

/** The answers to an image that was given up, and to the message that ended it if there was one. */
const abandoned = (hasMessage: boolean): Unanswered => {
  let isAnswered = false
  return {
    take: (message) => {
      if (isAnswered) {
        // An application that takes the message for its own may have answered nothing.
        return message._tag === "ServerError" && message.code === "invalid_message" ? "last" : "not mine"
      }
      if (message._tag === "Progress") return "more"
      isAnswered = true
      return hasMessage ? "more" : "last"
    }
  }
}

class Channel {
  readonly socket: WebSocketLike
  /** The first one runs. */
  private readonly uploads: Array<Upload> = []
  private readonly unanswered: Array<Unanswered> = []

  constructor(socket: WebSocketLike) {
    this.socket = socket
    socket.addEventListener("open", () => this.uploads[0]?.announce())
    socket.addEventListener("message", ({ data }) => this.receive(data))
    socket.addEventListener("close", ({ code, reason }) => this.end({ _tag: "SocketClosed", code, reason }))
    // Always followed by a close; and `ws` would throw what nobody hears.
    socket.addEventListener("error", () => {})
  }

  enter(upload: Upload) {
    this.uploads.push(upload)
    if (this.uploads.length === 1) upload.begin()
  }

  leave(upload: Upload) {
    const at = this.uploads.indexOf(upload)
    if (at < 0) return
    this.uploads.splice(at, 1)
    if (at === 0) this.uploads[0]?.begin()
  }

  expect(answers: Unanswered) {
    this.unanswered.push(answers)
  }

  replace(old: Unanswered, answers: Unanswered) {
    const at = this.unanswered.indexOf(old)
    if (at >= 0) this.unanswered[at] = answers
  }

  private receive(data: unknown) {
    const message = read(data)
    if (message === undefined) return
    for (let first = this.unanswered[0]; first !== undefined; first = this.unanswered[0]) {
      const taken = first.take(message)
      // It may have left the queue by itself.
      if (taken !== "more" && this.unanswered[0] === first) this.unanswered.shift()
      if (taken !== "not mine") return
    }
  }

  private end(closed: ServerFailure) {
    this.unanswered.length = 0
    for (const upload of this.uploads.splice(0)) upload.finish(closed)
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

class Upload implements Unanswered {
  private readonly channel: Channel
  private readonly blob: Blob
  private readonly options: Options
  private readonly onDone: (outcome: Success | Failure) => void
  /** The message without the image, made at once: what cannot be JSON is the caller's to know. */
  private readonly message: string
  private announcement: string | undefined
  private isAnnounced = false
  private isDone = false
  private isReading = false
  private sent = 0
  private received = 0

  constructor(channel: Channel, blob: Blob, options: Options, onDone: (outcome: Success | Failure) => void) {
    this.channel = channel
    this.blob = blob
    this.options = options
    this.onDone = onDone
    this.message = JSON.stringify({ ...options.message, type: options.type, initial_image: undefined })
  }

  begin() {
    void check(this.blob, this.options.maxBytes).then((head) => {
      if ("_tag" in head) return this.finish(head)
      const image = JSON.stringify({ ...head, bytes: this.blob.size })
      this.announcement = `${this.message.slice(0, -1)},"initial_image":${image}}`
      this.announce()
    })
  }

  announce() {
    const { readyState } = this.channel.socket
    if (this.announcement === undefined || this.isAnnounced || this.isDone || readyState === connecting) return
    if (readyState !== open) return this.finish({ _tag: "SocketClosed", code: abnormalClosure, reason: "" })
    this.isAnnounced = true
    this.channel.expect(this)
    this.channel.socket.send(this.announcement)
  }

  take(message: ServerMessage) {
    if (this.isDone) return "not mine"
    if (message._tag !== "Progress") {
      const { onProgress } = this.options
      this.finish(message)
      if (message._tag === "Image") onProgress?.({ received: this.blob.size, bytes: this.blob.size })
      return "last"
    }
    this.received = message.received
    void this.pump()
    this.options.onProgress?.({ received: this.received, bytes: this.blob.size })
    return "more"
  }

  /** Sends as much as there is room for. */
  private async pump() {
    if (this.isReading) return
    this.isReading = true
    while (!this.isDone) {
      const end = Math.min(this.sent + frameBytes, this.blob.size)
      if (end === this.sent || end - this.received > windowBytes) break
      const bytes = await readBytes(this.blob, this.sent, end)
      if (this.isDone) break
      if (bytes instanceof Unreadable) {
        this.giveUp()
        this.finish(bytes)
        break
      }
      this.sent = end
      this.channel.socket.send(bytes)
    }
    this.isReading = false
  }

  /** Tells the server that no more will come. */
  private giveUp() {
    if (!this.isAnnounced) return
    const { socket } = this.channel
    if (this.options.type === "session_init_v2") return socket.close(1000)
    const isIncomplete = this.sent < this.blob.size
    this.channel.replace(this, abandoned(isIncomplete))
    if (isIncomplete) socket.send(cancelled)
  }

  abort() {
    if (this.isDone) return
    this.giveUp()
    this.isDone = true
    this.channel.leave(this)
  }

  finish(outcome: Success | Failure) {
    if (this.isDone) return
    this.isDone = true
    this.channel.leave(this)
    this.onDone(outcome)
  }
}

/** Sends the blob, after those that are under way on this socket; gives what ends it early. */
export const send = (
  socket: WebSocketLike,
  blob: Blob,
  options: Options,
  onDone: (outcome: Success | Failure) => void
): () => void => {
  const channel = channelOf(socket)
  const upload = new Upload(channel, blob, options, onDone)
  channel.enter(upload)
  return () => upload.abort()
}
