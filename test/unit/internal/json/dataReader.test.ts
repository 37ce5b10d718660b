import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { Buffer } from "node:buffer"
import { DataReader } from "../../../../src/internal/json/dataReader.js"
import { fromBytes, fromStrings, type MessageText } from "../../../../src/internal/json/text.js"
import { decodedBytes, Decoder } from "../../../../src/internal/persist/base64.js"
import { ImageBuffer } from "../../../../src/internal/persist/imageBuffer.js"
import { withBuffersOf } from "../../../utils/readers.js"

/** Counts the units that a reader looks at, each as often as it does. */
const counting = <Chunk>(text: MessageText<Chunk>) => {
  let units = 0
  const count = <A extends string | { readonly length: number } | number | undefined>(looked: A): A => {
    units += typeof looked === "number" ? looked : looked?.length ?? 0
    return looked
  }
  const counted: MessageText<Chunk> = {
    ...text,
    window: () => count(text.window()),
    peek: () => {
      units += 1
      return text.peek()
    },
    untilQuote: (max) => count(text.untilQuote(max)),
    characters: (length) => count(text.characters(length))
  }
  return { counted, units: () => units }
}

/** What stands behind the string in its message. */
const behind = ",\"b\":1}"

interface Options {
  /** The size of each buffer for decoded bytes; `undefined` where the image is refused at its first byte. */
  readonly bufferBytes: number | undefined
  readonly limit?: number
}

const readChunks = <Chunk extends string | Uint8Array>(
  text: MessageText<Chunk>,
  chunks: ReadonlyArray<Chunk>,
  { bufferBytes, limit = Infinity }: Options
) =>
  withBuffersOf(bufferBytes ?? 64, () => {
    const { counted, units } = counting(text)
    const verified: Array<Uint8Array> = []
    const buffer = new ImageBuffer<"refused">({
      push: (bytes) => {
        verified.push(Uint8Array.from(bytes))
        return bufferBytes === undefined ? "refused" : undefined
      }
    }, 0)
    const reader = new DataReader(counted, buffer, limit, false)
    const taken: Array<Uint8Array> = []
    const takeBytes = () => taken.push(Uint8Array.from(buffer.take()))
    let step: ReturnType<typeof reader.read> = "more"
    let left = ""
    for (const chunk of chunks) {
      text.push(chunk)
      if (step === "more") {
        for (step = reader.read(); step === "full"; step = reader.read()) takeBytes()
      }
      if (step === "ended") {
        for (; text.peek() !== undefined; text.skip(1)) left += String.fromCharCode(text.peek() ?? 0)
      }
    }
    takeBytes()
    const bytes = Buffer.concat(taken)
    // All that is written has been verified.
    assert.isTrue(Buffer.concat(verified).equals(bytes))
    buffer.release()
    return { reader, bytes, step, left, units: units() }
  })

/** Cuts a text into chunks of these many units, over and over. */
const split = <A extends string | Uint8Array>(whole: A, sizes: ReadonlyArray<number>): ReadonlyArray<A> => {
  const chunks: Array<A> = []
  for (let at = 0, i = 0; at < whole.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    // `slice` of a type is of the same type.
    chunks.push(whole.slice(at, at + size) as A)
    at += size
  }
  return chunks
}

type Read = (content: string | Uint8Array, options: Options) => ReturnType<typeof readChunks>

const inBytes = (...sizes: ReadonlyArray<number>): Read => (content, options) =>
  readChunks(fromBytes(), split(Buffer.concat([Buffer.from(content), Buffer.from(`"${behind}`)]), sizes), options)

const inStrings = (...sizes: ReadonlyArray<number>): Read => (content, options) =>
  readChunks(fromStrings(), split(`${content.toString()}"${behind}`, sizes), options)

const inputs: ReadonlyArray<readonly [string, Read]> = [
  ["a string", inStrings(Infinity)],
  ["strings", inStrings(50_000, 1, 30_000)],
  ["bytes", inBytes(Infinity)],
  ["large chunks", inBytes(65_536, 1, 30_000)],
  ["small chunks", inBytes(1, 7, 40)]
]

const parse = (content: string): string => JSON.parse(`"${content}"`)

/** Of several buffers' length. */
const many = (group: string): string => group.repeat(Math.ceil(200_000 / group.length))

