/** Images written by sharp. */
import sharp from "sharp"
import { payloadOf } from "../../utils/payloads.js"

const noise = (width: number, height: number) =>
  sharp({
    create: { width, height, channels: 3, background: "grey", noise: { type: "gaussian", mean: 128, sigma: 20 } }
  })

const flat = (width: number, height: number) => sharp({ create: { width, height, channels: 3, background: "navy" } })

/** A 12-megapixel photograph, a screenshot and a WebP, with their dimensions. */
const encodePictures = async () =>
  [
    {
      payload: payloadOf("image/jpeg", await noise(4000, 3000).jpeg({ quality: 85 }).toBuffer(), "photo.jpg"),
      width: 4000,
      height: 3000
    },
    {
      payload: payloadOf("image/png", await flat(2560, 1440).png().toBuffer(), "screenshot.png"),
      width: 2560,
      height: 1440
    },
    {
      payload: payloadOf("image/webp", await noise(800, 600).webp().toBuffer(), "drawing.webp"),
      width: 800,
      height: 600
    }
  ] as const

let pictures: ReturnType<typeof encodePictures> | undefined

/** Encodes the pictures once in each process. */
export const makePictures = (): ReturnType<typeof encodePictures> => pictures ??= encodePictures()
