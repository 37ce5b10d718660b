import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Buffer, isUtf8 } from "node:buffer"
import * as ImageFormat from "../../src/ImageFormat.js"
import { InitImageFrame, InitImageLimits, InitImagePayload, SessionInitImage } from "../../src/index.js"
import { readers } from "../../src/internal/format/table.js"
import { Decoder } from "../../src/internal/persist/base64.js"
import { jpegOfSize, pngOfSize, webpOfSize } from "../utils/images.js"
import { reference } from "../utils/jsonReference.js"
import { directory, MemoryFileSystem } from "../utils/memoryFileSystem.js"
import { countSteps, trace } from "../utils/probing.js"
import * as expectation from "./expectation.js"
import type { Expected, Limits } from "./expectation.js"
import { fuzz } from "./fuzzing.js"
import * as mutations from "./mutations.js"
import { check, encoded, Source } from "./outcomes.js"
import * as payloads from "./payloads.js"
import type { Random } from "./random.js"
import { readImage } from "./reading.js"

/** The default limit, the samples' size, one pixel less, and the largest JPEG. */
const maxPixels = [50_000_000, 50_000_000, 37 * 23, 37 * 23 - 1, 65_535 ** 2]

const limitsOf = (random: Random): Limits => ({
  maxBytes: random.pick([20_000, 20_000, 2000, 100.5]),
  maxPixels: random.pick(maxPixels)
})

const disk = new MemoryFileSystem()
const onDisk = <A, E>(effect: Effect.Effect<A, E, FileSystem.FileSystem | Path.Path>) =>
  effect.pipe(Effect.provideService(FileSystem.FileSystem, disk.fileSystem), Effect.provide(Path.layer))

const verdicts = ["Image", "ContentMismatch", "MalformedImage", "TooManyPixels"]

/** Errors of a stream that exceeds the limit before its end is read. */
const early = (json: Uint8Array, limits: Limits): ReadonlyArray<Expected> =>
  json.length * 0.75 <= limits.maxBytes ? [] : [
    { _tag: "TooLarge", bytes: Math.floor(limits.maxBytes) + 1, limit: limits.maxBytes },
    expectation.invalidMime,
    expectation.missingMime,
    expectation.notJson
  ]

const persistFrame = (random: Random, json: Uint8Array, at: ReadonlyArray<string>, limits: Limits) => {
  const { expected, message } = expectation.ofJson(json, at, limits)
  const source = new Source(random.pieces(json))
  const text = isUtf8(json) && random.chance(0.4) ? Buffer.from(json).toString() : undefined
  const isStream = text === undefined && random.chance(0.6)
  const persist = InitImageFrame.persist(text ?? (isStream ? source.stream : json), { at }, { directory }).pipe(
    Effect.map((frame) => {
      assert.deepStrictEqual(frame.message, message)
      return frame.image
    }),
    InitImageLimits.withLimits({ ...limits, maxMessageBytes: Infinity })
  )
  const tooDeep = expectation.depthOf(json) > 128
  const { end, stops } = reference(new TextDecoder().decode(json), at)
  const isDuplicate = stops.some(([stop]) => stop === "DuplicateKey")
  // Behind the first place that is not JSON, a scanner may still find a key twice.
  const mayBeDuplicate = isDuplicate || end !== Infinity || !isUtf8(json)
  return check(persist, {
    disk,
    limits,
    expected: [
      ...(tooDeep ? [{ _tag: "InvalidPayload", reason: "TooDeep" }] : []),
      ...(mayBeDuplicate ? [{ _tag: "InvalidPayload", reason: "DuplicateKey" }] : []),
      ...(isDuplicate && !isUtf8(json) ? [expectation.notJson] : []),
      ...(isDuplicate || (tooDeep && expected !== expectation.notJson) ? [] : [expected]),
      ...(isStream ? early(json, limits) : [])
    ],
    // Each candidate needs a quoted key and a quoted value.
    maxFiles: Buffer.from(json).toString("latin1").split("\"").length / 3
  }).pipe(Effect.tap(() => source.check()))
}

const persistStream = (random: Random, all: Uint8Array, mime: string, limits: Limits) => {
  const source = new Source(random.pieces(all))
  const persist = SessionInitImage.persistStream({ mime, name: "ref" }, source.stream, { directory }).pipe(
    Effect.asSome,
    InitImageLimits.withLimits(limits)
  )
  return check(persist, { disk, limits, expected: [expectation.ofStream(mime, all, limits)] }).pipe(
    Effect.tap(() => {
      source.check()
      assert.isAtMost(source.bytesBefore, limits.maxBytes, "no piece is read after the limit")
    })
  )
}

const persistPayload = (payload: unknown, limits: Limits) =>
  check(InitImageLimits.withLimits(SessionInitImage.persist(payload, { directory }), limits), {
    disk,
    limits,
    expected: [expectation.ofPayload(payload, limits)]
  })

const readInPieces = (random: Random): string => {
  const all = mutations.image(random)
  const format = random.chance(0.95)
    ? Option.getOrThrow(ImageFormat.fromMime(payloads.mimeOf(all)))
    : random.pick(ImageFormat.formats)
  const limit = random.pick(maxPixels)
  const pieces = random.pieces(all)
  const { outcome } = trace(format, pieces, limit)
  const expected = readImage(format.name, all, limit)
  if (outcome._tag === "Image") {
    const { height, orientation, width } = outcome
    if (typeof expected === "string") return assert.fail(`an image, and not ${expected}`)
    assert.isTrue(width === expected.width && height === expected.height)
    assert.isTrue(width >= 1 && height >= 1 && width * height <= limit)
    assert.isTrue(Number.isInteger(orientation) && orientation >= 1 && orientation <= 8)
  } else {
    assert.strictEqual(outcome._tag, expected)
  }
  if (outcome._tag === "ContentMismatch") assert.strictEqual(outcome.detected, ImageFormat.detect(all))
  assert.isAtMost(countSteps(readers[format.name].parser, pieces), all.length + 8)
  return outcome._tag
}

