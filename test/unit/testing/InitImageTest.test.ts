import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { InitImageSlot, InitImageSpool, SessionInitImage } from "../../../src/index.js"
import { InitImageTest, TestImages } from "../../../src/testing/index.js"
import { list, makeDirectory } from "../../utils/directory.js"

const picture = TestImages.jpeg({ width: 30, height: 20, orientation: 6 })

describe("the layer", () => {
  it.effect("has an image as long as its scope, and tells what is left and what was removed", () =>
    Effect.gen(function*() {
      const file = yield* Effect.scoped(Effect.gen(function*() {
        const image = Option.getOrThrow(yield* SessionInitImage.persistScoped(picture.payload))
        assert.deepStrictEqual(yield* InitImageTest.left, new Map([[image.path, picture.bytes]]))
        assert.strictEqual(path.dirname(image.path), tmpdir())
        return image.path
      }))
      assert.deepStrictEqual(yield* InitImageTest.left, new Map())
      assert.deepStrictEqual(yield* InitImageTest.removed, [file])
      assert.deepStrictEqual(yield* InitImageTest.operations, ["writeFile", "remove"])
    }).pipe(Effect.provide(InitImageTest.layer)))

  it.effect("writes no file to the disk", () =>
    Effect.gen(function*() {
      const image = Option.getOrThrow(yield* SessionInitImage.persist(picture.payload))
      assert.notInclude(list(tmpdir()), path.basename(image.path))
    }).pipe(Effect.provide(InitImageTest.layer)))

  it.effect("has files of its own in each build", () =>
    Effect.gen(function*() {
      yield* Effect.provide(SessionInitImage.persist(picture.payload), InitImageTest.layer)
      assert.strictEqual((yield* Effect.provide(InitImageTest.left, InitImageTest.layer)).size, 0)
    }))

  it.effect("keeps a slot's images, in a spool with a quota", () =>
    Effect.gen(function*() {
      const { bytes, payload } = picture
      yield* Effect.scoped(Effect.gen(function*() {
        const slot = yield* InitImageSlot.make
        yield* slot.set(payload)
        assert.strictEqual((yield* Effect.flip(SessionInitImage.persist(payload)))._tag, "Busy")
        const images = [...(yield* InitImageTest.left)].filter(([path]) => path.endsWith(".jpg"))
        assert.deepStrictEqual(images.map(([, image]) => image), [bytes])
      })).pipe(Effect.provide(InitImageSpool.layer({ maxBytesKept: bytes.length })))
      assert.strictEqual((yield* InitImageTest.left).size, 0)
    }).pipe(Effect.provide(InitImageTest.layer)))
})

describe("the failing layer", () => {
  const attempt = <A, E>(
    effect: Effect.Effect<A, E, FileSystem.FileSystem | Path.Path>,
    after: number
  ) =>
    Effect.gen(function*() {
      const result = yield* Effect.either(effect)
      return { result, left: yield* InitImageTest.left, operations: yield* InitImageTest.operations }
    }).pipe(Effect.provide(InitImageTest.layerFailing({ after })))

  const persist = Effect.scoped(
    Effect.asVoid(SessionInitImage.persistScoped(TestImages.png({ bytes: 4_000_000 }).payload))
  )

  it.effect("fails one operation, with the code of a full disk", () =>
    Effect.gen(function*() {
      const { left, operations, result } = yield* attempt(persist, 0)
      assert.include(JSON.stringify(Either.getLeft(result)), "ENOSPC")
      assert.strictEqual(left.size, 0)
      assert.isAbove(operations.length, 0)
    }))

  it.effect("leaves no file, whichever operation fails", () =>
    Effect.gen(function*() {
      const all = yield* attempt(persist, Infinity)
      assert.isTrue(Either.isRight(all.result))
      assert.includeMembers([...all.operations], ["open", "writeAll", "access", "remove"])
      for (let after = 0; after < all.operations.length; after++) {
        const { left, operations, result } = yield* attempt(persist, after)
        assert.strictEqual(left.size, 0, operations.join())
        // A removal that fails is tried again.
        assert.strictEqual(Either.isLeft(result), all.operations[after] !== "remove")
      }
    }))
})

/** Operations of a server on files in a directory; the answers are those of the real file system. */
const scenarios: Record<
  string,
  (directory: string) => Effect.Effect<unknown, unknown, FileSystem.FileSystem | Path.Path>
