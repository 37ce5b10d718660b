/** Runs the pipeline on files in memory and compares its result with the expected one. */
import type { PlatformError } from "@effect/platform/Error"
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { inspect, isDeepStrictEqual } from "node:util"
import { InitImageError } from "../../src/index.js"
import type { SessionInitImage } from "../../src/index.js"
import { maxBufferBytes } from "../../src/internal/persist/bufferPool.js"
import { errorFields } from "../utils/errorFields.js"
import type { MemoryFileSystem } from "../utils/memoryFileSystem.js"
import { isImage } from "./expectation.js"
import type { Expected, Limits } from "./expectation.js"

/** Encodes an error as for a client. Throws on any other cause. */
export const encoded = (cause: Cause.Cause<unknown>): Expected => {
  if (cause._tag !== "Fail") throw new Error(`more than an error: ${Cause.pretty(cause)}`)
  if (!InitImageError.isInitImageError(cause.error)) throw new Error(`of another type: ${inspect(cause.error)}`)
  const error = errorFields(cause.error)
  if (JSON.stringify(error).length > 1000) throw new Error("an error of more than 1 KB")
  return error
}

const displayable = /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}/\\]+$/u

const checkImage = (
  image: SessionInitImage.SessionInitImage,
  expected: Expected,
  limits: Limits,
  disk: MemoryFileSystem
): void => {
  const { displayName, path, ...rest } = image
  if (!isImage(expected)) return assert.fail(`persisted in place of ${JSON.stringify(expected)}`)
  const { _tag: _, all, ...header } = expected
  assert.deepStrictEqual({ ...rest }, { ...header, bytes: all.length })
  assert.isTrue(image.width > 0 && image.height > 0 && image.width * image.height <= limits.maxPixels)
  assert.isTrue(image.bytes > 0 && image.bytes <= limits.maxBytes)
  const file = disk.files.get(path)
  assert(file !== undefined, "the file is where it is said to be")
  assert.isTrue(Buffer.from(file).equals(all), "the file holds the bytes")
  assert.isTrue(
    displayable.test(displayName) && Buffer.byteLength(displayName) <= 255 && displayName !== "." &&
      displayName !== ".."
  )
}

export interface Options {
  readonly disk: MemoryFileSystem
  readonly limits: Limits
  /** The accepted results. */
  readonly expected: ReadonlyArray<Expected>
  /** The most files that may be created; every file but the image must be removed. */
  readonly maxFiles?: number
}

/** Returns the tag of the result. */
export const check = <R>(
  effect: Effect.Effect<
    Option.Option<SessionInitImage.SessionInitImage>,
    InitImageError.InitImageError | PlatformError,
    R
  >,
  { disk, expected, limits, maxFiles = 1 }: Options
): Effect.Effect<string, never, R> =>
  Effect.suspend(() => {
    disk.clear()
    return Effect.map(Effect.exit(effect), (exit) => {
      const image = exit._tag === "Success" ? exit.value : Option.none()
      assert.strictEqual(disk.openFiles, 0, "no file is open")
      assert.strictEqual(disk.files.size, Option.isSome(image) ? 1 : 0, "no file is left but an image's")
      assert.isAtMost(disk.opens, maxFiles)
      assert.strictEqual(disk.removes, disk.opens - disk.files.size, "each other file is removed once")
      assert.isAtMost(disk.writes, disk.opens * (1 + Math.ceil(limits.maxBytes / (maxBufferBytes - 32))))
      if (Option.isSome(image)) {
        checkImage(image.value, expected.find(isImage) ?? expected[0] ?? { _tag: "Nothing" }, limits, disk)
        return "Image"
      }
      const actual = exit._tag === "Failure" ? encoded(exit.cause) : { _tag: "None" }
      if (!expected.some((expected) => isDeepStrictEqual(actual, expected))) assert.deepStrictEqual(actual, expected[0])
      return actual._tag
    })
  })

/** A source that reuses the memory of its pieces, and counts reads. */
export class Source {
  pulls = 0
  bytes = 0
  readonly #pieces: ReadonlyArray<Uint8Array>

  constructor(pieces: ReadonlyArray<Uint8Array>) {
    this.#pieces = pieces.map((piece) => new Uint8Array(piece))
  }

  readonly stream: Stream.Stream<Uint8Array> = Stream.repeatEffectOption(Effect.suspend(() => {
    this.#pieces[this.pulls - 1]?.fill(0xaa)
    const piece = this.#pieces[this.pulls++]
    this.bytes += piece?.length ?? 0
    return piece === undefined ? Effect.fail(Option.none()) : Effect.succeed(piece)
  }))

  /** Requires that no read followed the end. */
  check(): void {
    assert.isAtMost(this.pulls, this.#pieces.length + 1)
  }

  /** The bytes before the last piece. */
  get bytesBefore(): number {
    return this.bytes - (this.#pieces[this.pulls - 1]?.length ?? 0)
  }
}