describe("DataReader", () => {
  const escapes: ReadonlyArray<readonly [string, string]> = [
    ["slashes as PHP writes them", "AAA\\/"],
    ["letters as numbers", "\\u0041A\\u002b\\u002F"],
    ["numbers only", "\\u0041\\u0041\\u0041\\u0041"],
    ["one far from the next", `${"A".repeat(100)}AAA\\/`]
  ]

  it.each(escapes)("looks at each character a few times, however many are escaped: %s", (_, group) => {
    const content = many(group)
    const expected = parse(content)
    for (const [name, read] of inputs) {
      for (const bufferBytes of [undefined, 64, 1408 * 1024]) {
        const { bytes, left, reader, units } = read(content, { bufferBytes })
        assert.isUndefined(reader.invalid)
        assert.isTrue(reader.ended)
        assert.strictEqual(left, behind)
        assert.strictEqual(reader.length, expected.length)
        if (bufferBytes !== undefined) assert.isTrue(bytes.equals(Buffer.from(expected, "base64")))
        assert.isAtMost(units, 4 * content.length, `${name} through ${bufferBytes}`)
      }
    }
  })

  const texts: ReadonlyArray<readonly [string, string]> = [
    ["a quote", "\\\""],
    ["a backslash", "\\\\"],
    ["a line feed", "AAAA\\n"],
    ["a half of a pair", "\\ud83d\\ude00"],
    ["a character outside of ASCII", "é\\u00e9"]
  ]

  it.each(texts)("looks at each character a few times behind one that is not base64: %s", (_, group) => {
    const content = many(group)
    for (const [name, read] of inputs) {
      const { left, reader, units } = read(content, { bufferBytes: 1408 * 1024 })
      assert.isDefined(reader.invalid)
      assert.isTrue(reader.ended)
      assert.strictEqual(left, behind)
      assert.strictEqual(reader.length, parse(content).length)
      assert.isAtMost(units, 5 * content.length, name)
    }
  })

  /** The text of a JSON string with this content, if it is one. */
  const textOf = (content: Uint8Array): string | undefined => {
    try {
      return parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content))
    } catch {
      return undefined
    }
  }

  const unit = FastCheck.oneof(
    { weight: 10, arbitrary: FastCheck.constantFrom("A", "b", "+", "AAAA", "/w==", "AB", "\\u0041", "\\/", "\\u002B") },
    { weight: 1, arbitrary: FastCheck.constantFrom("=", "==", "\\u003d", "-", "\\\\", "\\\"", "\\u0141", "\\n") },
    {
      weight: 1,
      arbitrary: FastCheck.constantFrom("é", "\u0141", "😀", "\\ud83d", "\\x", "\\u00", "\\u004", "\n", "\\")
    }
  ).map((text) => [...Buffer.from(text)])
  const wrongByte = FastCheck.constantFrom([0xff], [0xc3], [0xf0, 0x9f], [0xed, 0xa0, 0x80], [0x80])
  const contents = FastCheck.array(FastCheck.oneof({ weight: 20, arbitrary: unit }, wrongByte), { maxLength: 30 })
    .map((parts) => Buffer.from(parts.flat()))
    // An unescaped quote would end the string, and an escape at the end would continue behind it.
    .filter((content) => /^(?:[^"\\]|\\[^])*$/.test(content.toString("latin1")))

  it.prop("decodes the text of JSON.parse, or tells its first error, however it is cut", [
    contents,
    FastCheck.array(FastCheck.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 5 }),
    FastCheck.integer({ min: 16, max: 100 }),
    FastCheck.nat(60)
  ], ([content, sizes, bufferBytes, limit]) => {
    const text = textOf(content)
    const decoder = new Decoder()
    const expected = Buffer.alloc(content.length + 3)
    const length = decoder.push(text ?? "", expected, 0)
    const all = expected.subarray(0, length + decoder.end(expected, length))
    const reads = [inBytes(...sizes), inBytes(1), inBytes(Infinity)]
    if (Buffer.from(content.toString()).equals(content)) {
      reads.push(inStrings(...sizes), inStrings(1), inStrings(Infinity))
    }
    for (const read of reads) {
      const { bytes, left, reader, step } = read(content, { bufferBytes })
      assert.strictEqual(reader.malformed, text === undefined)
      assert.strictEqual(reader.ended, text !== undefined)
      assert.strictEqual(step, text === undefined ? "malformed" : "ended")
      if (text === undefined) continue
      assert.strictEqual(left, behind)
      assert.deepStrictEqual(reader.invalid, decoder.invalid)
      assert.strictEqual(reader.length, text.length)
      assert.strictEqual(reader.decodedBytes, decodedBytes(text.length, text.slice(-2)))
      if (decoder.invalid === undefined) assert.isTrue(bytes.equals(all))
      else assert.isTrue(all.subarray(0, bytes.length).equals(bytes))

      const limited = read(content, { bufferBytes, limit })
      assert.strictEqual(limited.reader.isTooLarge, reader.decodedBytes > limit)
      assert.isAtMost(limited.bytes.length, limit)
      assert.isTrue(all.subarray(0, limited.bytes.length).equals(limited.bytes))

      const refused = read(content, { bufferBytes: undefined })
      assert.strictEqual(refused.reader.failure, refused.bytes.length > 0 ? "refused" : undefined)
      assert.deepStrictEqual(refused.reader.invalid, decoder.invalid)
      assert.strictEqual(refused.reader.length, text.length)
    }
  }, { fastCheck: { numRuns: 1200 } })

  it.prop("tells the first error of a text of many buffers, wherever it is", [
    FastCheck.nat(2000),
    FastCheck.constantFrom("-", "=", "é", "\u0141", "\\n", "\\u0000", "\\ud83d", "A"),
    FastCheck.nat(3),
    FastCheck.array(FastCheck.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 5 }),
    FastCheck.integer({ min: 16, max: 200 })
  ], ([place, wrong, cut, sizes, bufferBytes]) => {
    const valid = "QUJD".repeat(500)
    const content = valid.slice(0, place) + wrong + valid.slice(place + 1, valid.length - cut)
    const text = parse(content)
    const decoder = new Decoder()
    const target = Buffer.alloc(2000)
    const end = decoder.push(text, target, 0)
    decoder.end(target, end)
    for (const read of [inBytes(...sizes), inBytes(Infinity), inStrings(...sizes), inStrings(Infinity)]) {
      const { reader } = read(content, { bufferBytes })
      assert.deepStrictEqual(reader.invalid, decoder.invalid)
      assert.strictEqual(reader.length, text.length)
      assert.strictEqual(reader.decodedBytes, decodedBytes(text.length, text.slice(-2)))
    }
  })

  it.each(
    [
      ["a line feed", ["AAAA\nAAAA"]],
      ["a wrong escape", ["AAAA\\xAAAA"]],
      ["a wrong escape behind a character that is not base64", ["AA-A\\xAAAA"]],
      ["a quote in an escape", ["AAAA\\u00\"AAAA"]],
      ["bytes that are not UTF-8", ["\xc3\xa9", "\xff", "AAAA"]],
      ["a half of a character", ["\xc3\xa9", "\xc3"]],
      ["a half of a character before an escape", ["\xc3\xa9", "\xc3", "\\", "n", "AAAA"]],
      ["a half of a character behind an escape", ["\\n", "\xc3"]]
    ] as const
  )("refuses a string with %s as malformed", (_, parts) => {
    const all = Buffer.concat(parts.map((part) => Buffer.from(part, "latin1")))
    for (const read of [inBytes(Infinity), inBytes(...parts.map(({ length }) => length)), inBytes(1)]) {
      const { reader, step } = read(all, { bufferBytes: 64 })
      assert.isTrue(reader.malformed)
      assert.strictEqual(step, "malformed")
      assert.isFalse(reader.ended)
    }
  })

  it("decodes all bytes that are allowed and no further one, padded or not and however they are cut", () => {
    for (let length = 1; length <= 24; length++) {
      const bytes = Buffer.from(Array.from({ length }, (_, at) => at))
      for (const read of [inBytes(1), inBytes(2, 3), inStrings(5), inStrings(100)]) {
        for (let limit = 0; limit <= length; limit++) {
          const limited = read(bytes.toString("base64"), { bufferBytes: 64, limit })
          assert.strictEqual(limited.reader.isTooLarge, limit < length)
          assert.isAtMost(limited.bytes.length, limit)
          if (limit === length) assert.isTrue(limited.bytes.equals(bytes))
        }
      }
    }
  })

  it("decodes nothing behind an error", () => {
    for (const wrong of ["\\n", "\\u0000", "-", "é"]) {
      const content = `${"AAAA".repeat(10)}${wrong}${"AAAA".repeat(100)}`
      for (const [, read] of inputs) {
        assert.isAtMost(read(content, { bufferBytes: 64 }).bytes.length, 30)
      }
    }
  })

  it("is full only where fewer bytes are free than a decoder may write, also in the middle of escapes", () => {
    const content = "\\u0041\\u0041\\u0041\\u0041".repeat(50)
    for (let bufferBytes = 16; bufferBytes < 40; bufferBytes++) {
      for (const [, read] of inputs) {
        const { bytes, reader } = read(content, { bufferBytes })
        assert.isTrue(reader.ended)
        assert.isTrue(bytes.equals(Buffer.alloc(150)))
      }
    }
  })

  it.each([["QQ==", 1], ["QUI=", 2], ["QUJD", 3], ["QQ=\\u003d", 1], ["QU\\u0049=", 2]] as const)(
    "knows how many bytes %s decodes to, however its end is cut",
    (content, bytes) => {
      for (const size of [1, 2, 3, 4]) {
        for (const read of [inBytes(size), inStrings(size)]) {
          assert.strictEqual(read(content, { bufferBytes: undefined }).reader.decodedBytes, bytes)
        }
      }
    }
  )

  it("has not ended where the text ends before the string", () => {
    for (const content of ["", "AAAA", "AAAA\\", "AAAA\\u00", "-", "-\\", "-\\u00"]) {
      for (const size of [1, 2, 100]) {
        for (
          const { reader, step } of [
            readChunks(fromBytes(), split(Buffer.from(content), [size]), { bufferBytes: 64 }),
            readChunks(fromStrings(), split(content, [size]), { bufferBytes: 64 })
          ]
        ) {
          assert.isFalse(reader.ended)
          assert.isFalse(reader.malformed)
          assert.strictEqual(step, "more")
        }
      }
    }
  })
})
