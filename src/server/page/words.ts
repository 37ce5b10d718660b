/** What the page says, in words for people. */
import type { ImageDescription, SendError } from "../../browser/promise.js"

export interface Words {
  readonly title: string
  readonly detail: string
}

const kinds = { "image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WebP" }

const detectedKinds: Readonly<Record<string, string>> = {
  png: "a PNG",
  jpeg: "a JPEG",
  webp: "a WebP",
  gif: "a GIF",
  heic: "a HEIC picture",
  avif: "an AVIF picture",
  bmp: "a bitmap",
  tiff: "a TIFF picture",
  svg: "an SVG drawing",
  ico: "an icon",
  jxl: "a JPEG XL picture",
  jp2: "a JPEG 2000 picture",
  psd: "a Photoshop document",
  pdf: "a PDF document",
  mp4: "a video",
  webm: "a video",
  zip: "an archive",
  gzip: "an archive",
  html: "a web page",
  xml: "an XML document"
}

const kibibyte = 1024
const mebibyte = 1024 * 1024

const decimal = (n: number): string => n.toLocaleString("en", { maximumFractionDigits: n < 10 ? 1 : 0 })

/** `4.1 MiB` */
export const size = (bytes: number): string =>
  bytes < kibibyte
    ? `${bytes} bytes`
    : bytes < mebibyte
    ? `${decimal(bytes / kibibyte)} KiB`
    : `${decimal(bytes / mebibyte)} MiB`

/** `1.3 of 4.1 MiB` */
export const amount = (received: number, bytes: number): string => {
  const unit = bytes < mebibyte ? kibibyte : mebibyte
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1 }
  return `${(received / unit).toLocaleString("en", digits)} of ${(bytes / unit).toLocaleString("en", digits)} ${
    unit === mebibyte ? "MiB" : "KiB"
  }`
}

const duration = (milliseconds: number): string =>
  milliseconds < 1000
    ? `${Math.max(1, Math.round(milliseconds))} ms`
    : `${(milliseconds / 1000).toLocaleString("en", { maximumFractionDigits: 1 })} s`

/** Name, type, dimensions, size and time. */
export const facts = (image: ImageDescription, milliseconds: number): ReadonlyArray<string> => [
  image.display_name,
  kinds[image.mime],
  `${image.width} × ${image.height} pixels`,
  size(image.bytes),
  duration(milliseconds)
]

const notAPicture: Words = {
  title: "This is not a picture that can be used.",
  detail: "Please choose a PNG, JPEG or WebP file."
}

const byCode: Readonly<Record<string, (message: string) => Words>> = {
  invalid_mime: () => notAPicture,
  empty: () => ({ title: "This file is empty.", detail: "" }),
  too_large: (detail) => ({ title: "This picture is too large.", detail }),
  content_mismatch: (detail) => ({ title: "This file is not what it says it is.", detail }),
  malformed_image: (detail) => ({ title: "This picture is damaged or incomplete.", detail }),
  too_many_pixels: (detail) => ({ title: "This picture has too many pixels.", detail }),
  invalid_payload: () => ({ title: "The picture did not arrive as it should.", detail: "Please send it again." }),
  busy: (detail) => ({ title: "The server has no room at the moment.", detail }),
  internal_error: () => ({ title: "The server could not store the picture.", detail: "Please try again later." })
}

/** Why a picture was refused, and whether it may be sent again as it is. */
export const refusal = (
  error: Exclude<SendError, { readonly _tag: "SocketClosed" }>,
  file: File
): Words & { readonly isRetryable: boolean } => ({ ...refusalWords(error, file), isRetryable: isRetryable(error) })

const isRetryable = (error: SendError): boolean =>
  error._tag === "ServerError" && (error.retryable || error.code === "invalid_payload")

const refusalWords = (error: Exclude<SendError, { readonly _tag: "SocketClosed" }>, file: File): Words => {
  switch (error._tag) {
    case "InvalidMime":
      return notAPicture
    case "Empty":
      return { title: "This file is empty.", detail: "There is nothing in it to send." }
    case "TooLarge":
      return {
        title: "This picture is too large.",
        detail: `It has ${size(file.size)}, and at most ${size(error.limit)} are allowed.`
      }
    case "ContentMismatch": {
      const declared = detectedKinds[error.declared] ?? "a picture"
      const detected = detectedKinds[error.detected]
      return {
        title: "This file is not what it says it is.",
        detail: detected === undefined
          ? `It says that it is ${declared}, but its contents are not.`
          : `It says that it is ${declared}, but its contents are ${detected}.`
      }
    }
    case "UnreadableBlob":
      return {
        title: "The file could not be read.",
        detail: "It may have been changed or moved since it was chosen. Please choose it again."
      }
    case "ServerError":
      return byCode[error.code]?.(error.message) ??
        { title: "The server refused the picture.", detail: error.message }
  }
}

export const connectionLost: Words = {
  title: "The connection was lost.",
  detail: "The server ends the session with it, and removes its picture."
}

export const unreachable: Words = { title: "The server cannot be reached.", detail: "It may be down, or you offline." }

export const fileIsGone = "The session has ended. Asked for its picture once more, the server answered 404: it is gone."

export const fileIsThere: Words = {
  title: "The picture is still there.",
  detail: "The session has ended, but the server still answers with its picture."
}

export const nothingPasted: Words = {
  title: "There is no picture in the clipboard.",
  detail: "Copy a picture or a picture file, and paste again."
}

export const nothingDropped: Words = {
  title: "That was not a file.",
  detail: "Drop a picture file here, for example from a folder."
}
