/**
 * Reads a JSON message that may carry images: the text of each goes to the image's buffer as it arrives, and the rest
 * of the message to `JSON.parse` at its end.
 *
 * The result is that of `JSON.parse` followed by `SessionInitImage.persistAll`, for any order of the keys. The format
 * of an image is sniffed in its first kilobyte, and the declared type is compared when the image's whole value is
 * known. So an image that is refused is read on without being written, to report the first error in the order of
 * `persistAll`.
 *
 * A text that turns out to be of no image, such as that of a PDF, is a part of the message: it is recorded until then.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { Buffer } from "node:buffer"
import * as ImageFormat from "../../ImageFormat.js"
import {
  BadBase64,
  ContentMismatch,
  Empty,
  type InitImageError,
  InvalidPayload,
  TooLarge,
  TooManyImages
} from "../../InitImageError.js"
import type * as InitImagePayload from "../../InitImagePayload.js"
import { readShapes, type Shape } from "../dialect/shape.js"
import { makeSniffingProbe, type SniffingProbe } from "../format/probe.js"
import { binaryDetectBytes } from "../format/signature.js"
import { endOf, formatOf, isVerified, toError, type Verified } from "../format/verifier.js"
import { decodedBytes, Decoder, measure, tailLength, wrongLength } from "../persist/base64.js"
import { ImageBuffer } from "../persist/imageBuffer.js"
import { Done, type Ended, type Step } from "../persist/reader.js"
import type { ImageReader } from "../persist/writer.js"
import { fieldOf, type Place, type Places, visit } from "../places.js"
import { DataReader } from "./dataReader.js"
import { HeadReader } from "./headReader.js"
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

/** A message as `JSON.parse` has it, without the images' texts. */
export interface Message {
  readonly message: unknown
  readonly images: ReadonlyArray<MessageImage>
  /** The payload, where it has `bytes` in the place of `data` and the reader looks for that. */
  readonly announced: Readonly<Record<string, unknown>> | undefined
}

export interface Options {
  /** The places of the images. */
  readonly places: Places<Shape>
  /** Whether a payload may have `bytes` in the place of `data`. */
  readonly announces: boolean
  /** Whether more may come than is known yet: then an image is refused as soon as it is too large. */
  readonly isStream: boolean
  /** The most images. */
  readonly maxImages: number
  /** The largest size of all images together, in bytes. */
  readonly maxBytes: number
  /** An upper bound of the images' size that is probably true, in bytes. */
  readonly expectedBytes: number
  /** The largest message without the images' texts, in bytes. */
  readonly maxMessageBytes: number
  readonly maxPixels: number
  readonly accepted: ReadonlyArray<ImageFormat.Mime>
  readonly declaredType: "required" | "optional"
}

const isAnnounced = (payload: unknown): payload is Readonly<Record<string, unknown>> =>
  Predicate.isRecord(payload) && Object.hasOwn(payload, "bytes") && !Object.hasOwn(payload, "data")

const parse = (text: string | undefined): Either.Either<unknown, InvalidPayload> =>
  text === undefined ? Either.left(notJson) : Either.try({ try: () => JSON.parse(text), catch: () => notJson })

/** In the place of a text that is not empty. */
const standIn = "A"

/** The text of an image, from its opening quote on or from behind the prefix of a data URL. */
interface Text {
  readonly data: DataReader<ImageFormat.ProbeFailure>
  readonly probe: SniffingProbe
  /** Whether the text is read for an image that may be written. */
  readonly isWanted: boolean
  /** The characters kept in the place of the text, with the closing quote. */
  kept: string
}

/** The kind of the value at the place of an image. */
type Outcome =
  | { readonly _tag: "NoImage" }
  /** A text that is known only when the message is. */
  | { readonly _tag: "Unread" }
  | { readonly _tag: "Announced" }
  | { readonly _tag: "Image" }
  | { readonly _tag: "Refused"; readonly error: InitImageError }

