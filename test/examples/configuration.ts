/** Limits and the spool, as the environment says. What is not set there stays as it is. */
import * as Config from "effect/Config"
import * as Layer from "effect/Layer"
import { type ImageFormat, InitImageLimits, InitImageSpool } from "session-init-image"

const optionalInteger = (name: string) => Config.integer(name).pipe(Config.withDefault(undefined))

const mime = Config.literal("image/png", "image/jpeg", "image/webp")

/**
 * - `MAX_IMAGE_BYTES`, `MAX_IMAGE_PIXELS`: of one image
 * - `IMAGE_FORMATS`: such as `image/png,image/webp`
 */
const Limits = InitImageLimits.layerConfig({
  maxBytes: optionalInteger("MAX_IMAGE_BYTES"),
  maxPixels: optionalInteger("MAX_IMAGE_PIXELS"),
  acceptedFormats: Config.array(mime(), "IMAGE_FORMATS").pipe(
    Config.withDefault<ReadonlyArray<ImageFormat.Mime> | undefined>(undefined)
  )
})

/**
 * - `IMAGE_DIRECTORY`: where the process makes a directory of its own
 * - `MAX_DISK_BYTES`: of all images that it keeps
 * - `STALE_AFTER`: how long a process that says nothing still counts as alive, such as `30 seconds`
 */
const Spool = InitImageSpool.layerConfig({
  directory: Config.nonEmptyString("IMAGE_DIRECTORY").pipe(Config.withDefault(undefined)),
  maxBytesKept: optionalInteger("MAX_DISK_BYTES"),
  staleAfter: Config.duration("STALE_AFTER").pipe(Config.withDefault(undefined))
})

/** To be provided to a whole program: a server does not start with a setting that makes no sense. */
export const layer = Layer.merge(Limits, Spool)
