/**
 * Reads a JSON message that may carry an image: the payload's data goes to the image's buffer as it arrives, and the rest
 * of the message to `JSON.parse` at its end.
 *
 * The result is that of `JSON.parse` followed by `SessionInitImage.persist`, for any order of the keys. The format
 * is sniffed in the first kilobyte of the image, and the declared type is compared when the whole message is known. So
 * an image that is refused is read on without being written, to report the first error in the order of `persist`.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as ImageFormat from "../../ImageFormat.js"
import {
  BadBase64,
  ContentMismatch,
  Empty,
  type InitImageError,
  InvalidPayload,
  TooLarge
} from "../../InitImageError.js"
import * as InitImagePayload from "../../InitImagePayload.js"
import { makeSniffingProbe, type SniffingProbe } from "../format/probe.js"
import { binaryDetectBytes } from "../format/signature.js"
import { toError, type Verified } from "../format/verifier.js"
import { wrongLength } from "../persist/base64.js"
import { ImageBuffer } from "../persist/imageBuffer.js"
import { Done, type Ended, type Step } from "../persist/reader.js"
import type { ImageReader } from "../persist/writer.js"
import { DataReader } from "./dataReader.js"
import { Scanner } from "./scanner.js"
import type { MessageText } from "./text.js"

const notJson = new InvalidPayload({ reason: "NotJson" })
const tooDeep = new InvalidPayload({ reason: "TooDeep" })
const messageTooLarge = new InvalidPayload({ reason: "MessageTooLarge" })
const duplicateKey = new InvalidPayload({ reason: "DuplicateKey" })
const empty = new Empty()

/** The verified image of a message, and its client's name for it. */
export interface MessageImage extends Verified {
  readonly name: string | undefined
}

/** A message as `JSON.parse` has it, without the payload's data. */
export interface Message {
  readonly message: unknown
  readonly image: MessageImage | undefined
  /** The payload, where it has `bytes` in the place of `data` and the reader looks for that. */
  readonly announced: Readonly<Record<string, unknown>> | undefined
}

export interface Options {
  /** The keys that lead to the payload. */
  readonly at: ReadonlyArray<string>
  /** Whether a payload may have `bytes` in the place of `data`. */
  readonly announces: boolean
  /** Whether more may come than is known yet: then an image is refused as soon as it is too large. */
  readonly isStream: boolean
  /** The largest image, in bytes. */
  readonly maxBytes: number
  /** An upper bound of the image's size that is probably true, in bytes. */
  readonly expectedBytes: number
  /** The largest message without the image's data, in bytes. */
  readonly maxMessageBytes: number
  readonly maxPixels: number
  readonly accepted: ReadonlyArray<ImageFormat.Mime>
  readonly declaredType: "required" | "optional"
}

/** The value at the end of the path, where everything that leads to it is an object. */
const valueAt = (message: unknown, at: ReadonlyArray<string>): unknown => {
  let value = message
  for (const key of at) {
    if (!Predicate.isRecord(value) || !Object.hasOwn(value, key)) return undefined
    value = value[key]
  }
  return value
}

const isAnnounced = (payload: unknown): payload is Readonly<Record<string, unknown>> =>
  Predicate.isRecord(payload) && Object.hasOwn(payload, "bytes") && !Object.hasOwn(payload, "data")

const parse = (text: string | undefined): Either.Either<unknown, InvalidPayload> =>
  text === undefined ? Either.left(notJson) : Either.try({ try: () => JSON.parse(text), catch: () => notJson })

export class MessageReader<in Chunk> implements ImageReader<Chunk, Message, InitImageError> {
  readonly buffer: ImageBuffer<ImageFormat.ProbeFailure>
  readonly #text: MessageText<Chunk>
  readonly #options: Options
  readonly #scanner: Scanner
  readonly #probe: SniffingProbe
  /** The data, from its opening quote on. */
  #data: DataReader<ImageFormat.ProbeFailure> | undefined
  #keptBytes = 0
  #isDiscarded = false

