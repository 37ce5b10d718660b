/** Images of every mode of each format, most of them written by sharp. */
import type { Sharp } from "sharp"
import sharp from "sharp"
import * as ImageFormat from "../../src/ImageFormat.js"
import * as images from "./images.js"

const { jpeg, png, webp } = ImageFormat

/** Coprime, so that a swapped or scaled size is noticed. */
const width = 37
const height = 23

const pixels = (channels: 1 | 2 | 3 | 4, pages = 1) =>
  sharp(images.noise(width * height * pages * channels), {
    raw: { width, height: height * pages, channels, ...(pages > 1 ? { pageHeight: height } : {}) }
  })

const written: Record<ImageFormat.Name, Record<string, () => Sharp>> = {
  png: {
    "RGB": () => pixels(3).png(),
    "RGBA": () => pixels(4).png(),
    "greyscale": () => pixels(1).toColourspace("b-w").png(),
    "greyscale with alpha": () => pixels(2).toColourspace("b-w").png(),
    "16 bits": () => pixels(3).toColourspace("rgb16").png(),
    "16 bits of grey": () => pixels(1).toColourspace("grey16").png(),
    "a palette": () => pixels(3).png({ palette: true }),
    "a palette of 2": () => pixels(3).png({ palette: true, colours: 2 }),
    "a palette with alpha": () => pixels(4).png({ palette: true, colours: 16 }),
    "interlaced": () => pixels(3).png({ progressive: true }),
    "interlaced palette": () => pixels(3).png({ progressive: true, palette: true }),
    "uncompressed": () => pixels(4).png({ compressionLevel: 0 }),
    "with an ICC profile": () => pixels(3).withIccProfile("p3").png()
  },
  jpeg: {
    "baseline": () => pixels(3).jpeg(),
    "progressive": () => pixels(3).jpeg({ progressive: true }),
    "greyscale": () => pixels(1).toColourspace("b-w").jpeg(),
    "CMYK": () => pixels(3).toColourspace("cmyk").jpeg(),
    "progressive CMYK": () => pixels(3).toColourspace("cmyk").jpeg({ progressive: true }),
    "4:4:4": () => pixels(3).jpeg({ chromaSubsampling: "4:4:4", quality: 100 }),
    "mozjpeg": () => pixels(3).jpeg({ mozjpeg: true }),
    "trellis": () =>
      pixels(3).jpeg({ trellisQuantisation: true, overshootDeringing: true, optimizeScans: true, progressive: true }),
    "quality 1": () => pixels(3).jpeg({ quality: 1, optimiseCoding: false }),
    "with an ICC profile": () => pixels(3).withIccProfile("p3").jpeg(),
    "with XMP": () => pixels(3).withXmp("<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"/>").jpeg()
  },
  webp: {
    "lossy": () => pixels(3).webp(),
    "lossy with alpha": () => pixels(4).webp(),
    "lossless": () => pixels(3).webp({ lossless: true }),
    "lossless with alpha": () => pixels(4).webp({ lossless: true }),
    "near-lossless": () => pixels(3).webp({ nearLossless: true }),
    "greyscale": () => pixels(1).toColourspace("b-w").webp(),
    "smart subsampling": () => pixels(3).webp({ smartSubsample: true, effort: 0 }),
    "animated": () => pixels(4, 3).webp({ loop: 0, delay: [10, 20, 30] }),
    "animated lossless": () => pixels(3, 3).webp({ lossless: true }),
    "animated mixed": () => pixels(4, 3).webp({ mixed: true, minSize: true }),
    "with an ICC profile": () => pixels(3).withIccProfile("p3").webp()
  }
}

export const orientations = [1, 2, 3, 4, 5, 6, 7, 8] as const

for (const format of ImageFormat.formats) {
  for (const orientation of orientations) {
    const write = () => pixels(3).withMetadata({ orientation }).toFormat(format.name)
    written[format.name][`with orientation ${orientation}`] = write
  }
}

export interface Sample {
  readonly format: ImageFormat.ImageFormat
  readonly all: Uint8Array
}

/** All modes that sharp writes. */
export const modes = ImageFormat.formats.flatMap((format) =>
  Object.entries(written[format.name]).map(([mode, write]) => ({ format, mode, write }))
)

const built: ReadonlyArray<Sample> = [
  { format: png, all: images.png({ width: 5, height: 3, orientation: 6 }) },
  { format: jpeg, all: images.jpeg({ width: 50, height: 30, orientation: 6 }) },
  { format: webp, all: images.webp({ width: 5, height: 3, orientation: 6 }) },
  {
    format: webp,
    all: images.riff(
      images.vp8x(9, 7, 2),
      images.webpChunk("ANIM", new Uint8Array(6)),
      images.anmf(9, 7),
      images.anmf(2, 2, 4, 4)
    )
  }
]

/** A valid image of each mode. */
export const samples: ReadonlyArray<Sample> = [
  ...built,
  ...await Promise.all(modes.map(async ({ format, write }) => ({ format, all: await write().toBuffer() })))
]
