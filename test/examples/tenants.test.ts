import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { InitImageLimits } from "../../src/index.js"
import { jpeg, png, pngOfSize } from "../utils/images.js"
import { request, serve } from "./serving.js"
import { app, Tenants } from "./tenants.js"

const plans: Record<string, InitImageLimits.Limits> = {
  free: { maxBytes: 1000, maxPixels: 100, acceptedFormats: ["image/png"] },
  paid: {}
}

const serveApp = serve(
  HttpServer.serve(app).pipe(
    Layer.provide(Layer.succeed(Tenants, { limits: (key) => Effect.succeed(Option.fromNullable(plans[key])) }))
  )
)

describe("limits of tenants", () => {
  it.scopedLive("apply to their tenant only", () =>
    Effect.gen(function*() {
      const { left, url } = yield* serveApp
      const put = (key: string, type: string, body: Uint8Array) =>
        Effect.map(
          request(`${url}/avatar`, { method: "PUT", body, headers: { "x-api-key": key, "content-type": type } }),
          ({ status, text }) => [status, text === "" ? undefined : JSON.parse(text)._tag]
        )
      const images = [
        ["image/png", png()],
        ["image/png", pngOfSize(1001)],
        ["image/png", png({ width: 101 })],
        ["image/jpeg", jpeg()]
      ] as const
      const answers = (key: string) =>
        Effect.forEach(images, ([type, body]) => put(key, type, body)).pipe(
          Effect.map((answers): ReadonlyArray<unknown> => answers)
        )
      assert.deepStrictEqual(yield* answers("free"), [
        [200, undefined],
        [413, "TooLarge"],
        [422, "TooManyPixels"],
        [415, "InvalidMime"]
      ])
      assert.deepStrictEqual(yield* answers("paid"), images.map(() => [200, undefined]))
      assert.deepStrictEqual(yield* answers("nobody"), images.map(() => [401, undefined]))
      yield* left(0)
    }).pipe(Effect.provide(NodeContext.layer)))
})
