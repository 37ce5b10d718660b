/**
 * A JSON text as it comes, as bytes or as a string: what has not been read of it, what of it is kept for `JSON.parse`,
 * and how to read the string that is not kept.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Buffer } from "node:buffer"
import type { Units } from "./scanner.js"

/** How many units are scanned at once. */
const windowUnits = 16 * 1024

/**
 * How many units are read as text at once: few enough for a string made of them to be in the youngest generation, where
 * it costs nothing to be forgotten.
 */
const textUnits = 64 * 1024

export interface JsonInput<out E, out R> {
  /** Whether more may come than is known yet. */
  readonly streaming: boolean
  /** More bytes than base64 in it can hold. */
  readonly maxDataBytes: number
  /** The next units: none where {@link refill} must be asked first. They are valid until any other call. */
  readonly window: () => Units
  /** The next unit: none where {@link refill} must be asked first. */
  readonly peek: () => number | undefined
  /** Gets more, where the window is empty; `false` at the end. */
  readonly refill: Effect.Effect<boolean, E, R>
  /** Passes over so many of the window's units. */
  readonly skip: (units: number) => void
  /** Passes over so many of the window's units and keeps them. Answers how many bytes of UTF-8 they are. */
  readonly keep: (units: number) => number
  /** Adds to what is kept. */
  readonly keepText: (text: string) => void
  /** What has been kept. Throws where it is not UTF-8. */
  readonly kept: () => string
  /** How many of the next units, no more than `max`, come before a quote, as far as they are there. */
  readonly untilQuote: (max: number) => number
  /** So many of the next units as text in which a unit is a character, and everything outside ASCII some other one. */
  readonly plainText: (units: number) => string
  /** So many of the next units as the text that they are. Throws where they are not UTF-8. */
  readonly text: (units: number) => string
  /** Throws where {@link text} was left in the middle of a character. */
  readonly endText: () => void
  /** What the units of a key say. */
  readonly textOf: (units: ReadonlyArray<number>) => string
}

const quote = 0x22

/** A string is scanned in place. */
export const fromString = (json: string): JsonInput<never, never> => {
  const codes = new Uint16Array(windowUnits)
  const bytes = Buffer.from(codes.buffer)
  /** Of what is in the codes. */
  let start = 0
  let end = 0
  const pieces: Array<string> = []
  let at = 0
  return {
    streaming: false,
    maxDataBytes: json.length,
    window: () => {
      if (at >= end) {
        const slice = json.slice(at, at + windowUnits)
        bytes.write(slice, "utf16le")
        start = at
        end = at + slice.length
      }
      return codes.subarray(at - start, end - start)
    },
    peek: () => at < json.length ? json.charCodeAt(at) : undefined,
    refill: Effect.succeed(false),
    skip: (units) => {
      at += units
    },
    keep: (units) => {
      const piece = json.slice(at, at + units)
      at += units
      pieces.push(piece)
      return Buffer.byteLength(piece)
    },
    keepText: (text) => {
      pieces.push(text)
    },
    kept: () => pieces.join(""),
    untilQuote: (max) => {
      const slice = json.slice(at, at + Math.min(max, textUnits))
      const end = slice.indexOf("\"")
      return end < 0 ? slice.length : end
    },
    plainText: (units) => json.slice(at, at + units),
    text: (units) => json.slice(at, at + units),
    endText: () => {},
    textOf: (units) => String.fromCharCode(...units)
  }
}

/** Bytes are read where they are; only what is kept of them is copied. */
export const fromChunks = <E, R>(
  pull: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<E>, R>,
  /** How many bytes there are, if that is known. */
  size: number | undefined
): JsonInput<E, R> => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  let kept: Buffer = Buffer.alloc(0)
  let keptBytes = 0
  let waiting: ReadonlyArray<Uint8Array> = []
  let next = 0
  let chunk: Buffer = Buffer.alloc(0)
  let at = 0

  // Copied: a chunk that holds little of what is kept must not be held for it, nor changed under it. And into one
  // buffer: of a hundred thousand pieces, each takes ten times its bytes.
  const append = (bytes: Uint8Array): void => {
    const needed = keptBytes + bytes.length
    if (needed > kept.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * kept.length))
      larger.set(kept)
      kept = larger
    }
    kept.set(bytes, keptBytes)
    keptBytes = needed
  }

  const nextChunk = (): boolean => {
    while (at === chunk.length) {
      const bytes = waiting[next++]
      if (bytes === undefined) return false
      chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      at = 0
    }
    return true
  }
  const refill: Effect.Effect<boolean, E, R> = Effect.suspend(() => {
    if (nextChunk()) return Effect.succeed(true)
    return Effect.matchEffect(pull, {
      onFailure: Option.match({ onNone: () => Effect.succeed(false), onSome: Effect.fail }),
      onSuccess: (chunks) => {
        waiting = Chunk.toReadonlyArray(chunks)
        next = 0
        return refill
      }
    })
  })
  return {
    streaming: size === undefined,
    maxDataBytes: size ?? Infinity,
    window: () => chunk.subarray(at, at + windowUnits),
    peek: () => chunk[at],
    refill,
    skip: (units) => {
      at += units
    },
    keep: (units) => {
      append(chunk.subarray(at, at + units))
      at += units
      return units
    },
    keepText: (text) => {
      append(Buffer.from(text))
    },
    kept: () => decoder.decode(kept.subarray(0, keptBytes)),
    untilQuote: (max) => {
      const bytes = chunk.subarray(at, at + Math.min(max, textUnits))
      const end = bytes.indexOf(quote)
      return end < 0 ? bytes.length : end
    },
    plainText: (units) => chunk.toString("latin1", at, at + units),
    text: (units) => decoder.decode(chunk.subarray(at, at + units), { stream: true }),
    endText: () => {
      decoder.decode()
    },
    textOf: (units) => Buffer.from(units).toString()
  }
}
