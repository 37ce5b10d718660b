import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { InvalidMime, TooLarge } from "../../../../src/InitImageError.js"
import { FormReader } from "../../../../src/internal/http/multipart.js"
import { RawReader } from "../../../../src/internal/persist/rawReader.js"
import * as sources from "../../../../src/internal/persist/sources.js"
import { cut, drive, inPiecesOf, withBuffersOf } from "../../../utils/readers.js"

const boundary = "b0undary"
const contentType = `multipart/form-data; boundary=${boundary}`

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

const field = (body: string): Part => ({ body })

interface Options {
  readonly type?: string
  readonly maxMessageBytes?: number
  readonly maxBytes?: number
}

/** A reader of a form that takes any bytes for an image, and the media type that it is asked for. */
const makeReader = ({ maxBytes = Infinity, maxMessageBytes = 1024 * 1024, type = contentType }: Options = {}) => {
  let mime: string | undefined
  let bytes = 0
  const reader = new FormReader({
    contentType: type,
    maxMessageBytes,
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

/** The file of a form in these chunks, `null` where it has none; or the error. */
const read = (chunks: ReadonlyArray<Uint8Array>, options?: Options, bufferBytes = 64) =>
  withBuffersOf(bufferBytes, () => {
    const { mime, reader } = makeReader(options)
    const { bytes, result, steps } = drive(reader, chunks)
    assert.match(steps.join(), /^(?:image(?:,full)*)?$/)
    if ("_tag" in result) return result._tag === "InvalidPayload" ? result.reason : result._tag
    return result.image === undefined
      ? null
      : { mime: mime(), name: result.image.name, bytes: bytes.toString("latin1") }
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
      assert.isNull(read(inPiecesOf(withoutFile, size)))
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
    ["", undefined, undefined],
    ["", octets, undefined],
    ["", "text/plain", "text/plain"],
    ["", "image/png", "image/png"],
    ["a", undefined, octets],
    ["a", octets, octets],
    ["a", "text/plain", "text/plain"],
    ["a", "image/png ; charset=utf-8", "image/png"]
  ])("tells a file by its name, %j, or its type, %j", (name, type, mime) => {
    const fileName = name === undefined ? "" : `; filename="${name}"`
    const form = formOf({ disposition: `form-data; name="image"${fileName}`, type, body: "BYTES" })
    assert.deepStrictEqual(read([form]), mime === undefined ? null : taken(name, "BYTES", mime))
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
    assert.isNull(read([formOf(field("x"), fileAs("", "", "application/octet-stream"))]))
  })

  const boundaries: ReadonlyArray<readonly [title: string, type: string]> = [
    ["quotes", `multipart/form-data; boundary="${boundary}"`],
    ["other parameters, blanks and another case", `multipart/form-data ; a="b;c" ;BOUNDARY= ${boundary} ; x=y`]
  ]
  for (const [title, type] of boundaries) {
    it(`finds the boundary among ${title}`, () => {
      assert.deepStrictEqual(read([formOf(fileAs("a.png"))], { type }), taken("a.png"))
    })
  }

  /** The same form with another boundary. */
  const withBoundary = (other: string) =>
    Buffer.from(formOf(fileAs("a.png")).toString("latin1").replaceAll(boundary, other), "latin1")

  it("accepts a boundary of 70 characters", () => {
    const longest = "b".repeat(70)
    assert.deepStrictEqual(
      read([withBoundary(longest)], { type: `multipart/form-data; boundary=${longest}` }),
      taken("a.png")
    )
  })

  const noBoundaries: Record<string, readonly [type: string, boundary: string]> = {
    "none": ["multipart/form-data", ""],
    "an empty one": ["multipart/form-data; boundary=", ""],
    "an empty one in quotes": ["multipart/form-data; boundary=\"\"", ""],
    "one of more than 70 characters": [`multipart/form-data; boundary=${"b".repeat(71)}`, "b".repeat(71)],
    "one that ends with a blank": ["multipart/form-data; boundary=\"b \"", "b "],
    "one with a control character": ["multipart/form-data; boundary=\"a\u0001b\"", "a\u0001b"],
    "another one": ["multipart/form-data; boundary=other", boundary]
  }
  for (const [title, [type, boundary]] of Object.entries(noBoundaries)) {
    it(`refuses a form whose header has ${title} for a boundary`, () => {
      assert.strictEqual(read([withBoundary(boundary)], { type }), "NotMultipart")
    })
  }

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

  it("reads hostile headers in linear time", () => {
    const started = performance.now()
    for (
      const header of [
        "; ".repeat(8000),
        `; a="${"\\\"".repeat(7000)}`,
        `; a="${"\\".repeat(14_000)}`,
        ";a=".repeat(4000)
      ]
    ) {
      read([formOf({ disposition: `form-data${header}` })])
      read([formOf(fileAs("a.png"))], { type: `multipart/form-data${header}` })
    }
    assert.isBelow(performance.now() - started, 5000)
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
})
