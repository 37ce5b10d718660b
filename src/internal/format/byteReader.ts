/**
 * Runs a parser written as straight-line code over chunks of any size.
 *
 * A parser is a generator. `yield n` waits until `n` bytes are contiguous from `reader.bytes[reader.at]`. The parser
 * increases `at` to consume bytes, also beyond the end of the current chunk: those bytes of later chunks are skipped
 * unbuffered. `yield 0` waits until such a skip is complete. The position never decreases.
 *
 * A parser need not yield for bytes that are there already: `if (!reader.hasBytes(n)) yield n` saves most of the time of an
 * image of empty chunks.
 */
import type { MalformedReason, ProbeFailure, ProbeOutcome, PushParser } from "./outcome.js"

/** The most bytes that a parser may wait for at once. Only these are copied. */
export const scratchBytes = 64

export type Parser = (reader: ByteReader, maxPixels: number) => Generator<number, ProbeOutcome, void>

/**
 * A window of the input. The accessors take indexes relative to `at`, which must lie within the bytes that the parser has
 * waited for.
 */
export class ByteReader {
  bytes: Uint8Array
  at = 0
  limit = 0
  /** The result of an input that ends before the parser has returned, if not `Truncated`. */
  resultAtEnd: ProbeOutcome | undefined
  /** The position of `bytes[0]` in the input. */
  private windowOffset = 0
  private chunk: Uint8Array
  private readonly scratch = new Uint8Array(scratchBytes)
  /** The number of bytes in the scratch from before the current chunk; above 0 while the scratch is the window. */
  private carriedBytes = 0

  constructor() {
    this.bytes = this.scratch
    this.chunk = this.scratch
  }

  /** The position in the input. */
  get offset(): number {
    return this.windowOffset + this.at
  }

  /** Moves forward to a position in the input. A position already passed changes nothing. */
  skipTo(offset: number): void {
    this.at = Math.max(this.at, offset - this.windowOffset)
  }

  u8(index: number): number {
    // Defined: the index lies within the bytes that the parser has waited for.
    return this.bytes[this.at + index] as number
  }

  u16be(index: number): number {
    return this.u8(index) << 8 | this.u8(index + 1)
  }

  u16le(index: number): number {
    return this.u8(index + 1) << 8 | this.u8(index)
  }

  u24le(index: number): number {
    return this.u16le(index) | this.u8(index + 2) << 16
  }

  u32be(index: number): number {
    return (this.u16be(index) << 16 | this.u16be(index + 2)) >>> 0
  }

  u32le(index: number): number {
    return (this.u16le(index + 2) << 16 | this.u16le(index)) >>> 0
  }

  /** Makes the next chunk available. @internal */
  setChunk(chunk: Uint8Array): void {
    this.chunk = chunk
    if (this.carriedBytes === 0) {
      this.bytes = chunk
      this.limit = chunk.length
    }
  }

  /** Tells whether `count` bytes are contiguous from `at`, after copying from the chunk if that completes them. */
  hasBytes(count: number): boolean {
    if (this.carriedBytes > 0) {
      if (this.at < this.carriedBytes) {
        if (this.limit - this.at < count) {
          this.fillScratch(count)
        }
        return this.limit - this.at >= count
      }
      // The parser has consumed the carried bytes. The scratch continued with the chunk's first bytes, so the chunk is the
      // window from here.
      this.at -= this.carriedBytes
      this.windowOffset += this.carriedBytes
      this.carriedBytes = 0
      this.bytes = this.chunk
      this.limit = this.chunk.length
    }
    return this.limit - this.at >= count
  }

  /** Drops the reference to the chunk and keeps a copy of its unconsumed bytes. @internal */
  release(): void {
    if (this.carriedBytes > 0) {
      this.carriedBytes = this.limit
    } else {
      const rest = this.limit - this.at
      if (rest > 0) {
        for (let i = 0; i < rest; i++) {
          this.scratch[i] = this.u8(i)
        }
        this.windowOffset += this.at
        this.at = 0
        this.carriedBytes = rest
      } else {
        this.windowOffset += this.limit
        this.at -= this.limit
      }
      this.limit = this.carriedBytes
      this.bytes = this.scratch
    }
    this.chunk = this.scratch
  }

  private fillScratch(count: number): void {
    if (this.at > 0) {
      this.scratch.copyWithin(0, this.at, this.carriedBytes)
      this.windowOffset += this.at
      this.carriedBytes -= this.at
      this.at = 0
    }
    const taken = Math.min(count - this.carriedBytes, this.chunk.length)
    for (let i = 0; i < taken; i++) {
      // `taken` is bounded by the chunk's length.
      this.scratch[this.carriedBytes + i] = this.chunk[i] as number
    }
    this.limit = this.carriedBytes + taken
  }
}

const emptyChunk = new Uint8Array(0)

/** Runs a parser over one input. The parser is not resumed after it has returned, nor after `end`. */
export const runParser = (parser: Parser, maxPixels: number): PushParser => {
  const reader = new ByteReader()
  const steps = parser(reader, maxPixels)
  let bytesNeeded = 0
  let outcome: ProbeOutcome | undefined

  const advance = (): void => {
    while (reader.hasBytes(bytesNeeded)) {
      const step = steps.next()
      if (step.done === true) {
        outcome = step.value
        return
      }
      bytesNeeded = step.value
    }
  }

  return {
    push: (bytes) => {
      if (outcome === undefined) {
        reader.setChunk(bytes)
        advance()
        if (outcome === undefined) {
          reader.release()
        } else {
          reader.setChunk(emptyChunk)
        }
      }
      return outcome === undefined || outcome._tag === "Image" ? undefined : outcome
    },
    end: () => outcome ??= reader.resultAtEnd ?? malformed("Truncated")
  }
}

export const malformed = (reason: MalformedReason): ProbeFailure => ({ _tag: "MalformedImage", reason })

/**
 * Returns the failure of an image with more than `maxPixels` pixels. Parsers check it once the header is valid, before
 * they read on. `NaN` allows no pixels.
 */
export const tooManyPixels = (width: number, height: number, maxPixels: number): ProbeFailure | undefined =>
  width * height <= maxPixels ? undefined : { _tag: "TooManyPixels", width, height }
