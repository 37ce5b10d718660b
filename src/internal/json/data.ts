/**
 * The base64 in a string of a JSON text, decoded from where it is.
 */
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { turn } from "../eventLoop.js"
import { decodedBytes, Decoder, type Invalid } from "../persist/base64.js"
import { charactersFor } from "../persist/source.js"
import { type Fill, minRoom } from "../persist/writer.js"
import type { JsonInput } from "./input.js"

/** How many pieces are passed over before the event loop has its turn: about half a millisecond's. */
const piecesPerTurn = 16

/**
 * Where what nobody wants is decoded to: what is base64 needs no other look, and there is none as fast. Its content is
 * never read.
 */
const scratch = Buffer.allocUnsafeSlow(48 * 1024)

/** JSON's escapes are of two characters, or of six where the second is `u`. At least two are there, and no more. */
const isComplete = (escape: string): boolean => escape.length === 6 || escape[1] !== "u"

/** How much of a piece there is before an escape at its end that has not wholly come. */
const wholeEscapes = (piece: string): number => {
  const last = piece.lastIndexOf("\\")
  if (last + 1 < piece.length && isComplete(piece.slice(last, last + 6))) return piece.length
  let first = last
  while (piece.charCodeAt(first - 1) === 0x5c) first--
  // Every second one is what the one before it escapes.
  return (last - first) % 2 === 0 ? last : piece.length
}

/** What the content of a string says. Throws where it is none of JSON. */
const unescape = (content: string): string => JSON.parse(`"${content}"`)

/** The string is not, or no longer, decoded: what is wrong with it stands in the reader. */
export class NotDecoded {
  readonly _tag = "NotDecoded"
}
const notDecoded = new NotDecoded()

/**
 * Reads the string behind its opening quote up to and with its closing one.
 *
 * As long as it is base64, of no more than `maxBytes`, it is decoded. From there on it is only checked and counted.
 */
export class DataReader<E, R> {
  readonly #input: JsonInput<E, R>
  readonly #decoder = new Decoder()
  /** An escape that has not wholly come. */
  #escape = ""
  #lastTwo = ""
  #skipping = false
  /** How many bytes have been decoded to be written. */
  #decoded = 0
  /** Whether the closing quote has been read. */
  ended = false
  /** Whether this is no string of JSON: a control character, a wrong escape, or not UTF-8. */
  malformed = false
  /** The string's length in UTF-16 code units, as far as it has been read. */
  length = 0
  /** How many bytes are allowed. */
  readonly maxBytes: number

  constructor(input: JsonInput<E, R>, maxBytes: number) {
    this.#input = input
    this.maxBytes = maxBytes
  }

  /** What is not base64 in it. */
  get invalid(): Invalid | undefined {
    return this.#decoder.invalid
  }

