import * as NodeContext from "@effect/platform-node/NodeContext"
import { SystemError } from "@effect/platform/Error"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import { readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import * as InitImageSpool from "../../src/InitImageSpool.js"
import * as InitImageStore from "../../src/InitImageStore.js"
import type { SessionInitImage } from "../../src/SessionInitImage.js"
import { list, makeDirectory } from "../utils/directory.js"
import { atNth, type FaultHook, layerHooked } from "../utils/hookedFileSystem.js"
import { atEachStep, interruptAt } from "../utils/interruptions.js"
import { bytesOf, makeImage } from "../utils/stored.js"

const { ImageReference } = InitImageStore

/** Runs a test with a store in a directory, both of which are gone in the end. */
const withStore = <E, R>(
  run: (store: InitImageStore.Store, directory: string) => Effect.Effect<void, E, R>
) =>
  Effect.flatMap(makeDirectory, (directory) =>
    Effect.provide(
      Effect.flatMap(InitImageStore.InitImageStore, (store) => Effect.scoped(run(store, directory))),
      InitImageStore.layerFileSystem({ directory, timeToLive: "1 hour" })
    )).pipe(Effect.scoped, Effect.provide(NodeContext.layer))

/** Makes a file of the store older, in seconds. */
const age = (directory: string, name: string, seconds: number): void => {
  const time = Date.now() / 1000 - seconds
  utimesSync(join(directory, name), time, time)
}

const minutes = 60

/** The one file of a directory. */
const only = (directory: string): string => {
  const [name = "", ...others] = list(directory)
  assert.deepStrictEqual(others, [])
  return name
}

const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ _tag }) => _tag)

