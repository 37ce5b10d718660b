/**
 * The decoded bytes of one image on their way to the disk: verified as they arrive, in two buffers that take turns, so
 * that one is filled while the other is written.
 */
import type { Buffer } from "node:buffer"
import { buffers } from "../process.js"
import { maxBufferBytes } from "./bufferPool.js"

/** A buffer is full when fewer than this many bytes fit: a decoder writes up to four groups of three at its end. */
export const minFreeBytes = 16

/** The first buffer of an image of unknown size, in bytes. */
const firstBufferBytes = 4 * 1024

/** The growth of the first buffer in one step: to 64 KiB, 1 MiB, and the largest buffer. */
const growthFactor = 16

/** The smallest buffer in bytes: the format of an image is sniffed before its first buffer is full. */
const minBufferBytes = 2 * 1024

/** Verifies bytes as they pass: the failure, if there is one by now. */
export interface Check<out F> {
  readonly push: (bytes: Uint8Array) => F | undefined
}

/** Mutable, for one image. `F` is the verifier's failure. */
export class ImageBuffer<out F> {
  readonly #check: Check<F>
  /** The size of the next buffer to allocate. */
  #nextBytes: number
  #target: Buffer | undefined
  #other: Buffer | undefined
  #length = 0
  #taken = 0

  /** `expectedBytes` is an upper bound of the size that is probably true; `Infinity` where the size is not known. */
  constructor(check: Check<F>, expectedBytes: number) {
    this.#check = check
    this.#nextBytes = Number.isFinite(expectedBytes)
      ? Math.min(maxBufferBytes, Math.max(minBufferBytes, expectedBytes + 2 * minFreeBytes))
      : firstBufferBytes
  }

  /** All bytes so far, those already taken included. */
  get bytes(): number {
    return this.#taken + this.#length
  }

  /** Whether bytes have been taken to be written. */
  get hasTaken(): boolean {
    return this.#taken > 0
  }

  /** Makes room where it can. `false` where the buffer is full: its bytes are to be taken. */
  hasRoom(): boolean {
    return this.target().length - this.#length >= minFreeBytes
  }

  /** The buffer to write to, from {@link length} on. */
  target(): Buffer {
    const target = this.#target
    if (target === undefined) return this.#target = this.#allocate()
    // Bytes that have been taken once show an image larger than its first buffer: no copy from then on.
    if (this.#taken > 0 || target.length - this.#length >= minFreeBytes || this.#nextBytes <= target.length) {
      return target
    }
    const larger = this.#allocate()
    larger.set(target.subarray(0, this.#length))
    buffers.giveBack(target)
    return this.#target = larger
  }

  /** Bytes in the target, from its start. */
  get length(): number {
    return this.#length
  }

  /** Bytes that fit into the target now. */
  get free(): number {
    return this.target().length - this.#length
  }

  /** Verifies `count` bytes that were written to the target at {@link length}. */
  commit(count: number): F | undefined {
    const start = this.#length
    this.#length += count
    return count === 0 ? undefined : this.#check.push(this.target().subarray(start, this.#length))
  }

  /** Copies as much of `bytes` as fits, and answers how much that is. The caller commits it. */
  write(bytes: Uint8Array): number {
    const target = this.target()
    const count = Math.min(bytes.length, target.length - this.#length)
    target.set(count === bytes.length ? bytes : bytes.subarray(0, count), this.#length)
    return count
  }

  /** The bytes that are not taken yet. The next ones go to the other buffer, so these stay until the next call. */
  take(): Uint8Array {
    const target = this.target()
    const bytes = target.subarray(0, this.#length)
    this.#taken += this.#length
    this.#length = 0
    this.#target = this.#other
    this.#other = target
    return bytes
  }

  /** Gives the memory back. No system call may use any of it. */
  release(): void {
    if (this.#target !== undefined) buffers.giveBack(this.#target)
    if (this.#other !== undefined) buffers.giveBack(this.#other)
    this.#target = undefined
    this.#other = undefined
    this.#length = 0
  }

  #allocate(): Buffer {
    const buffer = buffers.take(this.#nextBytes)
    this.#nextBytes = buffer.length < this.#nextBytes
      ? buffer.length
      : Math.min(maxBufferBytes, buffer.length * growthFactor)
    return buffer
  }
}
