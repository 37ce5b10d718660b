/** An `HttpApi` with the group of init images on a real socket, and its client. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServer from "@effect/platform/HttpServer"
import type * as Path from "@effect/platform/Path"
import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Buffer } from "node:buffer"
import * as Http from "node:http"
import { InitImageApi } from "../../src/index.js"

export class Api extends HttpApi.make("api").add(InitImageApi.group) {}

const addressOf = (context: Context.Context<HttpServer.HttpServer>) => {
  const { address } = Context.get(context, HttpServer.HttpServer)
  return address._tag === "TcpAddress" ? address.port : assert.fail("not a TCP address")
}

/** Serves an API until the scope closes. */
export const serveApi = Effect.fnUntraced(function*<E>(
  live: Layer.Layer<HttpApi.Api | InitImageApi.Sessions, E, FileSystem.FileSystem | Path.Path>
) {
  const server = NodeHttpServer.layer(() => Http.createServer(), { host: "127.0.0.1", port: 0 })
  const context = yield* Layer.build(HttpApiBuilder.serve().pipe(Layer.provideMerge(live), Layer.provideMerge(server)))
  const port = addressOf(context)
  return { port, url: `http://127.0.0.1:${port}`, sessions: Context.get(context, InitImageApi.Sessions) }
})

export const pathOf = (session: string) => `/sessions/${session}/init-image`

export const request = (url: string, init: RequestInit = {}, session = "a") =>
  Effect.promise(async () => {
    const response = await fetch(url + pathOf(session), init)
    const body = Buffer.from(await response.arrayBuffer())
    return { status: response.status, headers: response.headers, body, text: body.toString() }
  })

export const put = (url: string, body: string | Uint8Array | FormData, type = "application/json", session = "a") =>
  request(url, { method: "PUT", body, headers: body instanceof FormData ? {} : { "content-type": type } }, session)

export const putImage = (url: string, bytes: Uint8Array, session?: string) => put(url, bytes, "image/png", session)
