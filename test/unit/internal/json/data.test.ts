import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import { Buffer } from "node:buffer"
import { DataReader } from "../../../../src/internal/json/data.js"
import * as jsonInput from "../../../../src/internal/json/input.js"
import { decodedBytes, Decoder } from "../../../../src/internal/persist/base64.js"
import { countTurns } from "../../../utils/turns.js"

type Source = (text: string | Uint8Array) => jsonInput.JsonInput<never, never>

/** Pieces of these many bytes, over and over. */
const pieces = (...sizes: ReadonlyArray<number>): Source => (text) => {
  const bytes = Buffer.from(text)
  let at = 0
  let turn = 0
  const pull = Effect.suspend(() => {
    if (at === bytes.length) return Effect.fail(Option.none())
    const piece = bytes.subarray(at, at + (sizes[turn++ % sizes.length] ?? 1))
    at += piece.length
    return Effect.succeed(Chunk.of<Uint8Array>(piece))
  })
  return jsonInput.fromChunks(pull, undefined)
}

const sources: ReadonlyArray<readonly [string, Source]> = [
  ["a string", (text) => jsonInput.fromString(text.toString())],
  ["its bytes", (text) => pieces(text.length)(text)],
  ["large pieces", pieces(65_536, 1, 30_000)],
  ["small pieces", pieces(1, 7, 40)]
]

/** The same input, and how many units of it have been looked at, each as often as that was done. */
const counting = (input: jsonInput.JsonInput<never, never>) => {
  let units = 0
  const count = <A extends string | { readonly length: number } | number | undefined>(looked: A): A => {
    units += typeof looked === "number" ? looked : looked?.length ?? 0
    return looked
  }
  const counted: jsonInput.JsonInput<never, never> = {
    ...input,
    window: () => count(input.window()),
    peek: () => {
      units += 1
      return input.peek()
    },
    untilQuote: (max) => count(input.untilQuote(max)),
    plainText: (length) => count(input.plainText(length)),
    text: (length) => count(input.text(length))
  }
  return { input: counted, units: () => units }
}

/** Reads the content of a string, through a buffer of that size or past it, and answers how much was looked at. */
const read = Effect.fnUntraced(function*(
  source: Source,
  content: string | Uint8Array,
  bufferBytes: number | undefined,
  limit = Infinity
) {
  const { input, units } = counting(source(Buffer.concat([Buffer.from(content), Buffer.from("\"")])))
  const reader = new DataReader(input, limit)
  const pieces: Array<Buffer> = []
  if (bufferBytes !== undefined) {
    const target = Buffer.alloc(bufferBytes)
    let filled = 0
    do {
      filled = yield* Effect.orElseSucceed(reader.fill(target), () => 0)
      pieces.push(Buffer.from(target.subarray(0, filled)))
    } while (filled > 0)
  }
  yield* reader.finish
  assert.isTrue(reader.ended || limit < Infinity)
  return { reader, units: units(), bytes: Buffer.concat(pieces) }
})

const said = (content: string): string => JSON.parse(`"${content}"`)

/** Of several buffers' length. */
const many = (group: string): string => group.repeat(Math.ceil(200_000 / group.length))

