import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { InvalidMime, type InvalidPayload, TooLarge } from "../../../../src/InitImageError.js"
import { boundaryOf } from "../../../../src/internal/http/formHeaders.js"
import { FormReader } from "../../../../src/internal/http/multipart.js"
import { RawReader } from "../../../../src/internal/persist/rawReader.js"
import * as sources from "../../../../src/internal/persist/sources.js"
import { errorFields } from "../../../utils/errorFields.js"
import { cut, drive, inPiecesOf, withBuffersOf } from "../../../utils/readers.js"

const boundary = "b0undary"

interface Part {
  readonly disposition?: string
  readonly type?: string | undefined
  readonly body?: string | Uint8Array
}

const partOf = ({ body = "", disposition = "form-data; name=\"a\"", type }: Part): Buffer =>
  Buffer.concat([
    Buffer.from(`--${boundary}\r\nContent-Disposition: ${disposition}\r\n`),
    Buffer.from(type === undefined ? "" : `Content-Type: ${type}\r\n`),
    Buffer.from("\r\n"),
    Buffer.from(body),
    Buffer.from("\r\n")
  ])

const closing = Buffer.from(`--${boundary}--\r\n`)

const formOf = (...parts: ReadonlyArray<Part>): Buffer => Buffer.concat([...parts.map(partOf), closing])

const fileAs = (name: string, body: string | Uint8Array = "BYTES", type = "image/png"): Part => ({
  disposition: `form-data; name="image"; filename="${name}"`,
  type,
  body
})

const field = (body: string, name = "a"): Part => ({ disposition: `form-data; name="${name}"`, body })

interface Options {
  readonly boundary?: string
  readonly field?: string
  readonly keepsFields?: boolean
  readonly maxMessageBytes?: number
  readonly maxSkippedBytes?: number
  readonly maxBytes?: number
}

/** A reader of a form that takes any bytes for an image, and the media type that it is asked for. */
const makeReader = ({ maxBytes = Infinity, ...options }: Options = {}) => {
  let mime: string | undefined
  let bytes = 0
  const reader = new FormReader({
    boundary,
    field: undefined,
    keepsFields: false,
    maxMessageBytes: 1024 * 1024,
    maxSkippedBytes: 1024 * 1024,
    ...options,
    formatOf: (declared) => {
      mime = declared
      return declared === "image/refused"
        ? Either.left(new InvalidMime({ reason: "NotAccepted", accepted: [] }))
        : Either.right(Option.some(ImageFormat.png))
    },
    makeReader: () =>
      new RawReader(
        {
          format: () => ImageFormat.png,
          push: (chunk) => {
            bytes += chunk.length
            return bytes > maxBytes ? new TooLarge({ bytes, limit: maxBytes }) : undefined
          },
          end: () => ({ format: ImageFormat.png, header: { width: 1, height: 1, orientation: 1 } })
        },
        0
      )
  })
  return { reader, mime: () => mime }
}

/** The file and the fields of a form in these chunks; or the error. */
const readMessage = (chunks: ReadonlyArray<Uint8Array>, options?: Options): object =>
  withBuffersOf(64, () => {
    const { reader } = makeReader({ keepsFields: true, ...options })
    const { bytes, result } = drive(reader, chunks)
    if ("_tag" in result) return errorFields(result)
    return {
      image: result.image === undefined ? null : [result.image.name, bytes.toString("latin1")],
      fields: [...result.fields]
    }
  })

/** The file of a form in these chunks; or the error. */
const read = (chunks: ReadonlyArray<Uint8Array>, options?: Options, bufferBytes = 64) =>
  withBuffersOf(bufferBytes, () => {
    const { mime, reader } = makeReader(options)
    const { bytes, result, steps } = drive(reader, chunks)
    assert.match(steps.join(), /^(?:image(?:,full)*)?$/)
    if ("_tag" in result) return result._tag === "InvalidPayload" ? result.reason : result._tag
    assert.strictEqual(result.fields.size, 0)
    return { mime: mime(), name: result.image?.name, bytes: bytes.toString("latin1") }
  })

const taken = (name: string | undefined, bytes = "BYTES", mime = "image/png") => ({ mime, name, bytes })

