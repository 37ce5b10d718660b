import * as Stream from "effect/Stream"

/** The bytes in pieces of these sizes, over and over, three in a chunk. */
export const split = (bytes: Uint8Array, sizes: ReadonlyArray<number>): Stream.Stream<Uint8Array> => {
  const pieces: Array<Uint8Array> = []
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    // A copy each, overwritten once the next one is asked for, as a source with one buffer would.
    pieces.push(bytes.slice(at, at + size))
    at += size
  }
  return Stream.rechunk(Stream.fromIterable(pieces), 3)
}