const decodeInPieces = (random: Random, data: string) => {
  const target = Buffer.alloc(data.length + 8)
  const decoder = new Decoder()
  const size = 1 + random.below(random.pick([4, 100, 10_000]))
  let written = 0
  for (let at = 0; at < data.length; at += size) written += decoder.push(data.slice(at, at + size), target, written)
  written += decoder.end(target, written)
  return { all: target.subarray(0, written), invalid: decoder.invalid }
}

const decodeAsStream = Effect.fnUntraced(function*(data: string) {
  const payload = Option.getOrThrow(yield* InitImagePayload.decode({ mime: "image/png", data }))
  const chunks: Array<Uint8Array> = []
  const exit = yield* Effect.exit(
    Stream.runForEach(SessionInitImage.decode(payload), (chunk) => Effect.sync(() => chunks.push(chunk)))
  )
  assert.isAtMost(chunks.length, 1)
  return { all: Buffer.concat(chunks), error: exit._tag === "Failure" ? encoded(exit.cause) : undefined }
})

const decodeText = Effect.fnUntraced(function*(random: Random) {
  const bytes = mutations.image(random).subarray(0, random.pick([1, 2, 3, 100, 5000]))
  const prefix = random.chance(0.02) ? "data:image/png;base64," : ""
  const data = mutations.text(random, prefix + mutations.base64(bytes))
  const pieces = decodeInPieces(random, data)
  // Decoding a stream takes 20 times as long.
  const stream = random.chance(0.1) ? yield* decodeAsStream(data) : undefined
  if (data.length % 4 !== 0) {
    assert.isDefined(pieces.invalid)
    if (stream !== undefined) {
      assert.deepStrictEqual(stream, { all: Buffer.alloc(0), error: { ...expectation.wrongLength(data) } })
    }
    return "Length"
  }
  const { all, wrong } = expectation.readBase64(data)
  assert.isTrue(all.equals(pieces.all))
  assert.strictEqual(pieces.invalid?.reason, wrong?.reason)
  assert.strictEqual(pieces.invalid?.offset, wrong?.offset)
  if (stream !== undefined) {
    assert.isTrue(all.equals(stream.all))
    assert.deepStrictEqual(stream.error, wrong && { ...wrong })
  }
  return wrong?.reason ?? "Decoded"
}, Effect.orDie)

const mistakes = ["Character", "DataUrl", "LineBreaks", "WhiteSpace", "UrlSafe", "Padding", "UnusedBits"]

const noTimeout = 0

describe("200,000 mutations", () => {
  it.live(
    "images give the same result in any pieces, in a number of steps bounded by their length",
    () => fuzz("images", verdicts, (random) => Effect.sync(() => readInPieces(random))),
    noTimeout
  )

  it.live(
    "base64 decodes to its bytes, or fails at its first invalid character",
    () => fuzz("base64", ["Decoded", "Length", ...mistakes], decodeText),
    noTimeout
  )

  it.live("payloads become a file of their bytes or the documented error, and leave no other file", () =>
    onDisk(
      fuzz(
        "payloads",
        [...verdicts, "None", "Empty", "InvalidPayload", "InvalidMime", "TooLarge", "BadBase64"],
        (random) => persistPayload(payloads.of(random, mutations.image(random)), limitsOf(random))
      )
    ), noTimeout)

  it.live("streams become a file or an error, and are read no further than that needs", () =>
    onDisk(
      fuzz("streams", [...verdicts, "Empty", "InvalidMime", "TooLarge"], (random) => {
        const all = mutations.image(random)
        return persistStream(random, all, payloads.mime(random, all), limitsOf(random))
      })
    ), noTimeout)

  it.live("frames equal JSON.parse followed by persist, for any mutation of their bytes", () =>
    onDisk(
      fuzz("frames", [...verdicts, "None", "InvalidPayload", "InvalidMime", "TooLarge", "BadBase64"], (random) => {
        const at = random.pick(payloads.places)
        return persistFrame(random, payloads.message(random, at), at, limitsOf(random))
      })
    ), noTimeout)

  const long = [pngOfSize(2_500_000), jpegOfSize(1_200_000), webpOfSize(1_048_600)]

  it.live("images longer than the buffers give the same result", () =>
    onDisk(
      fuzz("long", ["Image", "MalformedImage", "BadBase64", "TooLarge"], (random) => {
        const whole = random.pick(long)
        const mime = payloads.mimeOf(whole)
        const all = random.chance(0.3) ? whole.subarray(0, whole.length - random.below(40)) : whole
        const limits = { maxBytes: random.chance(0.2) ? whole.length - random.below(60) : 3_000_000, maxPixels: 100 }
        if (random.chance(0.3)) return persistStream(random, all, mime, limits)
        const base64 = mutations.base64(all)
        const payload = { mime, data: random.chance(0.5) ? mutations.text(random, base64) : base64 }
        return random.chance(0.4)
          ? persistPayload(payload, limits)
          : persistFrame(random, Buffer.from(JSON.stringify({ image: payload })), ["image"], limits)
      })
    ), noTimeout)
})
