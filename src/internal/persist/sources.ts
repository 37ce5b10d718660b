/**
 * Drivers: push an input into a reader for as long as the reader takes it. Effect is used only where an input is waited
 * for.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { decodePacer } from "../process.js"
import { maxBufferBytes } from "./bufferPool.js"
import { isRefused, type Reader, type Step } from "./reader.js"

/** Where a driver has stopped: the buffer is full, the reader asks for its room, or the input has ended. */
export type Stop = "full" | "image" | "discard" | "ended"

/** An input, driven by one reader. */
export interface Source<out Chunk, out E, out R> {
  /** Continues with the chunk that the reader holds, then pushes chunks until the reader stops or refuses, or the input ends. */
  readonly pump: <E2 extends object>(reader: Reader<Chunk, unknown, E2>) => Effect.Effect<Stop, E | E2, R>
}

/** Answers a step that is not `"more"`. */
export const answer = <E extends object>(step: Exclude<Step<E>, "more">): Effect.Effect<Stop, E> =>
  isRefused(step) ? Effect.fail(step) : Effect.succeed(step === "done" ? "ended" : step)

export const ended: Effect.Effect<Stop> = Effect.succeed("ended")

/**
 * Decode work that a unit of a message is paced as, in bytes: scanning and unescaping take several times as long as
 * decoding. With 1, a message full of escapes stood in the way of other work for 60 ms a turn; with 6, for 10 ms.
 */
const unitCost = 6

/** A text or bytes in memory, cut into slices. Each slice waits for its turn of the event loop. */
const fromSlices = <A>(length: number, unitsPerSlice: number, slice: (start: number, end: number) => A): Source<
  A,
  never,
  never
> => {
  let at = 0
  const next = <E extends object>(reader: Reader<A, unknown, E>, step: Step<E>): Effect.Effect<Stop, E> => {
    if (step !== "more") return answer(step)
    if (at === length) return ended
    const start = at
    at = Math.min(at + unitsPerSlice, length)
    return Effect.flatMap(decodePacer.wait(unitCost * (at - start)), () => next(reader, reader.push(slice(start, at))))
  }
  return { pump: (reader) => Effect.suspend(() => next(reader, reader.resume())) }
}

/** Units of a message in memory that are read in one turn of the event loop by one image. */
const unitsPerSlice = 512 * 1024

/** A message in a string. */
export const fromString = (json: string): Source<string, never, never> =>
  fromSlices(json.length, unitsPerSlice, (start, end) => json.slice(start, end))

/** A message in memory as bytes. */
export const fromBytes = (bytes: Uint8Array): Source<Uint8Array, never, never> =>
  fromSlices(bytes.length, unitsPerSlice, (start, end) => bytes.subarray(start, end))

/** A base64 text, pushed whole: the reader decodes one buffer of it at a time, each in its turn of the event loop. */
export const fromText = (text: string): Source<string, never, never> => {
  let isPushed = false
  return {
    pump: (reader) =>
      Effect.flatMap(decodePacer.wait(Math.min(maxBufferBytes, text.length)), () => {
        const step = isPushed ? reader.resume() : reader.push(text)
        isPushed = true
        return step === "more" ? ended : answer(step)
      })
  }
}

/** A stream of bytes, which runs as long as the scope is open. */
export const fromStream = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>
): Effect.Effect<Source<Uint8Array, E, R>, never, Scope.Scope | R> =>
  Effect.map(Stream.toPull(stream), (pull): Source<Uint8Array, E, R> => {
    let chunks: ReadonlyArray<Uint8Array> = []
    let next = 0
    /** Pushes the chunks at hand, and then those that are pulled. */
    const pump = <E2 extends object>(
      reader: Reader<Uint8Array, unknown, E2>,
      first: Step<E2>
    ): Effect.Effect<Stop, E | E2, R> => {
      let step = first
      while (step === "more") {
        const chunk = chunks[next++]
        if (chunk === undefined) return pullNext(reader)
        step = reader.push(chunk)
      }
      return answer(step)
    }
    const pullNext = <E2 extends object>(reader: Reader<Uint8Array, unknown, E2>): Effect.Effect<Stop, E | E2, R> =>
      Effect.matchEffect(pull, {
        onFailure: Option.match({ onNone: () => ended, onSome: Effect.fail<E> }),
        onSuccess: (pulled) => {
          chunks = Chunk.toReadonlyArray(pulled)
          next = 0
          return pump(reader, "more")
        }
      })
    return { pump: (reader) => Effect.suspend(() => pump(reader, reader.resume())) }
  })
