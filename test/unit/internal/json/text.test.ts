import { assert, describe, it, vi } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { Buffer } from "node:buffer"
import { fromBytes, fromStrings, type MessageText } from "../../../../src/internal/json/text.js"
import { cut } from "../../../utils/readers.js"

const cuts = FastCheck.array(FastCheck.nat(200), { maxLength: 6 })

const anyText = FastCheck.array(
  FastCheck.oneof(
    FastCheck.constantFrom("\"", "a", "é", "€", "😀", "\ud83d", "\ude00", "\ufeff", "\u0000"),
    FastCheck.string()
  ),
  { maxLength: 20 }
).map((parts) => `[${parts.join("")}`)

/** Keeps all of the chunks, `units` at a time; answers the size. */
const keepAll = <Chunk>(text: MessageText<Chunk>, chunks: ReadonlyArray<Chunk>, units: number): number => {
  let bytes = 0
  for (const chunk of chunks) {
    text.push(chunk)
    for (let window = text.window(); window.length > 0; window = text.window()) {
      bytes += text.keep(Math.min(units, window.length))
    }
  }
  return bytes
}

describe("fromStrings", () => {
  it("copies each unit to a window once, however few units are read at a time", () => {
    const json = "0123456789".repeat(10_000)
    const write = vi.spyOn(Buffer.prototype, "write")
    try {
      const text = fromStrings()
      text.push(json)
      for (let window = text.window(); window.length > 0; window = text.window()) {
        text.skip(Math.min(7, window.length))
      }
      const copied = write.mock.calls.reduce((units, [slice]) => units + String(slice).length, 0)
      assert.strictEqual(copied, json.length)
    } finally {
      write.mockRestore()
    }
  })

  it("shows the units at the cursor, also behind a long skip", () => {
    const json = Array.from({ length: 50_000 }, (_, at) => String.fromCharCode(at)).join("")
    const text = fromStrings()
    text.push("another chunk")
    text.window()
    text.push(json)
    let at = 0
    for (const units of [0, 1, 20_000, 3, 16_384, 5, 13_000]) {
      text.skip(units)
      at += units
      const window = text.window()
      assert.isAbove(window.length, 0)
      assert.strictEqual(String.fromCharCode(...window), json.slice(at, at + window.length))
      assert.strictEqual(text.peek(), json.charCodeAt(at))
    }
    text.skip(json.length - at)
    assert.isUndefined(text.peek())
    assert.lengthOf(text.window(), 0)
  })

  it.prop("keeps the text and counts its bytes of UTF-8, however it is cut", [
    anyText,
    cuts,
    FastCheck.integer({ min: 1, max: 9 })
  ], ([json, cuts, units]) => {
    const text = fromStrings()
    assert.strictEqual(keepAll(text, cut(json, cuts), units), Buffer.byteLength(json))
    assert.strictEqual(text.kept(), json)
  }, { fastCheck: { numRuns: 1000 } })

  it("counts two halves as a pair only where they are side by side", () => {
    const text = fromStrings()
    text.push("\ud83d")
    assert.strictEqual(text.keep(1), 3)
    text.keepText("\"")
    text.push("\ude00")
    assert.strictEqual(text.keep(1), 3)
    assert.strictEqual(text.kept(), "\ud83d\"\ude00")
  })

  it("counts a pair on both sides of a window as four bytes", () => {
    const json = `a${"😀".repeat(50_000)}`
    const text = fromStrings()
    assert.strictEqual(keepAll(text, [json], Infinity), Buffer.byteLength(json))
  })
})

describe("fromBytes", () => {
  it.prop("keeps the text and counts its bytes, however it is cut", [
    anyText,
    cuts,
    FastCheck.integer({ min: 1, max: 9 })
  ], ([json, cuts, units]) => {
    const bytes = Buffer.from(json)
    const text = fromBytes()
    assert.strictEqual(keepAll(text, cut(bytes, cuts), units), bytes.length)
    assert.strictEqual(text.kept(), bytes.toString())
  }, { fastCheck: { numRuns: 1000 } })

  it.prop("keeps no text that is not UTF-8", [
    FastCheck.oneof(
      FastCheck.uint8Array({ maxLength: 20 }),
      FastCheck.array(FastCheck.constantFrom(0xef, 0xbb, 0xbf, 0xbe, 0x41), { maxLength: 6 }).map((bytes) =>
        Uint8Array.from(bytes)
      )
    ),
    cuts
  ], ([bytes, cuts]) => {
    const text = fromBytes()
    keepAll(text, cut(bytes, cuts), 3)
    // Without the byte order mark at its start.
    const strict = () => new TextDecoder("utf-8", { fatal: true }).decode(bytes)
    const kept = text.kept()
    if (kept === undefined) assert.throws(strict)
    else assert.strictEqual(kept, strict())
  })

  it("keeps a copy, so that a chunk may change behind it", () => {
    const text = fromBytes()
    const chunk = Buffer.from("{\"a\":1")
    text.push(chunk)
    text.keep(chunk.length)
    chunk.fill(0)
    text.keepText("}")
    assert.strictEqual(text.kept(), "{\"a\":1}")
  })

  it("reads an array of bytes in the middle of its memory", () => {
    const memory = new Uint8Array(Buffer.from("xxab\"cdxx"))
    const text = fromBytes()
    text.push(memory.subarray(2, 7))
    assert.strictEqual(text.untilQuote(100), 2)
    assert.strictEqual(text.characters(3), "ab\"")
    text.skip(3)
    assert.strictEqual(Buffer.from(text.window()).toString(), "cd")
    text.skip(2)
    assert.isUndefined(text.peek())
  })
})

describe("untilQuote", () => {
  it.prop("counts the units before the next quote, up to a limit", [
    FastCheck.string({ maxLength: 30 }),
    FastCheck.nat(30),
    FastCheck.nat(40)
  ], ([string, start, max]) => {
    const json = string.replaceAll(/[^ -~]/g, "x")
    const from = Math.min(start, json.length)
    const quote = json.indexOf("\"", from)
    const expected = Math.min(max, (quote < 0 ? json.length : quote) - from)
    const [strings, bytes] = [fromStrings(), fromBytes()]
    strings.push(json)
    bytes.push(Buffer.from(json))
    for (const text of [strings, bytes]) {
      text.skip(from)
      assert.strictEqual(text.untilQuote(max), expected)
      assert.strictEqual(text.characters(expected), json.slice(from, from + expected))
    }
  })
})

describe("decodeKey", () => {
  it.prop("is the text of a key's units", [anyText], ([key]) => {
    const codes = Array.from({ length: key.length }, (_, at) => key.charCodeAt(at))
    assert.strictEqual(fromStrings().decodeKey(codes), key)
    assert.strictEqual(fromBytes().decodeKey([...Buffer.from(key)]), Buffer.from(key).toString())
  })
})
