/**
 * Buffers for decoded bytes, kept in a few sizes for the next image: a fresh buffer of 1.4 MiB costs the system 350 page
 * faults, and the garbage collector a run for every few of them.
 */
import { Buffer } from "node:buffer"

/**
 * The largest buffer: 1.4 MiB, decoded in about 0.3 ms. Each change of buffers costs about 0.1 ms, nearly all of it in
 * Effect, so smaller buffers cost more than they save.
 */
export const maxBufferBytes = 1408 * 1024

/**
 * The largest buffer while more than {@link maxLargeImages} images hold one: with 64 images of 1 MiB at once, buffers
 * for whole images would take 88 MiB.
 */
export const sharedBufferBytes = 512 * 1024

/** Images that may hold buffers of more than {@link sharedBufferBytes} at once. */
export const maxLargeImages = 8

/** Up to this size a buffer comes from node's own slab and is not kept. */
const slabBytes = 4 * 1024

/** The sizes of kept buffers in bytes, with how many of each size are kept: 24.6 MiB in all. */
const classes = [
  { bytes: 64 * 1024, kept: 48 },
  { bytes: sharedBufferBytes, kept: 32 },
  { bytes: maxBufferBytes, kept: 4 }
] as const

/** Hands out buffers and keeps a bounded number of them. */
export class BufferPool {
  readonly #kept = new Map<number, Array<Buffer>>(classes.map(({ bytes }) => [bytes, []]))
  #largeBuffers = 0

  /** A buffer of at least `bytes`, or the largest that one image gets now. Its content is arbitrary. */
  take(bytes: number): Buffer {
    if (bytes <= slabBytes) return Buffer.allocUnsafe(bytes)
    const most = this.#largeBuffers < 2 * maxLargeImages ? maxBufferBytes : sharedBufferBytes
    const size = classes.find((size) => size.bytes >= Math.min(bytes, most))?.bytes ?? most
    if (size > sharedBufferBytes) this.#largeBuffers += 1
    return this.#kept.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size)
  }

  /** Takes back a buffer that no system call uses any longer. */
  giveBack(buffer: Buffer): void {
    if (buffer.length > sharedBufferBytes) this.#largeBuffers -= 1
    const kept = this.#kept.get(buffer.length)
    const limit = classes.find(({ bytes }) => bytes === buffer.length)?.kept ?? 0
    if (kept !== undefined && kept.length < limit) kept.push(buffer)
  }
}
