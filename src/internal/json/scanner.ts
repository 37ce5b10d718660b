/**
 * Finds one string in a JSON text (RFC 8259) without parsing the rest, in pieces of any length.
 *
 * It knows strings, escapes, nesting and keys, and nothing else of the grammar: what it passes over is parsed by
 * `JSON.parse` afterwards, and what is not JSON is refused then. All that must hold is that both see the same strings,
 * and that they do up to the first place where the text is not JSON.
 */

/** How deep objects and arrays may be nested. */
export const maxDepth = 128

/** UTF-8 bytes or UTF-16 code units: whatever means something to JSON is one of either. */
export type Units = Uint8Array | Uint16Array

export type Stop = "Value" | "TooDeep" | undefined

const quote = 0x22
const backslash = 0x5c

export class Scanner {
  readonly #path: ReadonlyArray<string>
  readonly #textOf: (units: ReadonlyArray<number>) => string
  /** A key written with more units than this, each as an escape of six, is none of the path. */
  readonly #maxKey: number
  #depth = 0
  /** How many of the open containers, from the outermost, are objects on the path. */
  #onPath = 0
  #inString = false
  #escaped = false
  #expectsKey = false
  /** Units of a key that may be on the path. */
  #key: Array<number> | undefined
  /** Whether the key of the member that is being read is the path's next name. */
  #keyMatches = false
  /** Why the last scan stopped before the end of what it was given. */
  stop: Stop = undefined

  /**
   * `path` names the keys that lead to the string, from the outermost object; `textOf` is what the units of a key say.
   */
  constructor(path: ReadonlyArray<string>, textOf: (units: ReadonlyArray<number>) => string) {
    this.#path = path
    this.#textOf = textOf
    this.#maxKey = 6 * Math.max(...path.map((name) => name.length))
  }

  /** How many objects and arrays are open. */
  get depth(): number {
    return this.#depth
  }

  /**
   * Reads the units and answers how many. It stops behind the opening quote of a string that the path leads to
   * (`Value`), to go on behind its closing quote; and where the nesting is too deep.
   */
  scan(units: Units): number {
    this.stop = undefined
    let at = 0
    while (at < units.length) {
      const unit = units[at++]
      if (this.#inString) {
        this.#readString(unit as number)
        continue
      }
      switch (unit) {
        case quote:
          if (this.#isValueOnPath() && this.#depth === this.#path.length) {
            this.stop = "Value"
            return at
          }
          this.#inString = true
          this.#key = this.#expectsKey ? [] : undefined
          break
        case 0x7b: // {
        case 0x5b: // [
          if (unit === 0x7b && this.#depth < this.#path.length && (this.#depth === 0 || this.#isValueOnPath())) {
            this.#onPath++
          }
          if (++this.#depth > maxDepth) {
            this.stop = "TooDeep"
            return at
          }
          this.#begin()
          break
        case 0x7d: // }
        case 0x5d: // ]
          if (this.#depth > 0) this.#depth--
          this.#onPath = Math.min(this.#onPath, this.#depth)
          break
        case 0x2c: // ,
          this.#begin()
          break
        case 0x3a: // :
          this.#expectsKey = false
          break
      }
    }
    return at
  }

  /** A member begins: where the innermost container is on the path, with a key that may be too. */
  #begin(): void {
    this.#expectsKey = this.#depth > 0 && this.#onPath === this.#depth
    this.#keyMatches = false
  }

  #isValueOnPath(): boolean {
    return this.#keyMatches && !this.#expectsKey
  }

  #readString(unit: number): void {
    if (this.#escaped) {
      this.#escaped = false
    } else if (unit === backslash) {
      this.#escaped = true
    } else if (unit === quote) {
      this.#inString = false
      if (this.#key !== undefined) this.#keyMatches = this.#isNext(this.#key)
      this.#key = undefined
      return
    }
    if (this.#key !== undefined && this.#key.push(unit) > this.#maxKey) this.#key = undefined
  }

  /** Whether the key is the path's next name. */
  #isNext(key: ReadonlyArray<number>): boolean {
    const text = this.#textOf(key)
    const name = this.#path[this.#depth - 1]
    if (!text.includes("\\")) return text === name
    try {
      return JSON.parse(`"${text}"`) === name
    } catch {
      return false
    }
  }
}
