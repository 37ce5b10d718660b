import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import sharp, { type Sharp } from "sharp"
import { InitImageSpool, SessionInitImage } from "../../src/index.js"
import * as InitImageNormalizer from "../../src/InitImageNormalizer.js"
import { Random } from "../endurance/random.js"
import { list, makeDirectory } from "../utils/directory.js"
import { png, webp } from "../utils/images.js"
import { damageJpeg, picture, pixels } from "../utils/pictures.js"

const NodeLive = NodeContext.layer

const live = (options?: InitImageNormalizer.Options) =>
  Effect.provide(Layer.mergeAll(NodeLive, InitImageNormalizer.layer(options)))

const encoded = (image: Sharp) => Effect.promise(() => image.toBuffer())

const persist = (mime: string, bytes: Uint8Array) =>
  SessionInitImage.persistStreamScoped({ mime, name: "ref" }, Stream.make(bytes))

const normalized = (mime: string, bytes: Uint8Array, options?: InitImageNormalizer.NormalizeOptions) =>
  Effect.flatMap(persist(mime, bytes), (image) => InitImageNormalizer.normalizeScoped(image, options))

const read = (image: SessionInitImage.SessionInitImage) =>
  Effect.promise(() => sharp(image.path).raw().toBuffer({ resolveWithObject: true }))

const metadata = (image: SessionInitImage.SessionInitImage) => Effect.promise(() => sharp(image.path).metadata())

const assertClose = (actual: Uint8Array, expected: ReadonlyArray<number> | Uint8Array, tolerance = 2): void => {
  assert.strictEqual(actual.length, expected.length)
  const furthest = actual.reduce((max, value, i) => Math.max(max, Math.abs(value - (expected[i] ?? NaN))), 0)
  assert.isAtMost(furthest, tolerance)
}

const solid = (width: number, height: number, channels: 3 | 4, background: object) =>
  sharp({ create: { width, height, channels, background } })

