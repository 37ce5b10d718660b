import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import { Buffer } from "node:buffer"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { payload } from "../../../../src/InitImageDialect.js"
import {
  BadBase64,
  Empty,
  type InitImageError,
  InvalidMime,
  InvalidPayload,
  TooLarge
} from "../../../../src/InitImageError.js"
import * as InitImagePayload from "../../../../src/InitImagePayload.js"
import * as verifier from "../../../../src/internal/format/verifier.js"
import { type Message, MessageReader, type Options } from "../../../../src/internal/json/messageReader.js"
import { fromBytes, fromStrings } from "../../../../src/internal/json/text.js"
import { checkLength, decodedBytes } from "../../../../src/internal/persist/base64.js"
import { TextReader } from "../../../../src/internal/persist/textReader.js"
import { compile } from "../../../../src/internal/places.js"
import { jpegOfSize, png, pngOfSize, webpOfSize } from "../../../utils/images.js"
import { reference as scan } from "../../../utils/jsonReference.js"
import { damages, frames, isWellFormed } from "../../../utils/messages.js"
import { payloadOf } from "../../../utils/payloads.js"
import { cut, drive, type Driven, inPiecesOf, withBuffersOf } from "../../../utils/readers.js"

const accepted = ImageFormat.formats.map(({ mime }) => mime)

interface ReadOptions extends Options {
  readonly at: ReadonlyArray<string>
}

const defaults: ReadOptions = {
  at: [],
  places: compile(payload.shapes),
  maxImages: 1,
  announces: false,
  isStream: false,
  maxBytes: Infinity,
  expectedBytes: 0,
  maxMessageBytes: Infinity,
  maxPixels: Infinity,
  accepted,
  declaredType: "required"
}

type Chunks = ReadonlyArray<string> | ReadonlyArray<Uint8Array>

const isStrings = (chunks: Chunks): chunks is ReadonlyArray<string> => typeof chunks[0] === "string"

const makeOptions = (options: Partial<ReadOptions>): Options => ({
  ...defaults,
  ...options,
  places: compile(payload.shapes, options.at)
})

/** Reads a message from its chunks, through buffers of this size. */
const read = (chunks: Chunks, options: Partial<ReadOptions> = {}, bufferBytes = 64): Driven<Message, InitImageError> =>
  withBuffersOf(bufferBytes, () =>
    isStrings(chunks)
      ? drive(new MessageReader(fromStrings(), makeOptions(options)), chunks)
      : drive(new MessageReader(fromBytes(), makeOptions(options)), chunks))

const invalid = (reason: InvalidPayload["reason"]) => new InvalidPayload({ reason })

const valueAt = (message: unknown, at: ReadonlyArray<string>): unknown =>
  at.reduce<unknown>(
    (value, key) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Object.getOwnPropertyDescriptor(value, key)?.value
        : undefined,
    message
  )

interface Outcome {
  readonly result: object
  /** The bytes of an accepted image. */
  readonly bytes: Buffer | undefined
}

/** `JSON.parse`, then the payload, then its text. */
const parsed = (json: string, { at, declaredType, maxBytes, maxPixels }: ReadOptions): Outcome => {
  const refused = (result: object): Outcome => ({ result, bytes: undefined })
  let message: unknown
  try {
    message = JSON.parse(json)
  } catch {
    return refused(invalid("NotJson"))
  }
  const payload = valueAt(message, at)
  const decoded = InitImagePayload.fromUnknown(payload, accepted, declaredType)
  if (Either.isLeft(decoded)) return refused(decoded.left)
  if (Option.isNone(decoded.right)) return refused({ message, images: [], announced: undefined })
  const { data, mime, name } = decoded.right.value
  if (data === "") return refused(new Empty())
  const bytes = decodedBytes(data.length, data)
  if (!(bytes <= maxBytes)) return refused(new TooLarge({ bytes, limit: maxBytes }))
  const wrongLength = checkLength(data)
  if (wrongLength !== undefined) return refused(new BadBase64(wrongLength))
  const declared = Option.map(Option.fromNullable(mime), (mime) => ImageFormat.byMime[mime])
  const read = drive(new TextReader(verifier.makeDeclared(declared, accepted, maxPixels), bytes), [data])
  if (!("header" in read.result)) return refused(read.result)
  if (typeof payload === "object" && payload !== null) Reflect.deleteProperty(payload, "data")
  return { result: { message, images: [{ ...read.result, name }], announced: undefined }, bytes: read.bytes }
}