/** Bytes with many prefixes of a delimiter. */
const nearBoundaries = FastCheck.array(
  FastCheck.constantFrom("\r", "\n", "\r\n", "-", "--", "b0", "\r\n--b0undar", "\r\n-", "x", "\u00ff", "\u0000"),
  { maxLength: 30 }
).map((pieces) => Buffer.from(pieces.join(""), "latin1"))

const cuts = FastCheck.array(FastCheck.nat({ max: 5000 }), { maxLength: 40 })

describe("FormReader", () => {
  it.prop(
    "reads the same bytes however the form is cut",
    [
      FastCheck.array(nearBoundaries, { maxLength: 4 }),
      nearBoundaries,
      FastCheck.string({ maxLength: 20 }),
      cuts,
      FastCheck.integer({ min: 16, max: 100 })
    ],
    ([fields, bytes, preamble, cuts, bufferBytes]) => {
      const form = formOf(...fields.map((body) => ({ body })), fileAs("a.png", bytes), field("behind"))
      const whole = Buffer.concat([Buffer.from(preamble === "" ? "" : `${preamble}\r\n`), form])
      const expected = taken("a.png", bytes.toString("latin1"))
      for (const chunks of [cut(whole, cuts), inPiecesOf(whole, 1), [whole]]) {
        assert.deepStrictEqual(read(chunks, {}, bufferBytes), expected)
      }
    },
    { fastCheck: { numRuns: 500 } }
  )

  const fragments = FastCheck.array(
    FastCheck.oneof(
      FastCheck.constantFrom(
        `--${boundary}`,
        `--${boundary}\r\n`,
        `--${boundary}--`,
        "\r\n",
        "\r\n\r\n",
        "Content-Disposition: form-data; name=a; filename=b\r\n",
        "Content-Disposition: form-data; name=a\r\n",
        "Content-Type: image/png\r\n",
        "content-type",
        ": ",
        " \t",
        "filename*=utf-8''%ff",
        "\"",
        "\\"
      ),
      FastCheck.string({ unit: "binary", maxLength: 8 })
    ),
    { maxLength: 20 }
  )

  it.prop(
    "gives the same result for any bytes, however they are cut",
    [fragments, cuts, FastCheck.integer({ min: 0, max: 120 })],
    ([fragments, cuts, maxMessageBytes]) => {
      const bytes = Buffer.from(fragments.join(""))
      const whole = read([bytes], { maxMessageBytes })
      assert.deepStrictEqual(read(cut(bytes, cuts), { maxMessageBytes }), whole)
      assert.deepStrictEqual(read(inPiecesOf(bytes, 1), { maxMessageBytes }), whole)
    },
    { fastCheck: { numRuns: 1000 } }
  )

  it("reads a form byte by byte, with and without a file", () => {
    const withFile = formOf(field("x"), fileAs("a.png"))
    const withoutFile = formOf(field("x"), field("y"))
    for (const size of [1, 2, 3, 5, 7, 11, 1000]) {
      assert.deepStrictEqual(read(inPiecesOf(withFile, size)), taken("a.png"))
      assert.strictEqual(read(inPiecesOf(withoutFile, size)), "NoFile")
    }
  })

  const names: ReadonlyArray<readonly [title: string, disposition: string, name: string | undefined]> = [
    ["of any script", "form-data; name=\"a\"; filename=\"写真 é🙂.png\"", "写真 é🙂.png"],
    ["without quotes", "form-data; name=a; filename=a.png", "a.png"],
    ["with quotes in it", "form-data; name=\"a\"; filename=\"a\\\"b\\\".png\"", "a\"b\".png"],
    ["with a semicolon in it", "form-data; name=\"a\"; filename=\"a;b=c.png\"; x=y", "a;b=c.png"],
    ["with a backslash at its end", "form-data; name=\"a\"; filename=\"a\\\"", "a\\"],
    ["that is extended", "form-data; filename=\"a.png\"; filename*=UTF-8'en'%e2%82%ac.png", "€.png"],
    ["that is extended and does not decode", "form-data; filename=\"a.png\"; filename*=UTF-8''%ff%", "a.png"],
    ["that is extended in another charset", "form-data; filename=\"a.png\"; filename*=iso-8859-1''%a3", "a.png"],
    ["that is nothing, of an image", "form-data; name=\"a\"; filename=\"\"", ""],
    ["in no part of the header that can be read", "form-data; =; filename=\"a.png\"", undefined],
    ["that is not given, of an image", "form-data; name=\"a\"", undefined]
  ]
  for (const [title, disposition, name] of names) {
    it(`reads a file name ${title}`, () => {
      const form = formOf({ disposition, type: "image/png", body: "BYTES" })
      assert.deepStrictEqual(read([form]), taken(name))
    })
  }

  it("reads the first file, whatever the name of its field", () => {
    const form = formOf(field("x"), fileAs("a.png", "1"), fileAs("b.png", "2"))
    assert.deepStrictEqual(read([form]), taken("a.png", "1"))
  })

  it("reads the media type without case and parameters; a file without one is application/octet-stream", () => {
    assert.deepStrictEqual(read([formOf(fileAs("a", "BYTES", "IMAGE/Png; x=y"))]), taken("a"))
    const untyped = formOf({ disposition: "form-data; name=a; filename=a", body: "BYTES" })
    assert.deepStrictEqual(read([untyped]), taken("a", "BYTES", "application/octet-stream"))
  })

  const octets = "application/octet-stream"

  it.each([
    [undefined, undefined, undefined],
    [undefined, "text/plain", undefined],
    [undefined, "image/png", "image/png"],
    [undefined, octets, octets],
    [undefined, "Image/*", "image/*"],
    [undefined, "binary/octet-stream", "binary/octet-stream"],
    ["", undefined, undefined],
    ["", octets, undefined],
    ["", "text/plain", "text/plain"],
    ["", "image/png", "image/png"],
    ["a", undefined, octets],
    ["a", octets, octets],
    ["a", "", ""],
    ["a", "binary/octet-stream", "binary/octet-stream"],
    ["a", "text/plain", "text/plain"],
    ["a", "image/png ; charset=utf-8", "image/png"]
  ])("tells a file by its name, %j, or its type, %j", (name, type, mime) => {
    const fileName = name === undefined ? "" : `; filename="${name}"`
    const form = formOf({ disposition: `form-data; name="image"${fileName}`, type, body: "BYTES" })
    const noFile = name === "" ? "NoFile" : "NotAFile"
    assert.deepStrictEqual(read([form]), mime === undefined ? noFile : taken(name, "BYTES", mime))
  })

  it("uses the first of two headers", () => {
    const disposition = ["a", "b"].map((name) => `form-data; name="image"; filename="${name}"`)
    const form = formOf({
      disposition: disposition.join("\r\nContent-Disposition: "),
      type: "image/png\r\nContent-Type: image/webp",
      body: "BYTES"
    })
    assert.deepStrictEqual(read([form]), taken("a"))
  })

  it.each(["iso-8859-1''b", "x-utf-8''b", "utf-8'b"])("decodes extended names of UTF-8 only: %s", (extended) => {
    const disposition = `form-data; name="image"; filename="a"; filename*=${extended}`
    assert.deepStrictEqual(read([formOf({ disposition, type: "image/png", body: "BYTES" })]), taken("a"))
  })

  it("reads an empty file", () => {
    assert.deepStrictEqual(read([formOf(fileAs("a.png", ""))]), taken("a.png", ""))
  })

  it("has no file where a browser sends that no file was chosen", () => {
    assert.strictEqual(read([formOf(field("x"), fileAs("", "", "application/octet-stream"))]), "NoFile")
  })

  const boundaries: ReadonlyArray<readonly [title: string, type: string]> = [
    ["quotes", `multipart/form-data; boundary="${boundary}"`],
    ["other parameters, blanks and another case", `multipart/form-data ; a="b;c" ;BOUNDARY= ${boundary} ; x=y`]
  ]
  for (const [title, type] of boundaries) {
    it(`finds the boundary among ${title}`, () => {
      assert.deepStrictEqual(Either.getOrThrow(boundaryOf(type)), boundary)
    })
  }

  it("accepts a boundary of 70 characters", () => {
    const longest = "b".repeat(70)
    assert.strictEqual(Either.getOrThrow(boundaryOf(`multipart/form-data; boundary=${longest}`)), longest)
    const form = Buffer.from(formOf(fileAs("a.png")).toString("latin1").replaceAll(boundary, longest), "latin1")
    assert.deepStrictEqual(read([form], { boundary: longest }), taken("a.png"))
  })

  const noBoundaries: Record<string, readonly [type: string, reason: InvalidPayload["reason"]]> = {
    "none": ["multipart/form-data", "MissingBoundary"],
    "none but other parameters": ["multipart/form-data; charset=utf-8", "MissingBoundary"],
    "an empty one": ["multipart/form-data; boundary=", "MissingBoundary"],
    "an empty one in quotes": ["multipart/form-data; boundary=\"\"", "MissingBoundary"],
    "one of more than 70 characters": [`multipart/form-data; boundary=${"b".repeat(71)}`, "NotMultipart"],
    "one that ends with a blank": ["multipart/form-data; boundary=\"b \"", "NotMultipart"],
    "one with a control character": ["multipart/form-data; boundary=\"a\u0001b\"", "NotMultipart"]
  }
  for (const [title, [type, reason]] of Object.entries(noBoundaries)) {
    it(`refuses a form whose header has ${title} for a boundary`, () => {
      assert.deepInclude(Either.getOrThrow(Either.flip(boundaryOf(type))), { reason })
    })
  }

  it("refuses a form with another boundary than its header's", () => {
    assert.strictEqual(read([formOf(fileAs("a.png"))], { boundary: "other" }), "NotMultipart")
  })

  const broken: Record<string, Buffer> = {
    "nothing": Buffer.alloc(0),
    "no boundary": Buffer.from("hello"),
    "text behind a boundary": Buffer.from(`--${boundary}x\r\n\r\n\r\n--${boundary}--\r\n`),
    "a bare line feed behind a boundary": Buffer.from(`--${boundary}\n`),
    "a bare carriage return behind a boundary": Buffer.from(
      formOf(fileAs("a.png")).toString().replace(`${boundary}\r\n`, `${boundary}\rx`)
    ),
    "one dash behind a boundary": Buffer.from(`--${boundary}-x`),
    "headers without a colon": Buffer.from(`--${boundary}\r\nhello\r\n\r\nx\r\n--${boundary}--\r\n`),
    "headers without a name": Buffer.from(`--${boundary}\r\n: x\r\n\r\nx\r\n--${boundary}--\r\n`),
    "an end in its headers": formOf(fileAs("a.png")).subarray(0, 40),
    "an end in a field": formOf(field("hello")).subarray(0, -20),
    "an end in the file": formOf(fileAs("a.png")).subarray(0, -20),
    "an end in the last boundary": formOf(field("x")).subarray(0, -3)
  }
  for (const [title, form] of Object.entries(broken)) {
    it(`refuses a form that has ${title}`, () => {
      for (const size of [1, 3, 1000]) assert.strictEqual(read(inPiecesOf(form, size)), "NotMultipart")
    })
  }

  it("reads folded headers, blanks behind a boundary, and parts without known headers", () => {
    const form = Buffer.from([
      `--${boundary} \t`,
      "X: y",
      "",
      "x",
      `--${boundary}`,
      "",
      "no headers at all",
      `--${boundary}`,
      "content-disposition: form-data;",
      "\tfilename=a.png",
      "CONTENT-TYPE:image/png",
      "",
      "BYTES",
      `--${boundary}--`
    ].join("\r\n"))
    assert.deepStrictEqual(read([form]), taken("a.png"))
  })

  it("does not read the form behind the file", () => {
    const whole = formOf(fileAs("a.png"))
    assert.deepStrictEqual(read([whole.subarray(0, -4), Buffer.from("broken")]), taken("a.png"))
    const behind = Array.from({ length: 1000 }, () => field("x".repeat(2000)))
    assert.deepStrictEqual(read([formOf(fileAs("a.png"), ...behind)]), taken("a.png"))
  })

  it("is done with the boundary behind the file", () => {
    const form = formOf(fileAs("a.png"), field("behind"))
    const end = form.indexOf("BYTES") + `BYTES\r\n--${boundary}`.length
    for (const size of [1, 3, 1000]) {
      const { reader } = makeReader()
      let read = 0
      for (const chunk of inPiecesOf(form.subarray(0, end), size)) {
        read += chunk.length
        let step = reader.push(chunk)
        if (step === "image") step = reader.resume()
        assert.strictEqual(step, read === end ? "done" : "more")
      }
      reader.buffer.release()
    }
  })

  it("accepts 64 parts up to the file and refuses 65, however they are cut", () => {
    const fields = (count: number) => formOf(...Array.from({ length: count }, () => field("x")), fileAs("a.png"))
    for (const size of [10, 100_000]) {
      assert.deepStrictEqual(read(inPiecesOf(fields(63), size)), taken("a.png"))
      assert.strictEqual(read(inPiecesOf(fields(64), size)), "MessageTooLarge")
    }
  })

  it("accepts as many bytes before the file as the limit, and no byte more", () => {
    const before = formOf(field("x".repeat(3000)), fileAs("a.png"))
    const length = before.indexOf("BYTES")
    for (const size of [10, 100_000]) {
      const limited = (maxMessageBytes: number) => read(inPiecesOf(before, size), { maxMessageBytes })
      assert.deepStrictEqual(limited(length), taken("a.png"))
      assert.strictEqual(limited(length - 1), "MessageTooLarge")
    }
  })

  it("accepts a field as large as the limit", () => {
    const form = formOf(field("x".repeat(3_000_000)), fileAs("a.png"))
    assert.strictEqual(read([form]), "MessageTooLarge")
    assert.deepStrictEqual(read([form], { maxMessageBytes: Infinity }), taken("a.png"))
  })

  it("refuses headers that do not end, whatever the limit", () => {
    for (const header of ["a", "a: b\r\n"]) {
      const form = Buffer.from(`--${boundary}\r\n${header.repeat(20_000)}`)
      const refused = read(inPiecesOf(form, 100), { maxMessageBytes: Infinity })
      assert.strictEqual(refused, "MessageTooLarge")
    }
  })

  it.each([
    "; ".repeat(8000),
    `; a="${"\\\"".repeat(7000)}`,
    `; a="${"\\".repeat(14_000)}`,
    ";a=".repeat(4000)
  ])("finds no file and no boundary in a header of hostile parameters", (header) => {
    assert.strictEqual(read([formOf({ disposition: `form-data${header}` })]), "NoFile")
    assert.isTrue(Either.isLeft(boundaryOf(`multipart/form-data${header}`)))
  })

  it("asks for room behind the headers of the file, and reads no byte of it before", () => {
    const form = formOf(field("x"), fileAs("a.png", "12345"))
    const { mime, reader } = makeReader()
    assert.strictEqual(reader.push(form.subarray(0, form.indexOf("12345"))), "image")
    assert.strictEqual(mime(), "image/png")
    assert.strictEqual(reader.buffer.bytes, 0)
    assert.strictEqual(reader.resume(), "more")
    assert.strictEqual(reader.extension(), ".png")
    reader.buffer.release()
  })

  it("refuses a file by its type before it asks for room", () => {
    const form = formOf(fileAs("a", "BYTES", "image/refused"))
    for (const size of [1, 1000]) {
      const { reader } = makeReader()
      const { result, steps } = drive(reader, inPiecesOf(form, size))
      assert.deepInclude(result, { _tag: "InvalidMime" })
      assert.deepStrictEqual(steps, [])
    }
  })

  it("refuses a file that is too large before the form ends", () => {
    const form = formOf(fileAs("a.png", "x".repeat(1000)))
    for (const size of [1, 7, 1000]) {
      assert.strictEqual(read(inPiecesOf(form.subarray(0, -500), size), { maxBytes: 100 }), "TooLarge")
    }
    assert.strictEqual(read([form], { maxBytes: 100 }), "TooLarge")
  })

  it("prefers an error in the file's bytes to an error behind them", () => {
    const whole = formOf(fileAs("a.png", "x".repeat(1000))).toString()
    const form = Buffer.from(whole.slice(0, whole.lastIndexOf("--")))
    for (const size of [1, 7, 10_000]) {
      assert.strictEqual(read(inPiecesOf(form, size), { maxBytes: 999 }), "TooLarge")
      assert.deepStrictEqual(read(inPiecesOf(form, size), { maxBytes: 1000 }), taken("a.png", "x".repeat(1000)))
    }
  })

  it.effect("fails with the error of the body, before the file and in its middle, and releases the body", () =>
    Effect.gen(function*() {
      const form = formOf(field("x"), fileAs("a.png"))
      for (const end of [20, form.length - 20]) {
        let released = 0
        const body = Stream.fromIterable([form.subarray(0, end)]).pipe(
          Stream.concat(Stream.fail("gone" as const)),
          Stream.ensuring(Effect.sync(() => released++))
        )
        const { reader } = makeReader()
        const pump = Effect.scopedWith((scope) =>
          Effect.gen(function*() {
            const source = yield* Scope.extend(sources.fromStream(body), scope)
            if ((yield* source.pump(reader)) === "image") yield* source.pump(reader)
          })
        )
        assert.strictEqual(yield* Effect.flip(pump), "gone")
        assert.strictEqual(released, 1)
        reader.buffer.release()
      }
    }))

  it("reads the file's bytes as they arrive", () => {
    const form = formOf(fileAs("a.png", "12345"))
    const { reader } = makeReader()
    assert.strictEqual(reader.push(form.subarray(0, form.indexOf("345"))), "image")
    assert.strictEqual(reader.resume(), "more")
    assert.strictEqual(Buffer.from(reader.buffer.take()).toString(), "12")
    reader.buffer.release()
  })

  it("reads the text fields before and behind the file", () => {
    const form = formOf(field("rain"), fileAs("a.png"), field("größer 🙂", "size"), field("", "empty"))
    for (const size of [1, 3, 7, 1000]) {
      assert.deepStrictEqual(readMessage(inPiecesOf(form, size)), {
        image: ["a.png", "BYTES"],
        fields: [["a", "rain"], ["size", "größer 🙂"], ["empty", ""]]
      })
    }
  })

  it.prop(
    "reads the same text however the form is cut",
    [FastCheck.array(nearBoundaries, { maxLength: 4 }), nearBoundaries, cuts],
    ([texts, bytes, cuts]) => {
      const parts = texts.map((body, i): Part => ({ disposition: `form-data; name="${i}"`, body }))
      const form = formOf(...parts, fileAs("a.png", bytes), field("behind"))
      const expected = {
        image: ["a.png", bytes.toString("latin1")],
        fields: [...texts.map((text, i) => [String(i), text.toString()]), ["a", "behind"]]
      }
      for (const chunks of [cut(form, cuts), inPiecesOf(form, 1), [form]]) {
        assert.deepStrictEqual(readMessage(chunks), expected)
      }
    },
    { fastCheck: { numRuns: 300 } }
  )

  it("keeps the first of two texts, and replaces what is not UTF-8", () => {
    const form = formOf(field("1"), field("2"), { body: Buffer.from([0x61, 0xff]), disposition: "form-data; name=b" })
    assert.deepStrictEqual(readMessage([form]), { image: null, fields: [["a", "1"], ["b", "a\ufffd"]] })
  })

  it("takes the first file of a named field, and skips the others", () => {
    const mask: Part = { ...fileAs("mask.png", "MASK"), disposition: "form-data; name=mask; filename=mask.png" }
    const form = formOf(mask, fileAs("a.png"), field("x"), fileAs("b.png", "OTHER"), mask)
    for (const size of [1, 5, 1000]) {
      const pieces = inPiecesOf(form, size)
      assert.deepStrictEqual(read(pieces, { field: "image" }), taken("a.png"))
      assert.deepStrictEqual(readMessage(pieces, { field: "image" }), {
        image: ["a.png", "BYTES"],
        fields: [["a", "x"]]
      })
      assert.deepInclude(readMessage(pieces, {}), { image: ["mask.png", "MASK"] })
      assert.deepInclude(readMessage(pieces, { field: "other" }), { image: null })
      assert.strictEqual(read(pieces, { field: "other" }), "NoFile")
    }
  })

  it("skips files up to their limit, and no byte more, and reads as much of the fields", () => {
    const mask: Part = { ...fileAs("mask.png", "M".repeat(5000)), disposition: "form-data; name=mask; filename=m" }
    const form = formOf(mask, fileAs("a.png"), mask)
    // The skipped bytes include the delimiters.
    const skipped = 2 * (5000 + `\r\n--${boundary}`.length)
    for (const size of [10, 100_000]) {
      const limited = (maxSkippedBytes: number) =>
        readMessage(inPiecesOf(form, size), { field: "image", maxSkippedBytes, maxMessageBytes: 1000 })
      assert.deepInclude(limited(skipped), { image: ["a.png", "BYTES"] })
      assert.deepInclude(limited(skipped - 1), { reason: "MessageTooLarge" })
    }
  })

  it("bounds the text fields, the number of parts, and no byte of the file", () => {
    const form = formOf(fileAs("a.png", "x".repeat(5000)), field("x".repeat(3000)))
    const length = form.length - 5000 - `\r\n--${boundary}`.length - "\r\n".length
    for (const size of [10, 100_000]) {
      const limited = (maxMessageBytes: number) => readMessage(inPiecesOf(form, size), { maxMessageBytes })
      assert.deepInclude(limited(length), { image: ["a.png", "x".repeat(5000)] })
      assert.deepInclude(limited(length - 1), { reason: "MessageTooLarge" })
    }
    const parts = (count: number) =>
      readMessage([formOf(fileAs("a"), ...Array.from({ length: count }, () => field("x")))])
    assert.deepInclude(parts(63), { fields: [["a", "x"]] })
    assert.deepInclude(parts(64), { reason: "MessageTooLarge" })
  })

  it("names a text field in the place of the file, a known one or the server's own", () => {
    const wrong = formOf(field("x"), field("[object Object]", "image"))
    const tooLong = formOf(field(`data:image/png;base64,${"A".repeat(5000)}`, "image"))
    for (
      const read of [
        readMessage,
        (...all: Parameters<typeof readMessage>) => readMessage(all[0], { keepsFields: false, ...all[1] })
      ]
    ) {
      assert.deepStrictEqual(read([wrong]), { _tag: "InvalidPayload", reason: "NotAFile", field: "image" })
      assert.deepStrictEqual(read([wrong], { field: "a" }), { _tag: "InvalidPayload", reason: "NotAFile", field: "a" })
      assert.deepStrictEqual(read([tooLong], { maxMessageBytes: 1000 }), {
        _tag: "InvalidPayload",
        reason: "NotAFile",
        field: "image"
      })
      assert.deepInclude(read([formOf(field("x".repeat(5000), "image2"))], { maxMessageBytes: 1000 }), {
        reason: "MessageTooLarge"
      })
    }
    assert.deepInclude(readMessage([formOf(field("x", "photo"), field("x", "image"))]), { field: "photo" })
    assert.deepStrictEqual(readMessage([formOf(field("x", "secret"))], { keepsFields: false }), {
      _tag: "InvalidPayload",
      reason: "NoFile"
    })
    assert.deepStrictEqual(readMessage([formOf(field("x", "secret"))], { keepsFields: false, field: "image" }), {
      _tag: "InvalidPayload",
      reason: "NoFile",
      field: "image"
    })
    assert.deepStrictEqual(readMessage([formOf(field("", "image"), fileAs("a.png"))]), {
      image: ["a.png", "BYTES"],
      fields: [["image", ""]]
    })
  })

  it("refuses an image at its end, before the fields behind it", () => {
    const broken = new FormReader({
      boundary,
      field: undefined,
      keepsFields: true,
      maxMessageBytes: 1000,
      maxSkippedBytes: 0,
      formatOf: () => Either.right(Option.none()),
      makeReader: () =>
        new RawReader(
          { format: () => undefined, push: () => undefined, end: () => new TooLarge({ bytes: 1, limit: 0 }) },
          0
        )
    })
    const form = formOf(fileAs("a.png"), field("x".repeat(500)))
    assert.strictEqual(broken.push(form.subarray(0, form.indexOf("xxx"))), "image")
    assert.deepInclude(broken.resume(), { _tag: "TooLarge" })
    broken.buffer.release()
  })
})
