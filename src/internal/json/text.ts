/**
 * A cursor over a JSON message that arrives in chunks, as bytes or as a string: the chunk at hand, and the text that is
 * kept of the message for `JSON.parse`.
 */
import { Buffer, isUtf8 } from "node:buffer"
import type { Units } from "./scanner.js"

/** Units scanned at a time. */
const windowUnits = 16 * 1024

/**
 * Units read as text at a time: a string of this size is made in the youngest generation of V8's heap, where it costs
 * nothing to collect.
 */
const textUnits = 64 * 1024

/** A chunk's units are its bytes of UTF-8, or its UTF-16 code units. */
export interface MessageText<in Chunk> {
  readonly isUtf8: boolean
  /** Replaces the chunk at hand, which has been read to its end. */
  readonly push: (chunk: Chunk) => void
  /** The next units of the chunk; empty at its end. Valid until the next call. */
  readonly window: () => Units
  /** The next unit; `undefined` at the chunk's end. */
  readonly peek: () => number | undefined
  /** Passes over the next `units`. */
  readonly skip: (units: number) => void
  /** Keeps the next `units` and passes over them. Answers their size in bytes of UTF-8. */
  readonly keep: (units: number) => number
  /** Adds ASCII text to the kept text. */
  readonly keepText: (text: string) => void
  /** The kept text; `undefined` where it is not UTF-8. */
  readonly kept: () => string | undefined
  /** Marks the end of the kept text. */
  readonly mark: () => void
  /** The text that was kept since the mark; `undefined` where it is not UTF-8. */
  readonly sinceMark: () => string | undefined
  /** Records the units that are passed over from here on, `maxUnits` at most. */
  readonly record: (maxUnits: number) => void
  /**
   * Ends the recording and keeps its units where it began, in the place of a text that was added there. Answers their size
   * in bytes of UTF-8; `undefined` where there were too many.
   */
  readonly keepRecorded: (standIn: string) => number | undefined
  /** Ends the recording. */
  readonly dropRecorded: () => void
  /** How many of the next units, `max` at most, stand before the next quote or the chunk's end. */
  readonly untilQuote: (max: number) => number
  /** The next `units` as text: a character a unit, with some other character for each that is not ASCII. */
  readonly characters: (units: number) => string
  /** The text that the units of a key spell. */
  readonly decodeKey: (units: ReadonlyArray<number>) => string
}

const quote = 0x22

/** RFC 8259 section 8.1: a text may begin with one, which is ignored. */
const byteOrderMark = 0xfeff
const byteOrderMarkBytes = Buffer.from("\ufeff")

const noBytes = Buffer.alloc(0)

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff
const isLowSurrogate = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff

/** A message in one or more strings, scanned where they are. */
export const fromStrings = (): MessageText<string> => {
  // Of the size of the first chunk at least: 32 KiB for each short message would keep the garbage collector busy.
  let codes = new Uint16Array(0)
  let bytes = noBytes
  const kept: Array<string> = []
  let marked = 0
  let recorded: Array<string> = []
  let recordedUnits = 0
  let maxRecordedUnits = -1
  let recordedAt = 0
  /** The last kept unit. */
  let lastUnit = 0
  let isBegun = false
  let chunk = ""
  let at = 0
  /** The part of the chunk that is in `codes`. */
  let start = 0
  let end = 0
  return {
    isUtf8: false,
    push: (next) => {
      chunk = next
      at = !isBegun && chunk.charCodeAt(0) === byteOrderMark ? 1 : 0
      isBegun ||= chunk !== ""
      start = 0
      end = 0
    },
    window: () => {
      if (at >= end) {
        const slice = chunk.slice(at, at + windowUnits)
        if (slice.length > codes.length) {
          codes = new Uint16Array(slice.length)
          bytes = Buffer.from(codes.buffer)
        }
        bytes.write(slice, "utf16le")
        start = at
        end = at + slice.length
      }
      return codes.subarray(at - start, end - start)
    },
    peek: () => at < chunk.length ? chunk.charCodeAt(at) : undefined,
    skip: (units) => {
      if (recordedUnits <= maxRecordedUnits) {
        recordedUnits += units
        if (recordedUnits <= maxRecordedUnits) recorded.push(chunk.slice(at, at + units))
        else recorded = []
      }
      at += units
    },
    mark: () => {
      marked = kept.length
    },
    sinceMark: () => kept.slice(marked).join(""),
    record: (maxUnits) => {
      recorded = []
      recordedUnits = 0
      maxRecordedUnits = maxUnits
      recordedAt = kept.length
    },
    keepRecorded: (standIn) => {
      const text = recorded.join("")
      const isWhole = recordedUnits <= maxRecordedUnits
      recorded = []
      maxRecordedUnits = -1
      if (!isWhole) return undefined
      kept.splice(recordedAt, standIn === "" ? 0 : 1, text)
      lastUnit = 0
      return Buffer.byteLength(text)
    },
    dropRecorded: () => {
      recorded = []
      maxRecordedUnits = -1
    },
    keep: (units) => {
      const piece = chunk.slice(at, at + units)
      at += units
      kept.push(piece)
      // The halves of a pair count three bytes each, and the pair four.
      const joined = isHighSurrogate(lastUnit) && isLowSurrogate(piece.charCodeAt(0)) ? 2 : 0
      lastUnit = piece.charCodeAt(piece.length - 1)
      return Buffer.byteLength(piece) - joined
    },
    keepText: (text) => {
      kept.push(text)
      lastUnit = 0
    },
    kept: () => kept.join(""),
    untilQuote: (max) => {
      const slice = chunk.slice(at, at + Math.min(max, textUnits))
      const end = slice.indexOf("\"")
      return end < 0 ? slice.length : end
    },
    characters: (units) => chunk.slice(at, at + units),
    decodeKey: (units) => String.fromCharCode(...units)
  }
}

