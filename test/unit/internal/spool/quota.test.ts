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
  it.scoped("fails with Busy above the limit of bytes, and counts no refused file", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ bytes: 100 })
      yield* quota.count(write(directory, 60), 60)
      assert.isTrue(isBusy(yield* Effect.either(quota.check(41))))
      assert.isTrue(isBusy(yield* Effect.either(quota.count(write(directory, 41), 41))))
      assert.deepInclude(yield* figures, { bytes: 60, files: 1 })
      yield* quota.check(40)
      yield* quota.count(write(directory, 40), 40)
      assert.deepInclude(yield* figures, { bytes: 100, files: 2 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("fails with Busy above the limit of files", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ files: 2 })
      yield* quota.count(write(directory, 1), 1)
      yield* quota.check(1)
      yield* quota.count(write(directory, 1), 1)
      assert.isTrue(isBusy(yield* Effect.either(quota.check(1))))
      assert.isTrue(isBusy(yield* Effect.either(quota.count(write(directory, 1), 1))))
      assert.deepInclude(yield* figures, { bytes: 2, files: 2 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("counts as many concurrent files as fit, and refuses the others", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ bytes: 70 })
      const results = yield* Effect.forEach(
        Array.from({ length: 50 }, () => write(directory, 10)),
        (path) => Effect.either(quota.count(path, 10)),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(results.filter(Either.isRight), 7)
      assert.deepInclude(yield* figures, { bytes: 70, files: 7 })
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("counts a file until it is forgotten", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ files: 1 })
      const path = write(directory, 5)
      yield* quota.count(path, 5)
      yield* quota.refresh
      assert.deepInclude(yield* figures, { bytes: 5, files: 1 })
      rmSync(path)
      yield* quota.forget(path)
      yield* isIdle
      yield* quota.forget(path)
      yield* quota.forget(join(directory, imageName()))
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("has the bytes of a forgotten file again", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ bytes: 100 })
      const path = write(directory, 100)
      yield* quota.count(path, 100)
      yield* quota.forget(path)
      yield* quota.check(100)
      assert.isTrue(isBusy(yield* Effect.either(quota.check(101))))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("takes any file and counts none without limits", () =>
    Effect.gen(function*() {
      const { check, count, forget, refresh } = spoolQuota.unlimited
      yield* check(Infinity)
      yield* count("a", Infinity)
      yield* isIdle
      yield* refresh
      yield* forget("a")
    }))

  it.scoped("lists no directory while it counts no file", () => {
    let listings = 0
    return Effect.gen(function*() {
      const quota = yield* makeQuota({ files: 0 })
      assert.isTrue(isBusy(yield* Effect.either(quota.check(1))))
      yield* quota.refresh
      assert.strictEqual(listings, 0)
    }).pipe(Effect.provide(layerWith((fs) => ({
      readDirectory: (path, options) => Effect.suspend(() => (listings++, fs.readDirectory(path, options)))
    }))))
  })

  it.scoped("forgets files that were removed or moved before it fails with Busy", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const elsewhere = yield* makeDirectory
      const quota = yield* makeQuota({ files: 3 })
      const files = [write(directory, 1), write(directory, 2), write(elsewhere, 4)] as const
      for (const [index, file] of files.entries()) yield* quota.count(file, 2 ** index)
      rmSync(files[0])
      renameSync(files[1], join(elsewhere, imageName()))
      yield* quota.check(8)
      assert.deepInclude(yield* figures, { bytes: 4, files: 1 })
      rmSync(elsewhere, { recursive: true })
      yield* quota.refresh
      yield* isIdle
      // The end of the test removes it.
      yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeDirectory(elsewhere))
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scoped("lists a directory at most twice for many concurrent refusals", () => {
    let listings = 0
    return Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ bytes: 1 })
      yield* quota.count(write(directory, 1), 1)
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

  it.scoped("still counts the files of a directory that cannot be listed", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const quota = yield* makeQuota({ files: 1 })
      const path = write(directory, 5)
      yield* quota.count(path, 5)
      rmSync(path)
      assert.isTrue(isBusy(yield* Effect.either(quota.check(1))))
      assert.deepInclude(yield* figures, { bytes: 5, files: 1 })
    }).pipe(Effect.provide(layerWith(() => ({ readDirectory: () => diskError("readDirectory", "EIO") })))))

  it.scoped("forgets all files when its scope closes, and counts none after that", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const { end, value: quota } = yield* openScoped(makeQuota({ files: 2 }))
      yield* quota.count(write(directory, 5), 5)
      yield* quota.count(write(directory, 5), 5)
      yield* end
      yield* isIdle
      yield* quota.count(write(directory, 5), 5)
      yield* isIdle
    }).pipe(Effect.provide(NodeContext.layer)))
})
