import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import type { Buffer } from "node:buffer"
import {
  BufferPool,
  maxBufferBytes,
  maxLargeImages,
  sharedBufferBytes
} from "../../../../src/internal/persist/bufferPool.js"

const takeAll = (pool: BufferPool, count: number, bytes: number): ReadonlyArray<Buffer> =>
  Array.from({ length: count }, () => pool.take(bytes))

const giveBackAll = (pool: BufferPool, buffers: ReadonlyArray<Buffer>): void => {
  for (const buffer of buffers) pool.giveBack(buffer)
}

/** The number of `buffers` that the pool hands out again among `count`. */
const countKept = (pool: BufferPool, buffers: ReadonlyArray<Buffer>, count: number): number =>
  takeAll(pool, count, buffers[0]?.length ?? 0).filter((buffer) => buffers.includes(buffer)).length

describe("BufferPool", () => {
  it.each(
    [
      [1, 1],
      [4096, 4096],
      [4097, 64 * 1024],
      [64 * 1024, 64 * 1024],
      [64 * 1024 + 1, sharedBufferBytes],
      [sharedBufferBytes, sharedBufferBytes],
      [sharedBufferBytes + 1, maxBufferBytes],
      [maxBufferBytes, maxBufferBytes],
      [maxBufferBytes + 1, maxBufferBytes],
      [Infinity, maxBufferBytes]
    ]
  )("answers a request for %d bytes with a buffer of %d", (bytes, length) => {
    assert.strictEqual(new BufferPool().take(bytes).length, length)
  })

  it.each([[64 * 1024, 48], [sharedBufferBytes, 32], [maxBufferBytes, 4]])(
    "keeps a bounded number of buffers of %d bytes: %d",
    (bytes, kept) => {
      const pool = new BufferPool()
      const count = Math.min(kept + 2, bytes === maxBufferBytes ? 2 * maxLargeImages : Infinity)
      const buffers = takeAll(pool, count, bytes)
      assert.strictEqual(new Set(buffers).size, count)
      giveBackAll(pool, buffers)
      assert.strictEqual(countKept(pool, buffers, count), kept)
    }
  )

  it("keeps no small buffers", () => {
    const pool = new BufferPool()
    const buffers = takeAll(pool, 2, 100)
    giveBackAll(pool, buffers)
    assert.strictEqual(countKept(pool, buffers, 2), 0)
  })

  it("hands out smaller buffers while many images hold large ones", () => {
    const pool = new BufferPool()
    const large = takeAll(pool, 2 * maxLargeImages, maxBufferBytes)
    assert.isTrue(large.every(({ length }) => length === maxBufferBytes))
    const shared = pool.take(maxBufferBytes)
    assert.strictEqual(shared.length, sharedBufferBytes)
    assert.strictEqual(pool.take(100 * 1024).length, sharedBufferBytes)
    assert.strictEqual(pool.take(5000).length, 64 * 1024)
    pool.giveBack(shared)
    assert.strictEqual(pool.take(maxBufferBytes).length, sharedBufferBytes)
    giveBackAll(pool, large.slice(0, 1))
    assert.strictEqual(pool.take(maxBufferBytes).length, maxBufferBytes)
    assert.strictEqual(pool.take(maxBufferBytes).length, sharedBufferBytes)
  })

  it.prop(
    "never hands out a buffer twice, nor more large ones than allowed, whatever is taken and given back",
    [FastCheck.array(
      FastCheck.oneof(FastCheck.constantFrom(10, 5000, 100_000, 600_000, Infinity), FastCheck.constant(-1)),
      {
        maxLength: 200,
        size: "max"
      }
    )],
    ([commands]) => {
      const pool = new BufferPool()
      const held: Array<Buffer> = []
      for (const [index, command] of commands.entries()) {
        if (command < 0) {
          const [buffer] = held.splice(index % Math.max(held.length, 1), 1)
          if (buffer !== undefined) pool.giveBack(buffer)
        } else {
          const buffer = pool.take(command)
          assert.isFalse(held.includes(buffer))
          assert.isAtLeast(buffer.length, Math.min(command, sharedBufferBytes))
          held.push(buffer)
        }
        assert.isAtMost(held.filter(({ length }) => length > sharedBufferBytes).length, 2 * maxLargeImages)
      }
    },
    { fastCheck: { numRuns: 50 } }
  )
})
