import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Parser } from "../../../../src/internal/format/byteReader.js"
import { runParser, scratchBytes, tooManyPixels } from "../../../../src/internal/format/byteReader.js"
import { concat, noise } from "../../../utils/images.js"
import { cutAt, cuts, image, malformed, piecesOf } from "../../../utils/probing.js"

const move = FastCheck.record({
  ask: FastCheck.integer({ min: 0, max: scratchBytes }),
  go: FastCheck.oneof(FastCheck.nat(scratchBytes), FastCheck.nat(500)),
  absolute: FastCheck.boolean(),
  /** Yields only if the bytes are not there. */
  looks: FastCheck.boolean()
})

describe("byteReader", () => {
  it.prop("gives a parser the bytes at its position, in any pieces", [
    FastCheck.array(move, { maxLength: 40 }),
    FastCheck.nat(3000),
    cuts
  ], ([moves, length, places]) => {
    const all = noise(length)
    const expected: Array<readonly [number, ReadonlyArray<number>]> = []
    let at = 0
    for (const { ask, go } of moves) {
      if (at + ask > length) break
      expected.push([at, Array.from(all.subarray(at, at + ask))])
      at += go
    }
    for (const pieces of [[all], piecesOf(all, 1), piecesOf(all, 7), cutAt(all, places)]) {
      const seen: Array<readonly [number, ReadonlyArray<number>]> = []
      const probe = runParser(function*(reader) {
        for (const { absolute, ask, go, looks } of moves) {
          if (!(looks && reader.hasBytes(ask))) {
            yield ask
          }
          seen.push([reader.offset, Array.from({ length: ask }, (_, i) => reader.u8(i))])
          if (absolute) {
            reader.skipTo(reader.offset + go)
          } else {
            reader.at += go
          }
        }
        return image(1, 1)
      }, 0)
      pieces.forEach(probe.push)
      // A parser is not started before the first push.
      assert.deepStrictEqual(seen, pieces.length === 0 ? [] : expected)
      assert.deepStrictEqual(
        probe.end(),
        expected.length === moves.length && pieces.length > 0 ? image(1, 1) : malformed("Truncated")
      )
    }
  }, { fastCheck: { numRuns: 1000 } })

  it("reads unsigned integers in both byte orders", () => {
    const probe = runParser(function*(reader) {
      yield 4
      assert.deepStrictEqual(
        [reader.u8(1), reader.u16be(0), reader.u16le(0), reader.u24le(0), reader.u32be(0), reader.u32le(0)],
        [0xfe, 0xfffe, 0xfeff, 0xfdfeff, 0xfffefdfc, 0xfcfdfeff]
      )
      return image(1, 1)
    }, 0)
    probe.push(Uint8Array.of(0xff, 0xfe, 0xfd, 0xfc))
    assert.deepStrictEqual(probe.end(), image(1, 1))
  })

  it("skips gigabytes, and never moves backward", () => {
    const gigabytes = 2 ** 32 + 5
    const piece = new Uint8Array(2 ** 24)
    let offset = 0
    const parser: Parser = function*(reader) {
      yield 1
      reader.at += gigabytes
      reader.skipTo(3)
      yield 2
      offset = reader.offset
      return image(1, 1)
    }
    const probe = runParser(parser, 0)
    for (let i = 0; i < 2 ** 8; i++) {
      probe.push(piece)
    }
    assert.strictEqual(offset, 0)
    probe.push(piece.subarray(0, 6))
    assert.strictEqual(offset, 0)
    probe.push(piece.subarray(0, 1))
    assert.strictEqual(offset, gigabytes)
  })

  it("does not resume a parser after it has returned or after end", () => {
    let resumed = 0
    const probe = runParser(function*() {
      yield 2
      resumed++
      return malformed("BadLength")
    }, 0)
    assert.isUndefined(probe.push(noise(1)))
    assert.deepStrictEqual(probe.push(noise(1)), malformed("BadLength"))
    assert.deepStrictEqual(probe.push(noise(1)), malformed("BadLength"))
    assert.deepStrictEqual(probe.end(), malformed("BadLength"))
    assert.strictEqual(resumed, 1)

    const cut = runParser(function*() {
      yield 2
      resumed++
      return image(1, 1)
    }, 0)
    cut.push(noise(1))
    assert.deepStrictEqual(cut.end(), malformed("Truncated"))
    assert.deepStrictEqual(cut.push(noise(1)), malformed("Truncated"))
    assert.deepStrictEqual(cut.end(), malformed("Truncated"))
    assert.strictEqual(resumed, 1)
  })

  it("copies the bytes that it still needs of a chunk", () => {
    const all = noise(300)
    const seen: Array<number> = []
    const probe = runParser(function*(reader) {
      for (let i = 0; i < 30; i++) {
        yield 10
        seen.push(...Array.from({ length: 10 }, (_, i) => reader.u8(i)))
        reader.at += 10
      }
      return image(1, 1)
    }, 0)
    const reused = new Uint8Array(7)
    for (const piece of piecesOf(concat(all), 7)) {
      reused.set(piece)
      probe.push(reused.subarray(0, piece.length))
      reused.fill(0)
    }
    assert.deepStrictEqual(seen, Array.from(all))
  })

  it.live.each<readonly [string, number]>([
    ["the parser skips", 1 << 20],
    ["the parser has returned", 2]
  ])("does not retain a chunk after which %s", ([, asked]) =>
    Effect.gen(function*() {
      setFlagsFromString("--expose-gc")
      const collect: () => void = runInNewContext("gc")
      const probe = runParser(function*(reader) {
        yield 2
        reader.at += asked
        yield 1
        return image(1, 1)
      }, 0)
      const push = () => {
        const chunk = noise(100)
        assert.isUndefined(probe.push(chunk))
        return new WeakRef(chunk)
      }
      const pushed = push()
      // The target of a new WeakRef is kept alive until the end of the current job.
      yield* Effect.sleep("1 millis")
      collect()
      assert.isUndefined(pushed.deref())
      assert.deepStrictEqual(probe.end(), asked === 2 ? image(1, 1) : malformed("Truncated"))
    }))

  it.prop("keeps its position when a parser consumes fewer bytes than it waited for", [
    FastCheck.array(FastCheck.tuple(FastCheck.nat(6), FastCheck.nat(3)), { minLength: 1, maxLength: 12 }),
    FastCheck.integer({ min: 1, max: 5 })
  ], ([moves, size]) => {
    const all = noise(60)
    const seen: Array<number> = []
    const expected: Array<number> = []
    let at = 0
    const probe = runParser(function*(reader) {
      for (const [ask, go] of moves) {
        yield ask
        seen.push(...Array.from({ length: ask }, (_, i) => reader.u8(i)))
        expected.push(...all.subarray(at, at + ask))
        reader.at += go
        at += go
      }
      return image(1, 1)
    }, 0)
    piecesOf(all, size).forEach(probe.push)
    assert.deepStrictEqual(seen, expected)
    assert.deepStrictEqual(probe.end(), image(1, 1))
  })

  it("ends an input before the parser has returned with the result that the parser has set for it", () => {
    const run = (...pieces: ReadonlyArray<Uint8Array>) => {
      const probe = runParser(function*(reader) {
        yield 2
        reader.resultAtEnd = image(3, 4)
        yield 4
        return malformed("BadChecksum")
      }, 0)
      for (const piece of pieces) probe.push(piece)
      return [probe.end(), probe.end()]
    }
    assert.deepStrictEqual(run(noise(1)), [malformed("Truncated"), malformed("Truncated")])
    assert.deepStrictEqual(run(noise(1), noise(2)), [image(3, 4), image(3, 4)])
    assert.deepStrictEqual(run(noise(4)), [malformed("BadChecksum"), malformed("BadChecksum")])
  })

  it("push returns no result for a valid image", () => {
    const probe = runParser(function*() {
      yield 2
      return image(1, 1)
    }, 0)
    assert.deepStrictEqual([probe.push(noise(1)), probe.push(noise(1)), probe.push(noise(1))], Array(3).fill(undefined))
    assert.deepStrictEqual(probe.end(), image(1, 1))
  })

  it("allows at most maxPixels pixels, and none for NaN", () => {
    assert.strictEqual(tooManyPixels(3, 4, 12), undefined)
    assert.deepStrictEqual(tooManyPixels(3, 4, 11), { _tag: "TooManyPixels", width: 3, height: 4 })
    assert.deepStrictEqual(tooManyPixels(3, 4, Number.NaN), { _tag: "TooManyPixels", width: 3, height: 4 })
  })
})