  constructor(text: MessageText<Chunk>, options: Options) {
    this.#text = text
    this.#options = options
    this.#scanner = new Scanner(options.at, text.decodeKey)
    this.#probe = makeSniffingProbe({
      maxPixels: options.maxPixels,
      formats: options.accepted.map((mime) => ImageFormat.byMime[mime].name)
    })
    this.buffer = new ImageBuffer(this.#probe, options.expectedBytes)
  }

  readonly extension = (): string => this.#format?.extension ?? ""

  push(chunk: Chunk): Step<InitImageError> {
    this.#text.push(chunk)
    return this.resume()
  }

  resume(): Step<InitImageError> {
    while (true) {
      const step = this.#data?.ended === false ? this.#readData(this.#data) : this.#scan()
      if (step !== undefined) return step
    }
  }

  /** Scans the next window of the message. */
  #scan(): Step<InitImageError> | undefined {
    const window = this.#text.window()
    if (window.length === 0) return "more"
    this.#keptBytes += this.#text.keep(this.#scanner.scan(window))
    if (!(this.#keptBytes <= this.#options.maxMessageBytes)) return messageTooLarge
    switch (this.#scanner.stop) {
      case "TooDeep":
        return tooDeep
      case "DuplicateKey":
        return duplicateKey
      case "Data":
        this.#data = new DataReader(this.#text, this.buffer, this.#options.maxBytes, this.#options.isStream)
        return "image"
      case undefined:
        return undefined
    }
  }

  /** Reads the data in the chunk at hand. */
  #readData(data: DataReader<ImageFormat.ProbeFailure>): Step<InitImageError> | undefined {
    const step = data.read()
    if (step === "malformed") return notJson
    if (step === "tooLarge") return this.#refuseStream()
    if (step === "ended") {
      this.#text.keepText("\"")
      this.#keptBytes += 1
    }
    if (!data.isWanted && !this.#isDiscarded && this.buffer.hasTaken) {
      this.#isDiscarded = true
      return "discard"
    }
    return step === "ended" ? undefined : step
  }

  /** Refuses a stream with an image that is too large, or before it a type that is not accepted. */
  #refuseStream(): InitImageError {
    // Behind the data's opening quote, all open containers are objects.
    const kept = this.#text.kept()
    const parsed = parse(kept === undefined ? undefined : `${kept}"${"}".repeat(this.#scanner.depth)}`)
    if (Either.isLeft(parsed)) return parsed.left
    const payload = valueAt(parsed.right, this.#options.at)
    if (Predicate.isRecord(payload) && Object.hasOwn(payload, "mime")) {
      const format = InitImagePayload.payloadFormat(payload, this.#options.accepted, this.#options.declaredType)
      if (Either.isLeft(format)) return format.left
    }
    const limit = this.#options.maxBytes
    return new TooLarge({ bytes: Math.floor(limit) + 1, limit })
  }

  end(): Ended<Message, InitImageError> {
    const parsed = parse(this.#text.kept())
    if (Either.isLeft(parsed)) return parsed.left
    const message = parsed.right
    const payload = valueAt(message, this.#options.at)
    if (this.#options.announces && isAnnounced(payload)) {
      return new Done({ message, image: undefined, announced: payload })
    }
    const decoded = InitImagePayload.fromUnknown(payload, this.#options.accepted, this.#options.declaredType)
    if (Either.isLeft(decoded)) return decoded.left
    if (Predicate.isRecord(payload)) delete payload["data"]
    if (Option.isNone(decoded.right)) return new Done({ message, image: undefined, announced: undefined })
    const { mime, name } = decoded.right.value
    const image = this.#judge(mime && ImageFormat.byMime[mime])
    return Either.isLeft(image)
      ? image.left
      : new Done({ message, image: { ...image.right, name }, announced: undefined })
  }

  /** The image, verified to be of the declared format if there is one, or the first error in the order of `persist`. */
  #judge(declared: ImageFormat.ImageFormat | undefined): Either.Either<Verified, InitImageError> {
    const data = this.#data
    // The scanner and `JSON.parse` see the same strings: a payload with data has been read.
    if (data === undefined) return Either.left(notJson)
    const { maxBytes, maxPixels } = this.#options
    if (data.length === 0) return Either.left(empty)
    if (data.isTooLarge) return Either.left(new TooLarge({ bytes: data.decodedBytes, limit: maxBytes }))
    const { invalid } = data
    const wrong = wrongLength(data.length, data.tail, invalid)
    if (wrong !== undefined) return Either.left(new BadBase64(wrong))
    const sniffed = this.#format
    if (declared !== undefined && sniffed !== undefined && sniffed !== declared) {
      // A verifier of the declared format would have been certain after `binaryDetectBytes`, or at the end.
      return Either.left(
        invalid !== undefined && data.validBytes < binaryDetectBytes
          ? new BadBase64(invalid)
          : new ContentMismatch({ declared: declared.name, detected: sniffed.name })
      )
    }
    const format = declared ?? sniffed
    if (data.failure !== undefined) return Either.left(toError(data.failure, format, maxPixels))
    if (invalid !== undefined) return Either.left(new BadBase64(invalid))
    const end = this.#probe.end()
    if (end._tag !== "Image") return Either.left(toError(end, format, maxPixels))
    const { height, orientation, width } = end
    return Either.right({
      format: ImageFormat.byMime[`image/${end.format}`],
      header: { width, height, orientation }
    })
  }

  get #format(): ImageFormat.ImageFormat | undefined {
    const name = this.#probe.format()
    return name === undefined ? undefined : ImageFormat.formats.find((format) => format.name === name)
  }
}
