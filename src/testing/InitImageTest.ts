/**
 * A file system in memory for tests, which reports the files left and removed, and fails at chosen operations.
 *
 * @since 0.1.0
 * @module
 */
import * as Error from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { tmpdir } from "node:os"
import * as memory from "./internal/memoryFileSystem.js"

/**
 * The state of the file system in memory.
 *
 * @since 0.1.0
 * @category models
 */
export interface InitImageTestService {
  /** The files that exist, by their absolute path. */
  readonly left: Effect.Effect<ReadonlyMap<string, Uint8Array>>
  /** The paths of the files that were removed, in order. */
  readonly removed: Effect.Effect<ReadonlyArray<string>>
  /** The methods that were called, in order: those of `FileSystem` and, on an open file, of `FileSystem.File`. */
  readonly operations: Effect.Effect<ReadonlyArray<string>>
}

/**
 * The state of the file system in memory.
 *
 * @since 0.1.0
 * @category tags
 */
export class InitImageTest
  extends Context.Tag("session-init-image/testing/InitImageTest")<InitImageTest, InitImageTestService>()
{}

/**
 * The files that exist, by their absolute path.
 *
 * @since 0.1.0
 * @category accessors
 */
export const left: Effect.Effect<ReadonlyMap<string, Uint8Array>, never, InitImageTest> = Effect.flatMap(
  InitImageTest,
  (test) => test.left
)

/**
 * The paths of the files that were removed, in order.
 *
 * @since 0.1.0
 * @category accessors
 */
export const removed: Effect.Effect<ReadonlyArray<string>, never, InitImageTest> = Effect.flatMap(
  InitImageTest,
  (test) => test.removed
)

/**
 * The methods that were called, in order: those of `FileSystem` and, on an open file, of `FileSystem.File`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const operations: Effect.Effect<ReadonlyArray<string>, never, InitImageTest> = Effect.flatMap(
  InitImageTest,
  (test) => test.operations
)

type Provided = InitImageTest | FileSystem.FileSystem | Path.Path

const makeLayer = (fail: (count: number, method: string) => PlatformError | undefined): Layer.Layer<Provided> =>
  Layer.effectContext(Effect.map(Path.Path, (paths) => {
    const methods: Array<string> = []
    const { fileSystem, files, removed } = memory.make(paths, [tmpdir()], (operation, run) =>
      Effect.suspend(() => {
        const error = fail(methods.push(operation.method) - 1, operation.method)
        return error === undefined ? run : Effect.fail(error)
      }))
    return Context.make(FileSystem.FileSystem, fileSystem).pipe(
      Context.add(Path.Path, paths),
      Context.add(InitImageTest, {
        left: Effect.sync(files),
        removed: Effect.sync(() => [...removed]),
        operations: Effect.sync(() => [...methods])
      })
    )
  })).pipe(Layer.provide(Path.layer))

/**
 * Provides a file system in memory, empty but for the folder for temporary files, and no other service: the library then
 * persists every image in it, and touches no disk. Each build of the layer has files of its own.
 *
 * Has files and directories, with the modes that are given, but enforces no permissions; links and `watch` are defects.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { assert, it } from "@effect/vitest"
 * import { FileSystem } from "@effect/platform"
 * import { Effect, Option } from "effect"
 * import { SessionInitImage } from "session-init-image"
 * import { InitImageTest, TestImages } from "session-init-image/testing"
 *
 * // The server's own code: its use of a session's image.
 * const openSession = (payload: unknown) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const fs = yield* FileSystem.FileSystem
 *     const image = yield* SessionInitImage.persistScoped(payload)
 *     return Option.isSome(image) ? (yield* fs.readFile(image.value.path)).length : 0
 *   }))
 *
 * it.effect("a session reads its image, and leaves no file", () =>
 *   Effect.gen(function*() {
 *     const picture = TestImages.png({ width: 640, height: 480 })
 *     assert.strictEqual(yield* openSession(picture.payload), picture.bytes.length)
 *     const error = yield* Effect.flip(openSession(TestImages.refused.truncated.payload))
 *     assert.strictEqual(error._tag, "MalformedImage")
 *     assert.strictEqual((yield* InitImageTest.left).size, 0)
 *     assert.lengthOf(yield* InitImageTest.removed, 1)
 *   }).pipe(Effect.provide(InitImageTest.layer)))
 * ```
 */
export const layer: Layer.Layer<InitImageTest | FileSystem.FileSystem | Path.Path> = makeLayer(() => undefined)

/**
 * The operation that fails.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailingOptions {
  /** The number of operations that succeed before it. */
  readonly after: number
}

/**
 * {@link layer} in which one operation fails and does nothing, as on a full disk: with a `SystemError` of the reason
 * `Unknown` and the errno code `ENOSPC`. The operations after it succeed, so files can be removed.
 *
 * {@link operations} tells how many operations there are: a test that tries each number up to that has seen every failure.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { assert, it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { SessionInitImage } from "session-init-image"
 * import { InitImageTest, TestImages } from "session-init-image/testing"
 *
 * it.effect("no failure of the disk leaves a file", () =>
 *   Effect.gen(function*() {
 *     for (let after = 0, isReached = true; isReached; after++) {
 *       isReached = yield* Effect.gen(function*() {
 *         yield* Effect.exit(Effect.scoped(SessionInitImage.persistScoped(TestImages.png().payload)))
 *         assert.strictEqual((yield* InitImageTest.left).size, 0)
 *         return (yield* InitImageTest.operations).length > after
 *       }).pipe(Effect.provide(InitImageTest.layerFailing({ after })))
 *     }
 *   }))
 * ```
 */
export const layerFailing = (
  { after }: FailingOptions
): Layer.Layer<InitImageTest | FileSystem.FileSystem | Path.Path> =>
  makeLayer((count, method) =>
    count === after
      ? new Error.SystemError({
        module: "FileSystem",
        method,
        reason: "Unknown",
        syscall: method,
        description: "ENOSPC: no space left on device",
        cause: Object.assign(new globalThis.Error("ENOSPC: no space left on device"), { code: "ENOSPC" })
      })
      : undefined
  )
