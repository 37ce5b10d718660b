/** Runs the server on a free port, with a new directory. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { readdirSync, renameSync } from "node:fs"
import * as Server from "../../../src/server/server.js"
import { makeDirectory } from "../../utils/directory.js"
import { eventually } from "../../utils/webSocketClient.js"

/** Lists the images in a server's directory, as relative paths. */
export const imagesIn = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((path) => /\.\w+$/.test(path)).toSorted()

export interface Options {
  /** Environment variables. */
  readonly env?: Record<string, string>
  /** Receives each line of the log. */
  readonly log?: (line: string) => void
}

/** Serves until the scope closes. */
export const serve = Effect.fnUntraced(function*({ env = {}, log = () => {} }: Options = {}) {
  const directory = yield* makeDirectory
  const provider = ConfigProvider.fromMap(
    new Map(Object.entries({ PORT: "0", INIT_IMAGE_DIRECTORY: directory, ...env }))
  )
  const context = yield* Layer.build(Server.layer.pipe(
    Layer.provide([
      Layer.setConfigProvider(provider),
      Logger.replace(Logger.defaultLogger, Logger.map(Logger.logfmtLogger, log))
    ])
  ))
  const { address } = Context.get(context, HttpServer.HttpServer)
  if (address._tag !== "TcpAddress") return yield* Effect.dieMessage("not a TCP address")
  return {
    directory,
    port: address.port,
    url: `http://${address.hostname}:${address.port}`,
    stream: `ws://${address.hostname}:${address.port}/v1/stream`,
    files: () => imagesIn(directory),
    /** Waits until the directory holds no image. */
    empty: eventually(() => assert.deepStrictEqual(imagesIn(directory), []))
  }
}, Effect.provide(NodeContext.layer))

/** Requires that `GET /healthz` answers 200. */
export const isHealthy = (url: string) =>
  Effect.promise(async () => assert.strictEqual((await fetch(`${url}/healthz`)).status, 200))

/** Renames a server's directory until the scope closes. */
export const moveAway = (directory: string) =>
  Effect.acquireRelease(
    Effect.sync(() => renameSync(directory, `${directory}-elsewhere`)),
    () => Effect.sync(() => renameSync(`${directory}-elsewhere`, directory))
  )
