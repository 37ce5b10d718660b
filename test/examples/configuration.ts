/** Configures the limits and the spool from the environment. Unset variables keep the defaults. */
import * as Config from "effect/Config"
import * as Layer from "effect/Layer"
import { type ImageFormat, InitImageLimits, InitImageSpool } from "session-init-image"

const optionalInteger = (name: string) => Config.integer(name).pipe(Config.withDefault(undefined))

const mime = Config.literal("image/png", "image/jpeg", "image/webp")

/**
 * - `MAX_IMAGE_BYTES`, `MAX_IMAGE_PIXELS`: the limits of one image
 * - `IMAGE_FORMATS`: the accepted types, such as `image/png,image/webp`
 */
const Limits = InitImageLimits.layerConfig({
  maxBytes: optionalInteger("MAX_IMAGE_BYTES"),
  maxPixels: optionalInteger("MAX_IMAGE_PIXELS"),
  acceptedFormats: Config.array(mime(), "IMAGE_FORMATS").pipe(
    Config.withDefault<ReadonlyArray<ImageFormat.Mime> | undefined>(undefined)
  )
})

/**
 * - `IMAGE_DIRECTORY`: the parent of the spool's directory
 * - `MAX_DISK_BYTES`: the limit of all kept images
 * - `STALE_AFTER`: how long a process without a heartbeat counts as alive, such as `30 seconds`
 */
const Spool = InitImageSpool.layerConfig({
  directory: Config.nonEmptyString("IMAGE_DIRECTORY").pipe(Config.withDefault(undefined)),
  maxBytesKept: optionalInteger("MAX_DISK_BYTES"),
  staleAfter: Config.duration("STALE_AFTER").pipe(Config.withDefault(undefined))
})

/** Provide it to the whole program: an invalid value then fails the start of the server. */
export const layer = Layer.merge(Limits, Spool)