  /** How many bytes it decodes to by its length, as far as it has been read. */
  get decodedBytes(): number {
    return decodedBytes(this.length, this.#lastTwo)
  }

  /**
   * Whether it is more than is allowed however it goes on: two of the bytes by its length may turn out to be padding,
   * but none that has been decoded.
   */
  get isTooLarge(): boolean {
    const byLength = this.ended ? this.decodedBytes : Math.floor(this.length / 4) * 3 - 2
    return !(Math.max(byLength, this.#decoded) <= this.maxBytes)
  }

  /** The decoded bytes up to the end of the string; fails where they are no longer decoded, or the text ends first. */
  readonly fill: Fill<E | NotDecoded, R> = (target) =>
    Effect.suspend(() => {
      let written = 0
      let blocked = false
      while (!blocked && !this.ended && !this.#skips()) {
        const characters = charactersFor(target.length - written)
        if (characters <= 0) break
        const read = this.#read(characters, target, written)
        blocked = read < 0
        written += Math.max(0, read)
      }
      this.#decoded += written
      // What is too much is not written first: no more has been reserved for it than is allowed.
      if (written > 0 && !this.isTooLarge) return Effect.succeed(written)
      if (this.#skips()) return Effect.fail(notDecoded)
      if (this.ended) return Effect.succeed(0)
      return Effect.flatMap(this.#input.refill, (more) => more ? this.fill(target) : Effect.fail(notDecoded))
    })

  /** Passes over the rest of the string, and stops where the text ends first, or where a stream brings too much. */
  readonly finish: Effect.Effect<void, E, R> = Effect.suspend(() => {
    this.#skipping = !this.ended
    for (let pieces = 0; pieces < piecesPerTurn; pieces++) {
      if (this.ended || (this.#input.streaming && this.isTooLarge)) return Effect.void
      if (this.#read(charactersFor(scratch.length), scratch, 0) < 0) {
        return Effect.flatMap(this.#input.refill, (more) => more ? this.finish : Effect.void)
      }
    }
    return Effect.zipRight(turn, this.finish)
  })

  #skips(): boolean {
    return this.#skipping || this.malformed || this.invalid !== undefined || this.isTooLarge
  }

  /**
   * Reads no more than so many characters, and decodes them into the target. Answers how many bytes that made, and -1
   * where more must be there first.
   */
  #read(characters: number, target: Buffer, offset: number): number {
    if (this.#escape !== "") return this.#readEscape(target, offset)
    const input = this.#input
    const run = input.untilQuote(characters)
    if (run === 0) {
      if (input.peek() === undefined) return -1
      input.skip(1)
      this.ended = true
      this.#endText()
      return this.malformed ? 0 : this.#decoder.end(target, offset)
    }
    const piece = input.plainText(run)
    const backslash = piece.indexOf("\\")
    if (backslash < 0) return this.#take(run, piece, target, offset)
    const cut = wholeEscapes(piece)
    if (cut === 0) {
      this.#endText()
      input.skip(1)
      this.#escape = "\\"
      return 0
    }
    try {
      return this.#take(cut, unescape(piece.slice(0, cut)), target, offset)
    } catch {
      this.malformed = true
      input.skip(cut)
      return 0
    }
  }

  /** Takes the next units, which say `plain` if they are base64. */
  #take(units: number, plain: string, target: Buffer, offset: number): number {
    const written = this.#decoder.push(plain, target, offset)
    this.#count(this.invalid === undefined ? plain : this.#check(units))
    this.#input.skip(units)
    return written
  }

  /** The next units as what they say in a string. */
  #check(units: number): string {
    try {
      return unescape(this.#input.text(units))
    } catch {
      this.malformed = true
      return ""
    }
  }

  #readEscape(target: Buffer, offset: number): number {
    const unit = this.#input.peek()
    if (unit === undefined) return -1
    this.#input.skip(1)
    this.#escape += String.fromCharCode(unit)
    if (!isComplete(this.#escape)) return 0
    let written = 0
    try {
      const text = unescape(this.#escape)
      written = this.#decoder.push(text, target, offset)
      this.#count(text)
    } catch {
      this.malformed = true
    }
    this.#escape = ""
    return written
  }

  #count(text: string): void {
    this.length += text.length
    this.#lastTwo = text.length < 2 ? (this.#lastTwo + text).slice(-2) : text.slice(-2)
  }

  #endText(): void {
    try {
      this.#input.endText()
    } catch {
      this.malformed = true
    }
  }
}

/** A string whose first bytes have been decoded. */
export interface Begun<out E, out R> {
  readonly reader: DataReader<E, R>
  /** In the buffer that it was begun with. */
  readonly head: Buffer
  /** Whether that is all of it, or all that is decoded. */
  readonly isWhole: boolean
}

/** Decodes as much as the buffer takes. */
export const begin = Effect.fnUntraced(function*<E, R>(
  reader: DataReader<E, R>,
  target: Buffer
): Effect.fn.Return<Begun<E, R>, E, R> {
  let at = 0
  let isWhole = false
  while (!isWhole && target.length - at >= minRoom) {
    const filled: number = yield* Effect.catchAll(
      reader.fill(target.subarray(at)),
      (error) => error instanceof NotDecoded ? Effect.succeed(0) : Effect.fail(error)
    )
    at += filled
    isWhole = reader.ended || filled === 0
  }
  return { reader, head: target.subarray(0, at), isWhole }
})

/** The first bytes again, and what follows them. */
export const resume = <E, R>({ head, reader }: Begun<E, R>): Fill<E | NotDecoded, R> => {
  let resumed = head.length === 0
  return (target) =>
    Effect.suspend(() => {
      if (resumed) return reader.fill(target)
      resumed = true
      return Effect.succeed(head.copy(target))
    })
}
