/**
 * Reads the base64 string in a JSON message, behind its opening quote up to and with its closing one.
 *
 * As long as the string is base64 and its image is wanted, it is decoded into the image's buffer. From there on it is
 * checked and counted: errors are reported in the order of `SessionInitImage.persist`, for which the whole length must
 * be known.
 */
import { Buffer } from "node:buffer"
import type { Alphabet } from "../../InitImagePayload.js"
import { charactersFor, decodedBytes, Decoder, dropWhiteSpace, type Invalid, tailLength } from "../persist/base64.js"
import type { ImageBuffer } from "../persist/imageBuffer.js"
import { StringChecker } from "./stringChecker.js"
import type { MessageText } from "./text.js"
import { unescape } from "./unescape.js"

/** Sink for decoded bytes that are not wanted. Its content is never read. */
const sink = Buffer.allocUnsafeSlow(48 * 1024)

/** An escape of JSON has two characters, or six where the second is `u`. `escape` has at least two and at most six. */
const isComplete = (escape: string): boolean => escape.length === 6 || escape[1] !== "u"

/** The length of `piece` before an escape at its end that is not complete. */
const completeEscapes = (piece: string): number => {
  const last = piece.lastIndexOf("\\")
  if (last + 1 < piece.length && isComplete(piece.slice(last, last + 6))) return piece.length
  let first = last
  while (piece.charCodeAt(first - 1) === 0x5c) first--
  // In a run of backslashes, every second one is escaped by the one before it.
  return (last - first) % 2 === 0 ? last : piece.length
}

/** The state of the string: decoded, in an escape that is not complete, only checked, or read to its end. */
type State = "decoding" | "escape" | "checking" | "ended" | "malformed"

/** White space that is dropped beyond as much as there is base64, in characters: MIME has a fortieth of it. */
const maxWhiteSpace = 64 * 1024

export class DataReader<F> {
  readonly #text: MessageText<never>
  readonly #buffer: ImageBuffer<F>
  readonly #decoder: Decoder
  readonly #alphabet: Alphabet | undefined
  #state: State = "decoding"
  #checker: StringChecker | undefined
  #escape = ""
  #tail = ""
  #length = 0
  #dropped = 0
  #wantedBytes = 0
  readonly #maxBytes: number
  readonly #stopsTooLarge: boolean
  /** The verifier's failure: nothing is written to the buffer from then on. */
  failure: F | undefined

  /** With `stopsTooLarge` the reader stops as soon as the image is certain to be too large. */
  constructor(
    text: MessageText<never>,
    buffer: ImageBuffer<F>,
    maxBytes: number,
    stopsTooLarge: boolean,
    alphabet?: Alphabet | undefined
  ) {
    this.#decoder = new Decoder(alphabet)
    this.#alphabet = alphabet
    this.#text = text
    this.#buffer = buffer
    this.#maxBytes = maxBytes
    this.#stopsTooLarge = stopsTooLarge
  }

  /** Whether the closing quote has been read. */
  get ended(): boolean {
    return this.#state === "ended"
  }

  /** Whether the string is not one of JSON: a control character, a wrong escape, or not UTF-8. */
  get malformed(): boolean {
    return this.#state === "malformed"
  }

  /** Reads the characters that a string begins with, and that have been passed over. */
  begin(head: string): void {
    this.#decodePlain(head)
    if (this.invalid !== undefined) this.#startChecking()
  }

  /** Only checks the string, which begins with `head`, for an image that is not wanted. */
  discard(head: string): void {
    this.#count(head)
    this.#startChecking()
  }

  /** Whether there is no character in the string so far. */
  get isEmpty(): boolean {
    return this.length + this.#droppedSoFar === 0
  }

  get alphabet(): Alphabet | undefined {
    return this.#alphabet
  }

