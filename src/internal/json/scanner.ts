/**
 * Finds the images of a JSON message (RFC 8259) and their texts without parsing the rest, in chunks of any length.
 *
 * The scanner knows strings, escapes, nesting, keys and the order of items, and nothing else of the grammar: `JSON.parse`
 * reads the rest of the message afterwards and refuses invalid JSON. Both see the same strings up to the first place where
 * the text is not JSON.
 */
import { itemOf, type Place, type Places } from "../places.js"
import { unescape } from "./unescape.js"

/** The deepest nesting of objects and arrays. */
export const maxDepth = 128

/** UTF-8 bytes or UTF-16 code units: each character of JSON's grammar is one of either. */
export type Units = Uint8Array | Uint16Array

/**
 * Why a scan stopped:
 *
 * - `Image`, `ImageEnd`: the bracket that opens or closes the value of an image
 * - `Data`: the opening quote of an image's text
 * - `TooDeep`: nesting above {@link maxDepth}
 * - `DuplicateKey`: a key that may occur once, for the second time
 */
export type ScanStop = "Image" | "ImageEnd" | "Data" | "TooDeep" | "DuplicateKey" | undefined

const quote = 0x22
const backslash = 0x5c
const openingBrace = 0x7b
const openingBracket = 0x5b

/** An escape has six units. */
const unitsPerCharacter = 6

/** An open object or array that has a place. */
interface Container<S> {
  readonly place: Place<S>
  readonly isArray: boolean
  /** The index of the item that is being read. */
  index: number
  /** The keys so far of those that may occur once. */
  seen: Set<string> | undefined
}

/** Whether an object or array at the place matters. */
const leadsOn = <S>({ each, items, members, shapes }: Place<S>): boolean =>
  shapes.length > 0 || members.size > 0 || items.size > 0 || each !== undefined

export class Scanner<S> {
  readonly #decodeKey: (units: ReadonlyArray<number>) => string
  /** A longer key matches no name, even if each of its characters is escaped. */
  readonly #maxKeyUnits: number
  #depth = 0
  /** The open containers that have a place, from the outermost: the others are inside of them. */
  readonly #path: Array<Container<S>> = []
  #inString = false
  #escaped = false
  #expectsKey = false
  /** The units of a key of a container that has a place. */
  #key: Array<number> | undefined
  /** The place of the value that comes next. */
  #next: Place<S> | undefined
  /** Why the last scan stopped before the end of its units. */
  stop: ScanStop = undefined
  /** The place of the image or text that the last scan stopped at. */
  place: Place<S> | undefined = undefined

  /** `decodeKey` gives the text of a key's units. */
  constructor({ maxKeyLength, root }: Places<S>, decodeKey: (units: ReadonlyArray<number>) => string) {
    this.#next = root
    this.#decodeKey = decodeKey
    this.#maxKeyUnits = unitsPerCharacter * maxKeyLength
  }

  /** The brackets that close the open containers, where all of them have a place. */
  get closing(): string {
    return this.#path.map(({ isArray }) => isArray ? "]" : "}").toReversed().join("")
  }

  /** Reads the rest of a text at which the last scan stopped, as a string like others. */
  readRest(): void {
    this.#inString = true
  }

  /**
   * Reads the units and answers how many. Stops behind the brackets of an image's value; behind the opening quote of its
   * text, to continue behind its closing quote; and where the message is to be refused.
   */
  scan(units: Units): number {
    this.stop = undefined
    let at = 0
    while (at < units.length) {
      // `at` is below the length.
      const unit = units[at++] as number
      if (this.#inString) {
        this.#readString(unit)
      } else {
        switch (unit) {
          case quote:
            this.#openString()
            break
          case openingBrace:
          case openingBracket:
            this.#open(unit === openingBracket)
            break
          case 0x7d: // }
          case 0x5d: // ]
            this.#close()
            break
          case 0x2c: // ,
            this.#beginMember()
            break
          case 0x3a: // :
            this.#expectsKey = false
            break
        }
      }
      if (this.stop !== undefined) return at
    }
    return at
  }

  /** The innermost container, if it has a place. */
  #innermost(): Container<S> | undefined {
    return this.#path.length === this.#depth ? this.#path[this.#depth - 1] : undefined
  }

  /** Takes the place of the value that begins: a second value behind it is not JSON, and has no place. */
  #take(): Place<S> | undefined {
    const place = this.#next
    this.#next = undefined
    return place
  }

  #openString(): void {
    if (this.#expectsKey) {
      this.#key = []
    } else {
      const place = this.#take()
      if (place?.text !== undefined) {
        this.place = place
        this.stop = "Data"
        return
      }
    }
    this.#inString = true
  }

  #open(isArray: boolean): void {
    const value = this.#take()
    const place = value !== undefined && leadsOn(value) ? value : undefined
    if (place !== undefined) this.#path.push({ place, isArray, index: 0, seen: undefined })
    if (++this.#depth > maxDepth) {
      this.stop = "TooDeep"
      return
    }
    this.#expectsKey = place !== undefined && !isArray
    if (place === undefined) return
    if (isArray) this.#next = itemOf(place, 0)
    if (place.shapes.length > 0) {
      this.place = place
      this.stop = "Image"
    }
  }

  #close(): void {
    this.#next = undefined
    this.#expectsKey = false
    if (this.#depth === 0) return
    const closed = this.#innermost()
    this.#depth--
    if (closed === undefined) return
    this.#path.pop()
    if (closed.place.shapes.length > 0) {
      this.place = closed.place
      this.stop = "ImageEnd"
    }
  }

  #beginMember(): void {
    const container = this.#innermost()
    this.#expectsKey = container?.isArray === false
    this.#next = container?.isArray === true ? itemOf(container.place, ++container.index) : undefined
  }

  #readString(unit: number): void {
    if (this.#escaped) {
      this.#escaped = false
    } else if (unit === backslash) {
      this.#escaped = true
    } else if (unit === quote) {
      this.#inString = false
      if (this.#key !== undefined) this.#endKey(this.#key)
      this.#key = undefined
      return
    }
    if (this.#key !== undefined && this.#key.push(unit) > this.#maxKeyUnits) this.#key = undefined
  }

  #endKey(units: ReadonlyArray<number>): void {
    const container = this.#innermost()
    const key = unescape(this.#decodeKey(units))
    const place = key === undefined ? undefined : container?.place.members.get(key)
    if (container === undefined || key === undefined || place === undefined) return
    container.seen ??= new Set()
    if (container.seen.has(key)) this.stop = "DuplicateKey"
    container.seen.add(key)
    this.#next = place
  }
}
