/** Reads the beginning of a JSON string that may be a data URL, up to the comma behind which its base64 begins. */
import { maxPrefixLength, readHead } from "../dataUrl.js"
import type { Form } from "../places.js"
import type { MessageText } from "./text.js"
import { unescape } from "./unescape.js"

const quote = 0x22
const backslash = 0x5c
const comma = ","

/** An escape of JSON has two characters, or six where the second is `u`. */
const isComplete = (escape: string): boolean => escape.length === 6 || escape.length === 2 && escape[1] !== "u"

const isBlank = (character: string): boolean => character <= " "

/**
 * - `dataUrl`: base64 follows
 * - `text`: no URL; the string is base64 from its beginning on
 * - `other`: neither
 * - `malformed`: no string of JSON
 */
export type Head = "more" | "dataUrl" | "text" | "other" | "malformed"

export class HeadReader {
  readonly #text: MessageText<never>
  readonly #form: Form
  /** The characters so far. In place of each that is not ASCII stands some other that is not. */
  characters = ""
  #escape = ""

  constructor(text: MessageText<never>, form: Form) {
    this.#text = text
    this.#form = form
  }

  /** Reads on in the chunk at hand: to its end, or until the string is known. Passes over the characters that it has read. */
  read(): Head {
    while (true) {
      const unit = this.#text.peek()
      if (unit === undefined) return "more"
      if (this.#escape !== "" || unit === backslash) {
        this.#escape += String.fromCharCode(unit)
        this.#text.skip(1)
        if (!isComplete(this.#escape)) continue
        const character = unescape(this.#escape)
        this.#escape = ""
        if (character === undefined) return "malformed"
        this.characters += character
      } else if (unit === quote) {
        return this.#decide(true) ?? "other"
      } else if (unit < 0x20) {
        return "malformed"
      } else if (unit >= 0x80 && !this.#hasScheme) {
        return this.#asText
      } else {
        this.#text.skip(1)
        this.#add(unit)
      }
      const decided = this.#mayTell ? this.#decide(false) : undefined
      if (decided !== undefined) return decided
    }
  }

  /** Adds a unit: of a character's bytes of UTF-8, the first counts as all of it, and as two units where there are four. */
  #add(unit: number): void {
    if (!this.#text.isUtf8 || unit < 0x80) this.characters += String.fromCharCode(unit)
    else if (unit >= 0xf0) this.characters += "\ufffd\ufffd"
    else if (unit >= 0xc0) this.characters += "\ufffd"
  }

  /** Whether the string begins with the scheme of data URLs: every other one is known by its colon. */
  get #hasScheme(): boolean {
    return this.characters.includes(":")
  }

  /** Whether the last character may decide the kind of the string. */
  get #mayTell(): boolean {
    const last = this.characters.at(-1) ?? ""
    return this.characters.length >= maxPrefixLength ||
      (this.#hasScheme ? last === comma || last === ":" : !isBlank(last))
  }

  get #asText(): Head {
    return this.#form === "either" ? "text" : "other"
  }

  #decide(isWhole: boolean): Head | undefined {
    const head = readHead(this.characters, isWhole)
    switch (head._tag) {
      case "Undecided":
        return undefined
      case "Base64Url":
        return "dataUrl"
      case "Url":
        return "other"
      case "Text":
        return this.#asText
    }
  }
}