const noImage: Outcome = { _tag: "NoImage" }

/** Removes the texts of an image from a message. */
const removeTexts = (value: unknown, { shapes }: Place<Shape>): void => {
  for (const { data } of shapes) {
    for (const { at } of data) {
      const parent = fieldOf(value, at.slice(0, -1))
      const key = at.at(-1)
      if (key !== undefined && Predicate.isRecord(parent) && typeof parent[key] === "string") delete parent[key]
    }
  }
}

export class MessageReader<in Chunk> implements ImageReader<Chunk, Message, InitImageError> {
  readonly #text: MessageText<Chunk>
  readonly #options: Options
  readonly #scanner: Scanner<Shape>
  #buffer: ImageBuffer<ImageFormat.ProbeFailure>
  #probe: SniffingProbe
  /** Whether the buffer and the probe are of an image already. */
  #isUsed = false
  /** The bracket or quote that the value of the current image begins with. */
  #opening = ""
  /** Reads the beginning of a text that may be a data URL. */
  #head: HeadReader | undefined
  /** The characters that the text begins with, until there is room for its image. */
  #begins: string | undefined
  /** The place of the text that is being read. */
  #place: Place<Shape> | undefined
  /** The text in the value of the current image. */
  #current: Text | undefined
  #keptBytes = 0
  #isDiscarded = false
  readonly #images: Array<MessageImage> = []
  /** The images' size, in bytes. */
  #imageBytes = 0
  /** The outcomes of the values at the places of images, in order: of containers and of texts. */
  readonly #outcomes: Array<Outcome> = []

  constructor(text: MessageText<Chunk>, options: Options) {
    this.#text = text
    this.#options = options
    this.#scanner = new Scanner(options.places, text.decodeKey)
    this.#probe = this.#makeProbe()
    this.#buffer = new ImageBuffer(this.#probe, options.expectedBytes)
  }

  /** The buffer of the current image. */
  get buffer(): ImageBuffer<ImageFormat.ProbeFailure> {
    return this.#buffer
  }

  /** The images that have been verified so far. */
  get images(): ReadonlyArray<MessageImage> {
    return this.#images
  }

  readonly extension = (): string => formatOf(this.#probe.format())?.extension ?? ""

  push(chunk: Chunk): Step<InitImageError> {
    this.#text.push(chunk)
    return this.resume()
  }

  resume(): Step<InitImageError> {
    while (true) {
      if (this.#begins !== undefined) this.#begin(this.#begins)
      const step = this.#head !== undefined
        ? this.#readHead(this.#head)
        : this.#current?.data.ended === false
        ? this.#readData(this.#current)
        : this.#scan()
      if (step !== undefined) return step
    }
  }

  #makeProbe(): SniffingProbe {
    const { accepted, maxPixels } = this.#options
    return makeSniffingProbe({ maxPixels, formats: accepted.map((mime) => ImageFormat.byMime[mime].name) })
  }

  /** Scans the next window of the message. */
  #scan(): Step<InitImageError> | undefined {
    const window = this.#text.window()
    if (window.length === 0) return "more"
    const units = this.#scanner.scan(window)
    const opening = window[units - 1] === 0x5b ? "[" : "{"
    this.#keptBytes += this.#text.keep(units)
    if (!(this.#keptBytes <= this.#options.maxMessageBytes)) return messageTooLarge
    switch (this.#scanner.stop) {
      case "TooDeep":
        return tooDeep
      case "DuplicateKey":
        return duplicateKey
      case "Image":
        this.#opening = opening
        this.#text.mark()
        return undefined
      case "ImageEnd":
        return this.#resolve()
      case "Data":
        return this.#beginText()
      case undefined:
        return undefined
    }
  }

  /** Whether a value at the place of an image has been refused: the message is read on for its own errors only. */
  get #isRefused(): boolean {
    return this.#outcomes.at(-1)?._tag === "Refused"
  }

  /** Begins the text at which the scan has stopped. */
  #beginText(): Step<InitImageError> | undefined {
    const place = this.#scanner.place
    if (place?.text === undefined) return undefined
    if (place.shapes.length > 0) {
      this.#opening = "\""
      this.#text.mark()
    } else if (this.#current !== undefined) {
      // The second text of a value is of no image, or of one that is refused.
      this.#scanner.readRest()
      return undefined
    }
    this.#place = place
    const { form, isTotal } = place.text
    if (form !== "base64" || !isTotal) this.#record()
    if (form === "base64") return this.#beginImage("")
    this.#head = new HeadReader(this.#text, form)
    return undefined
  }

