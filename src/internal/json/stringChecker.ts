/**
 * Checks the rest of a JSON string (RFC 8259 section 7) that is not to be decoded: that it is a string of JSON and, where
 * it comes as bytes, UTF-8 (RFC 3629). Counts its UTF-16 code units.
 */
import type { Units } from "./scanner.js"

const quote = 0x22
const backslash = 0x5c
const u = 0x75
/** As many as `wrongLength` of base64 looks at. */
const tailLength = 4

/** The characters of the escapes of one character, by the unit behind the backslash. */
const simpleEscapes: ReadonlyMap<number, number> = new Map([
  [quote, quote],
  [backslash, backslash],
  [0x2f, 0x2f],
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09]
])

const isHexDigit = (unit: number): boolean =>
  unit >= 0x30 && unit <= 0x39 || (unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x66 && unit < 0x80

/** Whether `unit` is a character of ASCII that counts as itself. A loop over these alone is twice as fast. */
const isPlain = (unit: number): boolean => unit >= 0x20 && unit < 0x80 && unit !== quote && unit !== backslash

/** The white space that an alphabet may drop. */
const isWhiteSpace = (unit: number): boolean =>
  unit === 0x20 || unit === 0x09 || unit === 0x0a || unit === 0x0c || unit === 0x0d

/** Outside of an escape, behind its backslash, or in its hex digits. */
type Place = "characters" | "escape" | "hex"

export class StringChecker {
  /** UTF-16 code units so far, without the white space that is dropped; an escape counts when it is complete. */
  length = 0
  /** Characters of white space that were dropped. */
  dropped = 0
  /** Whether the closing quote has been read. */
  ended = false
  /** Whether the text so far is not a string of JSON. */
  malformed = false
  /** The last four code units, a byte each, with 0x80 for those that are not ASCII. */
  #tail = 0
  #place: Place = "characters"
  #hexDigits = 0
  #hexValue = 0
  /** Continuation bytes that are still to come, and the bounds of the next one: RFC 3629 section 4. */
  #continuations = 0
  #lowest = 0x80
  #highest = 0xbf
  readonly #isUtf8: boolean

  readonly #dropsWhiteSpace: boolean

  constructor(isUtf8: boolean, dropsWhiteSpace = false) {
    this.#isUtf8 = isUtf8
    this.#dropsWhiteSpace = dropsWhiteSpace
  }

  /** The last characters of the text; in place of each that is not ASCII, some other that is not. */
  get tail(): string {
    const codes = [this.#tail >>> 24, this.#tail >>> 16 & 0xff, this.#tail >>> 8 & 0xff, this.#tail & 0xff]
    return String.fromCharCode(...codes.slice(tailLength - Math.min(this.length, tailLength)))
  }

  #keep(unit: number): void {
    this.#tail = this.#tail << 8 | Math.min(unit, 0x80)
  }

  /** Reads up to and with the closing quote; answers how many units that are. */
  push(units: Units): number {
    // `at` is below the length wherever a unit is read.
    let at = 0
    while (at < units.length) {
      const start = at
      if (this.#place === "characters" && this.#continuations === 0 && !this.#dropsWhiteSpace) {
        while (at < units.length && isPlain(units[at] as number)) at++
      }
      if (at > start) {
        this.length += at - start
        for (let last = Math.max(start, at - tailLength); last < at; last++) this.#keep(units[last] as number)
        continue
      }
      this.#read(units[at++] as number)
      if (this.ended || this.malformed) return at
    }
    return at
  }

  #read(unit: number): void {
    if (this.#continuations > 0) return this.#readContinuation(unit)
    switch (this.#place) {
      case "characters":
        return this.#readCharacter(unit)
      case "escape": {
        const character = simpleEscapes.get(unit)
        if (unit === u) {
          this.#place = "hex"
          this.#hexDigits = 0
          this.#hexValue = 0
        } else if (character !== undefined) {
          this.#place = "characters"
          this.#count(character)
        } else this.malformed = true
        return
      }
      case "hex":
        if (!isHexDigit(unit)) this.malformed = true
        // The low bits of a letter, `A` and `a` alike, are 1 to 6.
        this.#hexValue = this.#hexValue * 16 + (unit <= 0x39 ? unit - 0x30 : (unit & 0x7) + 9)
        this.#hexDigits += 1
        if (this.#hexDigits < 4) return
        this.#place = "characters"
        this.#count(this.#hexValue)
        return
    }
  }

  #readCharacter(unit: number): void {
    if (unit === quote) this.ended = true
    else if (unit === backslash) this.#place = "escape"
    else if (unit < 0x20) this.malformed = true
    else if (unit < 0x80 || !this.#isUtf8) this.#count(unit)
    else this.#readLead(unit)
  }

  #count(unit: number): void {
    if (this.#dropsWhiteSpace && isWhiteSpace(unit)) {
      this.dropped += 1
      return
    }
    this.length += 1
    this.#keep(unit)
  }

  #readLead(byte: number): void {
    if (byte >= 0xc2 && byte <= 0xdf) this.#expect(1, 0x80, 0xbf)
    else if (byte >= 0xe0 && byte <= 0xef) this.#expect(2, byte === 0xe0 ? 0xa0 : 0x80, byte === 0xed ? 0x9f : 0xbf)
    else if (byte >= 0xf0 && byte <= 0xf4) this.#expect(3, byte === 0xf0 ? 0x90 : 0x80, byte === 0xf4 ? 0x8f : 0xbf)
    else this.malformed = true
    // A character of four bytes is two code units.
    this.length += byte >= 0xf0 ? 2 : 1
    this.#keep(byte)
    if (byte >= 0xf0) this.#keep(byte)
  }

  #expect(continuations: number, lowest: number, highest: number): void {
    this.#continuations = continuations
    this.#lowest = lowest
    this.#highest = highest
  }

  #readContinuation(byte: number): void {
    if (byte < this.#lowest || byte > this.#highest) this.malformed = true
    this.#expect(this.#continuations - 1, 0x80, 0xbf)
  }
}
