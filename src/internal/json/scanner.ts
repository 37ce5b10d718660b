/**
 * Finds the payload's `data` in a JSON message (RFC 8259) without parsing the rest, in chunks of any length.
 *
 * The scanner knows strings, escapes, nesting and keys, and nothing else of the grammar: `JSON.parse` reads the rest of
 * the message afterwards and refuses invalid JSON. Both see the same strings up to the first place where the text is
 * not JSON.
 */
import { unescape } from "./unescape.js"

/** The deepest nesting of objects and arrays. */
export const maxDepth = 128

/** UTF-8 bytes or UTF-16 code units: each character of JSON's grammar is one of either. */
export type Units = Uint8Array | Uint16Array

/**
 * Why a scan stopped: the opening quote of `data`, nesting above {@link maxDepth}, or a key on the path or of the payload
 * that occurs twice.
 */
export type ScanStop = "Data" | "TooDeep" | "DuplicateKey" | undefined

/** The payload's keys that may occur once. */
const payloadKeys = ["mime", "name", "data"] as const

const quote = 0x22
const backslash = 0x5c

/** An escape has six units. */
const unitsPerCharacter = 6

export class Scanner {
  /** For each object on the path, from the outermost, the keys that may occur once; the first leads to the data. */
  readonly #keys: ReadonlyArray<ReadonlyArray<string>>
  readonly #seen: ReadonlyArray<Set<string>>
  readonly #decodeKey: (units: ReadonlyArray<number>) => string
  /** A longer key matches no name, even if each of its characters is escaped. */
  readonly #maxKeyUnits: number
  #depth = 0
  /** How many of the open containers, from the outermost, are the objects on the path. */
  #depthOnPath = 0
  #inString = false
  #escaped = false
  #expectsKey = false
  /** The units of a key of an object on the path. */
  #key: Array<number> | undefined
  /** Whether the member that is being read is the next one on the path. */
  #isMemberOnPath = false
  /** Why the last scan stopped before the end of its units. */
  stop: ScanStop = undefined

  /** `at` are the keys that lead to the payload, from the outermost object; `decodeKey` the text of a key's units. */
  constructor(at: ReadonlyArray<string>, decodeKey: (units: ReadonlyArray<number>) => string) {
    this.#keys = [...at.map((key) => [key]), ["data", ...payloadKeys]]
    this.#seen = this.#keys.map(() => new Set<string>())
    this.#decodeKey = decodeKey
    this.#maxKeyUnits = unitsPerCharacter * Math.max(...this.#keys.flat().map((key) => key.length))
  }

  /** How many objects and arrays are open. */
  get depth(): number {
    return this.#depth
  }

  /**
   * Reads the units and answers how many. Stops behind the opening quote of the data, to continue behind its closing
   * quote; and where the message is to be refused.
   */
  scan(units: Units): number {
    this.stop = undefined
    let at = 0
    while (at < units.length) {
      // `at` is below the length.
      const unit = units[at++] as number
      if (this.#inString) {
        this.#readString(unit)
        if (this.stop !== undefined) return at
        continue
      }
      switch (unit) {
        case quote:
          if (this.#isValueOnPath() && this.#depth === this.#keys.length) {
            // A second string behind the first is not JSON, and not data.
            this.#isMemberOnPath = false
            this.stop = "Data"
            return at
          }
          this.#inString = true
          this.#key = this.#expectsKey ? [] : undefined
          break
        case 0x7b: // {
        case 0x5b: // [
          if (unit === 0x7b && this.#depth < this.#keys.length && (this.#depth === 0 || this.#isValueOnPath())) {
            this.#depthOnPath++
          }
          if (++this.#depth > maxDepth) {
            this.stop = "TooDeep"
            return at
          }
          this.#beginMember()
          break
        case 0x7d: // }
        case 0x5d: // ]
          if (this.#depth > 0) this.#depth--
          this.#depthOnPath = Math.min(this.#depthOnPath, this.#depth)
          break
        case 0x2c: // ,
          this.#beginMember()
          break
        case 0x3a: // :
          this.#expectsKey = false
          break
      }
    }
    return at
  }

  /** A member has a key that matters where the innermost container is an object on the path. */
  #beginMember(): void {
    this.#expectsKey = this.#depth > 0 && this.#depthOnPath === this.#depth
    this.#isMemberOnPath = false
  }

  #isValueOnPath(): boolean {
    return this.#isMemberOnPath && !this.#expectsKey
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
    const keys = this.#keys[this.#depth - 1] ?? []
    const seen = this.#seen[this.#depth - 1]
    const key = unescape(this.#decodeKey(units))
    if (seen === undefined || key === undefined || !keys.includes(key)) return
    if (seen.has(key)) this.stop = "DuplicateKey"
    seen.add(key)
    this.#isMemberOnPath = key === keys[0]
  }
}
