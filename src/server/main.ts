/**
 * The program `session-init-image`.
 */
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as commandLine from "./commandLine.js"
import * as openPage from "./openPage.js"
import * as Server from "./server.js"
import * as shutdown from "./shutdown.js"

const isPortTaken = (error: unknown): boolean =>
  error instanceof HttpServerError.ServeError
  && Predicate.hasProperty(error.cause, "code")
  && error.cause.code === "EADDRINUSE"

const serve = ({ env, open }: Extract<commandLine.Command, { readonly _tag: "Serve" }>): void => {
  const provider = ConfigProvider.orElse(ConfigProvider.fromMap(new Map(env)), () => ConfigProvider.fromEnv())
  const server = Layer.mapError(
    Server.layer,
    (error) =>
      isPortTaken(error) ? "The port is in use. Choose another one with --port, or a free one with --port 0" : error
  )
  shutdown.run((open ? Layer.provideMerge(openPage.layer, server) : server).pipe(
    Layer.provide(Layer.setConfigProvider(provider))
  ))
}

const command = commandLine.parse(process.argv.slice(2))
switch (command._tag) {
  case "Print":
    process.stdout.write(command.text)
    break
  case "Refuse":
    process.stderr.write(command.text)
    process.exitCode = 2
    break
  case "Serve":
    serve(command)
}
