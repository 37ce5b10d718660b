/** The server on a free port and a directory of its own. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Server from "../../src/server/server.js"
import { list, makeDirectory } from "../utils/directory.js"
import { eventually } from "../utils/webSocketClient.js"

export interface Options {
  /** Variables of its environment. */
  readonly env?: Record<string, string>
  /** Where its log goes, line by line; nowhere by default. */
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
    files: () => list(directory),
    /** Waits until no image is left. */
    empty: eventually(() => assert.deepStrictEqual(list(directory), []))
  }
}, Effect.provide(NodeContext.layer))
