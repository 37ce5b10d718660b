/** The places in a JSON message at which a scanner stops, by a recursive parser. */
import type { ScanStop } from "../../src/internal/json/scanner.js"

export type Path = ReadonlyArray<string>

/** Where a scan stops: its reason, and the number of units before it. */
export type Stop = readonly [NonNullable<ScanStop>, number]

export interface Reference {
  readonly stops: ReadonlyArray<Stop>
  /** Where the text is not JSON; `Infinity` where it is. */
  readonly end: number
}

/** The first stops of a scan, by a recursive parser for RFC 8259. */
export const reference = (json: string, path: Path): Reference => {
  const stops: Array<Stop> = []
  let isRefused = false
  let at = 0
  const take = (pattern: RegExp): string => {
    pattern.lastIndex = at
    const [text] = pattern.exec(json) ?? []
    if (text === undefined) throw new SyntaxError("unexpected")
    at += text.length
    return text
  }
  const space = () => take(/[ \t\n\r]*/y)
  const string = (): string => {
    take(/"/y)
    // Bun matches no group millions of times, so that only escapes are one.
    // oxlint-disable-next-line no-control-regex -- RFC 8259 section 7: these may not stand in a string
    const rest = /[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y
    return JSON.parse(`"${take(rest)}`)
  }
  const members = (close: RegExp, member: () => void): void => {
    space()
    if (json[at] === "}" || json[at] === "]") {
      take(close)
      return
    }
    for (;;) {
      member()
      space()
      if (json[at] !== ",") break
      at++
    }
    take(close)
  }
  const keysOf = (keys: Path | undefined): Path => {
    if (keys === undefined || !keys.every((key, i) => key === path[i])) return []
    return keys.length === path.length ? ["mime", "name", "data"] : path.slice(keys.length, keys.length + 1)
  }
  /** `keys` lead here through objects only; `undefined` in an array. */
  const value = (keys: Path | undefined): void => {
    space()
    if (json[at] === "{") {
      at++
      const seen = new Set<string>()
      members(/\}/y, () => {
        space()
        const key = string()
        if (keysOf(keys).includes(key)) {
          if (seen.has(key)) {
            stops.push(["DuplicateKey", at])
            isRefused = true
            throw new SyntaxError("duplicate")
          }
          seen.add(key)
        }
        space()
        take(/:/y)
        value(keys === undefined ? undefined : [...keys, key])
      })
    } else if (json[at] === "[") {
      at++
      members(/\]/y, () => value(undefined))
    } else if (json[at] === "\"") {
      const toData = [...path, "data"]
      if (keys?.length === toData.length && keys.every((key, i) => key === toData[i])) stops.push(["Data", at + 1])
      string()
    } else {
      take(/true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y)
    }
  }
  try {
    value([])
    space()
  } catch {
    return { stops, end: isRefused ? Infinity : at }
  }
  return { stops, end: at === json.length ? Infinity : at }
}
