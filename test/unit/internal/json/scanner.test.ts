import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { Buffer } from "node:buffer"
import { maxDepth, Scanner, type Units } from "../../../../src/internal/json/scanner.js"

type Path = ReadonlyArray<string>

/** Where, by RFC 8259 read from the left, the strings begin that the path leads to, and where the text is wrong. */
const reference = (json: string, path: Path): { readonly values: ReadonlyArray<number>; readonly end: number } => {
  const values: Array<number> = []
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
    // oxlint-disable-next-line no-control-regex -- RFC 8259 section 7: these may not stand in a string
    return JSON.parse(`"${take(/(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y)}`)
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
  /** `keys` lead here through objects only; there are none behind an array. */
  const value = (keys: Path | undefined): void => {
    space()
    if (json[at] === "{") {
      at++
      members(/\}/y, () => {
        space()
        const key = string()
        space()
        take(/:/y)
        value(keys === undefined ? undefined : [...keys, key])
      })
    } else if (json[at] === "[") {
      at++
      members(/\]/y, () => value(undefined))
    } else if (json[at] === "\"") {
      if (keys?.length === path.length && keys.every((key, i) => key === path[i])) values.push(at + 1)
      string()
    } else {
      take(/true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y)
    }
  }
  try {
    value([])
    space()
  } catch {
    return { values, end: at }
  }
  return { values, end: at === json.length ? Infinity : at }
}

const textOf = (units: ReadonlyArray<number>): string => Buffer.from(units).toString()

/** Where the scanner finds strings that the path leads to. What it is not to scan of them is passed over. */
const scan = (units: Units, scanner: Scanner, size: number): ReadonlyArray<number> => {
  const values: Array<number> = []
  let at = 0
  while (at < units.length) {
    at += scanner.scan(units.subarray(at, at + size))
    if (scanner.stop === "TooDeep") break
    if (scanner.stop === "Value") {
      values.push(at)
      let escaped = false
      while (at < units.length && (escaped || units[at] !== 0x22)) {
        escaped = !escaped && units[at] === 0x5c
        at++
      }
      at++
    }
  }
  return values
}