  #record(): void {
    this.#text.record(this.#options.maxMessageBytes - this.#keptBytes)
  }

  #readHead(head: HeadReader): Step<InitImageError> | undefined {
    switch (head.read()) {
      case "more":
        return "more"
      case "malformed":
        return notJson
      case "text":
        this.#head = undefined
        return this.#beginImage(head.characters)
      case "dataUrl":
        this.#head = undefined
        if (!this.#keepRecorded("")) return messageTooLarge
        if (this.#place?.text?.isTotal === false) this.#record()
        return this.#beginImage("")
      case "other":
        this.#head = undefined
        if (!this.#keepRecorded("")) return messageTooLarge
        if (this.#place !== undefined && this.#place.shapes.length > 0 && !this.#isRefused) {
          this.#outcomes.push({ _tag: "Unread" })
        }
        this.#scanner.readRest()
        return undefined
    }
  }

  /** Adds the recorded units to the message. `false` where it is too large then. */
  #keepRecorded(standIn: string): boolean {
    const bytes = this.#text.keepRecorded(standIn)
    if (bytes === undefined) return false
    this.#keptBytes += bytes
    return this.#keptBytes <= this.#options.maxMessageBytes
  }

  /** Asks for the room of an image, where it may be written. */
  #beginImage(head: string): Step<InitImageError> | undefined {
    this.#begins = head
    if (this.#isRefused && this.#options.isStream) return this.#refuseEarly("\"")
    return this.#mayWrite ? "image" : undefined
  }

  get #mayWrite(): boolean {
    return !this.#isRefused && this.#images.length < this.#options.maxImages
  }

  /** Begins to read a text, behind its `head`. */
  #begin(head: string): void {
    this.#begins = undefined
    const { expectedBytes, isStream, maxBytes } = this.#options
    const isWanted = this.#mayWrite
    if (isWanted && this.#isUsed) {
      this.#probe = this.#makeProbe()
      this.#buffer = new ImageBuffer(this.#probe, expectedBytes - this.#imageBytes)
    }
    this.#isUsed ||= isWanted
    const left = maxBytes - this.#imageBytes
    const data = new DataReader(this.#text, this.#buffer, left, isStream, this.#place?.text?.alphabet)
    this.#current = { data, probe: this.#probe, isWanted, kept: "" }
    this.#isDiscarded = !isWanted
    if (isWanted) data.begin(head)
    else data.discard(head)
  }

  /** Reads the text in the chunk at hand. */
  #readData(current: Text): Step<InitImageError> | undefined {
    const { data } = current
    const step = data.read()
    if (step === "malformed") return notJson
    if (step === "tooBlank") return messageTooLarge
    if (step === "tooLarge") return this.#refuseStream()
    if (step === "ended") {
      current.kept = data.isEmpty ? "\"" : `${standIn}"`
      this.#text.keepText(current.kept)
      this.#keptBytes += 1
      const refused = this.#place !== undefined && this.#place.shapes.length > 0 ? this.#resolve() : undefined
      if (refused !== undefined) return refused
    }
    return this.#discard() ?? (step === "ended" ? undefined : step)
  }

  /** Gives up the part of an image that has been written, where it is not wanted. */
  #discard(): Step<InitImageError> | undefined {
    const { data } = this.#current ?? {}
    if (data === undefined || data.isWanted || this.#isDiscarded || !this.#buffer.hasTaken) return undefined
    this.#isDiscarded = true
    return "discard"
  }

  /** Judges the value that ends here. */
  #resolve(): Step<InitImageError> | undefined {
    const place = this.#scanner.place
    const current = this.#current
    this.#current = undefined
    if (place === undefined || this.#isRefused) {
      this.#text.dropRecorded()
      return undefined
    }
    const text = this.#text.sinceMark()
    const parsed = parse(text === undefined ? undefined : this.#opening + text)
    if (Either.isLeft(parsed)) return parsed.left
    const outcome = this.#outcomeOf(parsed.right, place, current)
    this.#outcomes.push(outcome)
    if (outcome._tag === "Image") {
      this.#text.dropRecorded()
      return undefined
    }
    if (outcome._tag === "Refused") {
      this.#text.dropRecorded()
      if (outcome.error._tag === "TooManyImages" && this.#options.isStream) return this.#refuseEarly("")
    } else if (current !== undefined && this.#place?.text?.isTotal !== true) {
      if (!this.#keepRecorded(current.kept)) return messageTooLarge
    }
    if (current === undefined || !current.isWanted || this.#isDiscarded || !this.#buffer.hasTaken) return undefined
    this.#isDiscarded = true
    return "discard"
  }

  #outcomeOf(value: unknown, { shapes }: Place<Shape>, current: Text | undefined): Outcome {
    const { accepted, announces, declaredType, maxImages } = this.#options
    if (announces && isAnnounced(value)) return { _tag: "Announced" }
    const decoded = readShapes(shapes, value, accepted, declaredType)
    if (Either.isLeft(decoded)) return { _tag: "Refused", error: decoded.left }
    if (Option.isNone(decoded.right)) return noImage
    if (this.#images.length === maxImages) return { _tag: "Refused", error: new TooManyImages({ limit: maxImages }) }
    const { data, mime, name } = decoded.right.value
    const isRead = current !== undefined && data.length === current.kept.length - 1
    const image = isRead
      ? this.#judge(current, mime && ImageFormat.byMime[mime])
      : Either.left(this.#refuseUrl(decoded.right.value, current))
    if (Either.isLeft(image)) return { _tag: "Refused", error: image.left }
    this.#images.push({ ...image.right, name })
    this.#imageBytes += this.#buffer.bytes
    return { _tag: "Image" }
  }

  /** Refuses a stream with an image that is too large, or before it a type that is not accepted. */
  #refuseStream(): InitImageError {
    const kept = this.#text.kept()
    const { accepted, declaredType, maxBytes, places } = this.#options
    // Behind an image's text, all open containers have a place.
    const parsed = parse(kept === undefined ? undefined : `${kept}${standIn}"${this.#scanner.closing}`)
    if (Either.isLeft(parsed)) return parsed.left
    let refused: InitImageError | undefined
    visit(parsed.right, places.root, (value, { shapes }) => {
      const decoded = readShapes(shapes, value, accepted, declaredType)
      refused = Either.isLeft(decoded) && isFinal(decoded.left, value) ? decoded.left : undefined
    })
    return refused ?? new TooLarge({ bytes: Math.floor(maxBytes) + 1, limit: maxBytes })
  }

  /**
   * Refuses a stream before its end, for an image that has been refused: the first error of the values so far. `rest`
   * completes the value that is being read; all open containers have a place.
   */
  #refuseEarly(rest: string): InitImageError {
    const kept = this.#text.kept()
    const parsed = parse(kept === undefined ? undefined : `${kept}${rest}${this.#scanner.closing}`)
    if (Either.isLeft(parsed)) return parsed.left
    const end = this.#endOf(parsed.right)
    return end instanceof Done ? notJson : end
  }

  end(): Ended<Message, InitImageError> {
    const parsed = parse(this.#text.kept())
    return Either.isLeft(parsed) ? parsed.left : this.#endOf(parsed.right)
  }

  /** The result of a message, or the first error of its values in their order. */
  #endOf(parsed: unknown): Ended<Message, InitImageError> {
    const outcomes = this.#outcomes.values()
    let message = parsed
    let refused: InitImageError | undefined
    let announced: Readonly<Record<string, unknown>> | undefined
    visit(parsed, this.#options.places.root, (value, place, parent, key) => {
      if (refused !== undefined) return
      const isRead = typeof value === "object" && value !== null ||
        typeof value === "string" && place.text !== undefined
      const read: Outcome | undefined = isRead ? outcomes.next().value : undefined
      const outcome = read === undefined || read._tag === "Unread" ? this.#outcomeOf(value, place, undefined) : read
      switch (outcome._tag) {
        case "Refused":
          refused = outcome.error
          return
        case "Announced":
          if (Predicate.isRecord(value)) announced = value
          return
        case "Image":
          if (typeof value !== "string") removeTexts(value, place)
          else if (parent === undefined) message = ""
          else Reflect.set(parent, key, "")
      }
    })
    return refused ?? new Done({ message, images: this.#images, announced })
  }

  /** Refuses an image with a URL where base64 was expected: the alphabet has no colon. */
  #refuseUrl({ alphabet, data: text }: InitImagePayload.InitImagePayload, current: Text | undefined): InitImageError {
    const head = current === undefined ? text : text.slice(0, text.length + 1 - current.kept.length)
    const decoder = new Decoder(alphabet)
    decoder.push(head, Buffer.allocUnsafe(head.length + 8), 0)
    const measured = measure(head, alphabet)
    const length = measured.length + (current?.data.length ?? 0)
    const tail = `${measured.tail}${current?.data.tail ?? ""}`.slice(-tailLength)
    const bytes = this.#imageBytes + decodedBytes(length, tail)
    const limit = this.#options.maxBytes
    if (!(bytes <= limit)) return new TooLarge({ bytes, limit })
    const invalid = wrongLength(length, tail, decoder.invalid, alphabet) ?? decoder.invalid
    return invalid === undefined ? empty : new BadBase64(invalid)
  }

  /** The image, verified to be of the declared format if there is one, or the first error in the order of `persist`. */
  #judge(
    { data, probe }: Text,
    declared: ImageFormat.ImageFormat | undefined
  ): Either.Either<Verified, InitImageError> {
    const { maxBytes, maxPixels } = this.#options
    if (data.length === 0) return Either.left(empty)
    if (data.isTooLarge) {
      return Either.left(new TooLarge({ bytes: this.#imageBytes + data.decodedBytes, limit: maxBytes }))
    }
    const { invalid } = data
    const wrong = wrongLength(data.length, data.tail, invalid, data.alphabet)
    if (wrong !== undefined) return Either.left(new BadBase64(wrong))
    const sniffed = formatOf(probe.format())
    if (declared !== undefined && sniffed !== undefined && sniffed !== declared) {
      // A verifier of the declared format would have been certain after `binaryDetectBytes`, or at the end.
      return Either.left(
        invalid !== undefined && data.validBytes < binaryDetectBytes
          ? new BadBase64(invalid)
          : new ContentMismatch({ declared: declared.name, detected: sniffed.name })
      )
    }
    if (data.failure !== undefined) return Either.left(toError(data.failure, declared ?? sniffed, maxPixels))
    if (invalid !== undefined) return Either.left(new BadBase64(invalid))
    const end = endOf(probe, declared, maxPixels)
    return isVerified(end) ? Either.right(end) : Either.left(end)
  }
}

/** Whether a type has been declared that no later field makes an accepted one. */
const isFinal = (error: InitImageError, value: unknown): boolean =>
  error._tag === "InvalidMime" &&
  (error.reason === "NotAccepted" || Predicate.isRecord(value) && Object.hasOwn(value, "mime"))
