import * as NodeContext from "@effect/platform-node/NodeContext"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { InitImageSlot, SessionInitImage } from "../../src/index.js"
import { list, openIn } from "../utils/directory.js"
import { atNth } from "../utils/hookedFileSystem.js"
import { pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { makeTmpfs, refusal, remount, unmountLazily } from "../utils/tmpfs.js"
import { eventually } from "../utils/webSocketClient.js"
import { assertDiskError, assertNothingIn, layerChanged, logging, scopedWays, ways } from "./disks.js"

/** Images of several writes; the second write of the large image exceeds a disk of 2 MiB. */
const large = pngOfSize(5_000_000)
const small = pngOfSize(1_900_000)
const size = "size=2m"
const capacity = 2 * 1024 * 1024

type Services = FileSystem.FileSystem | Path.Path | Scope.Scope

const leftOut: Array<string> = []

/** Groups tests that mount a file system; without the right to mount, the last test reports them. */
const disk = (name: string, tests: () => void) => {
  if (refusal === undefined) describe(name, tests)
  else tests()
}

const onTmpfs = (name: string, test: () => Effect.Effect<void, unknown, Services>) => {
  if (refusal === undefined) it.scopedLive(name, () => Effect.provide(test(), NodeContext.layer))
  else leftOut.push(name)
}

const onTmpfsEach = <A>(
  cases: ReadonlyArray<readonly [string, A]>,
  name: (way: string) => string,
  test: (way: A) => Effect.Effect<void, unknown, Services>
) => {
  for (const [way, value] of cases) onTmpfs(name(way), () => test(value))
}

/** A scope that closes after the assertions. */
const openScope = Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))

const allWays = Object.entries(ways)

disk("a disk that is full", () => {
  onTmpfsEach(
    allWays,
    (way) => `is ENOSPC for ${way}, which removes its file, and a smaller image then fits`,
    (persist) =>
      Effect.gen(function*() {
        const directory = yield* makeTmpfs(size)
        const scope = yield* openScope
        let fullest = 0
        const change = atNth("remove", 1, (run) =>
          Effect.suspend(() => {
            for (const name of list(directory)) fullest = statSync(join(directory, name)).size
            return run
          }))
        const error = yield* persist(directory, large).pipe(
          Scope.extend(scope),
          Effect.flip,
          Effect.provide(layerChanged(change))
        )
        assertDiskError(error, ["writeAll"], "ENOSPC", directory)
        assert.strictEqual(fullest, capacity, "a write was cut short by the end of the disk before the next one failed")
        assertNothingIn(directory)

        const path = yield* Scope.extend(persist(directory, small), scope)
        assert.isTrue(readFileSync(path).equals(small))
        assert.deepStrictEqual(openIn(directory), [])
      })
  )

  onTmpfsEach(
    allWays,
    (way) => `is ENOSPC for ${way} without a free inode`,
    (persist) =>
      Effect.gen(function*() {
        const directory = yield* makeTmpfs(`${size},nr_inodes=2`)
        const scope = yield* openScope
        writeFileSync(join(directory, "last"), "")
        const error = yield* Effect.flip(Scope.extend(persist(directory, small), scope))
        assertDiskError(error, ["open"], "ENOSPC", directory)
        assert.deepStrictEqual(list(directory), ["last"])
        rmSync(join(directory, "last"))
        const path = yield* Scope.extend(persist(directory, small), scope)
        assert.isTrue(readFileSync(path).equals(small))
      })
  )

  onTmpfs(
    "stores the concurrent images that fit, and no part of the others",
    () =>
      Effect.gen(function*() {
        const directory = yield* makeTmpfs(size)
        const image = pngOfSize(700_000)
        const persist = (count: number) =>
          Effect.forEach(
            Array.from({ length: count }, (_, i) => allWays[i % allWays.length] ?? assert.fail()),
            ([, persist]) => Effect.either(Effect.scoped(Effect.zipRight(persist(directory, image), Effect.sleep(5)))),
            { concurrency: "unbounded" }
          )
        const ended = yield* persist(24)
        for (const either of ended) {
          // An image is written in one call, or in several while the buffers are short.
          if (either._tag === "Left") assertDiskError(either.left, ["writeFile", "writeAll"], "ENOSPC", directory)
        }
        assert.isTrue(ended.some(({ _tag }) => _tag === "Left"), "some do not fit")
        assert.deepStrictEqual(openIn(directory), [])
        for (const name of list(directory)) {
          assert.isTrue(readFileSync(join(directory, name)).equals(image))
          rmSync(join(directory, name))
        }
        // The space of the failed images is free again.
        writeFileSync(join(directory, "all"), new Uint8Array(capacity))
      })
  )

  onTmpfs("keeps a slot's image and its leases", () =>
    Effect.gen(function*() {
      const directory = yield* makeTmpfs(size)
      const slot = yield* InitImageSlot.make
      const set = (png: Uint8Array) => slot.setWith(Effect.asSome(persistScoped(directory, png)))
      const persistScoped = (directory: string, png: Uint8Array) =>
        SessionInitImage.persistScoped(payloadOf("image/png", png), { directory }).pipe(Effect.map(Option.getOrThrow))
      yield* set(small)
      const leased = Option.getOrThrow(yield* slot.lease)
      assertDiskError(yield* Effect.flip(set(large)), ["writeAll"], "ENOSPC", directory)
      assert.strictEqual(Option.getOrThrow(yield* slot.lease).path, leased.path)
      assert.isTrue(readFileSync(leased.path).equals(small))
      assert.lengthOf(list(directory), 1)
    }))
})

