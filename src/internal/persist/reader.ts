/**
 * Readers: pure state machines that take an image's input as it arrives and write the decoded bytes to an `ImageBuffer`.
 *
 * A driver pushes chunks for as long as the answer is `"more"`. After `"full"` it takes the buffer's bytes and calls
 * `resume`; after the last chunk it calls `end`.
 */
import type { ImageBuffer } from "./imageBuffer.js"

/**
 * - `"more"`: the chunk is consumed
 * - `"full"`: the buffer is full; the reader holds the rest of the chunk
 * - `"image"`: an image begins in a message; room is to be reserved for it before the reader continues
 * - `"discard"`: the image is refused and the message is read on; the written part of the image can be removed
 * - `"done"`: the reader needs no more input
 * - an error: the image is refused
 */
export type Step<E extends object> = "more" | "full" | "image" | "discard" | "done" | E

export const isRefused = <E extends object>(step: Step<E>): step is E => typeof step !== "string"

/** Reads one input of `Chunk`s. Every method is synchronous and total. Only `end` follows `"done"`; nothing an error. */
export interface Reader<in Chunk, out A, out E extends object> {
  /** Holds the decoded bytes that are not written yet. */
  readonly buffer: ImageBuffer<unknown>
  /** Consumes the next chunk. A chunk of bytes must not change until the answer is not `"full"`. */
  readonly push: (chunk: Chunk) => Step<E>
  /** Continues with the rest of the last chunk, after the buffer's bytes have been taken. */
  readonly resume: () => Step<E>
  /** Ends the input: the result, or the reason to refuse it. */
  readonly end: () => Ended<A, E>
}

/** The result of an input that was read to its end. */
export class Done<out A> {
  readonly value: A
  constructor(value: A) {
    this.value = value
  }
}

export type Ended<A, E extends object> = Done<A> | E