describe("images", () => {
  it.live("are fetched as they were put, with all that the reference tells of them", () =>
    withStore(Effect.fnUntraced(function*(store, directory) {
      const image = yield* makeImage(2_000_000, { fill: 7, name: "a \"b\".png" })
      const reference = yield* store.put(image)
      assert.deepInclude(reference, { mime: "image/png", bytes: 2_000_000, width: 1, height: 1, orientation: 1 })
      assert.strictEqual(reference.displayName, "a \"b\".png")
      const fetched = yield* store.fetchScoped(reference)
      assert.deepStrictEqual({ ...fetched, path: "" }, { ...image, path: "" })
      assert.notStrictEqual(fetched.path, image.path)
      assert.isTrue(Buffer.from(yield* bytesOf(fetched)).equals(yield* bytesOf(image)))
      assert.strictEqual(statSync(join(directory, only(directory))).mode & 0o777, 0o600)
    })))

  it.live("are fetched into the directory of the options, until the scope closes", () =>
    withStore(Effect.fnUntraced(function*(store) {
      const directory = yield* makeDirectory
      const reference = yield* store.put(yield* makeImage(1000))
      yield* Effect.scoped(Effect.gen(function*() {
        const { path } = yield* store.fetchScoped(reference, { directory, prefix: "job-" })
        assert.match(basename(path), /^job-/)
        assert.strictEqual(only(directory), basename(path))
      }))
      assert.deepStrictEqual(list(directory), [])
    })))

  it.live("are gone once they are removed, and once the scope of putScoped has closed", () =>
    withStore(Effect.fnUntraced(function*(store, directory) {
      const image = yield* makeImage(1000)
      const reference = yield* store.put(image)
      yield* store.remove(reference)
      assert.strictEqual(yield* tagOf(store.fetchScoped(reference)), "ImageGone")
      yield* store.remove(reference)
      const scoped = yield* Effect.scoped(store.putScoped(image))
      assert.strictEqual(yield* tagOf(store.fetchScoped(scoped)), "ImageGone")
      assert.deepStrictEqual(list(directory), [])
    })))

  it.live("are refused after any change of a byte, truncation or swap, and leave no file", () =>
    withStore(Effect.fnUntraced(function*(store, directory) {
      const target = yield* makeDirectory
      const reference = yield* store.putScoped(yield* makeImage(160, { fill: 3 }))
      const file = join(directory, only(directory))
      const original = new Uint8Array(readFileSync(file))
      const start = original.indexOf(0x0a) + 1
      assert.strictEqual(original.length - start, 160)
      const refuses = Effect.fnUntraced(function*(bytes: Uint8Array, tags: ReadonlyArray<string>) {
        writeFileSync(file, bytes)
        assert.include(tags, yield* tagOf(store.fetchScoped(reference, { directory: target })))
        assert.deepStrictEqual(list(target), [])
      })
      for (let at = start; at < original.length; at++) {
        // The verifier may see it first.
        yield* refuses(
          original.map((byte, i) => i === at ? byte ^ 1 : byte),
          ["ImageChanged", "ContentMismatch", "MalformedImage"]
        )
      }
      for (let length = 0; length < original.length; length++) {
        yield* refuses(original.subarray(0, length), ["ImageChanged"])
      }
      yield* refuses(new Uint8Array([...original, 0]), ["ImageChanged"])
      const other = yield* store.putScoped(yield* makeImage(160, { fill: 4 }))
      yield* refuses(readFileSync(join(directory, other.key)), ["ImageChanged"])
    })))

  it.live("leave nothing when putScoped is interrupted at any of its steps", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const image = yield* makeImage(1000)
      const steps = yield* atEachStep((at) =>
        Effect.gen(function*() {
          const { isReached } = yield* Effect.flatMap(
            InitImageStore.InitImageStore,
            (store) => interruptAt(at, Effect.scoped(store.putScoped(image)))
          ).pipe(Effect.provide(InitImageStore.layerFileSystem({ directory })))
          assert.deepStrictEqual(list(directory), [], `step ${at}`)
          return isReached
        })
      )
      assert.isAbove(steps, 100)
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)), 60_000)

  it.live("are read once where their SHA-256 was taken as they were written, and twice where it was not", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      let opened = 0
      const counting: FaultHook = (operation, run) => {
        if (operation === "open") opened += 1
        return run
      }
      const put = (image: SessionInitImage) =>
        Effect.flatMap(InitImageStore.InitImageStore, (store) => store.put(image)).pipe(
          Effect.provide(Layer.provide(InitImageStore.layerFileSystem({ directory }), layerHooked(counting))),
          Effect.map(({ sha256 }) => sha256)
        )
      const image = yield* makeImage(3_000_000)
      const known = yield* InitImageSpool.withSha256(makeImage(3_000_000))
      assert.isUndefined(image.sha256)
      assert.strictEqual(known.sha256, createHash("sha256").update(readFileSync(known.path)).digest("hex"))
      assert.strictEqual(yield* put(image), known.sha256)
      assert.strictEqual(opened, 3, "the image twice, the object once")
      assert.strictEqual(yield* put(known), known.sha256)
      assert.strictEqual(opened, 5)
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.live("are not stored where their file has changed since their SHA-256 was taken", () =>
    withStore(Effect.fnUntraced(function*(store, directory) {
      const image = yield* InitImageSpool.withSha256(makeImage(1000, { fill: 1 }))
      writeFileSync(image.path, yield* bytesOf(yield* makeImage(1000, { fill: 2 })))
      assert.strictEqual((yield* Effect.flip(store.put(image))).reason, "FileUnreadable")
      assert.deepStrictEqual(list(directory), [])
    })))

  it.live("fail with a safe error where their file is gone or has another size", () =>
    withStore(Effect.fnUntraced(function*(store, directory) {
      const image = yield* makeImage(1000)
      writeFileSync(image.path, new Uint8Array(999))
      const changed = yield* Effect.flip(store.put(image))
      rmSync(image.path)
      const gone = yield* Effect.flip(store.put(image))
      for (const error of [changed, gone]) {
        assert.strictEqual(error.reason, "FileUnreadable")
        assert.notInclude(JSON.stringify(error) + error.message, "/")
      }
      assert.deepStrictEqual(list(directory), [])
    })))

  it.live("are written again where the disk fails, and leave nothing but the old image of a name where it goes on", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const error = new SystemError({
        reason: "Unknown",
        module: "FileSystem",
        method: "write",
        pathOrDescriptor: "/secret"
      })
      const put = (image: SessionInitImage, hook: FaultHook) =>
        Effect.flatMap(InitImageStore.InitImageStore, (store) => store.named.put("a", image)).pipe(
          Effect.provide(Layer.provide(InitImageStore.layerFileSystem({ directory }), layerHooked(hook)))
        )
      const old = yield* put(yield* makeImage(1000, { fill: 1 }), atNth("writeAll", 2, () => Effect.fail(error)))
      const image = yield* makeImage(1000, { fill: 2 })
      const failed = yield* Effect.flip(
        put(image, (operation, run) => operation === "writeAll" ? Effect.fail(error) : run)
      )
      assert.strictEqual(failed._tag === "StoreError" ? failed.reason : failed._tag, "Unavailable")
      assert.notInclude(JSON.stringify(failed), "secret")
      assert.deepStrictEqual(list(directory), [old.key])
      // A network file system reports a failed write when the file is closed: the third close is that of the object.
      const again = yield* put(image, atNth("close", 3, () => Effect.fail(error)))
      assert.notStrictEqual(again.sha256, old.sha256)
      assert.deepStrictEqual(list(directory), [old.key])
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.live("have no URL in a store of files, and no store where its directory is gone", () =>
    withStore(Effect.fnUntraced(function*(store, directory) {
      const image = yield* makeImage(1000)
      const reference = yield* store.put(image)
      assert.strictEqual((yield* Effect.flip(store.presign(reference, "1 hour"))).reason, "Unsupported")
      rmSync(directory, { recursive: true })
      assert.strictEqual((yield* Effect.flip(store.put(image))).reason, "NoBucket")
      assert.strictEqual((yield* Effect.flip(store.sweep)).reason, "NoBucket")
      yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeDirectory(directory))
    })))
})