const escapeAll = (text: string): string =>
  Array.from({ length: text.length }, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")

/** The same string with none, or all, of its units escaped. */
const written = (text: string) =>
  FastCheck.constantFrom(JSON.stringify(text), JSON.stringify(text), `"${escapeAll(text)}"`)

const keys = ["a", "b", "long name", "data", "", "\"", "\\", "a\\", "datas", "ata"]

const { json } = FastCheck.letrec<{ json: string; value: string }>((tie) => ({
  value: FastCheck.oneof(
    { maxDepth: 5, depthSize: "small" },
    { weight: 3, arbitrary: FastCheck.constantFrom(...keys).chain(written) },
    { weight: 1, arbitrary: FastCheck.constantFrom("1", "-0.5e3", "true", "null", "[]", "{}", "\"{\\\"a\\\":[\"") },
    { weight: 2, arbitrary: FastCheck.array(tie("value"), { maxLength: 3 }).map((values) => `[${values.join()}]`) },
    {
      weight: 5,
      arbitrary: FastCheck.array(
        FastCheck.tuple(FastCheck.constantFrom(...keys.slice(0, 4), ...keys).chain(written), tie("value")),
        { maxLength: 4 }
      ).map((members) => `{${members.map(([key, value]) => `${key}:${value}`).join(",")}}`)
    }
  ),
  json: tie("value")
}))

const paths = FastCheck.constantFrom<Path>(
  ["data"],
  ["a", "data"],
  ["a", "b"],
  ["a", "a", "a"],
  ["data", "data"],
  ["long name", "a"],
  ["a", "long name"],
  [""],
  ["\""],
  ["\\"],
  ["a\\", "a"]
)

/** A document that leads along the path, mostly. */
const documents = paths.chain((path) =>
  path.reduceRight<FastCheck.Arbitrary<string>>(
    (inner, name) =>
      FastCheck.tuple(
        FastCheck.array(FastCheck.tuple(FastCheck.constantFrom(...keys).chain(written), json), { maxLength: 2 }),
        FastCheck.array(FastCheck.tuple(written(name), FastCheck.oneof({ weight: 3, arbitrary: inner }, json)), {
          maxLength: 2
        }),
        FastCheck.array(FastCheck.tuple(FastCheck.constantFrom(...keys).chain(written), json), { maxLength: 2 })
      ).map((members) => `{${members.flat().map(([key, value]) => `${key}:${value}`).join(",")}}`),
    json
  ).map((text) => ({ path, text }))
)

const sizes = FastCheck.constantFrom(1, 2, 7, 1000)

describe("jsonScanner", () => {
  it.prop("finds the strings that the path leads to, and no others, however the text is cut", [documents, sizes], (
    [{ path, text }, size]
  ) => {
    const { end, values } = reference(text, path)
    assert.strictEqual(end, Infinity)
    const scanner = new Scanner(path, textOf)
    assert.deepStrictEqual(scan(Buffer.from(text), scanner, size), values)
    assert.strictEqual(scanner.depth, 0)
    const codes = Uint16Array.from(text, (unit) => unit.charCodeAt(0))
    const ofCodes = new Scanner(path, (units) => String.fromCharCode(...units))
    assert.deepStrictEqual(scan(codes, ofCodes, size), values)
  }, { fastCheck: { numRuns: 3000 } })

  it.prop("finds the same up to the place where a text is not JSON", [
    documents,
    sizes,
    FastCheck.nat(60),
    FastCheck.constantFrom(..."\"\\{}[],:x", "")
  ], ([{ path, text }, size, place, damage]) => {
    const at = Math.min(place, text.length)
    const damaged = text.slice(0, at) + damage + text.slice(at + 1)
    const { end, values } = reference(damaged, path)
    const found = scan(Buffer.from(damaged), new Scanner(path, textOf), size)
    assert.deepStrictEqual(found.filter((value) => value <= end), values)
  }, { fastCheck: { numRuns: 3000 } })

  it.each([
    ["a bad escape in a key", "{\"\\x\":\"1\",\"data\":\"2\"}", 18],
    ["a cut escape in a key", "{\"\\u00\":\"1\",\"data\":\"2\"}", 20]
  ])("goes on behind %s", (_, text, at) => {
    assert.deepStrictEqual(scan(Buffer.from(text), new Scanner(["data"], textOf), 1000), [at])
  })

  it.each(["]", "}}", "[]]"])("counts nothing behind the end of the outermost container: %s", (text) => {
    const scanner = new Scanner(["data"], textOf)
    scanner.scan(Buffer.from(text))
    assert.strictEqual(scanner.depth, 0)
    assert.strictEqual(scanner.scan(Buffer.from("[".repeat(maxDepth))), maxDepth)
    assert.isUndefined(scanner.stop)
    assert.strictEqual(scanner.scan(Buffer.from("[[[")), 1)
    assert.strictEqual(scanner.stop, "TooDeep")
  })

  it.each([
    ["an object that the path does not lead to", "{\"b\":{\"k\":1},\"a\":1}", ["b", "a"]],
    ["an object behind the end of the path", "{\"a\":{\"data\":{\"k\":1}}}", ["a", "data"]],
    ["an array", "{\"a\":[\"k\",{\"k\":1},[\"k\"]],\"b\":1}", ["a", "b"]],
    ["an outermost array", "[\"k\",{\"k\":1}]", []],
    ["values", "{\"a\":\"k\",\"b\":\"k\"}", ["a", "b"]],
    ["an outermost value", "\"k\"", []],
    ["what is behind the outermost value", "{\"a\":1},\"k\"", ["a"]]
  ])("looks at the keys of objects on the path alone: %s", (_, text, keys) => {
    const read: Array<string> = []
    const scanner = new Scanner(["a", "data"], (units) => {
      read.push(textOf(units))
      return textOf(units)
    })
    scan(Buffer.from(text), scanner, 1000)
    assert.deepStrictEqual(read, keys)
  })

  it("keeps no more of a key than one of the path can have", () => {
    let longest = 0
    const scanner = new Scanner(["a", "data"], (units) => {
      longest = Math.max(longest, units.length)
      return textOf(units)
    })
    for (const length of [3, 23, 24, 25, 10_000]) scanner.scan(Buffer.from(`{"${"k".repeat(length)}":1}`))
    assert.strictEqual(longest, 24)
    const value = `{"a":{"${escapeAll("data")}":"`
    assert.strictEqual(scanner.scan(Buffer.from(`${value}1"}}`)), value.length)
    assert.strictEqual(scanner.stop, "Value")
  })
})