describe("normalizeScoped", () => {
  it.live("converts Display-P3 to sRGB and drops the profile", () =>
    Effect.gen(function*() {
      const bytes = yield* encoded(solid(16, 16, 3, { r: 250, g: 60, b: 40 }).png().withIccProfile("p3"))
      const reference = yield* encoded(sharp(bytes).toColourspace("srgb").raw())
      const image = yield* normalized("image/png", bytes)
      assertClose((yield* read(image)).data, reference)
      assertClose(reference.subarray(0, 3), [250, 60, 40], 3)
      assert.isFalse((yield* metadata(image)).hasProfile)
    }).pipe(Effect.scoped, live()))

  it.live("scales 16-bit images to 8 bits", () =>
    Effect.gen(function*() {
      const raw = new Uint16Array(16 * 16).fill(20_000)
      const grey = sharp(raw, { raw: { width: 16, height: 16, channels: 1 } }).toColourspace("grey16").png()
      const image = yield* normalized("image/png", yield* encoded(grey))
      const { data, info } = yield* read(image)
      assert.strictEqual(info.channels, 3)
      assert.strictEqual((yield* metadata(image)).depth, "uchar")
      assertClose(data, new Uint8Array(16 * 16 * 3).fill(Math.round(20_000 / 257)))
    }).pipe(Effect.scoped, live()))

  it.live("keeps transparency, or flattens it on the background", () =>
    Effect.gen(function*() {
      const bytes = yield* encoded(solid(16, 16, 4, { r: 255, g: 0, b: 0, alpha: 0 }).png())
      const kept = yield* read(yield* normalized("image/png", bytes))
      assert.strictEqual(kept.info.channels, 4)
      assert.strictEqual(kept.data[3], 0)
      const flat = yield* read(yield* normalized("image/png", bytes, { background: "#102030" }))
      assert.strictEqual(flat.info.channels, 3)
      assertClose(flat.data.subarray(0, 3), [0x10, 0x20, 0x30])
    }).pipe(Effect.scoped, live()))

  it.live("converts CMYK as sharp does", () =>
    Effect.gen(function*() {
      const bytes = yield* encoded(picture(64, 48).toColourspace("cmyk").jpeg())
      const image = yield* normalized("image/jpeg", bytes)
      const { data, info } = yield* read(image)
      assert.strictEqual(info.channels, 3)
      assertClose(data, yield* encoded(sharp(bytes).toColourspace("srgb").raw()))
    }).pipe(Effect.scoped, live()))

  for (const [format, mime] of [["jpeg", "image/jpeg"], ["png", "image/png"], ["webp", "image/webp"]] as const) {
    it.live(`turns all eight orientations of ${format} upright`, () =>
      Effect.gen(function*() {
        const corners = Buffer.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 128, 128, 128])
        const stored = sharp(corners, { raw: { width: 3, height: 2, channels: 3 } })
          .resize(96, 64, { kernel: "nearest" })
        const plain = yield* encoded(stored.clone()[format]({ quality: 100 }))
        for (let orientation = 1; orientation <= 8; orientation++) {
          const bytes = yield* encoded(stored.clone().withMetadata({ orientation })[format]({ quality: 100 }))
          const image = yield* normalized(mime, bytes)
          const turned = [
            (image: Sharp) => image,
            (image: Sharp) => image.flop(),
            (image: Sharp) => image.rotate(180),
            (image: Sharp) => image.flip(),
            (image: Sharp) => image.flop().rotate(270),
            (image: Sharp) => image.rotate(90),
            (image: Sharp) => image.flop().rotate(90),
            (image: Sharp) => image.rotate(270)
          ][orientation - 1]
          assert.isDefined(turned)
          const { data, info } = yield* read(image)
          const upright = yield* Effect.promise(() => sharp(plain).raw().toBuffer())
          const expected = yield* Effect.promise(() =>
            turned(sharp(upright, { raw: { width: 96, height: 64, channels: 3 } })).raw().toBuffer({
              resolveWithObject: true
            })
          )
          assert.deepStrictEqual([info.width, info.height], [expected.info.width, expected.info.height])
          assertClose(data, expected.data)
          assert.strictEqual(image.orientation, 1)
          assert.isUndefined((yield* metadata(image)).orientation)
        }
      }).pipe(Effect.scoped, live()))
  }

  it.live("leaves no metadata in any format", () =>
    Effect.gen(function*() {
      const bytes = yield* encoded(
        picture(40, 30).jpeg()
          .withExif({ IFD0: { Copyright: "somebody" }, IFD3: { GPSLatitudeRef: "N", GPSLatitude: "51/1 30/1 0/1" } })
          .withXmp("<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
          .withIccProfile("p3")
      )
      const before = yield* Effect.promise(() => sharp(bytes).metadata())
      assert.isDefined(before.exif)
      assert.isDefined(before.xmp)
      for (const format of ["png", "jpeg", "webp"] as const) {
        const after = yield* metadata(yield* normalized("image/jpeg", bytes, { format }))
        assert.strictEqual(after.format, format)
        for (const key of ["exif", "xmp", "icc", "iptc", "comments"] as const) assert.isUndefined(after[key], key)
      }
    }).pipe(Effect.scoped, live()))

  it.live("gives the first frame of an animation", () =>
    Effect.gen(function*() {
      const frames = Buffer.concat([Buffer.alloc(16 * 16 * 3, 200), Buffer.alloc(16 * 16 * 3, 10)])
      const animation = sharp(frames, { raw: { width: 16, height: 32, channels: 3, pageHeight: 16 } })
      const image = yield* normalized("image/webp", yield* encoded(animation.webp({ lossless: true })))
      assert.deepStrictEqual([image.width, image.height], [16, 16])
      assertClose((yield* read(image)).data.subarray(0, 3), [200, 200, 200])
    }).pipe(Effect.scoped, live()))

  it.live("fits inside without enlarging, and covers or contains the exact size", () =>
    Effect.gen(function*() {
      const bytes = yield* encoded(picture(300, 200).jpeg())
      const sizeOf = (options: InitImageNormalizer.NormalizeOptions) =>
        Effect.map(normalized("image/jpeg", bytes, options), ({ height, width }) => [width, height])
      assert.deepStrictEqual(yield* sizeOf({ width: 900 }), [300, 200])
      assert.deepStrictEqual(yield* sizeOf({ maxEdge: 150 }), [150, 100])
      assert.deepStrictEqual(yield* sizeOf({ maxEdge: 150, multipleOf: 32 }), [128, 96])
      assert.deepStrictEqual(yield* sizeOf({ fit: "cover", width: 640, height: 352 }), [640, 352])
      const bars = yield* normalized("image/jpeg", bytes, {
        fit: "contain",
        width: 64,
        height: 64,
        background: "#0000ff"
      })
      assert.deepStrictEqual([bars.width, bars.height], [64, 64])
      assertClose((yield* read(bars)).data.subarray(0, 3), [0, 0, 255])
    }).pipe(Effect.scoped, live()))

  it.scopedLive("writes to the spool of the context, and removes its file with the scope", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const spool = InitImageSpool.layer({ directory, maxFilesKept: 2 })
      yield* Effect.gen(function*() {
        const source = yield* persist("image/png", yield* encoded(picture(40, 30).png()))
        const scope = yield* Scope.make()
        const image = yield* Scope.extend(InitImageNormalizer.normalizeScoped(source), scope)
        assert.strictEqual(join(image.path, ".."), join(source.path, ".."))
        const full = yield* Effect.flip(InitImageNormalizer.normalizeScoped(source))
        assert.strictEqual(full._tag, "Busy")
        yield* Scope.close(scope, Exit.void)
        assert.isFalse(existsSync(image.path))
        assert.isTrue(existsSync(source.path))
      }).pipe(Effect.scoped, Effect.provide(spool))
    }).pipe(live()))

  it.live("refuses options out of range with BadArgument", () =>
    Effect.gen(function*() {
      const source = yield* persist("image/png", png())
      const wrong: ReadonlyArray<InitImageNormalizer.NormalizeOptions> = [
        { width: 0 },
        { height: 1.5 },
        { maxEdge: 100_000 },
        { fit: "cover", width: 64 },
        { background: "red; url(x)" },
        { prefix: "../" }
      ]
      for (const options of wrong) {
        const error = yield* Effect.flip(InitImageNormalizer.normalizeScoped(source, options))
        assert.strictEqual(error._tag, "BadArgument")
      }
    }).pipe(Effect.scoped, live()))
})

