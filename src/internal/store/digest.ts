/** Digests of files and of streams of bytes. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"

/** The SHA-256 and the number of bytes of a stream, in lower-case hex. */
export const digest = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>
): Effect.Effect<{ readonly sha256: string; readonly bytes: number }, E, R> =>
  Effect.suspend(() => {
    const hash = createHash("sha256")
    let count = 0
    return Stream.runForEach(bytes, (chunk) =>
      Effect.sync(() => {
        hash.update(chunk)
        count += chunk.length
      })).pipe(Effect.map(() => ({ sha256: hash.digest("hex"), bytes: count })))
  })

/** Passes the bytes on, and fails at their end if their number or their SHA-256 is another one. */
export const check = <E, R, E2>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  expected: { readonly sha256: string; readonly bytes: number },
  onChanged: (reason: "Length" | "Digest") => E2
): Stream.Stream<Uint8Array, E | E2, R> =>
  Stream.suspend(() => {
    const hash = createHash("sha256")
    let count = 0
    const passed = Stream.mapEffect(bytes, (chunk): Effect.Effect<Uint8Array, E2> => {
      count += chunk.length
      if (count > expected.bytes) return Effect.fail(onChanged("Length"))
      hash.update(chunk)
      return Effect.succeed(chunk)
    })
    const atEnd = Effect.suspend(() => {
      if (count !== expected.bytes) return Effect.fail(onChanged("Length"))
      return hash.digest("hex") === expected.sha256 ? Effect.void : Effect.fail(onChanged("Digest"))
    })
    return Stream.concat(passed, Stream.drain(Stream.fromEffect(atEnd)))
  })
