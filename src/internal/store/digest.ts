/** Reading of files, and digests of files and of streams of bytes. */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"

/** A file is hashed through one buffer of this size, in bytes, in one turn of the event loop each. */
const bufferBytes = 1024 * 1024

/** Sent in chunks of this size, in bytes: a client may keep each for a while, so they share no buffer. */
const chunkBytes = 512 * 1024

/** The SHA-256 of no bytes. */
export const ofNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/** The SHA-256 of a file in lower-case hex. */
export const ofFile = (fs: FileSystem.FileSystem, path: string): Effect.Effect<string, PlatformError> =>
  Effect.scoped(Effect.gen(function*() {
    const file = yield* fs.open(path, { flag: "r" })
    const buffer = Buffer.allocUnsafeSlow(bufferBytes)
    const hash = createHash("sha256")
    for (;;) {
      // A read cannot be called back, and its descriptor must not be closed under it.
      const read = Number(yield* Effect.uninterruptible(file.read(buffer)))
      if (read === 0) return hash.digest("hex")
      hash.update(buffer.subarray(0, read))
    }
  }))

/** The bytes of a file, read as they are asked for. */
export const readFile = (fs: FileSystem.FileSystem, path: string): Stream.Stream<Uint8Array, PlatformError> =>
  Stream.unwrapScoped(Effect.map(fs.open(path, { flag: "r" }), (file) =>
    Stream.repeatEffectOption(Effect.flatMap(
      Effect.uninterruptible(Effect.mapError(file.readAlloc(chunkBytes), Option.some)),
      Either.fromOption(() => Option.none<PlatformError>())
    ))))

/**
 * Passes the bytes on. Fails in place of the last chunk if the SHA-256 is another one, and at the end or as soon as there
 * are more bytes if their number is.
 */
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
      const isChanged = count === expected.bytes && hash.copy().digest("hex") !== expected.sha256
      return isChanged ? Effect.fail(onChanged("Digest")) : Effect.succeed(chunk)
    })
    const atEnd = Effect.suspend(() => count === expected.bytes ? Effect.void : Effect.fail(onChanged("Length")))
    return Stream.concat(passed, Stream.drain(Stream.fromEffect(atEnd)))
  })
