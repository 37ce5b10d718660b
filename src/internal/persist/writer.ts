/**
 * From bytes that come in any pieces to a verified file: two buffers in turn, one filled and verified while the other is
 * written, so that the event loop stays free and memory does not grow with the image.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import { turnFor } from "../eventLoop.js"
import * as tempFile from "./tempFile.js"

/**
 * Where the bytes come from. Writes the next ones to the start of the buffer and answers how many, 0 at the end. What
 * it fails with comes after everything that stands before it. A buffer has room for at least {@link minRoom} bytes.
 */
export type Fill<E, R> = (target: Buffer) => Effect.Effect<number, E, R>

/** What is asked of the bytes as they pass: something wrong so far, and at the end what they are. */
export interface Check<out A, out E> {
  readonly push: (bytes: Uint8Array) => E | undefined
  readonly end: () => Effect.Effect<A, E>
}

/**
 * How large each of the two buffers is: 1.4 MiB, decoded in about 0.3 ms. To turn from one to the other costs about
 * 0.1 ms, nearly all of it in Effect, so that smaller ones cost more than they save.
 */
export const bufferBytes = 1408 * 1024

/** A buffer is full when fewer than so many bytes fit. */
export const minRoom = 16

/** How many bytes a buffer has for an image that may have so many: enough for all of it and the look for its end. */
export const bufferSize = (bytes: number): number => Math.min(bufferBytes, bytes + 2 * minRoom)

/**
 * Buffers of the full size that are kept for the next image, as many as two images take: new ones cost the system a
 * page at a time, and the garbage collector gets to know of them late. A small image takes one as well, as long as
 * there are some.
 */
const spares: Array<Buffer> = []
const maxSpares = 4
let kept = 0

const takeBuffer = (size: number): Buffer => {
  const spare = spares.pop()
  if (spare !== undefined) return spare
  if (kept === maxSpares) return Buffer.allocUnsafeSlow(size)
  kept += 1
  return Buffer.allocUnsafeSlow(bufferBytes)
}

const giveBack = (buffer: Buffer): void => {
  if (buffer.length === bufferBytes && spares.length < kept) spares.push(buffer)
}

/** An image to be written. `extension` is asked for once its first buffer has passed. */
export interface Image<A, E, R, E2, E3> {
  readonly fill: Fill<E, R>
  readonly check: Check<A, E2>
  /** How many bytes it may have. */
  readonly maxBytes: number
  /** How many of them, at the most, need not be waited for: all or none. */
  readonly bytesAtHand: number
  readonly extension: () => string
  readonly options: tempFile.Options | undefined
  readonly spool: tempFile.Files<E3>
}

/**
 * Writes the image to a new file that is removed when the scope closes; nothing is created for what is refused in its
 * first buffer.
 */
export const write = <A, E, R, E2, E3>(image: Image<A, E, R, E2, E3>): Effect.Effect<
  { readonly path: string; readonly value: A },
  E | E2 | E3 | PlatformError,
  R | FileSystem.FileSystem | Path.Path | Scope.Scope
> =>
  Effect.suspend(() => {
    const size = bufferSize(image.maxBytes)
    const buffers: Array<Buffer> = []
    return Effect.ensuring(
      writeWith(image, (at) => buffers[at] ??= takeBuffer(size)),
      Effect.sync(() => buffers.forEach(giveBack))
    )
  })

const writeWith = <A, E, R, E2, E3>(
  { bytesAtHand, check, extension, fill, options, spool }: Image<A, E, R, E2, E3>,
  bufferAt: (index: 0 | 1) => Buffer
) =>
  Effect.gen(function*() {
    let ended = false
    const fillAndCheck = (index: 0 | 1) =>
      Effect.gen(function*() {
        if (bytesAtHand > 0) yield* turnFor(Math.min(bufferBytes, bytesAtHand))
        const target = bufferAt(index)
        let at = 0
        while (target.length - at >= minRoom) {
          const filled = yield* fill(at === 0 ? target : target.subarray(at))
          if (filled === 0) {
            ended = true
            break
          }
          const error = check.push(target.subarray(at, at + filled))
          if (error !== undefined) return yield* Effect.fail(error)
          at += filled
        }
        return target.subarray(0, at)
      })

    let bytes = yield* fillAndCheck(0)
    if (ended) {
      const value = yield* check.end()
      return { path: yield* tempFile.createWhole({ extension: extension(), options, spool }, bytes), value }
    }
    return yield* tempFile.create({ extension: extension(), options, spool }, (write) =>
      Effect.gen(function*() {
        let spare: 0 | 1 = 1
        while (!ended) {
          const writing = yield* Effect.fork(write(bytes))
          // Gives way to the write, which then runs in the system while the next buffer is filled.
          yield* Effect.yieldNow()
          const filled = yield* Effect.ensuring(Effect.exit(fillAndCheck(spare)), Fiber.await(writing))
          yield* yield* Fiber.await(writing)
          bytes = yield* filled
          spare = spare === 0 ? 1 : 0
        }
        if (bytes.length > 0) yield* write(bytes)
        return yield* check.end()
      }))
  })
