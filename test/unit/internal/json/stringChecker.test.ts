import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { Buffer } from "node:buffer"
import type { Units } from "../../../../src/internal/json/scanner.js"
import { StringChecker } from "../../../../src/internal/json/stringChecker.js"

/** The text of a JSON string with this content. */
const parse = (content: string): string | undefined => {
  try {
    const value: unknown = JSON.parse(`"${content}"`)
    return typeof value === "string" ? value : undefined
  } catch {
    return undefined
  }
}

const decode = (bytes: Uint8Array): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

const codesOf = (text: string): Uint16Array => Uint16Array.from({ length: text.length }, (_, at) => text.charCodeAt(at))

/** Pushes the units in chunks of these sizes, over and over, to the end of the string. */
const check = (units: Units, sizes: ReadonlyArray<number>) => {
  const checker = new StringChecker(units instanceof Uint8Array)
  let at = 0
  for (let i = 0; at < units.length && !checker.ended && !checker.malformed; i++) {
    const size = sizes[i % sizes.length] ?? 1
    const read = checker.push(units.subarray(at, at + size))
    if (!checker.ended && !checker.malformed) assert.strictEqual(read, Math.min(size, units.length - at))
    at += read
  }
  return { checker, read: at }
}

/** The length of the string's content: up to its first quote that is not escaped. */
const contentLength = (units: Units): number => {
  let escaped = false
  for (let at = 0; at < units.length; at++) {
    if (!escaped && units[at] === 0x22) return at
    escaped = !escaped && units[at] === 0x5c
  }
  return units.length
}

const assertEqual = (units: Units, sizes: ReadonlyArray<number>) => {
  const length = contentLength(units)
  const content = units.subarray(0, length)
  const text = content instanceof Uint8Array ? decode(content) : String.fromCharCode(...content)
  const expected = text === undefined ? undefined : parse(text)
  const { checker, read } = check(units, sizes)
  if (length === units.length) {
    // The string has not ended: a prefix of a string is not malformed, and never ends.
    assert.isFalse(checker.ended)
    if (expected !== undefined) assert.isFalse(checker.malformed)
  } else {
    assert.strictEqual(checker.malformed, expected === undefined)
    assert.strictEqual(checker.ended, expected !== undefined)
  }
  if (expected === undefined) return
  assert.strictEqual(checker.length, expected.length)
  assert.strictEqual(checker.tail, expected.slice(-4).replace(/[^\0-\x7f]/g, "\x80"))
  assert.strictEqual(read, Math.min(length + 1, units.length))
}

const sizes = FastCheck.array(FastCheck.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 })

const parts = FastCheck.constantFrom(
  "A",
  "=",
  "==",
  "\\u003d",
  "\\u003D",
  "\\\"",
  "\\\\",
  "\\/",
  "\\n",
  "\\u00e9",
  "\\ud83d\\ude00",
  "\\uD83D",
  "\\u00",
  "\\u00g0",
  "\\u00\u0130",
  "\\x",
  "\\",
  "\n",
  "\u001f",
  "\u007f",
  "é",
  "€",
  "😀",
  "\ud83d",
  "\ude00",
  "\ufeff",
  "\u0161"
)

const rarely = (part: FastCheck.Arbitrary<string>) =>
  FastCheck.oneof({ weight: 6, arbitrary: FastCheck.constantFrom("A", "=", "\\u003d", "\\\"", "é", "😀", "\\n") }, part)

const texts = FastCheck.array(rarely(parts), { maxLength: 10 }).map((parts) => parts.join(""))

describe("StringChecker", () => {
  it.prop("accepts the strings of JSON.parse and counts their text, however they are cut", [
    texts,
    sizes,
    FastCheck.constantFrom("\"", "\"}\"", "")
  ], ([content, sizes, end]) => {
    assertEqual(codesOf(content + end), sizes)
    assertEqual(codesOf(content + end), [1000])
    assertEqual(Buffer.from(content + end), sizes)
  }, { fastCheck: { numRuns: 3000 } })

  it.prop("accepts the bytes of a fatal TextDecoder, however they are cut", [
    FastCheck.array(
      FastCheck.oneof(
        texts.map((text) => Buffer.from(text)),
        FastCheck.uint8Array({ maxLength: 3 }),
        FastCheck.constantFrom(
          [0xc0, 0xaf],
          [0xc1, 0xbf],
          [0xc2, 0x80],
          [0xdf, 0xbf],
          [0xe0, 0x9f, 0x80],
          [0xe0, 0xa0, 0x80],
          [0xed, 0x9f, 0xbf],
          [0xed, 0xa0, 0x80],
          [0xee, 0x80, 0x80],
          [0xef, 0xbf, 0xbf],
          [0xf0, 0x8f, 0x80, 0x80],
          [0xf0, 0x90, 0x80, 0x80],
          [0xf4, 0x8f, 0xbf, 0xbf],
          [0xf4, 0x90, 0x80, 0x80],
          [0xf5, 0x80, 0x80, 0x80],
          [0xe2, 0x82],
          [0xf0, 0x9f, 0x98],
          [0x80],
          [0xff]
        ).map((bytes) => Buffer.from(bytes))
      ),
      { maxLength: 4 }
    ),
    sizes
  ], ([parts, sizes]) => {
    const units = Buffer.concat([...parts, Buffer.from("\"")])
    assertEqual(units, sizes)
    assertEqual(units, [1])
  }, { fastCheck: { numRuns: 5000 } })

  it("tells every first two bytes as a fatal TextDecoder does", () => {
    for (let first = 0x80; first < 0x100; first++) {
      for (let second = 0; second < 0x100; second++) {
        // As many continuation bytes as the first byte asks for.
        const rest = [0, 1, 2].map((length) => Buffer.from([first, second, ...Array<number>(length).fill(0x80), 0x22]))
        for (const units of rest) assertEqual(units, [1000])
      }
    }
  })

  it("knows every escape of one character and no other", () => {
    for (let code = 0; code < 0x200; code++) {
      const units = codesOf(`\\${String.fromCharCode(code)}"`)
      if (code === 0x22) continue
      assertEqual(units, [1000])
    }
  })

  it("knows every hex digit and no other", () => {
    for (let code = 0; code < 0x200; code++) {
      if (code === 0x22) continue
      for (const digits of ["x000", "0x00", "00x0", "000x"]) {
        assertEqual(codesOf(`\\u${digits.replace("x", String.fromCharCode(code))}"`), [1000])
      }
    }
  })

  it.each(["\"", "=\"", "\\\"\"", "\u00e9\""])("reads up to and with the closing quote: %s", (text) => {
    const checker = new StringChecker(true)
    const bytes = Buffer.from(text)
    assert.strictEqual(checker.push(Buffer.concat([bytes, Buffer.from("\"\n\u00ff")])), bytes.length)
    assert.isTrue(checker.ended)
  })
})
