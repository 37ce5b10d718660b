import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { Buffer } from "node:buffer"
import type { Alphabet } from "../../../../src/InitImagePayload.js"
import {
  checkLength,
  decodedBytes,
  Decoder,
  type Invalid,
  measure,
  tailLength,
  wrongLength
} from "../../../../src/internal/persist/base64.js"

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

interface Decoded {
  readonly bytes: ReadonlyArray<number>
  readonly invalid: Invalid | undefined
}

/** The mistake that a character outside the alphabet is. */
const reasonOf = (unit: string): Invalid["reason"] =>
  unit === "="
    ? "Padding"
    : /[\r\n]/.test(unit)
    ? "LineBreaks"
    : /[\t\v\f ]/.test(unit)
    ? "WhiteSpace"
    : /[-_]/.test(unit)
    ? "UrlSafe"
    : "Character"

/** Decodes RFC 4648 section 4 bit by bit: the bytes of the whole groups before the first error, and the error. */
const reference = (text: string): Decoded => {
  const equals = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0
  // Only the last group may be padded, also where it is not complete.
  const padding = Math.min(equals, text.length % 4 || 4)
  const body = text.split("").slice(0, text.length - padding)
  const bits: Array<number> = []
  const bytes = () =>
    Array.from({ length: Math.floor(bits.length / 8) }, (_, at) => parseInt(bits.slice(at * 8, at * 8 + 8).join(""), 2))
  const fail = (reason: Invalid["reason"], offset: number, from = offset): Decoded => {
    bits.length = (from - (from % 4)) * 6
    return { bytes: bytes(), invalid: { reason, offset } }
  }
  for (const [offset, unit] of body.entries()) {
    const value = alphabet.indexOf(unit)
    if (value < 0) {
      if (offset === 4 && /^data:/i.test(text)) return fail("DataUrl", 4)
      const padded = /^=+(?=[\t\n\v\f\r ])/.exec(text.slice(offset, offset - (offset % 4) + 5))?.[0] ?? ""
      return fail(reasonOf(text.charAt(offset + padded.length)), offset + padded.length, offset)
    }
    for (let bit = 5; bit >= 0; bit--) bits.push((value >> bit) & 1)
  }
  if (text.length % 4 !== 0) {
    // The whole groups, without the last one where it may still be padded.
    bits.length = Math.floor((text.length - 1) / 4) * 24
    const invalid: Invalid = text.length % 4 - padding >= 2
      ? { reason: "Unpadded", offset: text.length }
      : { reason: "Length" }
    return { bytes: bytes(), invalid }
  }
  return bits.slice(bits.length - (bits.length % 8)).includes(1)
    ? fail("UnusedBits", body.length - 1)
    : { bytes: bytes(), invalid: undefined }
}

/** Decodes pieces, each into a buffer of the documented minimum size. */
const decode = (pieces: ReadonlyArray<string>, alphabet?: Alphabet): Decoded => {
  const decoder = new Decoder(alphabet)
  const bytes: Array<number> = []
  for (const piece of pieces) {
    const target = Buffer.alloc((Math.floor(piece.length / 4) + 2) * 3 + 5, 0xaa)
    const written = decoder.push(piece, target, 5)
    bytes.push(...target.subarray(5, 5 + written))
    assert.deepStrictEqual([...target.subarray(0, 5)], Array(5).fill(0xaa))
  }
  const target = Buffer.alloc(3)
  bytes.push(...target.subarray(0, decoder.end(target, 0)))
  return { bytes, invalid: decoder.invalid }
}

const split = (text: string, sizes: ReadonlyArray<number>): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  let at = 0
  for (const size of sizes) {
    pieces.push(text.slice(at, at + size))
    at += size
  }
  return [...pieces, text.slice(at)]
}

const sizes = FastCheck.array(FastCheck.nat(9), { maxLength: 12 })

