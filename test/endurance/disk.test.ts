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
import { pngOfSize } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"
import { assertDiskError, assertNothingIn, atNth, layerChanged, logging, scopedWays, ways } from "./disks.js"
import { makeTmpfs, refusal, remount, unmountLazily } from "./tmpfs.js"

/** Several writes each, the second of which meets the end of a disk of 2 MiB. */
const large = pngOfSize(5_000_000)
const small = pngOfSize(1_900_000)
const size = "size=2m"
const capacity = 2 * 1024 * 1024

type Services = FileSystem.FileSystem | Path.Path | Scope.Scope

const leftOut: Array<string> = []

/** Tests that need a file system of their own; where there can be none, they are said to be left out. */
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

/** Runs in a scope of its own that ends only after the checks. */
const openScope = Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))

const allWays = Object.entries(ways)

disk("a disk that is full", () => {
  onTmpfsEach(
    allWays,
    (way) => `is ENOSPC for ${way}, which leaves it empty, and a smaller image then fits`,
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
          Effect.provide(layerChanged({ change }))
        )
        assertDiskError(error, "writeAll", "ENOSPC", directory)
        assert.strictEqual(fullest, capacity, "a write was cut short by the end of the disk before the next one failed")
        assertNothingIn(directory)

        const path = yield* Scope.extend(persist(directory, small), scope)
        assert.isTrue(readFileSync(path).equals(small))
        assert.deepStrictEqual(openIn(directory), [])
      })
  )

  onTmpfsEach(
    allWays,
    (way) => `is ENOSPC for ${way} as soon as it has no inode left`,
    (persist) =>
      Effect.gen(function*() {
        const directory = yield* makeTmpfs(`${size},nr_inodes=2`)
        const scope = yield* openScope
        writeFileSync(join(directory, "last"), "")
        const error = yield* Effect.flip(Scope.extend(persist(directory, small), scope))
        assertDiskError(error, "open", "ENOSPC", directory)
        assert.deepStrictEqual(list(directory), ["last"])
        rmSync(join(directory, "last"))
        const path = yield* Scope.extend(persist(directory, small), scope)
        assert.isTrue(readFileSync(path).equals(small))
      })
  )

  onTmpfs(
    "takes of many images at once those that fit, and of the others nothing is left",
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
          if (either._tag === "Left") assertDiskError(either.left, "writeFile", "ENOSPC", directory)
        }
        assert.isTrue(ended.some(({ _tag }) => _tag === "Left"), "they do not all fit")
        assert.deepStrictEqual(openIn(directory), [])
        for (const name of list(directory)) {
          assert.isTrue(readFileSync(join(directory, name)).equals(image))
          rmSync(join(directory, name))
        }
        // All that the others took is free again.
        writeFileSync(join(directory, "all"), new Uint8Array(capacity))
      })
  )

  onTmpfs("leaves a slot's image and its leases as they were", () =>
    Effect.gen(function*() {
      const directory = yield* makeTmpfs(size)
      const slot = yield* InitImageSlot.make
      const set = (png: Uint8Array) => slot.setWith(Effect.asSome(persistScoped(directory, png)))
      const persistScoped = (directory: string, png: Uint8Array) =>
        SessionInitImage.persistScoped(payloadOf("image/png", png), { directory }).pipe(Effect.map(Option.getOrThrow))
      yield* set(small)
      const leased = Option.getOrThrow(yield* slot.lease)
      assertDiskError(yield* Effect.flip(set(large)), "writeAll", "ENOSPC", directory)
      assert.strictEqual(Option.getOrThrow(yield* slot.lease).path, leased.path)
      assert.isTrue(readFileSync(leased.path).equals(small))
      assert.lengthOf(list(directory), 1)
    }))
})

