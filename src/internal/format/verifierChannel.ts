/** A verifier as a channel, for streams. */
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import { isVerified, type Verifier } from "./verifier.js"

/** Passes the chunks on unchanged. Holds them back until the signature has matched: a few bytes, or there is no signature. */
export const make = <E, E2>(
  verifier: Verifier<E2>,
  held: Chunk.Chunk<Uint8Array> = Chunk.empty()
): Channel.Channel<Chunk.Chunk<Uint8Array>, Chunk.Chunk<Uint8Array>, E | E2, E, unknown, unknown> =>
  Channel.readWithCause({
    onInput: (chunk: Chunk.Chunk<Uint8Array>) => {
      for (const bytes of chunk) {
        const error = verifier.push(bytes)
        if (error !== undefined) return Channel.fail(error)
      }
      const passing = Chunk.appendAll(held, chunk)
      return verifier.format() === undefined
        ? make(verifier, passing)
        : Channel.zipRight(Channel.write(passing), make<E, E2>(verifier))
    },
    onFailure: Channel.failCause,
    onDone: () => {
      const end = verifier.end()
      return isVerified(end) ? Channel.void : Channel.fail(end)
    }
  })
