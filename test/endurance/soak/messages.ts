/** Messages of the soak test, with their expected answers. */
import { Buffer } from "node:buffer"
import { refusals } from "../../integration/server/refusals.js"
import { jpegOfSize, pngOfSize, webpOfSize } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"
import { encodeFrame } from "../../utils/webSocketClient.js"
import type { Random } from "../random.js"

/** The server's limit for one image. */
export const maxBytes = 128 * 1024

const largest = 100 * 1024
const smallest = 160

const formats = [
  { mime: "image/png", ofSize: pngOfSize },
  { mime: "image/jpeg", ofSize: jpegOfSize },
  { mime: "image/webp", ofSize: webpOfSize }
]

export interface Picture {
  readonly mime: string
  readonly bytes: Uint8Array
}

/** A picture whose size is distributed evenly over the orders of magnitude. */
export const makePicture = (random: Random): Picture => {
  const { mime, ofSize } = random.pick(formats)
  const size = Math.round(smallest * (largest / smallest) ** (random.next() / 2 ** 32))
  return { mime, bytes: ofSize(size) }
}

/** A payload; `code` is the size of the image, `no image`, or an error code. */
export interface Payload {
  readonly json: string
  readonly code: string
  readonly status: number
}

export const valid = ({ bytes, mime }: Picture): Payload => ({
  json: JSON.stringify(payloadOf(mime, bytes, "../ref\n.png")),
  code: `image of ${bytes.length}`,
  status: 200
})

export const none: Payload = { json: "null", code: "no image", status: 200 }

/** Invalid payloads that are small enough to send thousands of times. */
export const hostile: ReadonlyArray<Payload> = [
  ...refusals.filter(({ tag }) => tag !== "TooLarge").map(({ code, payload, status }) => ({
    json: JSON.stringify(payload()),
    code,
    status
  })),
  // Small enough for the server to read the whole message: a larger one ends its session.
  {
    json: JSON.stringify({ mime: "image/png", data: "A".repeat(Math.ceil(maxBytes / 3) * 4 + 4) }),
    code: "too_large",
    status: 413
  }
]

export const messageOf = (type: string, { json }: Payload): string => `{"type":"${type}","initial_image":${json}}`

/** Invalid first frames, with the error code, if any, and the close code. */
export const wrongFrames: ReadonlyArray<{ readonly bytes: Buffer; readonly code?: string; readonly close: number }> = [
  { bytes: encodeFrame("not json"), code: "invalid_message", close: 1003 },
  { bytes: encodeFrame("[".repeat(1000)), code: "invalid_message", close: 1003 },
  { bytes: encodeFrame(messageOf("init_image_updated", none)), code: "invalid_message", close: 1003 },
  { bytes: encodeFrame(messageOf("session_init_v2", none), "binary"), code: "invalid_message", close: 1003 },
  // Not UTF-8.
  { bytes: encodeFrame(Buffer.of(0xff, 0xfe)).fill(0x81, 0, 1), close: 1007 },
  // A reserved opcode.
  { bytes: encodeFrame("{}").fill(0x83, 0, 1), close: 1002 },
  // Not masked.
  { bytes: Buffer.of(0x81, 2, 0x7b, 0x7d), close: 1002 }
]

/** A body of `POST`, and its status. */
export interface Post {
  readonly mime: string
  readonly bytes: Uint8Array
  readonly status: number
}

export const rawHostile = ({ bytes, mime }: Picture): ReadonlyArray<Post> => [
  { mime, bytes: bytes.subarray(0, -20), status: 422 },
  { mime, bytes: Buffer.from("GIF89a, or so it says"), status: 415 },
  { mime: "image/gif", bytes: Buffer.from("GIF89a"), status: 415 },
  { mime, bytes: new Uint8Array(), status: 400 },
  { mime: "image/png", bytes: pngOfSize(maxBytes + 1), status: 413 }
]

export const postOf = ({ json, status }: Payload): Post => ({
  mime: "application/json",
  bytes: Buffer.from(json),
  status
})
