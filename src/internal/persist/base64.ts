/**
 * Strict base64: RFC 4648 section 4, canonical. Every text is either decoded to the bytes whose encoding it is, or
 * refused.
 *
 * `Buffer` decodes at memory speed but accepts anything: it skips what is not in the alphabet, stops at padding, takes
 * `-` and `_`, keeps only the low byte of a character (U+0141 passes for `A`) and ignores unused bits. All but the
 * last three show in how many bytes it wrote; the last three are looked for. Only text that fails is read character by
 * character, to say where.
 */
import type { Buffer } from "node:buffer"

export type Reason = "Length" | "Character" | "Padding" | "UnusedBits"

/** `offset` in UTF-16 code units, of the first offending character. */
export interface Invalid {
  readonly reason: Reason
  readonly offset: number
}

const equals = 0x3d

/** How many of the last two characters are padding. */
const padding = (text: string): 0 | 1 | 2 =>
  text.charCodeAt(text.length - 1) !== equals ? 0 : text.charCodeAt(text.length - 2) !== equals ? 1 : 2

/**
 * How many bytes a text of that length decodes to if it is valid, from its length and its end, of which two characters
 * are enough; for a length that is not a multiple of 4, how many its whole characters hold.
 */
export const decodedBytes = (length: number, end: string): number => {
  const whole = Math.floor(length / 4) * 3
  const rest = length % 4
  return rest === 0 ? whole - padding(end) : whole + rest - 1
}

/** The value of each character of the alphabet, and 64 for every other below 128. */
const sextets = new Uint8Array(128).fill(64)
for (const [value, character] of [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].entries()) {
  sextets[character.charCodeAt(0)] = value
}

const sextet = (text: string, at: number): number => sextets[text.charCodeAt(at)] ?? 64

/** V8 knows that it cannot match in a string of one byte a character, and then does not look. */
const wide = /[\u0100-\uffff]/

/** What the low bits of the last character must not hold: 4 unused bits before `==`, 2 before `=`. */
const unusedBits = [0, 0b11, 0b1111] as const

/**
 * How many characters are decoded at once: few enough for all that is done with them to find them in the processor's
 * cache. 32 MiB take 5 ms so, and 7 ms a MiB at a time.
 */
const characters = 32 * 1024

/**
 * Decodes the characters from `start` to `end`, in groups of four of which the last may be padded if it is the `last`
 * of all, into `target` at `offset`. Answers how many bytes that made, or -1 where they are not canonical base64.
 */
const decodeGroups = (
  text: string,
  start: number,
  end: number,
  last: boolean,
  target: Buffer,
  offset: number
): number => {
  const slice = text.slice(start, end)
  const padded = last ? padding(slice) : 0
  const expected = (slice.length / 4) * 3 - padded
  return !wide.test(slice) && target.write(slice, offset, "base64") === expected &&
      !slice.includes("-") && !slice.includes("_") &&
      (sextet(slice, slice.length - padded - 1) & unusedBits[padded]) === 0
    ? expected
    : -1
}

/** The first character from `start` to `end` that is not in the alphabet. */
const findOutside = (text: string, start: number, end: number): Invalid | undefined => {
  for (let at = start; at < end; at++) {
    if (sextet(text, at) === 64) {
      return { reason: text.charCodeAt(at) === equals ? "Padding" : "Character", offset: at }
    }
  }
  return undefined
}

/** The first offending character of groups that have one; the `last` ones end the text. */
const findInvalid = (text: string, start: number, end: number, last: boolean): Invalid => {
  const body = end - (last ? padding(text) : 0)
  return findOutside(text, start, body) ?? { reason: "UnusedBits", offset: body - 1 }
}

/**
 * Decodes base64 that comes in pieces of any length.
 *
 * The last one to four characters are held back, because only the end tells whether they may be padded.
 */
export class Decoder {
  /** What is wrong, if anything is: nothing is decoded from then on. */
  invalid: Invalid | undefined = undefined
  /** How many characters have come, in UTF-16 code units. */
  length = 0
  #held = ""

  /**
   * Decodes what has come into `target` at `offset`, where three bytes must fit for every four characters and for
   * those held back. Answers how many bytes that made; with `invalid` set, those before the first invalid group.
   */
  push(piece: string, target: Buffer, offset: number): number {
    if (this.invalid !== undefined) return 0
    let written = 0
    const start = Math.min(4 - this.#held.length, piece.length)
    this.#held += piece.slice(0, start)
    this.length += start
    if (start < piece.length) {
      written = this.#decode(this.#held, 0, 4, false, this.length - 4, target, offset)
      if (this.invalid !== undefined) return written
      const end = start + Math.floor((piece.length - start - 1) / 4) * 4
      written += this.#decode(piece, start, end, false, this.length, target, offset + written)
      if (this.invalid !== undefined) return written
      this.#held = piece.slice(end)
      this.length += piece.length - start
    }
    // Whatever follows it, a character that is not of the alphabet, nor padding, is invalid where it stands.
    const outside = findOutside(this.#held, 0, this.#held.length)
    if (outside !== undefined && /[^=]/.test(this.#held.slice(outside.offset))) {
      this.#fail(outside, this.length - this.#held.length)
    }
    return written
  }

  /** The end: decodes what was held back. A length that is not a multiple of 4 is `invalid` without a place. */
  end(target: Buffer, offset: number): number {
    if (this.invalid !== undefined) return 0
    if (this.length % 4 !== 0) {
      this.invalid = { reason: "Length", offset: this.length }
      return 0
    }
    return this.#decode(this.#held, 0, 4, true, this.length - 4, target, offset)
  }

  #decode(text: string, start: number, end: number, last: boolean, base: number, target: Buffer, offset: number) {
    let written = 0
    for (let from = start; from < end; from += characters) {
      const to = Math.min(from + characters, end)
      const decoded = decodeGroups(text, from, to, last, target, offset + written)
      if (decoded < 0) {
        const invalid = findInvalid(text, from, to, last)
        this.#fail(invalid, base - start)
        const group = from + Math.floor((invalid.offset - from) / 4) * 4
        return written + decodeGroups(text, from, group, false, target, offset + written)
      }
      written += decoded
    }
    return written
  }

  #fail({ offset, reason }: Invalid, base: number): void {
    this.invalid = { reason, offset: base + offset }
  }
}