/** The strict text that a text in an alphabet stands for; a character of the other alphabet becomes U+FFFF. */
const toStrict = (text: string, { unpadded, urlSafe, whiteSpace }: Alphabet): string => {
  const stripped = whiteSpace === true ? text.replace(/[\t\n\f\r ]/g, "") : text
  const isUrlSafe = /^[^-_+/]*[-_]/.test(stripped)
  const translated = urlSafe !== true
    ? stripped
    : isUrlSafe
    ? stripped.replace(/[+/]/g, "\uffff").replaceAll("-", "+").replaceAll("_", "/")
    : stripped.replace(/[-_]/g, "\uffff")
  return unpadded === true && translated.length % 4 >= 2 && !translated.endsWith("=")
    ? translated.padEnd(Math.ceil(translated.length / 4) * 4, "=")
    : translated
}

/** Nearly valid base64: mostly the alphabet, with characters that lenient decoders accept. */
const almost = FastCheck.array(
  FastCheck.oneof(
    { weight: 12, arbitrary: FastCheck.constantFrom(...alphabet) },
    {
      weight: 1,
      arbitrary: FastCheck.constantFrom(
        "=",
        "-",
        "_",
        "\n",
        "\r",
        " ",
        "\u0000",
        "\u00c1",
        "\u0141",
        "\u4e41",
        "\ud83d"
      )
    },
    { weight: 1, arbitrary: FastCheck.string({ minLength: 1, maxLength: 1 }) }
  ),
  { maxLength: 64 }
).chain((characters) =>
  FastCheck.constantFrom("", "=", "==", "===").map((padding) => {
    const text = characters.join("") + padding
    return { text, whole: text.slice(0, text.length - (text.length % 4)) }
  })
)

