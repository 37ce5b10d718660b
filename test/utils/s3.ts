/** Layers of stores in the tests' Ceph. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as InitImageStore from "../../src/InitImageStore.js"
import { isBun } from "../../src/internal/runtime.js"
import type { Ceph } from "./ceph.js"

/** The start of the tests' keys. */
export const prefix = "test/"

/** Bun's replacement of undici cannot send requests. */
const defaultClient = isBun ? NodeHttpClient.layer : NodeHttpClient.layerUndici

export const layer = (
  { accessKeyId, bucket, endpoint, region, secretAccessKey }: Omit<Ceph, "stop">,
  options: Partial<InitImageStore.S3Options<unknown>> = {},
  client: Layer.Layer<HttpClient.HttpClient> = defaultClient
) =>
  InitImageStore.layerS3({
    endpoint,
    bucket,
    region,
    prefix,
    credentials: Effect.succeed({
      accessKeyId: Redacted.make(accessKeyId),
      secretAccessKey: Redacted.make(secretAccessKey)
    }),
    ...options
  }).pipe(Layer.provide(client), Layer.provideMerge(NodeContext.layer))
