/** Decodes, scales and encodes one picture with sharp. Runs in this process or in a child. */
import type { default as SharpModule, Sharp as Image } from "sharp"
import { type Job, type Output, type Reply, undecodable } from "./job.js"

export type Sharp = typeof SharpModule

const open = (sharp: Sharp, { failOn, path, pixels }: Job): Image =>
  // The first page of an animation is the default. libvips has `truncated` below `error`, so that is an error too.
  sharp(path, { failOn, limitInputPixels: pixels })

/**
 * Extracts the whole stored picture, so that sharp does not load a JPEG or WebP at a reduced size: that passes over damage
 * of which a decoder warns at full size. Answers whether the header could be read.
 */
const selectAll = (image: Image): Promise<boolean> =>
  image.metadata().then(
    ({ height, width }) => {
      image.extract({ left: 0, top: 0, width, height })
      return true
    },
    () => false
  )

/** Scales to one pixel, so that the whole image is decoded and not kept. */
const drop = (image: Image): Image => image.resize(1, 1, { fit: "fill" }).raw()

/** sharp converts an embedded profile to sRGB and writes no metadata unless asked to. */
const normalize = (image: Image, { background, fit, format, height, width }: Output): Image => {
  const scaled = image.autoOrient().resize(width, height, {
    fit,
    background: background ?? "#000"
  })
  const opaque = background === undefined ? scaled : scaled.flatten({ background })
  const converted = opaque.toColourspace("srgb")
  switch (format) {
    case "png":
      return converted.png()
    case "jpeg":
      return converted.jpeg({ quality: 92, chromaSubsampling: "4:4:4" })
    case "webp":
      return converted.webp({ quality: 92 })
  }
}

/** Settles once the native work has ended. Rejects for a job that sharp does not take. */
export const decode = async (sharp: Sharp, job: Job): Promise<Reply> => {
  const image = open(sharp, job)
  if (job.failOn === "warning" && !await selectAll(image)) return undecodable
  const pipeline = job.output === undefined ? drop(image) : normalize(image, job.output)
  return pipeline.toBuffer().then(
    (bytes): Reply => ({ _tag: "Decoded", bytes }),
    () => undecodable
  )
}