describe("jsonData", () => {
  const escapes: ReadonlyArray<readonly [string, string]> = [
    ["slashes as PHP writes them", "AAA\\/"],
    ["letters as numbers", "\\u0041A\\u002b\\u002F"],
    ["nothing but numbers", "\\u0041\\u0041\\u0041\\u0041"],
    ["one far from the next", `${"A".repeat(100)}AAA\\/`]
  ]

  it.live.each(escapes)(
    "looks at each character a few times, however many are escaped: %s",
    ([, group]) =>
      Effect.gen(function*() {
        const content = many(group)
        for (const [name, source] of sources) {
          for (const bufferBytes of [undefined, 64, 1536 * 1024]) {
            const expected = said(content)
            const { bytes, reader, units } = yield* read(source, content, bufferBytes)
            assert.isUndefined(reader.invalid)
            assert.isFalse(reader.malformed)
            assert.strictEqual(reader.length, expected.length)
            if (bufferBytes !== undefined) assert.isTrue(bytes.equals(Buffer.from(expected, "base64")))
            assert.isAtMost(units, 4 * content.length, `${name} through ${bufferBytes}`)
          }
        }
      })
  )

  const texts: ReadonlyArray<readonly [string, string]> = [
    ["a quote", "\\\""],
    ["a backslash", "\\\\"],
    ["a line feed", "AAAA\\n"],
    ["half of a pair", "\\ud83d\\ude00"],
    ["what is not ASCII", "é\\u00e9"]
  ]

  it.live.each(texts)("does so where it is no longer base64: %s", ([, group]) =>
    Effect.gen(function*() {
      const content = many(group)
      for (const [name, source] of sources) {
        const { reader, units } = yield* read(source, content, 1536 * 1024)
        assert.isDefined(reader.invalid)
        assert.isFalse(reader.malformed)
        assert.strictEqual(reader.length, said(content).length)
        assert.isAtMost(units, 5 * content.length, name)
      }
    }))

  /** What a string of JSON with this content says, if it is one. */
  const saidBy = (content: Uint8Array): string | undefined => {
    try {
      return said(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content))
    } catch {
      return undefined
    }
  }

  const units = FastCheck.oneof(
    { weight: 20, arbitrary: FastCheck.constantFrom("A", "B", "/", "+", "AAAA", "\\/", "\\u0041", "\\u002B") },
    { weight: 2, arbitrary: FastCheck.constantFrom("=", "==", "\\u003d") },
    {
      weight: 1,
      arbitrary: FastCheck.constantFrom("é", "\ufeff", "😀", "\\ud83d", "\\\\", "\\\"", "\\n", "-", " ")
    }
  ).map((text) => Buffer.from(text))

  /** What no string of JSON holds. */
  const wrong = FastCheck.oneof(
    FastCheck.constantFrom("\n", "\u0000", "\\x", "\\u00g0").map((text) => Buffer.from(text)),
    FastCheck.constantFrom([0xc3], [0xff], [0xed, 0xa0, 0x80], [0xf0, 0x9f]).map((bytes) => Buffer.from(bytes))
  )

  const contents = FastCheck.tuple(
    FastCheck.array(units, { maxLength: 40 }),
    FastCheck.oneof({ weight: 3, arbitrary: FastCheck.constant([]) }, FastCheck.array(wrong, { maxLength: 1 })),
    FastCheck.array(units, { maxLength: 8 })
  ).map((parts) => Buffer.concat(parts.flat()))

  it.live.prop(
    "decodes what the string says, or tells what is wrong with it, however it is cut",
    {
      content: contents,
      sizes: FastCheck.array(FastCheck.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 5 }),
      bufferBytes: FastCheck.integer({ min: 16, max: 100 }),
      limit: FastCheck.nat(60)
    },
    ({ bufferBytes, content, limit, sizes }) =>
      Effect.gen(function*() {
        const text = saidBy(content)
        const decoder = new Decoder()
        const expected = Buffer.alloc(content.length + 3)
        const length = decoder.push(text ?? "", expected, 0)
        const all = expected.subarray(0, length + decoder.end(expected, length))
        const sources = [pieces(...sizes), pieces(content.length + 1)]
        // Bytes that are no UTF-8 come as no string.
        if (Buffer.from(content.toString()).equals(content)) {
          sources.push((bytes) => jsonInput.fromString(bytes.toString()))
        }
        for (const source of sources) {
          const { bytes, reader } = yield* read(source, content, bufferBytes)
          assert.strictEqual(reader.malformed, text === undefined)
          if (text === undefined) continue
          assert.deepStrictEqual(reader.invalid, decoder.invalid)
          assert.strictEqual(reader.length, text.length)
          assert.strictEqual(reader.decodedBytes, decodedBytes(text.length, text.slice(-2)))
          if (decoder.invalid === undefined) assert.isTrue(bytes.equals(all))
          else assert.isTrue(all.subarray(0, bytes.length).equals(bytes))

          const limited = yield* read(source, content, bufferBytes, limit)
          assert.strictEqual(limited.reader.isTooLarge, reader.decodedBytes > limit)
          assert.isAtMost(limited.bytes.length, limit)
          assert.isTrue(all.subarray(0, limited.bytes.length).equals(limited.bytes))
        }
      }),
    { fastCheck: { numRuns: 1000 } }
  )

  it.effect.each(
    [
      ["a line feed", ["AAAA\nAAAA"]],
      ["no escape", ["AAAA\\xAAAA"]],
      ["no UTF-8", ["\xc3\xa9", "\xff", "AAAA"]],
      ["half of a character", ["\xc3\xa9", "\xc3"]],
      ["half of a character before an escape", ["\xc3\xa9", "\xc3", "\\", "n", "AAAA"]],
      ["half of a character behind an escape", ["\\n", "\xc3"]]
    ] as const
  )("takes %s for no string", ([, parts]) =>
    Effect.gen(function*() {
      const all = parts.map((part) => Buffer.from(part, "latin1"))
      const one = yield* read(pieces(1000), Buffer.concat(all), 64)
      assert.isTrue(one.reader.malformed)
      const cut = yield* read(pieces(...all.map(({ length }) => length), 1), Buffer.concat(all), 64)
      assert.isTrue(cut.reader.malformed)
    }))

  it.effect("gives all of what is allowed and nothing more, padded or not and however it is cut", () =>
    Effect.gen(function*() {
      for (let length = 1; length <= 24; length++) {
        const bytes = Buffer.from(Array.from({ length }, (_, at) => at))
        for (const cut of [pieces(1), pieces(2, 3), pieces(5), pieces(100)]) {
          for (let limit = 0; limit <= length; limit++) {
            const limited = yield* read(cut, bytes.toString("base64"), 64, limit)
            assert.strictEqual(limited.reader.isTooLarge, limit < length)
            assert.isAtMost(limited.bytes.length, limit)
            if (limit === length) assert.isTrue(limited.bytes.equals(bytes))
          }
        }
      }
    }))

  it.effect("decodes nothing behind what is wrong", () =>
    Effect.gen(function*() {
      for (const wrong of ["\n", "\\x", "-", "é"]) {
        const content = `${"AAAA".repeat(10)}${wrong}${"AAAA".repeat(100)}`
        for (const [, source] of sources) {
          const { bytes } = yield* read(source, content, 64)
          assert.isAtMost(bytes.length, 30)
        }
      }
    }))

  it.effect.each([["QQ==", 1], ["QUI=", 2], ["QUJD", 3]] as const)(
    "knows how many bytes %s decodes to, however its end is cut",
    ([content, bytes]) =>
      Effect.gen(function*() {
        for (const size of [1, 2, 3, 4]) {
          const { reader } = yield* read(pieces(size), content, undefined)
          assert.strictEqual(reader.decodedBytes, bytes)
        }
      })
  )

  it.effect("knows that the text has ended before the string", () =>
    Effect.gen(function*() {
      for (const content of ["", "AAAA", "AAAA\\", "AAAA\\u00"]) {
        for (const [, source] of sources) {
          const reader = new DataReader(source(content), Infinity)
          yield* reader.finish
          assert.isFalse(reader.ended)
        }
      }
    }))

  it.live("lets the event loop turn while it passes over a long string", () =>
    Effect.gen(function*() {
      for (const [, source] of sources.slice(0, 2)) {
        const reader = new DataReader(source(`${"A".repeat(8 * 1024 * 1024)}"`), Infinity)
        const turns = yield* countTurns(reader.finish)
        assert.isTrue(reader.ended)
        // Eight Mi characters, of which a Mi are passed over at a time.
        assert.isAtLeast(turns, 4)
        assert.isAtMost(turns, 20)
      }
    }))
})
