import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { InitImageApi, InitImageFrame, InitImageHttp, InitImageSlot, SessionInitImage } from "../../src/index.js"
import { png } from "../utils/images.js"
import { payloadOf } from "../utils/payloads.js"

class Api extends HttpApi.make("api").add(InitImageApi.group) {}

const api = (options: InitImageApi.Options) =>
  Layer.build(
    HttpApiBuilder.api(Api).pipe(
      Layer.provide(InitImageApi.layer(Api, options)),
      Layer.provide(InitImageApi.layerSessions())
    )
  )

const request = HttpServerRequest.fromWeb(
  new Request("http://a.example/", { method: "POST", body: png(), headers: { "content-type": "image/png" } })
)

const payload = payloadOf("image/png", png())

const fromRequest = (options: InitImageHttp.RequestOptions) =>
  Effect.provideService(InitImageHttp.fromRequest(options), HttpServerRequest.HttpServerRequest, request)

const badMode = { mode: 0o777 }
const modeProblem = "PersistOptions: mode must be 0o600, with 0o040, 0o020 or 0o004 added"

const mistakes: Record<string, readonly [Effect.Effect<unknown, unknown, unknown>, problem: string]> = {
  "persist": [SessionInitImage.persist(payload, badMode), modeProblem],
  "persistScoped": [SessionInitImage.persistScoped(payload, badMode), modeProblem],
  "persistStream": [SessionInitImage.persistStream({ mime: "image/png" }, Stream.make(png()), badMode), modeProblem],
  "sink": [Stream.run(Stream.make(png()), SessionInitImage.sink({ mime: "image/png" }, badMode)), modeProblem],
  "InitImageFrame.persist": [InitImageFrame.persist(JSON.stringify(payload), { at: [] }, badMode), modeProblem],
  "fromRequest's mode": [fromRequest(badMode), modeProblem],
  "fromRequest's timeout": [fromRequest({ stallTimeout: NaN }), "RequestOptions: stallTimeout must be a duration"],
  "InitImageApi.layer's mode": [api(badMode), "InitImageApi.layer: mode must be"],
  "InitImageApi.layer's timeout": [api({ stallTimeout: -1 }), "InitImageApi.layer: stallTimeout must be a duration"],
  "InitImageApi.layer's directory": [api({ directory: "" }), "InitImageApi.layer: directory must not be empty"],
  "InitImageApi.layer's policy": [
    // What a program without types may pass.
    api({ resourcePolicy: "none" as "same-site" }),
    "InitImageApi.layer: resourcePolicy must be same-origin, same-site or cross-origin"
  ],
  "layerSessions": [
    Layer.build(InitImageApi.layerSessions({ idleTimeToLive: NaN })),
    "InitImageApi.layerSessions: idleTimeToLive must be a duration that is not negative"
  ],
  "InitImageSlot.makeWith": [
    // What a program without types may pass.
    InitImageSlot.makeWith({} as InitImageSlot.Options),
    "InitImageSlot.makeWith: prepare must be a function"
  ],
  "a slot's set": [Effect.flatMap(InitImageSlot.make, (slot) => slot.set(payload, badMode)), modeProblem]
}

describe("options that make no sense", () => {
  for (const [place, [effect, problem]] of Object.entries(mistakes)) {
    it.scoped(`are a defect of ${place}`, () =>
      Effect.gen(function*() {
        // Nothing else than the services of node and a scope is missing.
        const exit = yield* Effect.exit(effect as Effect.Effect<unknown, unknown, NodeContext.NodeContext>)
        assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", problem)
      }).pipe(Effect.provide(NodeContext.layer)))
  }
})