describe("base64", () => {
  it.prop(
    "decodes the output of Buffer for any bytes, in any pieces",
    [FastCheck.uint8Array({ maxLength: 400 }), sizes],
    (
      [bytes, sizes]
    ) => {
      const text = Buffer.from(bytes).toString("base64")
      assert.deepStrictEqual(decode(split(text, sizes)), { bytes: [...bytes], invalid: undefined })
      assert.strictEqual(decodedBytes(text.length, text.slice(-2)), bytes.length)
    }
  )

  it.prop(
    "gives the bytes, reason and offset of the reference decoder for any text",
    [FastCheck.tuple(almost, FastCheck.boolean()).map(([{ text, whole }, isWhole]) => isWhole ? whole : text), sizes],
    ([text, sizes]) => {
      const expected = reference(text)
      const actual = decode(split(text, sizes))
      assert.deepStrictEqual(actual.invalid, expected.invalid)
      if (expected.invalid === undefined) {
        assert.deepStrictEqual(actual.bytes, expected.bytes)
        assert.strictEqual(Buffer.from(expected.bytes).toString("base64"), text)
        assert.strictEqual(decodedBytes(text.length, text.slice(-2)), expected.bytes.length)
      } else {
        assert.deepStrictEqual(actual.bytes, expected.bytes)
      }
    },
    { fastCheck: { numRuns: 5000 } }
  )

  it.each(
    [
      ["QQ==QQ==", "Padding", 2],
      ["====", "Padding", 0],
      ["Q===", "Padding", 1],
      ["QQ=Q", "Padding", 2],
      ["QR==", "UnusedBits", 1],
      ["QUJ=", "UnusedBits", 2],
      ["QUI-", "UrlSafe", 3],
      ["QUI_", "UrlSafe", 3],
      ["QU\nJ", "LineBreaks", 2],
      ["QUJD\r\nQUJD", "LineBreaks", 4],
      ["QUJDQU J", "WhiteSpace", 6],
      [" QUJDQUJ", "WhiteSpace", 0],
      ["QUJDQU\tJ", "WhiteSpace", 6],
      ["QUJD\u00a0UJD", "Character", 4],
      ["QQ==\n", "LineBreaks", 4],
      ["QUI=\r\n", "LineBreaks", 4],
      ["QUJDQQ== ", "WhiteSpace", 8],
      ["QQ==\nQQ==", "LineBreaks", 4],
      ["QUI=A\n==", "Padding", 3],
      ["data:image/png;base64,QUJD", "DataUrl", 4],
      ["DATA:,QUJD", "DataUrl", 4],
      ["data;QUJD", "Character", 4],
      ["QUJDdata:QUJ", "Character", 8],
      ["\u0141UJD", "Character", 0],
      ["\u0151UJD", "Character", 0],
      ["QUJDQUJ\ud83d", "Character", 7],
      ["QUJDQ", "Length", undefined],
      ["QQ==QQ==Q", "Padding", 2],
      ["Q=", "Length", undefined],
      ["QQ=", "Unpadded", 3],
      ["QQ", "Unpadded", 2],
      ["QUJDQUI", "Unpadded", 7],
      ["QU-", "UrlSafe", 2],
      ["QUJDQ!=", "Character", 5],
      ["QUJDQ=Q", "Padding", 5]
    ] as const
  )("refuses %j: %s at %i", (text, reason, offset) => {
    const expected = offset === undefined ? { reason } : { reason, offset }
    assert.deepStrictEqual(decode([text]).invalid, expected)
    assert.deepStrictEqual(decode(text.split("")).invalid, expected)
    assert.deepStrictEqual(decode([text.slice(0, 3), "", text.slice(3)]).invalid, expected)
    assert.deepStrictEqual(checkLength(text), text.length % 4 === 0 ? undefined : expected)
  })

  it.prop("tells a mistake at the start or the end of a text before a wrong length, as a decoder of pieces does", [
    FastCheck.constantFrom(4000, 4001, 4002, 4003),
    FastCheck.constantFrom("\n", " ", "-", "=", "==\n", "!", "\u00e9", ""),
    FastCheck.constantFrom(0, 5, 1000, 1020, 1021, 1022, 1023, 1024, 1025, 2000, 3996, 3998, 3999, 4000, 4001, 4002),
    sizes
  ], ([length, mistake, at, sizes]) => {
    const text = `${"A".repeat(at)}${mistake}`.padEnd(length, "A").slice(0, length)
    const { invalid } = decode(split(text, sizes))
    const tail = text.slice(-tailLength)
    const told = checkLength(text)
    if (length % 4 === 0) return assert.isUndefined(told)
    assert.deepStrictEqual(told, wrongLength(length, tail, invalid))
    const found = text.search(/[^A=]|=(?!=?$)/)
    if (found >= 0 && (found < 1020 || found >= length - 2)) assert.include([found, found + 2], told?.offset)
    else if (found < 0 && !text.endsWith("=")) {
      const expected = length % 4 === 1 ? { reason: "Length" } : { reason: "Unpadded", offset: length }
      assert.deepStrictEqual<unknown>(told, expected)
    }
  }, { fastCheck: { numRuns: 2000 } })

  it("takes as padding at the end of a text no more than its last group may have", () => {
    const told = (end: string) => checkLength("A".repeat(4000) + end)
    assert.deepStrictEqual(told("AAA=="), { reason: "Padding", offset: 4003 })
    assert.deepStrictEqual(told("A="), { reason: "Length" })
    assert.deepStrictEqual(told("AA="), { reason: "Unpadded", offset: 4003 })
    assert.deepStrictEqual(told("AA==\r\n"), { reason: "LineBreaks", offset: 4004 })
  })

  it("tells a wrong length by the beginning and the end of the text alone", () => {
    const text = (middle: string) => "A".repeat(25_000_000) + middle + "A".repeat(25_000_000)
    for (const middle of ["A", "!"]) assert.deepStrictEqual(checkLength(text(middle)), { reason: "Length" })
  })

  it.prop("decodedBytes counts whole bytes if the length is not a multiple of 4", [
    FastCheck.nat(1000).filter((length) => length % 4 !== 0)
  ], ([length]) => {
    assert.strictEqual(decodedBytes(length, "=="), Math.floor(length / 4) * 3 + (length % 4) - 1)
  })

  it.each([0, 32_768, 70_000, 98_300])(
    "decodes a piece of many slices in order, up to an invalid character at %i",
    (offset) => {
      const bytes = Buffer.from(Array.from({ length: 75_000 }, (_, at) => (at * 31) >> 4))
      const text = bytes.toString("base64")
      const written = (piece: string) => {
        const target = Buffer.alloc(bytes.length + 5)
        const decoder = new Decoder()
        const length = decoder.push(piece, target, 5)
        return target.subarray(5, 5 + length + decoder.end(target, 5 + length))
      }
      assert.isTrue(written(text).equals(bytes))
      const broken = written(`${text.slice(0, offset)}!${text.slice(offset + 1)}`)
      assert.isTrue(broken.equals(bytes.subarray(0, Math.floor(offset / 4) * 3)))
    }
  )

  const alphabets = FastCheck.record<Alphabet>({
    urlSafe: FastCheck.boolean(),
    unpadded: FastCheck.boolean(),
    whiteSpace: FastCheck.boolean()
  })

  it.prop("accepts in an alphabet the text that stands for strict base64, however it is cut", [
    almost,
    FastCheck.constantFrom("", "", "-", "+/", "_"),
    FastCheck.nat(9),
    alphabets,
    sizes
  ], ([{ text }, telling, at, alphabet, sizes]) => {
    const lenient = text.slice(0, at) + telling + text.slice(at)
    const strict = toStrict(lenient, alphabet)
    const expected = reference(strict)
    const { bytes, invalid } = decode(split(lenient, sizes), alphabet)
    assert.deepStrictEqual(bytes, expected.bytes)
    const isMixed = expected.invalid?.offset !== undefined && strict[expected.invalid.offset] === "\uffff" &&
      !lenient.includes("\uffff")
    if (!isMixed) assert.deepStrictEqual(invalid, expected.invalid)
    else assert.deepStrictEqual(invalid, { reason: "MixedAlphabets", offset: expected.invalid?.offset })
  }, { fastCheck: { numRuns: 3000 } })

  it.prop("measures and judges the length of a text in an alphabet", [almost, alphabets], ([{ text }, alphabet]) => {
    const stripped = alphabet.whiteSpace === true ? text.replace(/[\t\n\f\r ]/g, "") : text
    const { length, tail } = measure(text, alphabet)
    assert.deepStrictEqual([length, tail], [stripped.length, stripped.slice(-tailLength)])
    const decoded = decode([text], alphabet)
    const told = checkLength(text, alphabet)
    if (decoded.invalid === undefined) {
      assert.isUndefined(told)
      assert.strictEqual(decodedBytes(length, tail), decoded.bytes.length)
    }
    if (told !== undefined) assert.isDefined(decoded.invalid)
    assert.strictEqual(
      told === undefined,
      length % 4 === 0 || alphabet.unpadded === true && length % 4 >= 2 && !stripped.endsWith("=")
    )
  }, { fastCheck: { numRuns: 1000 } })

  it("decodes URL-safe text of both kinds and refuses a mix at its first character", () => {
    const bytes = Buffer.from("fbefbeffffff", "hex")
    assert.deepStrictEqual(decode([bytes.toString("base64url")], { urlSafe: true }).bytes, [...bytes])
    assert.deepStrictEqual(decode([bytes.toString("base64")], { urlSafe: true }).bytes, [...bytes])
    for (const [text, offset] of [["AA-A////", 4], ["AA+A__AA", 4], ["AAAA-A/A", 6]] as const) {
      for (let at = 0; at <= text.length; at++) {
        const { invalid } = decode([text.slice(0, at), text.slice(at)], { urlSafe: true })
        assert.deepStrictEqual(invalid, { reason: "MixedAlphabets", offset })
      }
    }
  })
})
