/** Runs the servers of the examples. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as NodeServer from "session-init-image/NodeServer"
import { InitImageSpool } from "../../src/index.js"
import { imagesIn } from "../integration/server/testServer.js"
import { makeDirectory } from "../utils/directory.js"
import { eventually } from "../utils/webSocketClient.js"
import { Generator } from "./generator.js"

export const Platform = NodeHttpServer.layer(() => NodeServer.make(), { port: 0, host: "127.0.0.1" })

/** Serves until the scope closes, with a spool in a new directory. Collects the log. */
export const serve = Effect.fnUntraced(function*<E>(
  layer: Layer.Layer<never, E, Layer.Layer.Success<typeof Platform>>
) {
  const directory = yield* makeDirectory
  const lines: Array<string> = []
  const context = yield* Layer.build(layer.pipe(
    Layer.provide(InitImageSpool.layer({ directory })),
    Layer.provideMerge(Platform),
    Layer.provide(
      Logger.replace(Logger.defaultLogger, Logger.map(Logger.logfmtLogger, (line) => void lines.push(line)))
    )
  ))
  const { address } = Context.get(context, HttpServer.HttpServer)
  if (address._tag !== "TcpAddress") return yield* Effect.dieMessage("not a TCP address")
  return {
    directory,
    log: () => lines.join("\n"),
    port: address.port,
    url: `http://${address.hostname}:${address.port}`,
    socketUrl: `ws://${address.hostname}:${address.port}`,
    images: () => imagesIn(directory),
    /** Waits until `count` images are left. */
    left: (count: number) => eventually(() => assert.lengthOf(imagesIn(directory), count))
  }
})

/** Sends a request and reads the whole answer. */
export const request = (url: string, init: RequestInit = {}) =>
  Effect.promise(async () => {
    const response = await fetch(url, init)
    const text = await response.text()
    return { status: response.status, headers: response.headers, text }
  })

export const post = (url: string, type: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
  request(url, { method: "POST", body, headers: { "content-type": type, ...headers } })

/** A generator that signals `started`, waits for `go`, and then generates. */
export const makeSlowGenerator = Effect.gen(function*() {
  const started = yield* Deferred.make<void>()
  const go = yield* Deferred.make<void>()
  const layer = Layer.effect(
    Generator,
    Effect.map(Generator, ({ generate }) => ({
      generate: (image, prompt) =>
        Deferred.succeed(started, void 0).pipe(
          Effect.zipRight(Deferred.await(go)),
          Effect.zipRight(generate(image, prompt))
        )
    }))
  )
  return { layer, started: Deferred.await(started), go: Deferred.succeed(go, void 0) }
})
