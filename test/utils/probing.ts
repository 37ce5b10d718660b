/** Pushes bytes through probes, in pieces. */
import { assert } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as ImageFormat from "../../src/ImageFormat.js"
import type { Parser } from "../../src/internal/format/byteReader.js"
import { runParser, scratchBytes } from "../../src/internal/format/byteReader.js"
import { makeSniffingProbe } from "../../src/internal/format/probe.js"

/** Cuts bytes into pieces at these offsets. */
export const cutAt = (all: Uint8Array, places: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const cuts = [0, ...places.map((place) => Math.min(place, all.length)).sort((a, b) => a - b), all.length]
  return cuts.slice(1).map((end, i) => all.subarray(cuts[i], end))
}

/** Cuts bytes into pieces of one length. */
export const piecesOf = (all: Uint8Array, length: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(all.length / length) }, (_, i) => all.subarray(i * length, (i + 1) * length))

/** The result of a probe, and when it was known. */
export interface Trace<Outcome> {
  readonly outcome: Outcome
  /** The number of bytes pushed when the failure was reported; `Infinity` if only `end` reported it, or none occurred. */
  readonly reportedAt: number
}

const pushAll = <Outcome>(
  probe: { readonly push: (bytes: Uint8Array) => ImageFormat.ProbeFailure | undefined; readonly end: () => Outcome },
  pieces: ReadonlyArray<Uint8Array>
): Trace<Outcome> => {
  let received = 0
  let reportedAt = Infinity
  for (const piece of pieces) {
    received += piece.length
    if (probe.push(piece) !== undefined && reportedAt === Infinity) {
      reportedAt = received
    }
  }
  return { outcome: probe.end(), reportedAt }
}

/** Pushes the pieces through the probe of a format. */
export const trace = (
  format: ImageFormat.ImageFormat,
  pieces: ReadonlyArray<Uint8Array>,
  maxPixels = 50_000_000
): Trace<ImageFormat.ProbeOutcome> => pushAll(ImageFormat.makeProbe(format, { maxPixels }), pieces)

/** Pushes the pieces through a sniffing probe, and adds the format that it found. */
export const traceSniffing = (
  formats: ReadonlyArray<ImageFormat.Name>,
  pieces: ReadonlyArray<Uint8Array>,
  maxPixels = 50_000_000
) => {
  const probe = makeSniffingProbe({ maxPixels, formats })
  return { ...pushAll(probe, pieces), format: probe.format() }
}

/** Pushes all bytes at once and returns the outcome. */
export const probe = (format: ImageFormat.ImageFormat, all: Uint8Array, maxPixels?: number): ImageFormat.ProbeOutcome =>
  trace(format, [all], maxPixels).outcome

export const image = (
  width: number,
  height: number,
  orientation: ImageFormat.Orientation = 1
): ImageFormat.ProbeOutcome => ({ _tag: "Image", width, height, orientation })

export const malformed = (reason: ImageFormat.MalformedReason): ImageFormat.ProbeOutcome => ({
  _tag: "MalformedImage",
  reason
})

/** Offsets to cut at: many near the start, some of them equal. */
export const cuts = FastCheck.array(
  FastCheck.oneof(FastCheck.nat(100), FastCheck.nat(2000), FastCheck.nat(1_000_000)),
  { maxLength: 12 }
)

/**
 * Asserts that each way of cutting gives the outcome of single bytes, and that a failure is reported by the piece with
 * the byte that reports it there.
 */
export const assertSameInPieces = (
  format: ImageFormat.ImageFormat,
  all: Uint8Array,
  ...ways: ReadonlyArray<ReadonlyArray<Uint8Array>>
): void => {
  const single = trace(format, piecesOf(all, 1))
  for (const pieces of ways) {
    const ends: Array<number> = []
    pieces.reduce((length, piece) => (ends.push(length + piece.length), length + piece.length), 0)
    assert.deepStrictEqual(trace(format, pieces), {
      outcome: single.outcome,
      reportedAt: ends.find((end) => end >= single.reportedAt) ?? Infinity
    })
  }
}

/** Counts how often a parser is resumed. Asserts that it never waits for more than the scratch, nor moves backward. */
export const countSteps = (parser: Parser, pieces: ReadonlyArray<Uint8Array>): number => {
  let steps = 0
  let withinBounds = true
  const probe = runParser(function*(reader, maxPixels) {
    const inner = parser(reader, maxPixels)
    let offset = reader.offset
    for (let step = inner.next();; step = inner.next()) {
      if (step.done === true) {
        return step.value
      }
      steps++
      // One assertion at the end: one per step would take most of the time.
      withinBounds &&= step.value <= scratchBytes && reader.offset >= offset
      offset = reader.offset
      yield step.value
    }
  }, Infinity)
  for (const piece of pieces) {
    probe.push(piece)
  }
  probe.end()
  assert.isTrue(withinBounds)
  return steps
}
