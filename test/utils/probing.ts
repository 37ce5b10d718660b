/** Bytes through a probe, in pieces. */
import { assert } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as ImageFormat from "../../src/ImageFormat.js"
import type { Parser } from "../../src/internal/format/byteReader.js"
import { run, scratchBytes } from "../../src/internal/format/byteReader.js"

/** The same bytes in pieces, cut at these places. */
export const cutAt = (all: Uint8Array, places: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const cuts = [0, ...places.map((place) => Math.min(place, all.length)).sort((a, b) => a - b), all.length]
  return cuts.slice(1).map((end, i) => all.subarray(cuts[i], end))
}

/** The same bytes in pieces of one length. */
export const piecesOf = (all: Uint8Array, length: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(all.length / length) }, (_, i) => all.subarray(i * length, (i + 1) * length))

export interface Trace {
  readonly outcome: ImageFormat.ProbeOutcome
  /** How many bytes had come when the failure was told; infinite if it was told at the end, or there was none. */
  readonly toldAt: number
}

export const trace = (
  format: ImageFormat.ImageFormat,
  pieces: ReadonlyArray<Uint8Array>,
  maxPixels = 50_000_000
): Trace => {
  const probe = ImageFormat.makeProbe(format, { maxPixels })
  let come = 0
  let toldAt = Infinity
  for (const piece of pieces) {
    come += piece.length
    if (probe.push(piece) !== undefined && toldAt === Infinity) {
      toldAt = come
    }
  }
  return { outcome: probe.end(), toldAt }
}

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

/** Places to cut at, near the start as often as anywhere, and some of them the same. */
export const cuts = FastCheck.array(
  FastCheck.oneof(FastCheck.nat(100), FastCheck.nat(2000), FastCheck.nat(1_000_000)),
  { maxLength: 12 }
)

/**
 * Holds that the pieces lead to what single bytes lead to, and that a failure is told with the piece that brings the byte
 * that is told with singly.
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
      toldAt: ends.find((end) => end >= single.toldAt) ?? Infinity
    })
  }
}

/** How often the parser was resumed; holds that it never asked for more than the scratch and never went backward. */
export const countSteps = (parser: Parser, pieces: ReadonlyArray<Uint8Array>): number => {
  let steps = 0
  let lawful = true
  const probe = run(function*(reader, maxPixels) {
    const inner = parser(reader, maxPixels)
    let offset = reader.offset
    for (let step = inner.next();; step = inner.next()) {
      if (step.done === true) {
        return step.value
      }
      steps++
      // Asserting each time would take longer than all else.
      lawful &&= step.value <= scratchBytes && reader.offset >= offset
      offset = reader.offset
      yield step.value
    }
  }, Infinity)
  for (const piece of pieces) {
    probe.push(piece)
  }
  probe.end()
  assert.isTrue(lawful)
  return steps
}
