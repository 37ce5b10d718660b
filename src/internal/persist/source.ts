/**
 * Where an image's bytes come from: base64 text, or whatever pulls them.
 */
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { BadBase64 } from "../../InitImageError.js"
import { Decoder } from "./base64.js"
import { bufferSize, type Fill } from "./writer.js"

const badLength = new BadBase64({ reason: "Length" })

/** How many characters may be decoded into so many bytes, with those that the decoder holds back. */
export const charactersFor = (bytes: number): number => Math.floor(bytes / 3) * 4 - 8

/** The bytes of a base64 text. A length that no base64 has is refused before anything is decoded. */
export const fromText = (text: string): Fill<BadBase64, never> => {
  const decoder = new Decoder()
  let start = 0
  let ended = false
  return (target) =>
    Effect.suspend((): Effect.Effect<number, BadBase64> => {
      if (text.length % 4 !== 0) return badLength
      const end = Math.min(start + charactersFor(target.length), text.length)
      let written = decoder.push(text.slice(start, end), target, 0)
      start = end
      if (start === text.length && !ended) {
        ended = true
        written += decoder.end(target, written)
      }
      return written === 0 && decoder.invalid !== undefined
        ? new BadBase64(decoder.invalid)
        : Effect.succeed(written)
    })
}

/** A stream of what fills fresh buffers, for each run anew, of no more than so many bytes. */
export const toStream = <E, R>(
  makeFill: () => Fill<E, R>,
  maxBytes: number
): Stream.Stream<Uint8Array, E, R> =>
  Stream.suspend(() => {
    const fill = makeFill()
    return Stream.repeatEffectOption(
      Effect.flatMap(
        Effect.suspend(() => {
          const target = Buffer.allocUnsafeSlow(bufferSize(maxBytes))
          return Effect.map(Effect.mapError(fill(target), Option.some), (filled) => target.subarray(0, filled))
        }),
        (bytes) => bytes.length === 0 ? Effect.fail(Option.none()) : Effect.succeed(bytes)
      )
    )
  })

/** Bytes as they are pulled, and what the channel ended with. */
export interface Pulled<E, R, Done> {
  readonly fill: Fill<E, R>
  readonly done: () => Option.Option<Done>
}

/** Runs the channel for as long as `use` needs it; a scope that `use` needs is the caller's. */
export const withPull = <E, R, Done, A, E2, R2>(
  channel: Channel.Channel<Chunk.Chunk<Uint8Array>, unknown, E, unknown, Done, unknown, R>,
  use: (pulled: Pulled<E, R, Done>) => Effect.Effect<A, E2, R2>
): Effect.Effect<A, E2, R | R2> =>
  Effect.scopedWith((scope) =>
    Effect.flatMap(Scope.extend(Channel.toPull(channel), scope), (pull) => {
      let pieces: ReadonlyArray<Uint8Array> = []
      let piece: Uint8Array | undefined
      let index = 0
      let at = 0
      let done = Option.none<Done>()

      /** The rest of a piece that has not been copied yet. */
      const nextPiece = (): Uint8Array | undefined => {
        while (piece === undefined || at === piece.length) {
          piece = pieces[index++]
          at = 0
          if (piece === undefined) return undefined
        }
        return piece
      }
      const fill: Fill<E, R> = (target) =>
        Effect.suspend(() => {
          const next = nextPiece()
          if (next !== undefined) {
            const part = next.subarray(at, at + target.length)
            target.set(part)
            at += part.length
            return Effect.succeed(part.length)
          }
          return Effect.flatMap(
            pull,
            Either.match({
              onLeft: (end) => {
                done = Option.some(end)
                return Effect.succeed(0)
              },
              onRight: (chunk) => {
                pieces = Chunk.toReadonlyArray(chunk)
                index = 0
                return fill(target)
              }
            })
          )
        })
      return use({ fill, done: () => done })
    })
  )
