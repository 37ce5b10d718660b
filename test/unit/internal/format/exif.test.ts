import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import type { Parser } from "../../../../src/internal/format/byteReader.js"
import { runParser } from "../../../../src/internal/format/byteReader.js"
import { readOrientation } from "../../../../src/internal/format/exif.js"
import { ascii, bytes, concat, exif, exifPrefix, noise, u16be, u32be } from "../../../utils/images.js"
import { countSteps, piecesOf } from "../../../utils/probing.js"

/** Reads a block of `length` bytes. Returns its orientation as the height and the final position as the width. */
const blockOf = (length: number): Parser =>
  function*(reader) {
    const orientation = yield* readOrientation(reader, length)
    return { _tag: "Image", width: reader.offset, height: orientation ?? 0, orientation: 1 }
  }

const read = (all: Uint8Array, length = all.length): number => {
  const probe = runParser(blockOf(length), 0)
  probe.push(all)
  const outcome = probe.end()
  assert(outcome._tag === "Image", "the parser waited for bytes after the block")
  assert.isAtMost(outcome.width, length)
  return outcome.height
}

const inBothOrders = FastCheck.boolean()

describe("EXIF", () => {
  it.prop("reads the orientation in both byte orders, with and without the prefix, at any directory offset", [
    FastCheck.integer({ min: 1, max: 8 }),
    inBothOrders,
    FastCheck.boolean(),
    FastCheck.integer({ min: 8, max: 300 }),
    FastCheck.nat(20)
  ], ([orientation, littleEndian, prefixed, directory, others]) => {
    const block = exif({ orientation, littleEndian, directory, others })
    assert.strictEqual(read(prefixed ? concat(exifPrefix, block) : block), orientation)
  })

  const integerTypes = [1, 3, 4, 6, 8, 9]

  it.prop("reads the first of one or more values of any integer type, from 1 to 8", [
    FastCheck.oneof(FastCheck.integer({ min: 0, max: 9 }), FastCheck.nat(0xff)),
    FastCheck.oneof(FastCheck.constantFrom(...integerTypes), FastCheck.nat(13)),
    FastCheck.nat(9),
    inBothOrders,
    FastCheck.integer({ min: 8, max: 100 })
  ], ([orientation, type, count, littleEndian, directory]) => {
    const isRead = orientation >= 1 && orientation <= 8 && integerTypes.includes(type) && count > 0
    assert.strictEqual(read(exif({ orientation, type, count, littleEndian, directory })), isRead ? orientation : 0)
  })

  it("ignores a large value that ends like an orientation", () => {
    for (const littleEndian of [false, true]) {
      for (const orientation of [0x106, 0x60000]) {
        for (const count of [1, 3]) assert.strictEqual(read(exif({ orientation, type: 4, count, littleEndian })), 0)
      }
      assert.strictEqual(read(exif({ orientation: 0x106, littleEndian })), 0)
    }
  })

  it("ignores several values that reach beyond the end, and those before their entry", () => {
    const block = exif({ orientation: 6, count: 3 })
    assert.strictEqual(read(concat(block, noise(99)), block.length), 6)
    assert.strictEqual(read(concat(block, noise(99)), block.length - 1), 0)
    // A reader that did not move would take the entry's own first byte for an orientation of 1.
    const behind = exif({ orientation: 6, type: 1, count: 5 })
    behind.set(u32be(8), 18)
    assert.strictEqual(read(behind), 0)
    const before = exif({ orientation: 6, count: 3, directory: 20 })
    before.set(concat(u16be(6), u16be(6), u16be(6)), 8)
    before.set(u32be(8), before.length - 14)
    assert.strictEqual(read(before), 0)
    block.set(u32be(0xffffffff), 14)
    assert.strictEqual(read(block), 0)
  })

  it.each<[string, Uint8Array]>([
    ["there is no byte order", exif({ orientation: 6 }).fill(0, 0, 2)],
    ["the byte orders are mixed", exif({ orientation: 6 }).fill(0x49, 0, 1)],
    ["the magic number is not 42", exif({ orientation: 6 }).fill(43, 3, 4)],
    ["the directory is within the header", exif({ orientation: 6 }).fill(7, 7, 8)],
    [
      "the directory overlaps the header and contains an orientation",
      concat(ascii("MM"), u16be(42), u32be(2), new Uint8Array(8), exif({ orientation: 6 }).subarray(10))
    ],
    ["the directory is after the end", exif({ orientation: 6 }).fill(0xff, 4, 8)],
    ["the block is empty", bytes()],
    ["the block is only a prefix", exifPrefix]
  ])("finds no orientation if %s", (_, block) => {
    assert.strictEqual(read(concat(block, exif({ orientation: 6 })), block.length), 0)
  })

  it("finds no orientation in an entry that extends beyond the end", () => {
    const block = exif({ orientation: 6 })
    const entryEnd = block.length - 4
    assert.strictEqual(read(block, entryEnd), 6)
    assert.strictEqual(read(block, entryEnd - 1), 0)
  })

  it.prop("stays within any block", [
    FastCheck.uint8Array({ maxLength: 100 }),
    inBothOrders,
    FastCheck.nat(200)
  ], ([junk, littleEndian, length]) => {
    const block = concat(exif({ orientation: 9, littleEndian }), junk)
    for (let i = 4; i < 10; i++) {
      block[i] = junk[i] ?? block[i] ?? 0
    }
    // Bytes follow the block, so that reading beyond it would not end in a lack of bytes.
    read(concat(block.subarray(0, length), noise(1 << 17)), Math.min(length, block.length))
  }, { fastCheck: { numRuns: 2000 } })

  it("reads only the entries that fit, not the declared number", () => {
    const block = exif({ orientation: 9, others: 3 })
    block.fill(0xff, 8, 10)
    const steps = countSteps(blockOf(block.length), piecesOf(block, 7))
    assert.isAtMost(steps, 10)
  })

  const entry = (value: number) => concat(u16be(0x0112), u16be(3), u32be(1), u16be(value), u16be(0))

  it.prop("waits for no bytes after a block that is too short", [FastCheck.nat(13), FastCheck.boolean()], (
    [length, prefixed]
  ) => {
    const block = exif({ orientation: 6 })
    assert.strictEqual(read((prefixed ? concat(exifPrefix, block) : block).subarray(0, length)), 0)
  })

  it.each([-3, -2, -1, 0, 1])(
    "waits for no bytes after a block with a directory %i bytes from its end",
    (distance) => {
      const block = new Uint8Array(20)
      block.set(concat(ascii("MM"), u16be(42), u32be(block.length + distance)))
      assert.strictEqual(read(block), 0)
    }
  )

  it.each([0, 1])("ignores an entry after the directory, which has %i", (count) => {
    const block = concat(ascii("MM"), u16be(42), u32be(8), u16be(count), count === 0 ? bytes() : entry(9), entry(6))
    assert.strictEqual(read(block), 0)
  })

  it.each([0, 9])("uses the next entry after an orientation of %i", (value) => {
    assert.strictEqual(read(concat(ascii("MM"), u16be(42), u32be(8), u16be(2), entry(value), entry(6))), 6)
  })
})
