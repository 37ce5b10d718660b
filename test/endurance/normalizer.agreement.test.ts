import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { spawnSync } from "node:child_process"
import type { Sharp } from "sharp"
import { SessionInitImage } from "../../src/index.js"
import * as InitImageNormalizer from "../../src/InitImageNormalizer.js"
import { makeDirectory } from "../utils/directory.js"
import { findPython } from "../utils/peers.js"
import { damageJpeg, damagePng, damageWebp, picture } from "../utils/pictures.js"
import { forCase, type Random } from "./random.js"

/** Answers `1` for each path whose image Pillow loads, and `0` for others. */
const script = `
import sys, warnings
from PIL import Image
warnings.simplefilter("ignore")
for path in sys.stdin.read().split("\\n"):
    try:
        with Image.open(path) as image: image.load()
        print(1)
    except Exception:
        print(0)
`

const python = findPython("PIL")

const pillowLoads = (paths: ReadonlyArray<string>): ReadonlyArray<boolean> => {
  assert.isDefined(python)
  const { stdout } = spawnSync(python, ["-c", script], { input: paths.join("\n"), encoding: "utf8" })
  return stdout.trim().split("\n").map((line) => line === "1")
}

type Damage = (bytes: Uint8Array, random: Random) => Uint8Array

const kinds: ReadonlyArray<readonly [string, string, (image: Sharp) => Sharp, Damage]> = [
  ["png", "image/png", (image) => image.png(), damagePng],
  ["interlaced png", "image/png", (image) => image.png({ progressive: true }), damagePng],
  ["palette png", "image/png", (image) => image.png({ palette: true }), damagePng],
  ["grey png", "image/png", (image) => image.greyscale().toColourspace("b-w").png(), damagePng],
  ["16-bit png", "image/png", (image) => image.toColourspace("rgb16").png(), damagePng],
  ["transparent png", "image/png", (image) => image.ensureAlpha(0.5).png(), damagePng],
  ["jpeg", "image/jpeg", (image) => image.jpeg(), damageJpeg],
  ["progressive jpeg", "image/jpeg", (image) => image.jpeg({ progressive: true }), damageJpeg],
  ["4:4:4 jpeg", "image/jpeg", (image) => image.jpeg({ chromaSubsampling: "4:4:4" }), damageJpeg],
  ["cmyk jpeg", "image/jpeg", (image) => image.toColourspace("cmyk").jpeg(), damageJpeg],
  ["webp", "image/webp", (image) => image.webp(), damageWebp],
  ["lossless webp", "image/webp", (image) => image.webp({ lossless: true }), damageWebp]
]

/** As many damaged files of each kind pass the verification. */
const perKind = 100
const seed = 15

describe("check", () => {
  it.scopedLive(
    `agrees with Pillow over ${kinds.length * perKind} damaged images${
      python === undefined ? " (left out without Pillow)" : ""
    }`,
    () =>
      Effect.gen(function*() {
        if (python === undefined && process.env["CI"] === undefined) return
        const directory = yield* makeDirectory
        const cases: Array<{ readonly kind: string; readonly image: SessionInitImage.SessionInitImage }> = []
        for (const [kind, mime, encode, damage] of kinds) {
          const sound = [
            yield* Effect.promise(() => encode(picture(97, 61)).toBuffer()),
            yield* Effect.promise(() => encode(picture(300, 200)).toBuffer())
          ]
          for (let made = 0, i = 0; made < perKind; i++) {
            assert.isBelow(i, 20 * perKind, kind)
            const random = forCase(seed, kind, i)
            const bytes = damage(random.pick<Uint8Array>(sound), random)
            const image = yield* SessionInitImage.persistStream({ mime }, Stream.make(bytes), { directory }).pipe(
              Effect.option
            )
            if (image._tag === "None") continue
            made += 1
            cases.push({ kind, image: image.value })
          }
        }
        const expected = pillowLoads(cases.map(({ image }) => image.path))
        assert.lengthOf(expected, cases.length)
        const disagreements: Array<string> = []
        for (const [i, { image, kind }] of cases.entries()) {
          const checked = yield* Effect.either(InitImageNormalizer.check(image))
          if (Either.isRight(checked) !== expected[i]) {
            disagreements.push(`${kind} ${i}: Pillow ${expected[i] === true ? "loads" : "refuses"} ${image.path}`)
          }
        }
        const refused = expected.filter((loads) => !loads).length
        assert.isAbove(refused, cases.length / 5)
        assert.isBelow(refused, cases.length * 4 / 5)
        assert.isAtMost(disagreements.length, cases.length / 1000, disagreements.join("\n"))
      }).pipe(Effect.provide(Layer.mergeAll(NodeContext.layer, InitImageNormalizer.layer())))
  )
})
