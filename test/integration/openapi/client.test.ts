import * as NodeContext from "@effect/platform-node/NodeContext"
import * as OpenApi from "@effect/platform/OpenApi"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { execFile } from "node:child_process"
import { copyFileSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { documented } from "../../../src/server/app.js"
import { uprightSize } from "../../utils/descriptions.js"
import { makeDirectory } from "../../utils/directory.js"
import { png, pngOfSize } from "../../utils/images.js"
import { findTool, leaveOut, output } from "../../utils/peers.js"
import { serve } from "../server/testServer.js"

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

type Outcome = { readonly status: number; readonly data?: unknown; readonly error?: string }

/** The exports of `consumer.txt`. */
interface Consumer {
  readonly putJson: (url: string, session: string, mime: string, data: string) => Promise<Outcome>
  readonly putForm: (url: string, session: string, image: File) => Promise<Outcome>
  readonly putBytes: (url: string, session: string, image: Uint8Array, type: string) => Promise<Outcome>
  readonly get: (url: string, session: string) => Promise<{ readonly type: string; readonly size: number }>
  readonly remove: (url: string, session: string) => Promise<number>
}

const generator = findTool("swagger-typescript-api")
if (generator === undefined) {
  leaveOut("swagger-typescript-api (`npm run tools`)", "a client can be generated from the OpenAPI document")
}

/** Generates a client from the document and compiles it with `consumer.txt`. */
const makeConsumer = Effect.gen(function*() {
  const directory = yield* makeDirectory
  const document = join(directory, "openapi.json")
  writeFileSync(document, JSON.stringify(OpenApi.fromApi(yield* documented)))
  yield* Effect.promise(() =>
    output(process.execPath, [
      join(generator ?? assert.fail(), "dist", "cli.mjs"),
      "generate",
      "--silent",
      `--path=${document}`,
      `--output=${directory}`,
      "--name=client.ts"
    ])
  )
  const client = join(directory, "client.ts")
  writeFileSync(client, readFileSync(client, "utf8").replace("// @ts-nocheck", ""))
  copyFileSync(here("consumer.txt"), join(directory, "consumer.ts"))
  writeFileSync(join(directory, "package.json"), JSON.stringify({ type: "module" }))
  writeFileSync(
    join(directory, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        target: "ES2022",
        lib: ["ES2022", "DOM", "DOM.Iterable"],
        module: "NodeNext",
        strict: true,
        noImplicitReturns: true,
        types: []
      }
    })
  )
  const tsc = here("../../../node_modules/typescript/bin/tsc")
  yield* Effect.promise(() =>
    promisify(execFile)(process.execPath, [tsc, "-p", directory]).catch((error) => assert.fail(error.stdout))
  )
  const url = pathToFileURL(join(directory, "consumer.js")).href
  return yield* Effect.promise((): Promise<Consumer> => import(/* @vite-ignore */ url))
}).pipe(Effect.provide(NodeContext.layer))

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64")

describe("a client generated from the OpenAPI document", () => {
  it.scopedLive.skipIf(generator === undefined)(
    "uploads an image in each way, reads it, removes it, and distinguishes every error",
    () =>
      Effect.gen(function*() {
        const { get, putBytes, putForm, putJson, remove } = yield* makeConsumer
        const { empty, url } = yield* serve({
          env: { INIT_IMAGE_MAX_BYTES: "10000", INIT_IMAGE_MAX_PIXELS: "100", INIT_IMAGE_MAX_FILES_KEPT: "2" }
        })
        const run = <A>(attempt: () => Promise<A>) => Effect.promise(attempt)
        const description = (display_name: string) => ({
          status: 200,
          data: { mime: "image/png", display_name, bytes: 1000, ...uprightSize(1, 1) }
        })
        const image = pngOfSize(1000)

        assert.deepStrictEqual(
          yield* run(() => putJson(url, "a", "image/png", base64(image))),
          description("json.png")
        )
        assert.deepStrictEqual(yield* run(() => get(url, "a")), { type: "image/png", size: 1000 })
        assert.strictEqual(yield* run(() => remove(url, "a")), 204)
        yield* empty
        assert.deepStrictEqual(
          yield* run(() => putForm(url, "a", new File([image], "form.png", { type: "image/png" }))),
          description("form.png")
        )
        yield* run(() => remove(url, "a"))
        assert.deepStrictEqual(yield* run(() => putBytes(url, "a", image, "image/png")), description("raw.png"))
        assert.deepStrictEqual(
          yield* run(() => putBytes(url, "a", image, "application/octet-stream")),
          description("raw.png")
        )

        const refused: ReadonlyArray<readonly [attempt: () => Promise<Outcome>, status: number, error: string]> = [
          [() => putJson(url, "a", "image/png", ""), 400, "Empty"],
          [() => putJson(url, "a", "image/png", "AA!="), 400, "BadBase64 Character 2"],
          [
            () => putJson(url, "a", "image/gif", "AAAA"),
            415,
            "InvalidMime NotAccepted image/png,image/jpeg,image/webp"
          ],
          [() => putJson(url, "a", "image/webp", base64(image)), 415, "ContentMismatch webp png"],
          [() => putBytes(url, "a", pngOfSize(10_001), "image/png"), 413, "TooLarge 10001 10000"],
          [() => putBytes(url, "a", image.subarray(0, 990), "image/png"), 422, "MalformedImage png Truncated"],
          [() => putBytes(url, "a", png({ width: 101 }), "image/png"), 422, "TooManyPixels 101 1 100"],
          [() => putBytes(url, "a", image, "application/json"), 400, "InvalidPayload NotJson"],
          [() => putBytes(url, "a", image, "multipart/form-data"), 400, "InvalidPayload MissingBoundary"]
        ]
        for (const [attempt, status, error] of refused) {
          assert.deepStrictEqual(yield* run(attempt), { status, error })
        }
        assert.deepStrictEqual(yield* run(() => get(url, "a")), { type: "image/png", size: 1000 })
        assert.strictEqual((yield* run(() => putBytes(url, "b", image, "image/png"))).status, 200)
        assert.deepStrictEqual(
          yield* run(() => putBytes(url, "c", image, "image/png")),
          { status: 503, error: "Busy 10" }
        )
      })
  )

  it.scopedLive("is generated from the document that the server serves", () =>
    Effect.gen(function*() {
      const { url } = yield* serve()
      const shown = yield* Effect.promise(async () => (await fetch(`${url}/openapi.json`)).json())
      assert.deepStrictEqual(shown, JSON.parse(JSON.stringify(OpenApi.fromApi(yield* documented))))
      const page = yield* Effect.promise(async () => (await fetch(`${url}/docs`)).text())
      assert.include(page, "initImage.put")
    }))
})