  /** Characters of white space that were dropped. */
  get #droppedSoFar(): number {
    return this.#dropped + (this.#checker?.dropped ?? 0)
  }

  /** The string's length so far, in UTF-16 code units, without white space that is dropped. */
  get length(): number {
    return this.#length + (this.#checker?.length ?? 0)
  }

  /** The first place where the string is not base64. */
  get invalid(): Invalid | undefined {
    return this.#decoder.invalid
  }

  /** The number of bytes decoded before the first place where the string is not base64. */
  get validBytes(): number {
    return this.#decoder.bytes
  }

  /** The last characters so far; in place of each that is not ASCII, some other that is not. */
  get tail(): string {
    return this.#checker === undefined ? this.#tail : (this.#tail + this.#checker.tail).slice(-tailLength)
  }

  /** The size of the image by the string's length so far, in bytes. */
  get decodedBytes(): number {
    return decodedBytes(this.length, this.tail)
  }

  /**
   * Whether the image is certain to be larger than allowed. Two of the bytes by the string's length may turn out to be
   * padding; decoded bytes may not.
   */
  get isTooLarge(): boolean {
    const byLength = this.ended ? this.decodedBytes : Math.floor(this.length / 4) * 3 - 2
    return !(Math.max(byLength, this.#wantedBytes) <= this.#maxBytes)
  }

  /** Whether the decoded bytes are still written to the buffer. */
  get isWanted(): boolean {
    return this.failure === undefined && this.invalid === undefined && !this.malformed && !this.isTooLarge
  }

  /** Reads on in the chunk at hand: to its end, to the string's end, or until the buffer is full. */
  read(): "more" | "full" | "tooLarge" | "tooBlank" | "ended" | "malformed" {
    while (true) {
      if (this.#droppedSoFar > this.length + maxWhiteSpace) return "tooBlank"
      if (this.#stopsTooLarge && !this.ended && !this.malformed && this.isTooLarge) return "tooLarge"
      const unit = this.#text.peek()
      switch (this.#state) {
        case "ended":
        case "malformed":
          return this.#state
        case "escape":
          if (unit === undefined) return "more"
          this.#readEscape(unit)
          break
        case "checking":
          if (unit === undefined) return "more"
          this.#check()
          break
        case "decoding":
          if (unit === undefined) return "more"
          if (this.isWanted && !this.#buffer.hasRoom()) return "full"
          this.#decode()
      }
    }
  }

  /** The room for decoded bytes. */
  #free(): number {
    return this.isWanted ? this.#buffer.free : sink.length
  }

  #decode(): void {
    const text = this.#text
    const run = text.untilQuote(charactersFor(this.#free()))
    if (run === 0) {
      text.skip(1)
      this.#commit((target, at) => this.#decoder.end(target, at))
      this.#state = "ended"
      return
    }
    const piece = text.characters(run)
    const backslash = piece.indexOf("\\")
    const cut = backslash < 0 ? run : completeEscapes(piece)
    if (cut === 0) {
      text.skip(1)
      this.#escape = "\\"
      this.#state = "escape"
      return
    }
    const plain = backslash < 0 ? piece : unescape(piece.slice(0, cut))
    if (plain === undefined) this.#state = "malformed"
    else this.#take(plain, cut)
  }

  /** Decodes the next `units`, which spell `plain` if they are base64. */
  #take(plain: string, units: number): void {
    this.#commit((target, at) => this.#decoder.push(plain, target, at))
    if (this.invalid === undefined) {
      this.#count(plain)
      this.#text.skip(units)
      return
    }
    // No base64 from here on: these units are read again, and all that follow.
    this.#startChecking()
  }

  #startChecking(): void {
    this.#checker = new StringChecker(this.#text.isUtf8, this.#alphabet?.whiteSpace)
    this.#state = "checking"
  }

  #decodePlain(plain: string): void {
    this.#commit((target, at) => this.#decoder.push(plain, target, at))
    this.#count(plain)
  }

  #commit(decode: (target: Buffer, at: number) => number): void {
    if (!this.isWanted) {
      decode(sink, 0)
      return
    }
    const written = decode(this.#buffer.target(), this.#buffer.length)
    this.#wantedBytes += written
    // Bytes above the limit are not committed: no more has been reserved than is allowed.
    if (this.#wantedBytes <= this.#maxBytes) this.failure = this.#buffer.commit(written)
  }

  #check(): void {
    const checker = this.#checker
    if (checker === undefined) return
    this.#text.skip(checker.push(this.#text.window()))
    if (checker.ended) this.#state = "ended"
    if (checker.malformed) this.#state = "malformed"
  }

  #readEscape(unit: number): void {
    this.#escape += String.fromCharCode(unit)
    this.#text.skip(1)
    if (!isComplete(this.#escape)) return
    const plain = unescape(this.#escape)
    this.#escape = ""
    this.#state = "decoding"
    if (plain === undefined) {
      this.#state = "malformed"
      return
    }
    this.#decodePlain(plain)
    if (this.invalid !== undefined) this.#startChecking()
  }

  #count(plain: string): void {
    const text = dropWhiteSpace(plain, this.#alphabet)
    this.#dropped += plain.length - text.length
    this.#length += text.length
    this.#tail = text.length < tailLength ? (this.#tail + text).slice(-tailLength) : text.slice(-tailLength)
  }
}