disk("a disk that is read-only", () => {
  onTmpfsEach(
    allWays,
    (way) => `is EROFS for ${way}, which creates no file`,
    (persist) =>
      Effect.gen(function*() {
        const directory = yield* makeTmpfs(size)
        const scope = yield* openScope
        const logged: Array<string> = []
        remount(directory, "ro")
        const error = yield* persist(directory, small).pipe(
          Scope.extend(scope),
          Effect.flip,
          Effect.provide(logging(logged))
        )
        assertDiskError(error, ["open"], "EROFS", directory)
        assert.deepStrictEqual(logged, [])
        remount(directory, "rw")
        assertNothingIn(directory)
        const path = yield* Scope.extend(persist(directory, small), scope)
        assert.isTrue(readFileSync(path).equals(small))
      })
  )

  onTmpfsEach(
    scopedWays,
    (way) => `delays the removal of the image of ${way}, and not the end of its scope`,
    (persist) =>
      Effect.gen(function*() {
        const directory = yield* makeTmpfs(size)
        const logged: Array<string> = []
        const scope = yield* Scope.make()
        const path = yield* Scope.extend(persist(directory, small), scope)
        remount(directory, "ro")
        const exit = yield* Effect.exit(Effect.provide(Scope.close(scope, Exit.void), logging(logged)))
        assert.isTrue(Exit.isSuccess(exit))
        assert.isTrue(existsSync(path))
        assert.deepStrictEqual(openIn(directory), [])
        remount(directory, "rw")
        yield* eventually(() => assert.isFalse(existsSync(path)))
        assert.deepStrictEqual(logged, [])
      })
  )

  onTmpfsEach(
    scopedWays.slice(0, 1),
    (way) => `prevents the removal of the image of ${way}: a warning is logged after some seconds`,
    (persist) =>
      Effect.gen(function*() {
        const directory = yield* makeTmpfs(size)
        const logged: Array<string> = []
        const scope = yield* Scope.make()
        const path = yield* Scope.extend(persist(directory, small), scope)
        remount(directory, "ro")
        yield* Effect.provide(Scope.close(scope, Exit.void), logging(logged))
        yield* eventually(() => assert.lengthOf(logged, 1))
        assert.include(logged[0], "could not be removed")
        assert.include(logged[0], "EROFS")
        assert.include(logged[0], "level=WARN")
        assert.include(logged[0], path, "the log names the file")
        assert.isTrue(existsSync(path))
      })
  )

  const faults = [["MalformedImage", large.subarray(0, -20), "size=8m"], ["SystemError", large, size]] as const
  for (const [tag, png, options] of faults) {
    onTmpfsEach(
      allWays,
      (way) => `does not hide the ${tag} of ${way} when the removal fails`,
      (persist) =>
        Effect.gen(function*() {
          const directory = yield* makeTmpfs(options)
          const scope = yield* openScope
          const logged: Array<string> = []
          const change = atNth("remove", 1, (run) => Effect.zipRight(Effect.sync(() => remount(directory, "ro")), run))
          const error = yield* persist(directory, png).pipe(
            Scope.extend(scope),
            Effect.flip,
            Effect.provide([layerChanged(change), logging(logged)])
          )
          assert.strictEqual(error._tag, tag)
          if (tag === "SystemError") assertDiskError(error, ["writeAll"], "ENOSPC", directory)
          assert.lengthOf(list(directory), 1)
          assert.deepStrictEqual(openIn(directory), [])
          remount(directory, "rw")
          yield* eventually(() => assertNothingIn(directory))
          assert.deepStrictEqual(logged, [])
        })
    )
  }
})

