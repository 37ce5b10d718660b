import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { Buffer } from "node:buffer"
import { maxDepth, Scanner, type Units } from "../../../../src/internal/json/scanner.js"
import { compile, type Path as Places, type ShapePlaces } from "../../../../src/internal/places.js"
import { type Path, reference, type Stop } from "../../../utils/jsonReference.js"

const textOf = (units: ReadonlyArray<number>): string => Buffer.from(units).toString()

/** A scanner for the payload at a path. */
const scannerAt = (at: Places, decodeKey: (units: ReadonlyArray<number>) => string): Scanner<ShapePlaces> =>
  new Scanner(compile([{ at, data: [{ at: ["data"], form: "base64" }], fields: [["mime"], ["name"]] }]), decodeKey)

/** Where the scanner stops, but for the brackets of the image. Passes over the data, as its caller does. */
const scan = (units: Units, scanner: Scanner<ShapePlaces>, size: number): ReadonlyArray<Stop> => {
  const stops: Array<Stop> = []
  let at = 0
  while (at < units.length) {
    at += scanner.scan(units.subarray(at, at + size))
    if (scanner.stop === undefined || scanner.stop === "Image" || scanner.stop === "ImageEnd") continue
    stops.push([scanner.stop, at])
    if (scanner.stop !== "Data") break
    let escaped = false
    while (at < units.length && (escaped || units[at] !== 0x22)) {
      escaped = !escaped && units[at] === 0x5c
      at++
    }
    at++
  }
  return stops
}

const escapeAll = (text: string): string =>
  Array.from({ length: text.length }, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")

/** The same string with none, or all, of its units escaped. */
const written = (text: string) =>
  FastCheck.constantFrom(JSON.stringify(text), JSON.stringify(text), `"${escapeAll(text)}"`)

const keys = ["a", "b", "long name", "data", "mime", "name", "", "\"", "\\", "a\\", "datas", "ata", "__proto__"]

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
  [],
  ["a"],
  ["a", "b"],
  ["a", "a", "a"],
  ["data"],
  ["data", "data"],
  ["name"],
  ["long name", "a"],
  [""],
  ["\""],
  ["\\"],
  ["a\\", "a"],
  ["__proto__"],
  ["é😀"]
)

/** A document that mostly leads along the path. Half of the keys on the path may be duplicates. */
const documents = paths.chain((path) =>
  [...path, "data"].reduceRight<FastCheck.Arbitrary<string>>(
    (inner, name) =>
      FastCheck.tuple(
        FastCheck.uniqueArray(FastCheck.tuple(FastCheck.constantFrom(...keys), json), {
          maxLength: 2,
          selector: ([key]) => key
        }).chain((members) =>
          FastCheck.tuple(...members.map(([key, value]) => FastCheck.tuple(written(key), FastCheck.constant(value))))
        ),
        FastCheck.array(FastCheck.tuple(written(name), FastCheck.oneof({ weight: 3, arbitrary: inner }, json)), {
          maxLength: 2
        }),
        FastCheck.array(FastCheck.tuple(FastCheck.constantFrom(...keys).chain(written), json), { maxLength: 1 })
      ).map((members) => `{${members.flat().map(([key, value]) => `${key}:${value}`).join(",")}}`),
    json
  ).map((text) => ({ path, text }))
)

const sizes = FastCheck.constantFrom(1, 2, 7, 1000)