describe("names", () => {
  it.live("have the last image that was put, for every store in the directory", () =>
    withStore(Effect.fnUntraced(function*(store, directory) {
      const name = "../../etc/passwd"
      assert.isTrue(Option.isNone(yield* store.named.get(name)))
      const first = yield* store.named.put(name, yield* makeImage(1000, { fill: 1 }))
      const second = yield* store.named.put(name, yield* makeImage(1000, { fill: 2, name: "second.png" }))
      const got = yield* Effect.flatMap(InitImageStore.InitImageStore, ({ named }) => named.get(name)).pipe(
        Effect.provide(InitImageStore.layerFileSystem({ directory }))
      )
      assert.strictEqual(Option.getOrThrow(got).sha256, second.sha256)
      assert.strictEqual(Option.getOrThrow(got).displayName, "second.png")
      assert.strictEqual((yield* store.fetchScoped(second)).displayName, "second.png")
      assert.strictEqual(yield* tagOf(store.fetchScoped(first)), "ImageChanged")
      assert.match(only(directory), /^named-[A-Za-z0-9_-]{43}$/)
      yield* store.named.remove(name)
      assert.isTrue(Option.isNone(yield* store.named.get(name)))
      assert.strictEqual(yield* tagOf(store.fetchScoped(second)), "ImageGone")
    })))

  it.live("keep their image when a put fails or is interrupted", () =>
    withStore(Effect.fnUntraced(function*(store) {
      const image = yield* makeImage(1000, { fill: 1 })
      yield* store.named.put("a", image)
      const broken = yield* makeImage(1000, { fill: 2 })
      rmSync(broken.path)
      yield* Effect.flip(store.named.put("a", broken))
      const other = yield* makeImage(1000, { fill: 3 })
      for (let at = 0; at < 40; at++) {
        yield* interruptAt(at, store.named.put("a", other))
        const fetched = yield* store.fetchScoped(Option.getOrThrow(yield* store.named.get("a")))
        assert.include([1, 3], (yield* bytesOf(fetched)).at(-1))
      }
    })))

  it.live("expire when they are not used, and stay while they are", () =>
    withStore(Effect.fnUntraced(function*(store, directory) {
      yield* store.named.put("a", yield* makeImage(1000))
      const key = only(directory)
      age(directory, key, 10 * minutes)
      yield* store.named.get("a")
      assert.deepStrictEqual(list(directory), [key], "a use is recorded after a quarter of the time to live")
      age(directory, key, 59 * minutes)
      const used = Option.getOrThrow(yield* store.named.get("a"))
      assert.isAbove(DateTime.toEpochMillis(used.expiresAt), Date.now() + 59 * minutes * 1000)
      assert.deepStrictEqual(list(directory), [key, `${key}.used`])
      age(directory, key, 300 * minutes)
      assert.strictEqual(yield* store.sweep, 0)
      yield* store.fetchScoped(Option.getOrThrow(yield* store.named.get("a")))
      age(directory, `${key}.used`, 60 * minutes)
      assert.isTrue(Option.isNone(yield* store.named.get("a")))
      assert.strictEqual(yield* store.sweep, 1)
      assert.deepStrictEqual(list(directory), [])
    })))
})

