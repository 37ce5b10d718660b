/**
 * What the server takes from its environment.
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as InitImageLimits from "../InitImageLimits.js"

const port = Config.integer("PORT").pipe(
  Config.validate({ message: "Expected a port from 0 to 65535", validation: (n) => n >= 0 && n <= 65535 }),
  Config.withDefault(8787)
)

/**
 * - `HOST`: the address to listen on; the loopback address by default, so that nobody else reaches it
 * - `PORT`: 8787 by default; 0 for any that is free
 * - `INIT_IMAGE_DIRECTORY`: where the images go, made if it is not there; the system's temporary folder by default
 * - `INIT_IMAGE_OPENING_TIMEOUT`: how long a WebSocket may say nothing before its first message; `10 seconds`
 */
export const server = Config.all({
  host: Config.nonEmptyString("HOST").pipe(Config.withDefault("127.0.0.1")),
  port,
  directory: Config.nonEmptyString("INIT_IMAGE_DIRECTORY").pipe(Config.withDefault(undefined)),
  openingTimeout: Config.duration("INIT_IMAGE_OPENING_TIMEOUT").pipe(Config.withDefault(Duration.seconds(10)))
})

/**
 * - `INIT_IMAGE_MAX_BYTES`: see `InitImageLimits.MaxBytes`
 * - `INIT_IMAGE_MAX_PIXELS`: see `InitImageLimits.MaxPixels`
 */
export const limits = InitImageLimits.layerConfig({
  maxBytes: Config.integer("INIT_IMAGE_MAX_BYTES").pipe(Config.withDefault(undefined)),
  maxPixels: Config.integer("INIT_IMAGE_MAX_PIXELS").pipe(Config.withDefault(undefined))
})
