import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { InitImageLimits } from "../../../../src/index.js"
import { formFile } from "../../../../src/internal/http/multipart.js"

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

/** The pieces that one gets by cutting there. */
const cut = (bytes: Uint8Array, cuts: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end))
}

const inPiecesOf = (bytes: Uint8Array, size: number): ReadonlyArray<Uint8Array> =>
  cut(bytes, Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => i * size))

/** The file that a form brings in these pieces: what is said of it, and its bytes as Latin-1; or what is wrong. */
const read = (pieces: ReadonlyArray<Uint8Array>, type = contentType) =>
  formFile(
    { "content-type": type },
    Stream.fromIterable(pieces),
    (meta, bytes) =>
      Effect.map(
        Stream.runCollect(bytes),
        (chunks) => ({ ...meta, bytes: Buffer.concat([...chunks]).toString("latin1") })
      )
  ).pipe(
    Effect.map(Option.getOrNull),
    Effect.mapError(({ reason }) => reason),
    Effect.either,
    Effect.map(Either.merge)
  )

const readNow = (pieces: ReadonlyArray<Uint8Array>, type?: string) => Effect.runSync(read(pieces, type))

const taken = (name: string | undefined, bytes = "BYTES", mime = "image/png") => ({ mime, name, bytes })

/** Bytes that are full of what a boundary begins with. */
const nearBoundaries = FastCheck.array(
  FastCheck.constantFrom("\r", "\n", "\r\n", "-", "--", "b0", "\r\n--b0undar", "\r\n-", "x", "\u00ff", "\u0000"),
  { maxLength: 30 }
).map((pieces) => Buffer.from(pieces.join(""), "latin1"))

const cuts = FastCheck.array(FastCheck.nat({ max: 5000 }), { maxLength: 40 })