/** The results that a message may have. A text that is not JSON may also have a duplicate key behind its first error. */
const possible = (json: string, options: ReadOptions): ReadonlyArray<Outcome> => {
  const duplicate = { result: invalid("DuplicateKey"), bytes: undefined }
  const { end, stops } = scan(json, options.at)
  if (stops.some(([stop]) => stop === "DuplicateKey")) return [duplicate]
  return end === Infinity ? [parsed(json, options)] : [parsed(json, options), duplicate]
}

/** A result as a plain value: `assert` takes any two errors of a class to be equal. */
const plain = (result: object): object => JSON.parse(JSON.stringify({ ...result }))

const assertOutcome = (expected: ReadonlyArray<Outcome>, { bytes, result }: Driven<Message, InitImageError>) => {
  assert.deepInclude(expected.map(({ result }) => plain(result)), plain(result))
  const image = expected.find(({ result: { constructor } }) => constructor === result.constructor)?.bytes
  if (image !== undefined) assert.isTrue(bytes.equals(image))
}

/** The steps have one order, whatever the cuts. */
const assertSteps = ({ steps }: Driven<Message, InitImageError>) => {
  assert.match(steps.join(), /^(?:image(?:,full)*(?:,discard)?)?$/)
}

const cuts = FastCheck.array(FastCheck.nat(5000), { maxLength: 12 })
const bufferBytes = FastCheck.constantFrom(16, 17, 30, 64, 100, 1000, 4096)