disk("a disk that is read-only", () => {
  onTmpfsEach(
    allWays,
    (way) => `is EROFS for ${way}, which has nothing to clean up`,
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
        assertDiskError(error, "open", "EROFS", directory)
        assert.deepStrictEqual(logged, [])
        remount(directory, "rw")
        assertNothingIn(directory)
        const path = yield* Scope.extend(persist(directory, small), scope)
        assert.isTrue(readFileSync(path).equals(small))
      })
  )

  onTmpfsEach(
    scopedWays,
    (way) => `keeps the image of ${way} from being removed: the scope ends, and a log says so`,
    (persist) =>
      Effect.gen(function*() {
        const directory = yield* makeTmpfs(size)
        const logged: Array<string> = []
        const scope = yield* Scope.make()
        const path = yield* Scope.extend(persist(directory, small), scope)
        remount(directory, "ro")
        const exit = yield* Effect.exit(Effect.provide(Scope.close(scope, Exit.void), logging(logged)))
        assert.isTrue(Exit.isSuccess(exit))
        assert.lengthOf(logged, 1)
        assert.include(logged[0], "could not be removed")
        assert.include(logged[0], "EROFS")
        assert.include(logged[0], "level=WARN")
        assert.include(logged[0], path, "the operator learns which file it is")
        assert.isTrue(existsSync(path))
        assert.deepStrictEqual(openIn(directory), [])
      })
  )

  const faults = [["MalformedImage", large.subarray(0, -20), "size=8m"], ["SystemError", large, size]] as const
  for (const [tag, png, options] of faults) {
    onTmpfsEach(
      allWays,
      (way) => `does not hide the ${tag} that ${way} fails with when its removal fails`,
      (persist) =>
        Effect.gen(function*() {
          const directory = yield* makeTmpfs(options)
          const scope = yield* openScope
          const logged: Array<string> = []
          const change = atNth("remove", 1, (run) => Effect.zipRight(Effect.sync(() => remount(directory, "ro")), run))
          const error = yield* persist(directory, png).pipe(
            Scope.extend(scope),
            Effect.flip,
            Effect.provide([layerChanged({ change }), logging(logged)])
          )
          assert.strictEqual(error._tag, tag)
          if (tag === "SystemError") assertDiskError(error, "writeAll", "ENOSPC", directory)
          assert.lengthOf(logged, 1)
          assert.include(logged[0], "EROFS")
          const [left, ...others] = list(directory)
          assert.deepStrictEqual(others, [])
          assert.include(logged[0], join(directory, left ?? "nothing"), "the operator learns which file it is")
          assert.deepStrictEqual(openIn(directory), [])
        })
    )
  }
})

disk("a disk that is taken away", () => {
  const removals = {
    "removed": (directory: string) => rmSync(directory, { recursive: true }),
    "unmounted": (directory: string) => unmountLazily(join(directory, ".."))
  }
  for (const [what, takeAway] of Object.entries(removals)) {
    const makeSub = Effect.map(makeTmpfs("size=16m"), (mounted) => {
      const directory = join(mounted, "images")
      mkdirSync(directory)
      return directory
    })

    onTmpfsEach(
      allWays,
      (way) => `fails ${way} with ENOENT when it is ${what} while that writes`,
      (persist) =>
        Effect.gen(function*() {
          const directory = yield* makeSub
          const logged: Array<string> = []
          const change = atNth("writeAll", 2, (run) => Effect.zipRight(Effect.sync(() => takeAway(directory)), run))
          const error = yield* persist(directory, large).pipe(
            Effect.flip,
            Effect.scoped,
            Effect.provide([layerChanged({ change }), logging(logged)])
          )
          assertDiskError(error, "access", "ENOENT", directory)
          assert.deepStrictEqual(logged, [])
          assert.isFalse(existsSync(directory))
          assert.deepStrictEqual(openIn(directory), [])

          assertDiskError(yield* Effect.flip(persist(directory, small)), "open", "ENOENT", directory)
          mkdirSync(directory)
          assert.isTrue(readFileSync(yield* persist(directory, small)).equals(small))
        })
    )

    onTmpfsEach(
      scopedWays,
      (way) => `lets the scope of ${way} end as ever when it is ${what} before`,
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

describe("disks of their own", () => {
  it("are left out only where none may be mounted, and then this says so", () => {
    if (refusal === undefined) return assert.deepStrictEqual(leftOut, [])
    process.stdout.write(`LEFT OUT, for no tmpfs can be mounted here (${refusal}):\n  ${leftOut.join("\n  ")}\n`)
    assert.match(refusal, /denied|not permitted|superuser|must be root|ENOENT/i)
  })
})
