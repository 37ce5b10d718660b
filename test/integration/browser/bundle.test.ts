import { assert, describe, it } from "@effect/vitest"
import { build } from "esbuild"
import { fileURLToPath } from "node:url"
import type * as effectFace from "../../../src/browser/index.js"
import type * as promiseFace from "../../../src/browser/promise.js"
import type { ImageFormat, InitImageHttp } from "../../../src/index.js"

const bundle = async (face: string) => {
  const { metafile, outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`../../../src/browser/${face}.ts`, import.meta.url))],
    bundle: true,
    minify: true,
    platform: "browser",
    format: "esm",
    write: false,
    metafile: true,
    logLevel: "silent"
  })
  return {
    inputs: Object.keys(metafile.inputs),
    bytes: outputFiles.reduce((sum, { contents }) => sum + contents.length, 0)
  }
}

describe("the browser module", () => {
  it("bundles for a page without Effect to less than 11 KiB, without dependencies", async () => {
    const { bytes, inputs } = await bundle("promise")
    assert.isEmpty(inputs.filter((file) => file.includes("node_modules")))
    assert.isBelow(bytes, 11 * 1024)
  })

  it("adds at most 20 KiB to the library's errors for a page with Effect", async () => {
    const [{ bytes, inputs }, errors] = await Promise.all([bundle("index"), bundle("../InitImageError")])
    assert.isEmpty(inputs.filter((file) => file.includes("platform-node") || file.startsWith("node:")))
    assert.isBelow(bytes, errors.bytes + 20 * 1024)
  })

  it("has the server's types in both faces", () => {
    const same = (image: InitImageHttp.ImageDescription): effectFace.ImageDescription & promiseFace.ImageDescription =>
      image
    const back = (image: promiseFace.ImageDescription): InitImageHttp.ImageDescription => image
    const detected = (error: promiseFace.ContentMismatch): ImageFormat.Detected => error.detected
    assert.isTrue([same, back, detected].every((f) => typeof f === "function"))
  })
})