describe("check", () => {
  it.live("refuses an image whose data is damaged, and leaves its file to its owner", () =>
    Effect.gen(function*() {
      const sound = yield* encoded(picture(300, 200).png())
      const source = yield* persist("image/png", sound)
      yield* InitImageNormalizer.check(source)
      const damaged = Uint8Array.from(sound)
      damaged.fill(0, sound.length / 2, sound.length / 2 + 100)
      writeFileSync(source.path, damaged)
      const error = yield* Effect.flip(InitImageNormalizer.check(source))
      assert.include(error, { _tag: "UndecodableImage", format: "png", reason: "Corrupt" })
      assert.isTrue(existsSync(source.path))
    }).pipe(Effect.scoped, live()))

  it.live("refuses damage of a JPEG that a decoder warns of at full size when strict, however small the output", () =>
    Effect.gen(function*() {
      const sound = yield* encoded(picture(128, 96).jpeg())
      const decodes = (bytes: Uint8Array, failOn: "warning" | "error") =>
        Effect.isSuccess(Effect.tryPromise(() => sharp(bytes, { failOn }).raw().toBuffer()))
      const random = new Random(3)
      let warned = 0
      for (let i = 0; i < 60; i++) {
        const bytes = damageJpeg(sound, random)
        const image = yield* Effect.option(persist("image/jpeg", bytes))
        if (image._tag === "None" || (yield* decodes(bytes, "warning")) || !(yield* decodes(bytes, "error"))) continue
        warned += 1
        yield* InitImageNormalizer.check(image.value)
        yield* InitImageNormalizer.normalizeScoped(image.value, { maxEdge: 16 })
        const checked = yield* Effect.flip(InitImageNormalizer.check(image.value, { strict: true }))
        const written = yield* Effect.flip(
          InitImageNormalizer.normalizeScoped(image.value, { maxEdge: 16, strict: true })
        )
        for (const error of [checked, written]) {
          assert.include(error, { _tag: "UndecodableImage", reason: "Corrupt" })
        }
      }
      // A decoder at a reduced size warns of about half of them.
      assert.isAbove(warned, 20)
    }).pipe(Effect.scoped, live()))

  it.live("fails with the disk's error for a file that is gone", () =>
    Effect.gen(function*() {
      const image = yield* Effect.scoped(persist("image/png", png()))
      const error = yield* Effect.flip(InitImageNormalizer.check(image))
      assert.include(error, { _tag: "SystemError", reason: "NotFound" })
      assert.notInclude(JSON.stringify(error), image.path)
    }).pipe(live()))

  it.live("hands no other format to the decoder, whatever the type that the image claims", () =>
    Effect.gen(function*() {
      const source = yield* persist("image/png", yield* encoded(picture(40, 30).png()))
      const svg = Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"/>`)
      const others = [svg, yield* encoded(picture(40, 30).tiff()), yield* encoded(picture(40, 30).gif())]
      for (const bytes of [...others, yield* encoded(picture(40, 30).webp()), Buffer.alloc(0)]) {
        writeFileSync(source.path, bytes)
        const error = yield* Effect.flip(InitImageNormalizer.check(source))
        assert.strictEqual(error._tag, "UndecodableImage")
      }
    }).pipe(Effect.scoped, live()))

  it.live("refuses an image that takes more memory than is allowed", () =>
    Effect.gen(function*() {
      const bomb = yield* persist("image/webp", webp({ width: 7000, height: 7000 }))
      const error = yield* Effect.flip(InitImageNormalizer.check(bomb))
      assert.include(error, { _tag: "UndecodableImage", reason: "TooMuchMemory" })
    }).pipe(Effect.scoped, live({ maxMemory: 300 * 1024 * 1024 })))

  it.live("refuses a file with more pixels than its image was verified for", () =>
    Effect.gen(function*() {
      const source = yield* persist("image/png", yield* encoded(picture(40, 30).png()))
      writeFileSync(source.path, yield* encoded(picture(400, 300).png()))
      assert.strictEqual((yield* Effect.flip(InitImageNormalizer.check(source)))._tag, "UndecodableImage")
    }).pipe(Effect.scoped, live()))

  it.live("fails with DecodeTimeout after the timeout", () =>
    Effect.gen(function*() {
      const source = yield* persist("image/png", yield* encoded(picture(2000, 1500).png({ compressionLevel: 1 })))
      const error = yield* Effect.flip(InitImageNormalizer.check(source))
      assert.include(error, { _tag: "DecodeTimeout", limit: 0.001 })
    }).pipe(Effect.scoped, live({ timeout: "1 millis" })))
})

