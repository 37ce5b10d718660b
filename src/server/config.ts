/**
 * What the server takes from its environment.
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as InitImageLimits from "../InitImageLimits.js"
import * as InitImageSpool from "../InitImageSpool.js"

const port = Config.integer("PORT").pipe(
  Config.validate({ message: "Expected a port from 0 to 65535", validation: (n) => n >= 0 && n <= 65535 }),
  Config.withDefault(8787)
)

const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || host.startsWith("127.")

const list = (name: string) => Config.array(Config.nonEmptyString(), name).pipe(Config.withDefault(undefined))

/** What a server on the loopback address goes by: a name that somebody else has pointed there is none of its. */
const loopbackHosts = ["localhost", "127.0.0.1", "[::1]"]

/**
 * - `HOST`: the address to listen on; the loopback address by default, so that nobody else reaches it
 * - `PORT`: 8787 by default; 0 for any that is free
 * - `INIT_IMAGE_OPENING_TIMEOUT`: how long a WebSocket may say nothing before its first message; `10 seconds`
 * - `INIT_IMAGE_ORIGINS`: other sites whose pages may use the server, such as `https://app.example.com`; several are
 *   separated by commas
 * - `INIT_IMAGE_HOSTS`: the host names that the server goes by; on the loopback address those of that by default, and
 *   any elsewhere
 */
export const server = Config.all({
  host: Config.nonEmptyString("HOST").pipe(Config.withDefault("127.0.0.1")),
  port,
  openingTimeout: Config.duration("INIT_IMAGE_OPENING_TIMEOUT").pipe(Config.withDefault(Duration.seconds(10))),
  origins: list("INIT_IMAGE_ORIGINS"),
  hosts: list("INIT_IMAGE_HOSTS")
}).pipe(
  Config.map(({ hosts, origins, ...server }) => ({
    ...server,
    origins: { origins, hosts: hosts ?? (isLoopback(server.host) ? [...loopbackHosts, server.host] : undefined) }
  }))
)

const optionalInteger = (name: string) => Config.integer(name).pipe(Config.withDefault(undefined))

/**
 * - `INIT_IMAGE_MAX_BYTES`: see `InitImageLimits.MaxBytes`
 * - `INIT_IMAGE_MAX_PIXELS`: see `InitImageLimits.MaxPixels`
 */
export const limits = InitImageLimits.layerConfig({
  maxBytes: optionalInteger("INIT_IMAGE_MAX_BYTES"),
  maxPixels: optionalInteger("INIT_IMAGE_MAX_PIXELS")
})

/**
 * `INIT_IMAGE_DIRECTORY`: in which the server makes a directory of its own for the images, and which is made if it is
 * not there; the system's temporary folder by default.
 */
export const directory = Config.nonEmptyString("INIT_IMAGE_DIRECTORY").pipe(Config.withDefault(undefined))

/**
 * See `InitImageSpool.Options`:
 *
 * - `INIT_IMAGE_MAX_BYTES_IN_FLIGHT`
 * - `INIT_IMAGE_MAX_BYTES_KEPT`
 * - `INIT_IMAGE_MAX_FILES_KEPT`
 * - `INIT_IMAGE_ON_FULL`: `wait` or `fail`
 */
export const spool = InitImageSpool.layerConfig({
  directory,
  maxBytesInFlight: optionalInteger("INIT_IMAGE_MAX_BYTES_IN_FLIGHT"),
  maxBytesKept: optionalInteger("INIT_IMAGE_MAX_BYTES_KEPT"),
  maxFilesKept: optionalInteger("INIT_IMAGE_MAX_FILES_KEPT"),
  onFull: Config.literal("wait", "fail")("INIT_IMAGE_ON_FULL").pipe(Config.withDefault(undefined))
})