> = {
  "reads and writes": (directory) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = path.join(directory, "a.png")
      yield* fs.writeFileString(file, "hello")
      yield* fs.writeFileString(file, " you", { flag: "a" })
      yield* fs.truncate(file, 8)
      const { mode, size, type } = yield* fs.stat(file)
      yield* fs.chmod(file, 0o640)
      return [
        yield* fs.readFileString(file),
        yield* fs.exists(file),
        Number(size),
        type,
        mode & 0o600,
        (yield* fs.stat(file)).mode & 0o777,
        Buffer.concat(Array.from(yield* Stream.runCollect(fs.stream(file, { chunkSize: 3 })))).toString()
      ]
    }),
  "reads and writes by descriptor": (directory) =>
    Effect.scoped(Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = yield* fs.open(path.join(directory, "a"), { flag: "w+" })
      yield* file.writeAll(Buffer.from("0123456789"))
      yield* file.seek(2, "start")
      const buffer = new Uint8Array(3)
      const read = yield* file.read(buffer)
      yield* file.seek(1, "current")
      const rest = yield* file.readAlloc(100)
      const end = yield* file.readAlloc(100)
      const other = yield* fs.open(path.join(directory, "a"), { flag: "r+" })
      const written = yield* other.write(Buffer.from("ab"))
      yield* other.truncate(4)
      const text = yield* fs.readFileString(path.join(directory, "a"))
      return [
        Number(read),
        [...buffer],
        Option.map(rest, (all) => [...all]),
        Option.isNone(end),
        Number(written),
        text
      ]
    })),
  "moves, copies and removes": (directory) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const of = (...names: ReadonlyArray<string>) => path.join(directory, ...names)
      yield* fs.makeDirectory(of("a", "b"), { recursive: true })
      yield* fs.writeFileString(of("a", "b", "c"), "c")
      yield* fs.rename(of("a"), of("d"))
      yield* fs.copyFile(of("d", "b", "c"), of("e"))
      const before = (yield* fs.readDirectory(directory, { recursive: true })).toSorted()
      yield* fs.remove(of("d"), { recursive: true })
      yield* fs.remove(of("none"), { force: true })
      return [before, yield* fs.readDirectory(directory), yield* fs.readFileString(of("e"))]
    }),
  "makes temporary files": (directory) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = yield* fs.makeTempFile({ directory })
      const scoped = yield* Effect.scoped(
        Effect.tap(
          fs.makeTempDirectoryScoped({ directory, prefix: "x" }),
          (made) => fs.writeFileString(`${made}/a`, "")
        )
      )
      return [yield* fs.exists(file), yield* fs.exists(scoped), path.basename(scoped).startsWith("x")]
    }),
  "fails": (directory) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const of = (...names: ReadonlyArray<string>) => path.join(directory, ...names)
      yield* fs.writeFileString(of("file"), "")
      yield* fs.makeDirectory(of("folder"))
      const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        fs.readFile(of("none")),
        fs.readFile(of("folder")),
        fs.open(of("none")).pipe(Effect.scoped),
        fs.writeFile(of("none", "a"), new Uint8Array()),
        fs.writeFile(of("file"), new Uint8Array(), { flag: "wx" }),
        fs.makeDirectory(of("folder")),
        fs.makeDirectory(of("none", "a")),
        fs.remove(of("none")),
        fs.remove(of("folder")),
        fs.readDirectory(of("none")),
        fs.readDirectory(of("file")),
        fs.readLink(of("file")),
        fs.rename(of("none"), of("a")),
        fs.stat(of("none")),
        fs.access(of("none")),
        fs.realPath(of("none")),
        fs.utimes(of("none"), 1, 1),
        fs.truncate(of("none"))
      ]
      return yield* Effect.forEach(attempts, (attempt) =>
        Effect.match(attempt, {
          onSuccess: () => "succeeds",
          onFailure: (error) => error instanceof Object && "reason" in error ? error.reason : error
        }))
    })
}

describe("the file system in memory", () => {
  it.scopedLive.each(Object.keys(scenarios))("%s as the real one does", (name) =>
    Effect.gen(function*() {
      const scenario = scenarios[name]
      assert(scenario !== undefined)
      const real = yield* Effect.provide(Effect.flatMap(makeDirectory, scenario), NodeContext.layer)
      const inMemory = yield* Effect.provide(scenario(tmpdir()), InitImageTest.layer)
      assert.deepStrictEqual(inMemory, real)
    }))

  it.effect("fails on a descriptor that is closed", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = yield* Effect.scoped(fs.open(path.join(tmpdir(), "a"), { flag: "w" }))
      assert.strictEqual((yield* Effect.flip(file.writeAll(Uint8Array.of(1))))._tag, "SystemError")
    }).pipe(Effect.provide(InitImageTest.layer)))

  it.effect("gives and takes copies of the bytes", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = path.join(tmpdir(), "a")
      const bytes = Uint8Array.of(1, 2)
      yield* fs.writeFile(file, bytes)
      bytes.fill(9)
      ;(yield* fs.readFile(file)).fill(9)
      assert.deepStrictEqual([...(yield* fs.readFile(file))], [1, 2])
    }).pipe(Effect.provide(Layer.fresh(InitImageTest.layer))))
})