describe("MessageReader", () => {
  it.prop("gives the result of JSON.parse and persist, or DuplicateKey, however a message is cut", [
    frames,
    cuts,
    bufferBytes,
    FastCheck.constantFrom(Infinity, Infinity, 0, 10, 71, 100, 130),
    FastCheck.constantFrom(Infinity, Infinity, 6),
    FastCheck.constantFrom<Options["declaredType"]>("required", "required", "optional")
  ], ([{ at, json }, cuts, bufferBytes, maxBytes, maxPixels, declaredType]) => {
    const options = { ...defaults, at, maxBytes, maxPixels, declaredType }
    const expected = possible(json, options)
    const bytes = Buffer.from(json)
    const inputs: Array<Chunks> = [[json], cut(json, cuts), inPiecesOf(json, 1)]
    if (isWellFormed(json)) inputs.push([bytes], cut(bytes, cuts), inPiecesOf(bytes, 1))
    for (const input of inputs) {
      const driven = read(input, options, bufferBytes)
      assertOutcome(expected, driven)
      assertSteps(driven)
    }
  }, { fastCheck: { numRuns: 1000 } })

  it.prop("ignores one byte order mark at the start, cut at any byte", [frames, cuts], ([{ at, json }, cuts]) => {
    const options = { ...defaults, at }
    const marked = `\ufeff${json}`
    const inputs: Array<Chunks> = [[marked], ["", marked], ["\ufeff", json], cut(marked, cuts)]
    if (isWellFormed(json)) {
      const bytes = Buffer.from(marked)
      inputs.push([bytes], inPiecesOf(bytes, 1), inPiecesOf(bytes, 2), cut(bytes, cuts))
    }
    for (const input of inputs) assertOutcome(possible(json, options), read(input, options))
  })

  it("refuses a second byte order mark, one inside the message, and a part of one", () => {
    for (const size of [1, 2, 3, 1000]) {
      for (const text of ["\ufeff\ufeff{}", "{\ufeff}", "\ufeff", "{}\ufeff"]) {
        for (const input of [inPiecesOf(text, size), inPiecesOf(Buffer.from(text), size)]) {
          assert.deepStrictEqual(plain(read(input).result), plain(invalid("NotJson")))
        }
      }
      for (const start of [[0xef], [0xef, 0xbb], [0xef, 0xbb, 0xbe], [0xbb, 0xbf], [0xef, 0xef, 0xbb, 0xbf]]) {
        const bytes = Buffer.from([...start, ...Buffer.from("{\"mime\":\"image/png\",\"data\":\"AAAA\"}")])
        assert.deepStrictEqual(plain(read(inPiecesOf(bytes, size)).result), plain(invalid("NotJson")))
      }
    }
  })

  it.prop("gives the same result for bytes that are not JSON or not UTF-8", [
    frames,
    damages,
    cuts,
    bufferBytes
  ], ([{ at, json }, damage, cuts, bufferBytes]) => {
    const damaged = damage(json)
    const text = damaged.toString()
    const isUtf8 = Buffer.from(text).equals(damaged)
    const options = { ...defaults, at }
    const expected = isUtf8
      ? possible(text.replace(/^\ufeff/, ""), options)
      : [invalid("NotJson"), invalid("DuplicateKey")].map((result) => ({ result, bytes: undefined }))
    const inputs: Array<Chunks> = [[damaged], cut(damaged, cuts), inPiecesOf(damaged, 1)]
    if (isUtf8) inputs.push([text], cut(text, cuts))
    const results = inputs.map((input) => {
      const driven = read(input, options, bufferBytes)
      assertOutcome(expected, driven)
      assertSteps(driven)
      return plain(driven.result)
    })
    for (const result of results) assert.deepStrictEqual(result, results[0])
  }, { fastCheck: { numRuns: 1000 } })

  it.prop("refuses a stream as too large as soon as it is, and otherwise gives the same result", [
    frames,
    cuts,
    FastCheck.integer({ min: 0, max: 130 })
  ], ([{ at, json }, cuts, maxBytes]) => {
    if (!isWellFormed(json)) return
    const options = { ...defaults, at, maxBytes }
    const limited = possible(json, options)
    const tooLarge = { result: new TooLarge({ bytes: maxBytes + 1, limit: maxBytes }), bytes: undefined }
    // The rest of the message is not read then: only a type that stands before the data can be known.
    const [, start] = scan(json, at).stops.find(([stop]) => stop === "Data") ?? []
    const text: string = start === undefined
      ? ""
      : JSON.parse(/"(?:[^"\\]|\\[^])*"/y.exec(json.slice(start - 1))?.[0] ?? "\"\"")
    const early = [
      tooLarge,
      ...(["NotAccepted", "Missing"] as const).map((reason) => ({
        result: new InvalidMime({ reason, accepted }),
        bytes: undefined
      }))
    ]
    const expected = decodedBytes(text.length, text) > maxBytes ? [...limited, ...early] : limited
    for (const input of [[Buffer.from(json)], cut(Buffer.from(json), cuts), inPiecesOf(Buffer.from(json), 1)]) {
      assertOutcome(expected, read(input, { ...options, isStream: true }))
    }
  }, { fastCheck: { numRuns: 600 } })

  const { data } = payloadOf("", pngOfSize(1000))
  const json = `{"type":"x","image":{"data":"${data}","mime":"image/png","name":"é"},"n":1}`
  const at = ["image"]

  it("asks for room at the image, tells each full buffer, and has the rest at the end", () => {
    for (const input of [[json], [Buffer.from(json)], inPiecesOf(json, 7), inPiecesOf(Buffer.from(json), 1)]) {
      const { bytes, result, steps } = read(input, { at }, 300)
      assert.deepStrictEqual(steps, ["image", "full", "full", "full"])
      assert.isTrue(bytes.equals(pngOfSize(1000)))
      assert.deepStrictEqual(plain(result), {
        message: { type: "x", image: { mime: "image/png", name: "é" }, n: 1 },
        images: [{
          format: plain(ImageFormat.png),
          header: { width: 1, height: 1, orientation: 1 },
          name: "é"
        }]
      })
    }
  })

  it("reads through small buffers with an escape at every place of a full one", () => {
    const image = pngOfSize(300)
    const { data } = payloadOf("", image)
    const escapeAll = (text: string) => text.replaceAll(/[^]/g, (unit) => `\\u00${unit.charCodeAt(0).toString(16)}`)
    for (let from = 0; from < 60; from++) {
      const content = `${data.slice(0, from)}${escapeAll(data.slice(from, from + 40))}${data.slice(from + 40)}`
      const json = `{"mime":"image/png","data":"${content}"}`
      for (const input of [[json], [Buffer.from(json)], inPiecesOf(json, 5), inPiecesOf(Buffer.from(json), 3)]) {
        for (const bufferBytes of [16, 19, 25]) {
          const { bytes, result } = read(input, {}, bufferBytes)
          assert.isTrue("images" in result)
          assert.isTrue(bytes.equals(image))
        }
      }
    }
  })

  it.each([
    ["is not base64", `${data.slice(0, -4)}!AAA`],
    [
      "is no image behind its signature",
      payloadOf("", Buffer.concat([png().subarray(0, 40), Buffer.alloc(1000)])).data
    ],
    ["is too large", data.repeat(2)]
  ])("discards a written image once, when it is known that it %s, and reads on", (_, data) => {
    const json = `{"data":"${data}${"A".repeat(4000)}","mime":"image/png","n":1}`
    for (const input of [[json], inPiecesOf(json, 7), [Buffer.from(json)], inPiecesOf(Buffer.from(json), 1)]) {
      const { result, steps } = read(input, { maxBytes: 1900 }, 20)
      assert.strictEqual(steps[0], "image")
      assert.strictEqual(steps[1], "full")
      assert.strictEqual(steps.indexOf("discard"), steps.length - 1)
      assert.isFalse("images" in result)
    }
  })

  it("discards nothing where no buffer was full", () => {
    for (const data of ["!AAA", payloadOf("", Buffer.alloc(2000)).data]) {
      const json = `{"data":"${data}","mime":"image/png"}`
      for (const input of [[json], inPiecesOf(json, 7)]) {
        assert.deepStrictEqual(read(input, {}, 8192).steps, ["image"])
      }
    }
  })

  it.each([
    ["data", "{\"mime\":\"image/png\",\"data\":\"AAAA\",\"data\""],
    ["an escaped key", "{\"mime\":\"image/png\",\"data\":\"AAAA\",\"d\\u0061ta\""],
    ["data behind another value", "{\"data\":null,\"data\""],
    ["mime", "{\"mime\":1,\"mime\""],
    ["name", "{\"name\":1,\"data\":\"AA!A\",\"name\""]
  ])("refuses %s that occurs twice before its value and the rest of the message", (_, json) => {
    for (const rest of ["", ":\"AAAA\"}", "garbage", "\u0000"]) {
      for (const input of [[json + rest], inPiecesOf(json + rest, 3), inPiecesOf(Buffer.from(json + rest), 1)]) {
        for (const isStream of [false, true]) {
          assert.deepStrictEqual(plain(read(input, { isStream }).result), plain(invalid("DuplicateKey")))
        }
      }
    }
  })

  it.each(
    [
      [["a", "b"], "{\"a\":{},\"a\":{\"b\":{}}}"],
      [["a", "b"], "{\"a\":{\"b\":1,\"b\":null}}"],
      [["é"], "{\"é\":1,\"\\u00e9\":null}"],
      [["a\"\\"], "{\"a\\\"\\\\\":1,\"\\u0061\\u0022\\u005c\":null}"]
    ] as const
  )("refuses a second key on the path %j", (at, json) => {
    for (const input of [[json], inPiecesOf(json, 3), inPiecesOf(Buffer.from(json), 1)]) {
      assert.deepStrictEqual(plain(read(input, { at }).result), plain(invalid("DuplicateKey")))
    }
  })

  it("leaves all other duplicate keys to JSON.parse", () => {
    const payload = JSON.stringify(payloadOf("image/png", png()))
    const json = `{"n":1,"n":{"data":1,"data":2},"data":1,"data":2,"a":${payload.slice(0, -1)},"x":1,"x":2},"n":3}`
    const { result } = read([json], { at: ["a"] })
    assert.deepInclude(plain(result), {
      message: { n: 3, data: 2, a: { mime: "image/png", name: "ref", x: 2 } }
    })
  })

  it("does not read what follows its data as data", () => {
    for (const more of ["\"AAAA\"", ":\"AAAA\"", "{\"data\":\"AAAA\"}", "[\"AAAA\"]"]) {
      const { result, steps } = read([`{"mime":"image/png","data":"${data}"${more}}`], {}, 300)
      assert.deepStrictEqual(plain(result), plain(invalid("NotJson")))
      assert.deepStrictEqual(steps, ["image", "full", "full", "full"])
    }
  })

  it("is not JSON wherever the message ends too early", () => {
    const json = `{"a":{"mime":"image\\/png","data":"AA\\u0041A","n\\u0061me":"é"}}`
    for (let end = 0; end < json.length; end++) {
      const part = json.slice(0, end)
      for (const input of [[part], inPiecesOf(part, 3), inPiecesOf(Buffer.from(part), 1)]) {
        assert.deepStrictEqual(plain(read(input, { at: ["a"] }).result), plain(invalid("NotJson")), part)
      }
    }
    const bytes = Buffer.from(json)
    for (let end = 0; end < bytes.length; end++) {
      assert.deepStrictEqual(plain(read([bytes.subarray(0, end)], { at: ["a"] }).result), plain(invalid("NotJson")))
    }
  })

  it.each(["x", "}", "{}", "\"\"", "\u0000", "\ufeff", "{\"b\":\"AAAA\"}"])(
    "is not JSON with %j behind it",
    (behind) => {
      for (const input of [[json + behind], inPiecesOf(Buffer.from(json + behind), 1)]) {
        assert.deepStrictEqual(plain(read(input, { at }).result), plain(invalid("NotJson")))
      }
    }
  )

  it("keeps a half of a surrogate pair that a string has, in the kept text and in the data", () => {
    const image = png()
    const { data } = payloadOf("", image)
    for (const half of ["\ud83d", "\ude00", "\\ud83d"]) {
      const named = read([`{"mime":"image/png","name":"${half}","data":"${data}"}`]).result
      assert.strictEqual("images" in named ? named.images[0]?.name : "", JSON.parse(`"${half}"`))
      const { result } = read([`{"mime":"image/png","data":"${data.slice(0, 8)}${half}AAA"}`])
      assert.deepStrictEqual(plain(result), plain(new BadBase64({ reason: "Character", offset: 8 })))
    }
  })

  it.each(
    [
      ["-", "UrlSafe"],
      ["é", "Character"],
      ["😀A", "Character"],
      ["=", "Padding"],
      ["\\n", "LineBreaks"],
      ["\\r\\n", "LineBreaks"],
      ["\\u0020", "WhiteSpace"],
      ["\\u0000", "Character"],
      ["\\u0141", "Character"]
    ] as const
  )("tells the offset of %s in the text of the data, not in the message", (wrong, reason) => {
    const { data } = payloadOf("", pngOfSize(100))
    for (const offset of [0, 1, 2, 3, 4, 17, 99]) {
      const length = JSON.parse(`"${wrong}"`).length
      const content = `${data.slice(0, offset)}${wrong}${data.slice(offset + length)}`
        .replaceAll("+", "\\u002B").replaceAll("/", "\\/")
      const json = `{"é":"é\\u0041","mime":"image/png","data":"${content}"}`
      for (const size of [1, 3, 1000]) {
        for (const input of [inPiecesOf(json, size), inPiecesOf(Buffer.from(json), size)]) {
          assert.deepStrictEqual(plain(read(input).result), plain(new BadBase64({ reason, offset })))
        }
      }
    }
  })

  it("prefers a mistake in the text to another type only where the type is not certain before it", () => {
    const { data } = payloadOf("", pngOfSize(1100))
    for (let offset = 1360; offset < 1376; offset++) {
      for (const mistake of ["-", "=", "==\\n", "\\u000a"]) {
        const text = `${data.slice(0, offset)}${mistake}${data.slice(offset + JSON.parse(`"${mistake}"`).length)}`
        const json = `{"mime":"image/jpeg","data":"${text}"}`
        for (const input of [[json], inPiecesOf(json, 7), inPiecesOf(Buffer.from(json), 5)]) {
          assertOutcome(possible(json, defaults), read(input))
        }
      }
    }
  })

  it("prefers the size of the image to the length of its text, as persist does", () => {
    for (let length = 1; length <= 16; length++) {
      for (let maxBytes = 0; maxBytes <= 12; maxBytes++) {
        const json = `{"mime":"image/png","data":"${"A".repeat(length)}"}`
        const expected = possible(json, { ...defaults, maxBytes })
        for (const input of [[json], inPiecesOf(Buffer.from(json), 1)]) {
          assertOutcome(expected, read(input, { maxBytes }))
        }
      }
    }
  })

  it("counts the bytes of the message without its data, in UTF-8", () => {
    for (const pad of ["", "é", "€😀", "😀".repeat(9000), `a${"😀".repeat(9000)}`, "\\ud83d".repeat(5000)]) {
      const json = `{"pad":"${pad}","mime":"image/png","data":"${data.replaceAll("/", "\\/")}"}`
      const size = Buffer.byteLength(json) - data.replaceAll("/", "\\/").length
      const inputs = [[json], inPiecesOf(json, 997), [Buffer.from(json)], inPiecesOf(Buffer.from(json), 997)]
      for (const input of inputs) {
        assert.isTrue("images" in read(input, { maxMessageBytes: size }, 4096).result)
        const { result } = read(input, { maxMessageBytes: size - 1 }, 4096)
        assert.deepStrictEqual(plain(result), plain(invalid("MessageTooLarge")))
      }
    }
  })

  it("refuses the first of a message that is too large, too deep and has a duplicate key", () => {
    const deep = "[".repeat(129)
    for (
      const [json, reason] of [
        [`{"pad":${deep}`, "TooDeep"],
        [`{"mime":1,"mime":${deep}`, "DuplicateKey"],
        [`{"pad":"${"x".repeat(200)}","mime":1,"mime":1}`, "MessageTooLarge"],
        [`{"mime":1,"mime":1,"pad":"${"x".repeat(200)}"}`, "DuplicateKey"],
        [`{"pad":"${"x".repeat(200)}","a":${deep}`, "MessageTooLarge"]
      ] as const
    ) {
      for (const size of [1, 7, 1000]) {
        for (const input of [inPiecesOf(json, size), inPiecesOf(Buffer.from(json), size)]) {
          assert.deepStrictEqual(plain(read(input, { maxMessageBytes: 180 }).result), plain(invalid(reason)))
        }
      }
    }
  })

  it("takes nesting of 128, with the path and around it, and refuses one more", () => {
    const payload = JSON.stringify(payloadOf("image/png", png()))
    const path = Array.from({ length: 127 }, () => "a")
    const onPath = (more: number) => `${"{\"a\":".repeat(127)}${payload.slice(0, -1)},"x":${"[".repeat(more)}`
    assert.isTrue("images" in read([`${onPath(0)}1}${"}".repeat(127)}`], { at: path }).result)
    assert.deepStrictEqual(plain(read([onPath(1)], { at: path }).result), plain(invalid("TooDeep")))
    const deeper = [...path, "a"]
    assert.deepStrictEqual(
      plain(read([`${"{\"a\":".repeat(128)}${payload}`], { at: deeper }).result),
      plain(invalid("TooDeep"))
    )
  })

  it("answers an announced payload only where it has bytes and no data, and is to look for that", () => {
    const announced = `{"a":{"mime":"image/png","bytes":5}}`
    assert.deepStrictEqual(plain(read([announced], { at: ["a"], announces: true }).result), {
      message: JSON.parse(announced),
      images: [],
      announced: { mime: "image/png", bytes: 5 }
    })
    assert.deepStrictEqual(plain(read([announced], { at: ["a"] }).result), plain(invalid("DataNotAString")))
    const both = JSON.stringify({ ...payloadOf("image/png", png()), bytes: 5 })
    assert.deepInclude(plain(read([both], { announces: true }).result), {
      message: { mime: "image/png", name: "ref", bytes: 5 }
    })
  })

  it.each([["image/png", pngOfSize(2000)], ["image/jpeg", jpegOfSize(2000)], ["image/webp", webpOfSize(2000)]])(
    "names the file after the bytes before the type is known: %s",
    (mime, image) => {
      const reader = withBuffersOf(300, () => {
        const reader = new MessageReader(fromStrings(), defaults)
        assert.strictEqual(reader.push(`{"data":"${payloadOf("", image).data}`), "image")
        assert.strictEqual(reader.resume(), "full")
        return reader
      })
      assert.strictEqual(reader.extension(), ImageFormat.formats.find((format) => format.mime === mime)?.extension)
      reader.buffer.release()
    }
  )

  const unread = (json: string, options: Partial<ReadOptions>) => {
    const text = fromBytes()
    const reader = new MessageReader(text, makeOptions({ isStream: true, maxBytes: 100, ...options }))
    let step = reader.push(Buffer.from(json))
    while (step === "image") step = reader.resume()
    reader.buffer.release()
    return typeof step === "string" ? step : plain(step)
  }
  const tooLarge = plain(new TooLarge({ bytes: 101, limit: 100 }))
  const wrongMime = plain(new InvalidMime({ reason: "NotAccepted", accepted }))
  const noMime = plain(new InvalidMime({ reason: "Missing", accepted }))

  it.each([
    ["no type before the data", "{\"a\":{", tooLarge],
    ["an accepted type", "{\"n\":[1],\"a\":{\"mime\":\"image/webp\",", tooLarge],
    ["another type", "{\"a\":{\"mime\":\"image/gif\",", wrongMime],
    ["a type that is not a string", "{\"a\":{\"mime\":1,", wrongMime],
    ["a general type", "{\"a\":{\"mime\":\"image/*\",", noMime],
    ["a type beside the payload", "{\"mime\":\"image/gif\",\"a\":{", tooLarge],
    ["no JSON before the data", "{x,\"a\":{", plain(invalid("NotJson"))]
  ])("refuses a stream that is too large at once, with %s", (_, before, expected) => {
    const json = `${before}"data":"${"AAAA".repeat(35)}`
    assert.deepStrictEqual(unread(json, { at: ["a"] }), expected)
    assert.strictEqual(unread(json, { at: ["a"], isStream: false }), "more")
  })
})