describe("formFile", () => {
  it.prop(
    "takes the same bytes however they are cut",
    [FastCheck.array(nearBoundaries, { maxLength: 4 }), nearBoundaries, FastCheck.string({ maxLength: 20 }), cuts],
    ([fields, bytes, preamble, cuts]) => {
      const form = formOf(...fields.map((body) => ({ body })), fileAs("a.png", bytes), field("behind"))
      const whole = Buffer.concat([Buffer.from(preamble === "" ? "" : `${preamble}\r\n`), form])
      assert.deepStrictEqual(readNow(cut(whole, cuts)), taken("a.png", bytes.toString("latin1")))
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
    "comes to the same end with whatever bytes, however they are cut",
    [fragments, cuts, FastCheck.integer({ min: 0, max: 120 })],
    ([fragments, cuts, maxMessageBytes]) => {
      const bytes = Buffer.from(fragments.join(""))
      const limited = (pieces: ReadonlyArray<Uint8Array>) =>
        Effect.runSync(InitImageLimits.withMaxMessageBytes(read(pieces), maxMessageBytes))
      assert.deepStrictEqual(limited(cut(bytes, cuts)), limited([bytes]))
    },
    { fastCheck: { numRuns: 1000 } }
  )

  it("takes a form that comes byte by byte, and one without a file", () => {
    const withFile = formOf(field("x"), fileAs("a.png"))
    const withoutFile = formOf(field("x"), field("y"))
    for (const size of [1, 2, 3, 5, 7, 11, 1000]) {
      assert.deepStrictEqual(readNow(inPiecesOf(withFile, size)), taken("a.png"))
      assert.isNull(readNow(inPiecesOf(withoutFile, size)))
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
    it(`takes a file with a name ${title}`, () => {
      const form = formOf({ disposition, type: "image/png", body: "BYTES" })
      assert.deepStrictEqual(readNow([form]), taken(name))
    })
  }

  it("takes the first file, whatever the name of its field", () => {
    const form = formOf(field("x"), fileAs("a.png", "1"), fileAs("b.png", "2"))
    assert.deepStrictEqual(readNow([form]), taken("a.png", "1"))
  })

  it("takes the type without its case and parameters, and that of no type as unknown", () => {
    assert.deepStrictEqual(readNow([formOf(fileAs("a", "BYTES", "IMAGE/Png; x=y"))]), taken("a"))
    const untyped = formOf({ disposition: "form-data; name=a; filename=a", body: "BYTES" })
    assert.deepStrictEqual(readNow([untyped]), taken("a", "BYTES", "application/octet-stream"))
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
    assert.deepStrictEqual(readNow([form]), mime === undefined ? null : taken(name, "BYTES", mime))
  })

  it("takes the first of two headers", () => {
    const disposition = ["a", "b"].map((name) => `form-data; name="image"; filename="${name}"`)
    const form = formOf({
      disposition: disposition.join("\r\nContent-Disposition: "),
      type: "image/png\r\nContent-Type: image/webp",
      body: "BYTES"
    })
    assert.deepStrictEqual(readNow([form]), taken("a"))
  })

  it.each(["iso-8859-1''b", "x-utf-8''b", "utf-8'b"])("takes no extended name but of UTF-8: %s", (extended) => {
    const disposition = `form-data; name="image"; filename="a"; filename*=${extended}`
    assert.deepStrictEqual(readNow([formOf({ disposition, type: "image/png", body: "BYTES" })]), taken("a"))
  })

  it("takes a file without a byte", () => {
    assert.deepStrictEqual(readNow([formOf(fileAs("a.png", ""))]), taken("a.png", ""))
  })

  it("answers none where a browser sends that no file was chosen", () => {
    assert.isNull(readNow([formOf(field("x"), fileAs("", "", "application/octet-stream"))]))
  })

  const boundaries: ReadonlyArray<readonly [title: string, type: string]> = [
    ["quotes", `multipart/form-data; boundary="${boundary}"`],
    ["other parameters, blanks and another case", `multipart/form-data ; a="b;c" ;BOUNDARY= ${boundary} ; x=y`]
  ]
  for (const [title, type] of boundaries) {
    it(`finds the boundary among ${title}`, () => {
      assert.deepStrictEqual(readNow([formOf(fileAs("a.png"))], type), taken("a.png"))
    })
  }

  /** The same form with another boundary. */
  const withBoundary = (other: string) =>
    Buffer.from(formOf(fileAs("a.png")).toString("latin1").replaceAll(boundary, other), "latin1")

  it("takes a boundary of 70 characters", () => {
    const longest = "b".repeat(70)
    assert.deepStrictEqual(readNow([withBoundary(longest)], `multipart/form-data; boundary=${longest}`), taken("a.png"))
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
      assert.strictEqual(readNow([withBoundary(boundary)], type), "NotMultipart")
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
      for (const size of [1, 3, 1000]) assert.strictEqual(readNow(inPiecesOf(form, size)), "NotMultipart")
    })
  }

  it("takes parts with folded headers, blanks behind a boundary, and none of the headers that it knows", () => {
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
    assert.deepStrictEqual(readNow([form]), taken("a.png"))
  })

  it("does not look at what comes after the file", () => {
    const whole = formOf(fileAs("a.png"))
    assert.deepStrictEqual(readNow([whole.subarray(0, -4), Buffer.from("broken")]), taken("a.png"))
    const behind = Array.from({ length: 1000 }, () => field("x".repeat(2000)))
    assert.deepStrictEqual(readNow([formOf(fileAs("a.png"), ...behind)]), taken("a.png"))
  })

  it("does not read what comes after the file", () => {
    let pulled = 0
    const pieces = [...inPiecesOf(formOf(fileAs("a.png")), 1000), Buffer.alloc(10), Buffer.alloc(10)]
    const body = Stream.rechunk(Stream.fromIterable(pieces), 1).pipe(Stream.tap(() => Effect.sync(() => pulled++)))
    Effect.runSync(formFile({ "content-type": contentType }, body, (_, bytes) => Stream.runDrain(bytes)))
    assert.isBelow(pulled, pieces.length)
  })

  it("takes 64 parts up to the file, and no more, however they come", () => {
    const fields = (count: number) => formOf(...Array.from({ length: count }, () => field("x")), fileAs("a.png"))
    for (const size of [10, 100_000]) {
      assert.deepStrictEqual(readNow(inPiecesOf(fields(63), size)), taken("a.png"))
      assert.strictEqual(readNow(inPiecesOf(fields(64), size)), "MessageTooLarge")
    }
  })

  it("takes as much in front of the file's bytes as the limit says, and no byte more, however it comes", () => {
    const before = formOf(field("x".repeat(3000)), fileAs("a.png"))
    const length = before.indexOf("BYTES")
    for (const size of [10, 100_000]) {
      const limited = (limit: number) =>
        Effect.runSync(InitImageLimits.withMaxMessageBytes(read(inPiecesOf(before, size)), limit))
      assert.deepStrictEqual(limited(length), taken("a.png"))
      assert.strictEqual(limited(length - 1), "MessageTooLarge")
    }
  })

  it("takes a field as large as the limit allows", () => {
    const form = formOf(field("x".repeat(3_000_000)), fileAs("a.png"))
    assert.strictEqual(readNow([form]), "MessageTooLarge")
    assert.deepStrictEqual(Effect.runSync(InitImageLimits.withMaxMessageBytes(read([form]), Infinity)), taken("a.png"))
  })

  it("refuses headers that do not end, whatever the limit", () => {
    for (const header of ["a", "a: b\r\n"]) {
      const form = Buffer.from(`--${boundary}\r\n${header.repeat(20_000)}`)
      const refused = Effect.runSync(InitImageLimits.withMaxMessageBytes(read(inPiecesOf(form, 100)), Infinity))
      assert.strictEqual(refused, "MessageTooLarge")
    }
  })

  it("reads hostile headers in no time", () => {
    const started = performance.now()
    for (
      const header of [
        "; ".repeat(8000),
        `; a="${"\\\"".repeat(7000)}`,
        `; a="${"\\".repeat(14_000)}`,
        ";a=".repeat(4000)
      ]
    ) {
      readNow([formOf({ disposition: `form-data${header}` })])
      readNow([formOf(fileAs("a.png"))], `multipart/form-data${header}`)
    }
    assert.isBelow(performance.now() - started, 1000)
  })

  it.effect("fails with what the body fails with, before the file and in its middle, and lets go of the body", () =>
    Effect.gen(function*() {
      const form = formOf(field("x"), fileAs("a.png"))
      for (const end of [20, form.length - 20]) {
        let released = 0
        const body = Stream.fromIterable([form.subarray(0, end)]).pipe(
          Stream.concat(Stream.fail("gone")),
          Stream.ensuring(Effect.sync(() => released++))
        )
        const error = yield* Effect.flip(
          formFile({ "content-type": contentType }, body, (_, bytes) => Stream.runDrain(bytes))
        )
        assert.strictEqual(error, "gone")
        assert.strictEqual(released, 1)
      }
    }))

  it.effect("gives the file's bytes as they arrive", () =>
    Effect.gen(function*() {
      const form = formOf(fileAs("a.png", "12345"))
      const body = Stream.concat(Stream.fromIterable([form.subarray(0, form.indexOf("345"))]), Stream.never)
      const first = yield* formFile(
        { "content-type": contentType },
        body,
        (_, bytes) => Stream.runHead(bytes)
      )
      assert.strictEqual(Buffer.from(Option.getOrThrow(Option.flatten(first))).toString(), "12")
    }))
})
