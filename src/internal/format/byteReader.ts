/**
 * Runs a parser written as straight-line code over bytes that come in chunks of any size.
 *
 * A parser is a generator. `yield n` waits until `n` bytes lie side by side at `reader.bytes[reader.at]`; moving `at` is
 * how it goes on, also past the end of what has come: the engine lets that many bytes of later chunks pass, unbuffered.
 * `yield 0` waits for such a skip to be complete. Nothing ever moves backward.
 *
 * To resume a generator is cheap: a PNG of nothing but empty chunks, the worst there is, is read at 390 MB/s, and a JPEG
 * of nothing but empty segments, a third as long, at 85.
 */
import type { ImageParsing, MalformedReason, ProbeFailure, ProbeOutcome } from "./probe.js"

/** The most bytes that a parser may ask for at once, and the only bytes that are ever copied. */
export const scratchBytes = 64

export type Parser = (reader: ByteReader, maxPixels: number) => Generator<number, ProbeOutcome, void>

/**
 * A window of the input. The offsets that the accessors take are relative to `at`, and hold the byte only as far as the
 * parser has asked for it.
 */
export class ByteReader {
  bytes: Uint8Array
  at = 0
  limit = 0
  /** How many bytes of the input lie before `bytes[0]`. */
  private base = 0
  private chunk: Uint8Array
  private readonly scratch = new Uint8Array(scratchBytes)
  /** How many bytes at the start of the scratch come from before the current chunk; more than 0 while it is in use. */
  private carried = 0

  constructor() {
    this.bytes = this.scratch
    this.chunk = this.scratch
  }

  /** The position in the input. */
  get offset(): number {
    return this.base + this.at
  }

  /** Moves forward to a position in the input; one that has been passed already is not gone back to. */
  skipTo(offset: number): void {
    this.at = Math.max(this.at, offset - this.base)
  }

  u8(index: number): number {
    // The index is within the bytes that the parser asked for, so there is one.
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

  /** @internal */
  offer(chunk: Uint8Array): void {
    this.chunk = chunk
    if (this.carried === 0) {
      this.bytes = chunk
      this.limit = chunk.length
    }
  }

  /** Whether `count` bytes lie at `at`, after taking what it needs of the chunk. @internal */
  holds(count: number): boolean {
    if (this.carried > 0) {
      if (this.at < this.carried) {
        if (this.limit - this.at < count) {
          this.fill(count)
        }
        return this.limit - this.at >= count
      }
      // The rest of the window lies in the chunk, which the scratch continued with from its first byte.
      this.at -= this.carried
      this.base += this.carried
      this.carried = 0
      this.bytes = this.chunk
      this.limit = this.chunk.length
    }
    return this.limit - this.at >= count
  }

  /** Lets go of the chunk, keeping the few bytes that are still waited for. @internal */
  release(): void {
    if (this.carried > 0) {
      this.carried = this.limit
    } else {
      const rest = this.limit - this.at
      if (rest > 0) {
        for (let i = 0; i < rest; i++) {
          this.scratch[i] = this.u8(i)
        }
        this.base += this.at
        this.at = 0
        this.carried = rest
      } else {
        this.base += this.limit
        this.at -= this.limit
      }
      this.limit = this.carried
      this.bytes = this.scratch
    }
    this.chunk = this.scratch
  }

  private fill(count: number): void {
    if (this.at > 0) {
      this.scratch.copyWithin(0, this.at, this.carried)
      this.base += this.at
      this.carried -= this.at
      this.at = 0
    }
    const taken = Math.min(count - this.carried, this.chunk.length)
    for (let i = 0; i < taken; i++) {
      // `taken` is bounded by the chunk's length.
      this.scratch[this.carried + i] = this.chunk[i] as number
    }
    this.limit = this.carried + taken
  }
}

const nothing = new Uint8Array(0)

/** A probe of one input. The parser is never resumed after it has ended, and `end` ends it. */
export const run = (parser: Parser, maxPixels: number): ImageParsing => {
  const reader = new ByteReader()
  const steps = parser(reader, maxPixels)
  let needed = 0
  let outcome: ProbeOutcome | undefined

  const advance = (): void => {
    while (reader.holds(needed)) {
      const step = steps.next()
      if (step.done === true) {
        outcome = step.value
        return
      }
      needed = step.value
    }
  }

  return {
    push: (bytes) => {
      if (outcome === undefined) {
        reader.offer(bytes)
        advance()
        if (outcome === undefined) {
          reader.release()
        } else {
          reader.offer(nothing)
        }
      }
      return outcome === undefined || outcome._tag === "Image" ? undefined : outcome
    },
    end: () => outcome ??= malformed("Truncated")
  }
}

export const malformed = (reason: MalformedReason): ProbeFailure => ({ _tag: "MalformedImage", reason })

/**
 * The refusal of an image with more pixels than are allowed. Asked as soon as the size is known and the header is found
 * valid, so before anything that may be wrong further on. A limit that is not a number allows nothing.
 */
export const tooManyPixels = (width: number, height: number, maxPixels: number): ProbeFailure | undefined =>
  width * height <= maxPixels ? undefined : { _tag: "TooManyPixels", width, height }
