/** Drives readers without files. */
import { vi } from "@effect/vitest"
import { Buffer } from "node:buffer"
import { Done, type Ended, isRefused, type Reader, type Step } from "../../src/internal/persist/reader.js"
import { buffers } from "../../src/internal/process.js"

/** Runs `use` while every buffer for decoded bytes has this size. */
export const withBuffersOf = <A>(bytes: number, use: () => A): A => {
  const take = vi.spyOn(buffers, "take").mockImplementation(() => Buffer.alloc(bytes))
  // The pool counts its large buffers: it must get none back that it has not given.
  const giveBack = vi.spyOn(buffers, "giveBack").mockImplementation(() => {})
  try {
    return use()
  } finally {
    take.mockRestore()
    giveBack.mockRestore()
  }
}

/** The chunks between these places, which are taken modulo the length. */
export const cut = <A extends string | Uint8Array>(whole: A, places: ReadonlyArray<number>): ReadonlyArray<A> => {
  const at = [0, ...places.map((place) => place % (whole.length + 1)).toSorted((a, b) => a - b), whole.length]
  // `slice` of a type is of the same type.
  return at.slice(1).map((end, i) => whole.slice(at[i], end) as A)
}

/** Chunks of this many units. */
export const inPiecesOf = <A extends string | Uint8Array>(whole: A, size: number): ReadonlyArray<A> =>
  cut(whole, Array.from({ length: Math.ceil(whole.length / size) }, (_, i) => i * size))

/** The answers of a reader that are not `"more"`, the bytes for the image's file, and the result. */
export interface Driven<A, E extends object> {
  readonly steps: ReadonlyArray<string>
  readonly bytes: Buffer
  readonly result: A | E
  /** How often the buffer was full. */
  readonly full: number
  /** The result as the reader gives it. */
  readonly ended: Ended<A, E>
}

/** Pushes the chunks, takes the bytes of each full buffer, and ends the input. */
export const drive = <Chunk, A, E extends object>(
  reader: Reader<Chunk, A, E>,
  chunks: Iterable<Chunk>
): Driven<A, E> => {
  const steps: Array<string> = []
  const taken: Array<Uint8Array> = []
  const takeBytes = () => taken.push(Uint8Array.from(reader.buffer.take()))
  const answer = (first: Step<E>): E | "more" | "done" => {
    let step = first
    while (step !== "more" && step !== "done" && !isRefused(step)) {
      steps.push(step)
      if (step === "full") takeBytes()
      step = reader.resume()
    }
    return step
  }
  const driven = (ended: Ended<A, E>): Driven<A, E> => ({
    steps,
    bytes: Buffer.concat(taken),
    result: ended instanceof Done ? ended.value : ended,
    full: steps.filter((step) => step === "full").length,
    ended
  })
  try {
    for (const chunk of chunks) {
      const step = answer(reader.push(chunk))
      if (step === "done") break
      if (step !== "more") return driven(step)
    }
    const end = reader.end()
    takeBytes()
    return driven(end)
  } finally {
    reader.buffer.release()
  }
}