describe("a sweep", () => {
  it.live("removes expired images and what killed processes left, and nothing else", () =>
    withStore(Effect.fnUntraced(function*(store, directory) {
      const image = yield* makeImage(1000)
      const old = yield* store.put(image)
      const young = yield* store.put(image)
      for (const name of [".part-1", ".part-2", "README.txt", "named-x"]) writeFileSync(join(directory, name), "")
      for (const name of [old.key, ".part-1", "README.txt", "named-x"]) age(directory, name, 61 * minutes)
      age(directory, young.key, 59 * minutes)
      assert.strictEqual(yield* store.sweep, 2)
      assert.deepStrictEqual(list(directory), [".part-2", young.key, "README.txt", "named-x"].toSorted())
      assert.strictEqual(yield* store.sweep, 0)
    })))

  it.live("runs as often as the layer is told to", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      writeFileSync(join(directory, "0".repeat(32)), "\n")
      age(directory, "0".repeat(32), 61 * minutes)
      yield* Effect.repeat(Effect.yieldNow(), { until: () => list(directory).length === 0 }).pipe(
        Effect.zipLeft(Effect.sleep("10 millis")),
        Effect.provide(InitImageStore.layerFileSystem({ directory, sweepEvery: "20 millis" }))
      )
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))
})

describe("a reference", () => {
  const longest = {
    key: `named-${"k".repeat(43)}`,
    sha256: "f".repeat(64),
    bytes: 32 * 1024 * 1024,
    mime: "image/jpeg" as const,
    width: 16384,
    height: 16384,
    orientation: 8 as const,
    expiresAt: DateTime.unsafeMake("2026-01-31T12:00:00.123Z")
  }

  it.live("has less than 400 bytes of JSON, whatever the image is named", () =>
    withStore(Effect.fnUntraced(function*(store) {
      const encode = Schema.encodeSync(ImageReference)
      for (const name of ["\"".repeat(200), "é".repeat(200), "😀".repeat(60), `${"a".repeat(99)}😀`]) {
        const { displayName } = yield* store.put(yield* makeImage(100, { name }))
        assert.isAbove(displayName.length, 20)
        assert.isTrue(name.startsWith(displayName))
        const json = JSON.stringify(encode(new ImageReference({ ...longest, displayName })))
        assert.isBelow(Buffer.byteLength(json), 400, json)
      }
    })))

  it("is JSON in snake case", () => {
    const json = JSON.stringify(Schema.encodeSync(ImageReference)(new ImageReference({ ...longest, displayName: "a" })))
    assert.include(json, "\"display_name\":\"a\",\"expires_at\":\"2026-01-31T12:00:00.123Z\"")
    assert.strictEqual(Schema.decodeUnknownSync(Schema.parseJson(ImageReference))(json).displayName, "a")
  })

  it("is refused with a key that could be a path", () => {
    const encoded = Schema.encodeSync(ImageReference)(new ImageReference({ ...longest, displayName: "a" }))
    for (const key of ["../../etc/passwd", "a", "", `${"0".repeat(32)}/..`, `${"0".repeat(32)}\n`, ".part-1"]) {
      assert.isTrue(Option.isNone(Schema.decodeUnknownOption(ImageReference)({ ...encoded, key })), key)
    }
  })
})

