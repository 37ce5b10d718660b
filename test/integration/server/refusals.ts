/** Invalid payloads, with the error and status of each. */
import { ascii, concat, png } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"

const gif = concat(ascii("GIF89a"), new Uint8Array(32))

export const refusals = [
  {
    title: "a GIF declared as PNG",
    payload: () => payloadOf("image/png", gif),
    tag: "ContentMismatch",
    code: "content_mismatch",
    status: 415
  },
  {
    title: "a header of 64250×64250",
    payload: () => payloadOf("image/png", png({ width: 64250, height: 64250 })),
    tag: "TooManyPixels",
    code: "too_many_pixels",
    status: 422
  },
  {
    title: "a truncated file",
    payload: () => payloadOf("image/png", png({ width: 40, height: 30 }).subarray(0, -20)),
    tag: "MalformedImage",
    code: "malformed_image",
    status: 422
  },
  {
    title: "the base64 of more than 32 MiB",
    payload: () => ({ mime: "image/png", data: "A".repeat(44_739_248) }),
    tag: "TooLarge",
    code: "too_large",
    status: 413
  },
  {
    title: "a mime that is an array",
    payload: () => ({ mime: [] }),
    tag: "InvalidMime",
    code: "invalid_mime",
    status: 415
  },
  {
    title: "a type that is not accepted",
    payload: () => payloadOf("image/gif", gif),
    tag: "InvalidMime",
    code: "invalid_mime",
    status: 415
  },
  {
    title: "data that is not base64",
    payload: () => ({ mime: "image/png", data: "!!!!" }),
    tag: "BadBase64",
    code: "bad_base64",
    status: 400
  },
  { title: "empty data", payload: () => ({ mime: "image/png", data: "" }), tag: "Empty", code: "empty", status: 400 },
  {
    title: "data that is a number",
    payload: () => ({ mime: "image/png", data: 1 }),
    tag: "InvalidPayload",
    code: "invalid_payload",
    status: 400
  },
  {
    title: "a payload that is a string",
    payload: () => "image",
    tag: "InvalidPayload",
    code: "invalid_payload",
    status: 400
  }
] as const

/** Contains a path, an escape sequence and a line break. */
export const hostileName = "../../etc/\u001b[31mred\n.png"
export const safeName = "[31mred.png"
