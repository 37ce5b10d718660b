import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import { findMarker } from "../../../../src/internal/format/jpeg.js"
import {
  bytes,
  concat,
  dqt,
  eoi,
  exif,
  exifPrefix,
  jpeg,
  jpegParts,
  noise,
  segment,
  sof,
  soi,
  sos
} from "../../../utils/images.js"
import { image, malformed, piecesOf, probe, trace } from "../../../utils/probing.js"

const probeJpeg = (...parts: ReadonlyArray<Uint8Array>) => probe(ImageFormat.jpeg, concat(...parts))

const app1 = (...parts: ReadonlyArray<Uint8Array>) => segment(0xe1, concat(...parts))

describe("JPEG", () => {
  it.each([
    ["baseline", 0xc0],
    ["extended", 0xc1],
    ["progressive", 0xc2],
    ["arithmetic", 0xc9],
    ["progressive arithmetic", 0xca]
  ])("accepts a %s frame", (_, marker) => {
    assert.deepStrictEqual(probeJpeg(jpeg({ marker, width: 123, height: 45 })), image(123, 45))
  })

  it.each([0xc3, 0xc5, 0xc6, 0xc7, 0xc8, 0xcb, 0xcd, 0xce, 0xcf, 0xde, 0xdf, 0xf7])(
    "refuses the process of frame marker %i",
    (marker) => {
      assert.deepStrictEqual(probeJpeg(jpeg({ marker })), malformed("UnsupportedProcess"))
    }
  )

  it.prop("refuses reserved markers and a second SOI", [
    FastCheck.oneof(
      FastCheck.integer({ min: 0x02, max: 0xbf }),
      FastCheck.integer({ min: 0xf0, max: 0xfd }).filter((marker) => marker !== 0xf7),
      FastCheck.constant(0xd8)
    )
  ], ([marker]) => {
    assert.deepStrictEqual(probeJpeg(soi, segment(marker), dqt(), sof(), sos(), eoi), malformed("UnexpectedSegment"))
    assert.deepStrictEqual(
      probeJpeg(soi, dqt(), sof(), sos(), bytes(0xff, marker), eoi),
      malformed("UnexpectedSegment")
    )
  })

  it.prop("accepts any size, one to four components and any sampling", [
    FastCheck.integer({ min: 1, max: 0xffff }),
    FastCheck.integer({ min: 1, max: 0xffff }),
    FastCheck.integer({ min: 1, max: 4 }),
    FastCheck.constantFrom(0x11, 0x21, 0x22, 0x41, 0x44)
  ], ([width, height, components, sampling]) => {
    const all = concat(soi, dqt(), sof({ width, height, components, sampling }), sos({ components }), eoi)
    assert.deepStrictEqual(probe(ImageFormat.jpeg, all, Infinity), image(width, height))
  })

  it.prop("accepts stray bytes, stuffed zeros, fill bytes and bare markers before every segment but the first", [
    FastCheck.array(
      FastCheck.oneof(
        FastCheck.uint8Array({ minLength: 1, maxLength: 20 }).map((stray) =>
          stray.map((byte) => byte === 0xff ? 0xfe : byte)
        ),
        FastCheck.constantFrom(bytes(0xff, 0), bytes(0xff), bytes(0xff, 0xff), bytes(0xff, 0x01), bytes(0xff, 0xd3))
      ).filter((stray) => stray.length > 0),
      { minLength: 12, maxLength: 12 }
    )
  ], ([strays]) => {
    const [first, ...rest] = jpegParts({ width: 9, height: 3, orientation: 5 })
    const all = concat(
      first ?? bytes(),
      segment(0xfe),
      ...rest.flatMap((part, i) => part[0] === 0xff ? [strays[i] ?? bytes(), part] : [part])
    )
    assert.deepStrictEqual(probeJpeg(all), image(9, 3, 5))
  }, { fastCheck: { numRuns: 300 } })

  it("accepts the tables of arithmetic coding", () => {
    assert.deepStrictEqual(probeJpeg(jpeg({ segments: [segment(0xcc, bytes(0, 1))] })), image(1, 1))
  })

  it("reports a reserved marker after an empty application segment with its last byte", () => {
    const all = concat(soi, app1(), bytes(0xff, 0x02))
    assert.deepStrictEqual(trace(ImageFormat.jpeg, piecesOf(all, 1)), {
      outcome: malformed("UnexpectedSegment"),
      reportedAt: all.length
    })
  })

  it("reports a wrong frame length with its last byte", () => {
    const all = concat(soi, bytes(0xff, 0xc0, 0, 7))
    assert.deepStrictEqual(trace(ImageFormat.jpeg, piecesOf(all, 1)), {
      outcome: malformed("BadLength"),
      reportedAt: all.length
    })
  })

  it("walks by segment lengths, and ignores markers inside a segment", () => {
    const trap = concat(bytes(0xff, 0xd9), bytes(0xff, 0xd8), bytes(0xff, 0xc3))
    const all = concat(
      soi,
      segment(0xe0, trap),
      dqt(),
      sof(),
      sos(),
      bytes(1, 0xff, 0, 2, 0xff, 0xd0, 3),
      segment(0xe9, trap),
      sos(),
      bytes(4, 5, 6),
      segment(0xfe, trap)
    )
    assert.deepStrictEqual(probeJpeg(all), malformed("Truncated"))
    assert.deepStrictEqual(probeJpeg(all, eoi), image(1, 1))
  })

  it.each<[string, ReadonlyArray<Uint8Array>, ImageFormat.Orientation]>([
    ["of the first Exif segment", [
      app1(exifPrefix, exif({ orientation: 6 })),
      app1(exifPrefix, exif({ orientation: 3 }))
    ], 6],
    ["of the first segment with a valid one", [
      app1(exifPrefix, exif({ orientation: 0 })),
      app1(exifPrefix, exif({ orientation: 3 }))
    ], 3],
    ["after an XMP segment", [app1(noise(60)), app1(exifPrefix, exif({ orientation: 8 }))], 8],
    ["as upright if no segment is Exif", [app1(exif({ orientation: 6 })), app1(bytes(1, 2))], 1],
    ["as upright if only another application's segment has one", [
      segment(0xe2, concat(exifPrefix, exif({ orientation: 6 })))
    ], 1],
    ["as upright if the directory is after the segment's end", [
      app1(exifPrefix, exif({ orientation: 6 }).subarray(0, 14))
    ], 1],
    ["as upright if the entry extends beyond the segment's end", [
      app1(exifPrefix, exif({ orientation: 6 }).subarray(0, 21)),
      bytes(0, 0, 0, 0)
    ], 1]
  ])("reads the orientation %s", (_, segments, orientation) => {
    assert.deepStrictEqual(probeJpeg(jpeg({ segments })), image(1, 1, orientation))
  })

  it.each<[string, Uint8Array, ImageFormat.MalformedReason]>([
    ["a table's length is below 2", concat(soi, bytes(0xff, 0xdb, 0, 1), dqt(), sof(), sos(), eoi), "BadLength"],
    ["a frame is shorter than its fields", concat(soi, bytes(0xff, 0xc0, 0, 7, 8, 0, 1, 0, 1, 0)), "BadLength"],
    [
      "a frame's length does not match its components",
      concat(soi, bytes(0xff, 0xc0, 0, 11, 8, 0, 1, 0, 1, 3)),
      "BadLength"
    ],
    [
      "a scan's length does not match its components",
      concat(soi, dqt(), sof(), bytes(0xff, 0xda, 0, 8, 2)),
      "BadLength"
    ],
    ["a scan has no components", concat(soi, dqt(), sof(), sos({ components: 0 }), eoi), "BadLength"],
    ["a scan has five components", concat(soi, dqt(), sof(), sos({ components: 5 }), eoi), "BadLength"],
    ["the width is 0", concat(soi, sof({ width: 0 })), "ZeroDimension"],
    ["the height is 0, for a later DNL segment", concat(soi, sof({ height: 0 })), "ZeroDimension"],
    ["the precision is not 8 or 12", concat(soi, sof({ precision: 16 })), "BadHeader"],
    ["the precision is 12", concat(soi, sof({ precision: 12 })), "UnsupportedProcess"],
    ["it has no component", concat(soi, sof({ components: 0 })), "BadHeader"],
    ["it has five components", concat(soi, sof({ components: 5 })), "BadHeader"],
    ["a sampling factor is 0", concat(soi, sof({ sampling: 0x10 })), "BadHeader"],
    ["a sampling factor is above 4", concat(soi, sof({ sampling: 0x51 })), "BadHeader"],
    ["it has a second frame", concat(soi, dqt(), sof(), sof(), sos(), eoi), "UnexpectedSegment"],
    ["a scan precedes the frame", concat(soi, dqt(), sos(), sof(), eoi), "MissingHeader"],
    ["it has no scan", concat(soi, sof(), eoi), "MissingImageData"],
    ["it has no segments", concat(soi, eoi), "MissingImageData"],
    ["it has no EOI", concat(soi, dqt(), sof(), sos(), noise(100).map((byte) => byte & 0x7f)), "Truncated"]
  ])("is refused if %s", (_, all, reason) => {
    assert.deepStrictEqual(probeJpeg(all), malformed(reason))
  })

  it("reports TooManyPixels with the frame's last byte, after the frame is valid", () => {
    const big = { width: 60_000, height: 60_000 }
    const all = concat(soi, sof(big), sof())
    assert.deepStrictEqual(trace(ImageFormat.jpeg, piecesOf(all, 1)), {
      outcome: { _tag: "TooManyPixels", ...big },
      reportedAt: soi.length + sof(big).length
    })
    assert.deepStrictEqual(probeJpeg(soi, sof({ ...big, sampling: 0 })), malformed("BadHeader"))
  })

  it.prop("findMarker returns the result of a search byte by byte", [
    FastCheck.array(
      FastCheck.oneof(
        { arbitrary: FastCheck.constantFrom(0, 1, 0xd0, 0xd7, 0xd8, 0xfe, 0x7f, 0x80, 0x81), weight: 5 },
        { arbitrary: FastCheck.constant(0xff), weight: 1 },
        { arbitrary: FastCheck.nat(255), weight: 5 }
      ),
      { maxLength: 64 }
    ),
    FastCheck.nat(8),
    FastCheck.nat(8)
  ], ([values, before, after]) => {
    const all = Uint8Array.from(values).subarray(Math.min(before, values.length))
    const limit = Math.max(0, all.length - after)
    let expected = 0
    while (expected < limit) {
      const marker = expected + 1 < limit ? all[expected + 1] ?? 0 : 0xd8
      if (all[expected] === 0xff && marker > 1 && marker !== 0xff && (marker < 0xd0 || marker > 0xd7)) break
      expected++
    }
    assert.strictEqual(findMarker(all, 0, limit), expected)
  }, { fastCheck: { numRuns: 5000 } })
})