describe("options", () => {
  type AnyLayer = Layer.Layer<
    InitImageStore.InitImageStore,
    unknown,
    NodeContext.NodeContext | HttpClient.HttpClient
  >

  const provider = (entries: Readonly<Record<string, string>>) =>
    Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(entries))))

  const credentials = Effect.succeed({ accessKeyId: Redacted.make("a"), secretAccessKey: Redacted.make("b") })

  it.effect("that make no sense are defects", () =>
    Effect.gen(function*() {
      const location = { endpoint: "http://127.0.0.1:1", bucket: "images", credentials }
      const layers: ReadonlyArray<() => AnyLayer> = [
        () => InitImageStore.layerFileSystem({ directory: "" }),
        () => InitImageStore.layerFileSystem({ directory: "/tmp", timeToLive: 0 }),
        () => InitImageStore.layerFileSystem({ directory: "/tmp", sweepEvery: -1 }),
        () => InitImageStore.layerObjects(Effect.die("not asked for"), { timeToLive: 0 }),
        () => InitImageStore.layerObjects(Effect.die("not asked for"), { sweepEvery: -1 }),
        () => InitImageStore.layerS3({ ...location, endpoint: "images.example.com" }),
        () => InitImageStore.layerS3({ ...location, endpoint: "ftp://images.example.com" }),
        () => InitImageStore.layerS3({ ...location, bucket: "a/b" }),
        () => InitImageStore.layerS3({ ...location, prefix: "a b" }),
        () => InitImageStore.layerS3({ ...location, region: "" }),
        () => InitImageStore.layerS3({ ...location, timeout: 0 })
      ]
      for (const layer of layers) {
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(Layer.suspend(layer))))
        assert.include(String(exit), "IllegalArgumentException")
      }
    }).pipe(Effect.provide([NodeContext.layer, FetchHttpClient.layer])))

  it.effect("can come from the environment, and are then configuration errors", () =>
    Effect.gen(function*() {
      const layer = InitImageStore.layerS3Config({
        endpoint: Config.string("AWS_ENDPOINT_URL_S3"),
        bucket: Config.string("INIT_IMAGE_BUCKET"),
        credentials: InitImageStore.credentialsConfig
      })
      const build = (entries: Readonly<Record<string, string>>) =>
        Effect.exit(Effect.scoped(Layer.build(Layer.provide(layer, provider(entries)))))
      const all = {
        AWS_ENDPOINT_URL_S3: "http://127.0.0.1:1",
        INIT_IMAGE_BUCKET: "images",
        AWS_ACCESS_KEY_ID: "a",
        AWS_SECRET_ACCESS_KEY: "b"
      }
      assert.isTrue(Exit.isSuccess(yield* build(all)))
      assert.isTrue(Exit.isSuccess(yield* build({ ...all, AWS_SESSION_TOKEN: "c" })))
      assert.include(String(yield* build({ ...all, AWS_ENDPOINT_URL_S3: "nowhere" })), "endpoint must be")
      assert.include(String(yield* build({})), "AWS_ENDPOINT_URL_S3")
    }).pipe(Effect.provide([NodeContext.layer, FetchHttpClient.layer])))
})
