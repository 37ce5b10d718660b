import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { Buffer } from "node:buffer"
import { maxBufferBytes, maxLargeImages, sharedBufferBytes } from "../../../../src/internal/persist/bufferPool.js"
import { ImageBuffer, minFreeBytes } from "../../../../src/internal/persist/imageBuffer.js"
import { buffers } from "../../../../src/internal/process.js"
import { noise } from "../../../../src/testing/internal/bytes.js"

const accepting = { push: () => undefined }

/** Writes all bytes as a reader does. Answers what was taken when the buffer was full, and the sizes of the targets. */
const writeAll = (buffer: ImageBuffer<unknown>, bytes: Uint8Array, pieceLength = Infinity) => {
  const taken: Array<Buffer> = []
  const targets: Array<number> = []
  for (let at = 0; at < bytes.length;) {
    if (!buffer.hasRoom()) taken.push(Buffer.from(buffer.take()))
    if (targets.at(-1) !== buffer.target().length) targets.push(buffer.target().length)
    const count = buffer.write(bytes.subarray(at, at + pieceLength))
    at += count
    buffer.commit(count)
  }
  return { taken, targets }
}

describe("ImageBuffer", () => {
  it("begins with the size that is expected", () => {
    for (
      const [expected, length] of [
        [0, 2048],
        [100, 2048],
        [3000, 3000 + 2 * minFreeBytes],
        [10_000, 64 * 1024],
        [100_000, sharedBufferBytes],
        [600_000, maxBufferBytes],
        [100_000_000, maxBufferBytes],
        [Infinity, 4096],
        [Number.NaN, 4096]
      ] as const
    ) {
      const buffer = new ImageBuffer(accepting, expected)
      assert.strictEqual(buffer.target().length, length)
      assert.strictEqual(buffer.free, length)
      buffer.release()
    }
  })

  it("takes an image of the expected size without a second buffer, and without being full", () => {
    for (const bytes of [1, 100, 4000, 5000, 65_000, 66_000, 500_000, maxBufferBytes - 2 * minFreeBytes]) {
      const buffer = new ImageBuffer(accepting, bytes)
      const { taken, targets } = writeAll(buffer, noise(bytes))
      assert.isTrue(buffer.hasRoom())
      assert.lengthOf(taken, 0)
      assert.lengthOf(targets, 1)
      assert.isTrue(Buffer.from(buffer.take()).equals(noise(bytes)))
      buffer.release()
    }
  })

  it("grows up to the largest size as bytes arrive", () => {
    const bytes = noise(maxBufferBytes)
    const buffer = new ImageBuffer(accepting, Infinity)
    assert.deepStrictEqual(writeAll(buffer, bytes.subarray(0, 300_000), 1000).targets, [
      4096,
      64 * 1024,
      maxBufferBytes
    ])
    assert.strictEqual(buffer.length, 300_000)
    writeAll(buffer, bytes.subarray(300_000, 600_000))
    assert.strictEqual(buffer.target().length, maxBufferBytes)
    assert.isTrue(Buffer.from(buffer.take()).equals(bytes.subarray(0, 600_000)))
    buffer.release()
  })

  it("grows no further while many images hold large buffers", () => {
    const large = Array.from({ length: 2 * maxLargeImages }, () => buffers.take(maxBufferBytes))
    const bytes = noise(3 * sharedBufferBytes)
    const buffer = new ImageBuffer(accepting, 2 * maxBufferBytes)
    const { taken, targets } = writeAll(buffer, bytes)
    assert.deepStrictEqual(targets, [sharedBufferBytes])
    assert.isTrue(Buffer.concat([...taken, buffer.take()]).equals(bytes))
    buffer.release()
    for (const one of large) buffers.giveBack(one)
  })

  it("fills two buffers in turn, so that taken bytes stay until the next ones are taken", () => {
    const bytes = noise(5 * maxBufferBytes)
    const buffer = new ImageBuffer(accepting, bytes.length)
    const memory: Array<ArrayBufferLike> = []
    let at = 0
    let last: { readonly taken: Uint8Array; readonly copy: Buffer } | undefined
    while (at < bytes.length) {
      if (!buffer.hasRoom()) {
        if (last !== undefined) assert.isTrue(last.copy.equals(last.taken))
        const taken = buffer.take()
        last = { taken, copy: Buffer.from(taken) }
        memory.push(taken.buffer)
      }
      const count = buffer.write(bytes.subarray(at, at + 70_001))
      buffer.commit(count)
      at += count
    }
    assert.strictEqual(new Set(memory).size, 2)
    for (const [index, one] of memory.entries()) assert.strictEqual(one, memory[index % 2])
    buffer.release()
  })

  it("is full when fewer bytes are free than a decoder may write at its end", () => {
    const buffer = new ImageBuffer(accepting, maxBufferBytes)
    buffer.commit(maxBufferBytes - minFreeBytes)
    assert.isTrue(buffer.hasRoom())
    assert.strictEqual(buffer.free, minFreeBytes)
    buffer.commit(1)
    assert.isFalse(buffer.hasRoom())
    buffer.take()
    assert.isTrue(buffer.hasRoom())
    assert.strictEqual(buffer.free, maxBufferBytes)
    buffer.release()
  })

  it("verifies each byte once, as it is committed, and answers the failure", () => {
    const verified: Array<Buffer> = []
    const buffer = new ImageBuffer({
      push: (bytes) => {
        verified.push(Buffer.from(bytes))
        return verified.length === 3 ? "no" as const : undefined
      }
    }, Infinity)
    const bytes = noise(300)
    const commit = (start: number, end: number) => buffer.commit(buffer.write(bytes.subarray(start, end)))
    assert.isUndefined(commit(0, 100))
    assert.isUndefined(buffer.commit(0))
    assert.lengthOf(verified, 1)
    buffer.take()
    assert.isUndefined(commit(100, 150))
    assert.strictEqual(commit(150, 300), "no")
    assert.isTrue(Buffer.concat(verified).equals(bytes))
    buffer.release()
  })

  it.prop("holds all bytes, however they are cut and taken", [
    FastCheck.integer({ min: 0, max: 3 * maxBufferBytes }),
    FastCheck.oneof(FastCheck.constant(Infinity), FastCheck.integer({ min: 0, max: 3 * maxBufferBytes })),
    FastCheck.integer({ min: 1000, max: 2 * maxBufferBytes })
  ], ([length, expected, pieceLength]) => {
    const bytes = noise(length)
    const buffer = new ImageBuffer(accepting, expected)
    assert.isFalse(buffer.hasTaken)
    const { taken } = writeAll(buffer, bytes, pieceLength)
    assert.strictEqual(buffer.bytes, length)
    assert.strictEqual(buffer.hasTaken, taken.length > 0)
    assert.isTrue(Buffer.concat([...taken, buffer.take()]).equals(bytes))
    assert.strictEqual(buffer.bytes, length)
    assert.strictEqual(buffer.length, 0)
    buffer.release()
  }, { fastCheck: { numRuns: 40 } })

  it("gives all of its memory back once", () => {
    const buffer = new ImageBuffer(accepting, 2 * maxBufferBytes)
    const first = buffer.target()
    buffer.commit(first.length)
    buffer.take()
    const second = buffer.target()
    buffer.release()
    buffer.release()
    const again = Array.from({ length: 4 }, () => buffers.take(maxBufferBytes))
    assert.include(again, first)
    assert.include(again, second)
    assert.strictEqual(new Set(again).size, 4)
    for (const one of again) buffers.giveBack(one)
    const unused = new ImageBuffer(accepting, 100)
    unused.release()
    assert.strictEqual(unused.bytes, 0)
  })

  it("gives a buffer back that it has outgrown", () => {
    const buffer = new ImageBuffer(accepting, Infinity)
    buffer.commit(buffer.target().length)
    const outgrown = buffer.target()
    buffer.commit(outgrown.length - buffer.length)
    assert.isTrue(buffer.hasRoom())
    assert.notStrictEqual(buffer.target(), outgrown)
    assert.strictEqual(buffers.take(outgrown.length), outgrown)
    buffers.giveBack(outgrown)
    buffer.release()
  })
})