disk("a disk that disappears", () => {
  const removals = {
    "removed": (directory: string) => rmSync(directory, { recursive: true }),
    "unmounted": (directory: string) => unmountLazily(join(directory, ".."))
  }
  for (const [event, takeAway] of Object.entries(removals)) {
    const makeSub = Effect.map(makeTmpfs("size=16m"), (mounted) => {
      const directory = join(mounted, "images")
      mkdirSync(directory)
      return directory
    })

    onTmpfsEach(
      allWays,
      (way) => `fails ${way} with ENOENT when it is ${event} during a write`,
      (persist) =>
        Effect.gen(function*() {
          const directory = yield* makeSub
          const logged: Array<string> = []
          const change = atNth("writeAll", 2, (run) => Effect.zipRight(Effect.sync(() => takeAway(directory)), run))
          const error = yield* persist(directory, large).pipe(
            Effect.flip,
            Effect.scoped,
            Effect.provide([layerChanged(change), logging(logged)])
          )
          assertDiskError(error, ["access"], "ENOENT", directory)
          assert.deepStrictEqual(logged, [])
          assert.isFalse(existsSync(directory))
          assert.deepStrictEqual(openIn(directory), [])

          assertDiskError(yield* Effect.flip(persist(directory, small)), ["open"], "ENOENT", directory)
          mkdirSync(directory)
          assert.isTrue(readFileSync(yield* persist(directory, small)).equals(small))
        })
    )

    onTmpfsEach(
      scopedWays,
      (way) => `lets the scope of ${way} close when it is ${event} before`,
      (persist) =>
        Effect.gen(function*() {
          const directory = yield* makeSub
          const logged: Array<string> = []
          const scope = yield* Scope.make()
          yield* Scope.extend(persist(directory, small), scope)
          takeAway(directory)
          const exit = yield* Effect.exit(Effect.provide(Scope.close(scope, Exit.void), logging(logged)))
          assert.isTrue(Exit.isSuccess(exit))
          assert.deepStrictEqual(logged, [])
        })
    )
  }
})

describe("tests that mount a tmpfs", () => {
  it("are left out only without the right to mount, never in CI, and are named", () => {
    if (refusal === undefined) return assert.deepStrictEqual(leftOut, [])
    process.stdout.write(`LEFT OUT, because no tmpfs can be mounted (${refusal}):\n  ${leftOut.join("\n  ")}\n`)
    assert.isUndefined(process.env["CI"], "in CI every test runs")
    assert.match(refusal, /denied|not permitted|superuser|must be root|ENOENT/i)
  })
})