describe("fromStreamScoped", () => {
  const accept = { gif: { maxPixels: 10_000 }, avif: { maxPixels: 10_000 } }

  for (const format of ["gif", "avif"] as const) {
    it.scopedLive(`converts ${format} where it is accepted, and keeps none of the given bytes`, () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const bytes = yield* encoded(picture(80, 60)[format]())
        const image = yield* InitImageNormalizer.fromStreamScoped(
          { mime: `image/${format}`, name: "ref" },
          Stream.make(bytes.subarray(0, 100), bytes.subarray(100)),
          { directory }
        )
        assert.deepStrictEqual([image.mime, image.width, image.height], ["image/png", 80, 60])
        assert.lengthOf(list(directory), 1)
        assertClose((yield* read(image)).data, pixels(80, 60), 60)
      }).pipe(live({ accept })))

    it.scopedLive(`refuses ${format} of too many pixels or of another content`, () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const receive = (bytes: Uint8Array) =>
          Effect.flip(
            InitImageNormalizer.fromStreamScoped({ mime: `image/${format}` }, Stream.make(bytes), { directory })
          )
        const large = yield* encoded(picture(200, 100)[format]())
        assert.include(yield* receive(large), { _tag: "TooManyPixels", width: 200, height: 100 })
        assert.strictEqual((yield* receive(png()))._tag, "UndecodableImage")
        assert.strictEqual((yield* receive(Buffer.from("<svg/>")))._tag, "UndecodableImage")
        assert.strictEqual((yield* receive(new Uint8Array()))._tag, "Empty")
        assert.isEmpty(list(directory))
      }).pipe(live({ accept })))

    it.scopedLive(`refuses ${format} by default`, () =>
      Effect.gen(function*() {
        const bytes = yield* encoded(picture(80, 60)[format]())
        const error = yield* Effect.flip(
          InitImageNormalizer.fromStreamScoped({ mime: `image/${format}` }, Stream.make(bytes))
        )
        assert.strictEqual(error._tag, "InvalidMime")
      }).pipe(live()))
  }

  it.scopedLive("refuses files that hold larger pictures than they say", () =>
    Effect.gen(function*() {
      const avif = Buffer.from(yield* encoded(solid(3000, 3000, 3, { r: 9, g: 9, b: 9 }).avif({ effort: 0 })))
      const extents = avif.indexOf("ispe")
      avif.writeUInt32BE(64, extents + 8)
      avif.writeUInt32BE(64, extents + 12)
      const gif = Buffer.from(yield* encoded(picture(300, 200).gif()))
      gif.writeUInt16LE(16, 6)
      gif.writeUInt16LE(16, 8)
      for (const [mime, bytes] of [["image/avif", avif], ["image/gif", gif]] as const) {
        const error = yield* Effect.flip(InitImageNormalizer.fromStreamScoped({ mime }, Stream.make(bytes)))
        assert.strictEqual(error._tag, "UndecodableImage", mime)
      }
    }).pipe(live({ accept })))

  it.scopedLive("takes the other formats too", () =>
    Effect.gen(function*() {
      const directory = yield* makeDirectory
      const bytes = yield* encoded(picture(80, 60).jpeg())
      const image = yield* InitImageNormalizer.fromStreamScoped({ mime: "image/jpeg" }, Stream.make(bytes), {
        directory
      })
      assert.deepStrictEqual([image.mime, image.width, image.height], ["image/png", 80, 60])
      assert.lengthOf(list(directory), 1)
    }).pipe(live()))
})

describe("layer", () => {
  it.effect("refuses options out of range", () =>
    Effect.gen(function*() {
      for (
        const options of [{ concurrency: 0 }, { maxMemory: -1 }, { timeout: 0 }, { accept: { gif: { maxPixels: 0 } } }]
      ) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(InitImageNormalizer.layer(options))))
        assert.strictEqual(error._tag, "BadArgument")
      }
    }))
})