/** The buffer, or a larger copy of its bytes where no more would fit. */
const withRoom = (buffer: Buffer, length: number, more: number): Buffer => {
  const needed = length + more
  if (needed <= buffer.length) return buffer
  const larger = Buffer.allocUnsafe(Math.max(needed, 2 * buffer.length, 256))
  larger.set(buffer.subarray(0, length))
  return larger
}

/** A message in chunks of bytes, read where they are; only the kept bytes are copied. */
export const fromBytes = (): MessageText<Uint8Array> => {
  let kept: Buffer = noBytes
  let keptBytes = 0
  let marked = 0
  let recorded: Buffer = noBytes
  let recordedBytes = 0
  let maxRecordedBytes = -1
  let recordedAt = 0
  let chunk: Buffer = noBytes
  let at = 0
  let isBegun = false
  /** Bytes of the byte order mark so far. */
  let markBytes = 0

  // Copied, so that a chunk is not held or changed under it; into one buffer, since a small buffer takes ten times its
  // bytes.
  const append = (bytes: Uint8Array): void => {
    kept = withRoom(kept, keptBytes, bytes.length)
    kept.set(bytes, keptBytes)
    keptBytes += bytes.length
  }

  const record = (units: number): void => {
    if (recordedBytes + units > maxRecordedBytes) {
      recorded = noBytes
      maxRecordedBytes = -1
      return
    }
    recorded = withRoom(recorded, recordedBytes, units)
    recorded.set(chunk.subarray(at, at + units), recordedBytes)
    recordedBytes += units
  }

  const utf8 = (bytes: Buffer): string | undefined => isUtf8(bytes) ? bytes.toString() : undefined

  const skipMark = (): void => {
    while (at < chunk.length && chunk[at] === byteOrderMarkBytes[markBytes]) {
      at += 1
      markBytes += 1
    }
    isBegun = at < chunk.length || markBytes === byteOrderMarkBytes.length
    // A part of a mark is no JSON: kept, so that the text is not taken for one without it.
    if (isBegun && markBytes < byteOrderMarkBytes.length) append(byteOrderMarkBytes.subarray(0, markBytes))
  }

  return {
    isUtf8: true,
    push: (bytes) => {
      chunk = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      at = 0
      if (!isBegun) skipMark()
    },
    window: () => chunk.subarray(at, at + windowUnits),
    peek: () => chunk[at],
    skip: (units) => {
      if (maxRecordedBytes >= 0) record(units)
      at += units
    },
    mark: () => {
      marked = keptBytes
    },
    sinceMark: () => utf8(kept.subarray(marked, keptBytes)),
    record: (maxUnits) => {
      recordedBytes = 0
      maxRecordedBytes = maxUnits
      recordedAt = keptBytes
    },
    keepRecorded: (standIn) => {
      if (maxRecordedBytes < 0) return undefined
      maxRecordedBytes = -1
      const behind = Buffer.from(kept.subarray(recordedAt + standIn.length, keptBytes))
      keptBytes = recordedAt
      append(recorded.subarray(0, recordedBytes))
      append(behind)
      recorded = noBytes
      return recordedBytes
    },
    dropRecorded: () => {
      recorded = noBytes
      maxRecordedBytes = -1
    },
    keep: (units) => {
      append(chunk.subarray(at, at + units))
      at += units
      return units
    },
    keepText: (text) => {
      append(Buffer.from(text, "latin1"))
    },
    kept: () => {
      if (!isBegun && markBytes > 0) return undefined
      return utf8(kept.subarray(0, keptBytes))
    },
    untilQuote: (max) => {
      const bytes = chunk.subarray(at, at + Math.min(max, textUnits))
      const end = bytes.indexOf(quote)
      return end < 0 ? bytes.length : end
    },
    characters: (units) => chunk.toString("latin1", at, at + units),
    decodeKey: (units) => Buffer.from(units).toString()
  }
}
