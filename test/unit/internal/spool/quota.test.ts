import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as spoolQuota from "../../../../src/internal/spool/quota.js"
import { makeDirectory } from "../../../utils/directory.js"
import { diskError, figures, imageName, isIdle, layerWith, openScoped } from "../../../utils/spools.js"

const makeQuota = (limits: { readonly bytes?: number; readonly files?: number }) =>
  Effect.gen(function*() {
    return yield* spoolQuota.make(
      { bytes: limits.bytes ?? Infinity, files: limits.files ?? Infinity },
      yield* FileSystem.FileSystem,
      yield* Path.Path
    )
  })

const write = (directory: string, bytes: number): string => {
  const path = join(directory, imageName())
  writeFileSync(path, new Uint8Array(bytes))
  return path
}

const isBusy = (result: Either.Either<void, { readonly _tag: string; readonly retryAfter: number }>): boolean => {
  if (Either.isRight(result)) return false
  assert.deepInclude(result.left, { _tag: "Busy", retryAfter: 10 })
  return true
}

describe("the quota", () => {
  it.scoped("is Busy over the bytes, to the byte, and counts nothing that it refuses", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ bytes: 100 })
      yield* quota.keep(write(directory, 60), 60)
      assert.isTrue(isBusy(yield* Effect.either(quota.check(41))))
      assert.isTrue(isBusy(yield* Effect.either(quota.keep(write(directory, 41), 41))))
      assert.deepInclude(yield* figures, { bytes: 60, files: 1 })
      yield* quota.check(40)
      yield* quota.keep(write(directory, 40), 40)
      assert.deepInclude(yield* figures, { bytes: 100, files: 2 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("is Busy over the files", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ files: 2 })
      yield* quota.keep(write(directory, 1), 1)
      yield* quota.check(1)
      yield* quota.keep(write(directory, 1), 1)
      assert.isTrue(isBusy(yield* Effect.either(quota.check(1))))
      assert.isTrue(isBusy(yield* Effect.either(quota.keep(write(directory, 1), 1))))
      assert.deepInclude(yield* figures, { bytes: 2, files: 2 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("lets in exactly as many as fit, of any number at once", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ bytes: 70 })
      const results = yield* Effect.forEach(
        Array.from({ length: 50 }, () => write(directory, 10)),
        (path) => Effect.either(quota.keep(path, 10)),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(results.filter(Either.isRight), 7)
      assert.deepInclude(yield* figures, { bytes: 70, files: 7 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("counts a file until it is gone, and not longer", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ files: 1 })
      const path = write(directory, 5)
      yield* quota.keep(path, 5)
      yield* quota.refresh
      assert.deepInclude(yield* figures, { bytes: 5, files: 1 })
      rmSync(path)
      yield* quota.removed(path)
      yield* isIdle
      yield* quota.removed(path)
      yield* quota.removed(join(directory, imageName()))
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("sees that a file which was given away has been removed or taken elsewhere, before it is Busy", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const elsewhere = yield* makeDirectory
      const quota = yield* makeQuota({ files: 3 })
      const files = [write(directory, 1), write(directory, 2), write(elsewhere, 4)] as const
      for (const [index, file] of files.entries()) yield* quota.keep(file, 2 ** index)
      rmSync(files[0])
      renameSync(files[1], join(elsewhere, imageName()))
      yield* quota.check(8)
      assert.deepInclude(yield* figures, { bytes: 4, files: 1 })
      rmSync(elsewhere, { recursive: true })
      yield* quota.refresh
      yield* isIdle
      // For the end of the test, which removes it.
      yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeDirectory(elsewhere))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("lists a directory at most twice for any number that are refused at once", () => {
    let listings = 0
    return Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ bytes: 1 })
      yield* quota.keep(write(directory, 1), 1)
      const results = yield* Effect.forEach(
        Array.from({ length: 100 }),
        () => Effect.either(quota.check(1)),
        { concurrency: "unbounded" }
      )
      assert.isTrue(results.every(isBusy))
      assert.isAtLeast(listings, 1)
      assert.isAtMost(listings, 2)
    }).pipe(Effect.provide(layerWith((fs) => ({
      readDirectory: (path, options) => Effect.suspend(() => (listings++, fs.readDirectory(path, options)))
    }))))
  })

  it.scoped("goes on counting what it cannot look at", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ files: 1 })
      const path = write(directory, 5)
      yield* quota.keep(path, 5)
      rmSync(path)
      assert.isTrue(isBusy(yield* Effect.either(quota.check(1))))
      assert.deepInclude(yield* figures, { bytes: 5, files: 1 })
    }).pipe(Effect.provide(layerWith(() => ({ readDirectory: () => diskError("readDirectory", "EIO") })))))

  it.scoped("ends at nothing with its scope, and counts nothing after", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { end, value: quota } = yield* openScoped(makeQuota({ files: 2 }))
      yield* quota.keep(write(directory, 5), 5)
      yield* quota.keep(write(directory, 5), 5)
      yield* end
      yield* isIdle
      yield* quota.keep(write(directory, 5), 5)
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))
})