describe("Scanner", () => {
  it.prop("stops at the data and at duplicate keys, however the text is cut", [documents, sizes], (
    [{ path, text }, size]
  ) => {
    const { end, stops } = reference(text, path)
    assert.strictEqual(end, Infinity)
    const codes = Uint16Array.from({ length: text.length }, (_, at) => text.charCodeAt(at))
    const ofCodes = scannerAt(path, (units) => String.fromCharCode(...units))
    assert.deepStrictEqual(scan(codes, ofCodes, size), stops)
    const scanner = scannerAt(path, textOf)
    const inBytes = stops.map(([stop, at]): Stop => [stop, Buffer.byteLength(text.slice(0, at))])
    assert.deepStrictEqual(scan(Buffer.from(text), scanner, size), inBytes)
    if (stops.every(([stop]) => stop === "Data")) assert.strictEqual(scanner.closing, "")
  }, { fastCheck: { numRuns: 3000 } })

  it.prop("stops at the same places before the first one that is not JSON", [
    documents,
    sizes,
    FastCheck.nat(60),
    FastCheck.constantFrom(..."\"\\{}[],:x", "", "\"\"", "\"data\"", "{}")
  ], ([{ path, text }, size, place, damage]) => {
    const at = Math.min(place, text.length)
    const damaged = text.slice(0, at) + damage + text.slice(at + 1)
    const { end, stops } = reference(damaged, path)
    const codes = Uint16Array.from({ length: damaged.length }, (_, at) => damaged.charCodeAt(at))
    const found = scan(codes, scannerAt(path, (units) => String.fromCharCode(...units)), size)
    assert.deepStrictEqual(found.filter((stop) => stop[1] <= end), stops)
    assert.isAtMost(found.filter(([stop]) => stop === "Data").length, 1)
  }, { fastCheck: { numRuns: 3000 } })

  it.each([
    ["a second string behind the data", "{\"data\":\"1\"\"2\"}"],
    ["a second colon behind the data", "{\"data\":\"1\":\"2\"}"],
    ["a string behind the object", "{\"data\":\"1\"}\"2\""]
  ])("stops at the data once in a text that is not JSON: %s", (_, text) => {
    assert.deepStrictEqual(scan(Buffer.from(text), scannerAt([], textOf), 1000), [["Data", 9]])
  })

  it.each(
    [
      ["data", [], "{\"data\":1,\"data\":2}", 16],
      ["mime", [], "{\"mime\":1,\"d\":{},\"mime\":2}", 23],
      ["name", [], "{\"name\":1,\"nam\\u0065\":2}", 21],
      ["an escaped key", [], "{\"\\u0064\\u0061\\u0074\\u0061\":1,\"data\":2}", 36],
      ["a key on the path", ["a", "b"], "{\"a\":{\"b\":1,\"b\":2}}", 15],
      ["the outermost key on the path", ["a", "b"], "{\"a\":null,\"a\":{}}", 13]
    ] as const
  )("stops at the second occurrence of %s", (_, path, text, at) => {
    for (const size of [1, 3, 1000]) {
      assert.deepStrictEqual(
        scan(Buffer.from(text), scannerAt(path, textOf), size).filter(([stop]) => stop !== "Data"),
        [["DuplicateKey", at]]
      )
    }
  })

  it.each(
    [
      ["beside the path", ["a"], "{\"data\":1,\"data\":2,\"b\":1,\"b\":2,\"mime\":1,\"mime\":2}"],
      ["in an object beside the path", ["a"], "{\"b\":{\"a\":1,\"a\":2},\"a\":{}}"],
      ["in an array", ["a"], "{\"a\":[{\"data\":1,\"data\":2}]}"],
      ["below the payload", [], "{\"data\":{\"data\":1,\"data\":2},\"name\":[{\"mime\":1,\"mime\":2}]}"],
      ["in an outermost array", [], "[{\"data\":1,\"data\":2}]"],
      ["of the payload that has no meaning", [], "{\"bytes\":1,\"bytes\":2,\"\":1,\"\":2,\"Data\":1,\"Data\":2}"]
    ] as const
  )("leaves other duplicate keys to JSON.parse: %s", (_, path, text) => {
    assert.deepStrictEqual(scan(Buffer.from(text), scannerAt(path, textOf), 1000), [])
  })

  it.each([
    ["a wrong escape in a key", "{\"\\x\":\"1\",\"data\":\"2\"}", 18],
    ["an incomplete escape in a key", "{\"\\u00\":\"1\",\"data\":\"2\"}", 20]
  ])("continues behind %s", (_, text, at) => {
    assert.deepStrictEqual(scan(Buffer.from(text), scannerAt([], textOf), 1000), [["Data", at]])
  })

  it.each(["]", "}}", "[]]"])("counts no nesting below the outermost container: %s", (text) => {
    const scanner = scannerAt(["a"], textOf)
    scanner.scan(Buffer.from(text))
    assert.strictEqual(scanner.scan(Buffer.from("[".repeat(maxDepth))), maxDepth)
    assert.isUndefined(scanner.stop)
    assert.strictEqual(scanner.scan(Buffer.from("[[[")), 1)
    assert.strictEqual(scanner.stop, "TooDeep")
  })

  it.each([
    ["an object beside the path", "{\"b\":{\"k\":1},\"a\":1}", ["b", "a"]],
    ["an object below the payload", "{\"a\":{\"data\":{\"k\":1}}}", ["a", "data"]],
    ["an array", "{\"a\":[\"k\",{\"k\":1},[\"k\"]],\"b\":1}", ["a", "b"]],
    ["an outermost array", "[\"k\",{\"k\":1}]", []],
    ["values", "{\"a\":\"k\",\"b\":\"k\"}", ["a", "b"]],
    ["an outermost value", "\"k\"", []],
    ["text behind the outermost value", "{\"a\":1},\"k\"", ["a"]]
  ])("decodes the keys of objects on the path only: %s", (_, text, keys) => {
    const read: Array<string> = []
    const scanner = scannerAt(["a"], (units) => {
      read.push(textOf(units))
      return textOf(units)
    })
    scan(Buffer.from(text), scanner, 1000)
    assert.deepStrictEqual(read, keys)
  })

  it("keeps at most as many units of a key as a key on the path can have", () => {
    let longest = 0
    const make = () =>
      scannerAt(["a"], (units) => {
        longest = Math.max(longest, units.length)
        return textOf(units)
      })
    for (const length of [3, 23, 24, 25, 10_000]) make().scan(Buffer.from(`{"${"k".repeat(length)}":1}`))
    assert.strictEqual(longest, 24)
    const scanner = make()
    const value = `{"a":{"${escapeAll("data")}":"`
    assert.deepStrictEqual(scan(Buffer.from(`${value}1"}}`), scanner, 1000), [["Data", value.length]])
  })
})
