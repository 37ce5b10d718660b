/** The page's texts. */
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
  `${image.upright_width} × ${image.upright_height} pixels`,
  size(image.bytes),
  duration(milliseconds)
]

const notAPicture: Words = {
  title: "This file type is not supported.",
  detail: "Please choose a PNG, JPEG or WebP file."
}

const byCode: Readonly<Record<string, (message: string) => Words>> = {
  invalid_mime: () => notAPicture,
  empty: () => ({ title: "This file is empty.", detail: "" }),
  too_large: (detail) => ({ title: "This picture is too large.", detail }),
  content_mismatch: (detail) => ({ title: "The file's contents do not match its type.", detail }),
  malformed_image: (detail) => ({ title: "This picture is damaged or incomplete.", detail }),
  too_many_pixels: (detail) => ({ title: "This picture has too many pixels.", detail }),
  invalid_payload: () => ({ title: "The picture did not arrive intact.", detail: "Please send it again." }),
  busy: (detail) => ({ title: "The server has no room at the moment.", detail }),
  internal_error: () => ({ title: "The server could not store the picture.", detail: "Please try again later." })
}

/** Explains why a picture was refused, and whether sending the same file again can succeed. */
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
      return { title: "This file is empty.", detail: "It contains no data." }
    case "TooLarge":
      return {
        title: "This picture is too large.",
        detail: `It has ${size(file.size)}; the limit is ${size(error.limit)}.`
      }
    case "ContentMismatch": {
      const detected = detectedKinds[error.detected]
      if (error.declared === undefined) return notAPicture
      const declared = detectedKinds[error.declared] ?? "a picture"
      return {
        title: "The file's contents do not match its type.",
        detail: detected === undefined
          ? `It is labeled as ${declared}, but its contents are of another type.`
          : `It is labeled as ${declared}, but it contains ${detected}.`
      }
    }
    case "UnreadableBlob":
      return {
        title: "The file could not be read.",
        detail: "It may have been changed or moved. Please choose it again."
      }
    case "ServerError":
      return byCode[error.code]?.(error.message) ??
        { title: "The server refused the picture.", detail: error.message }
  }
}

export const connectionLost: Words = {
  title: "The connection was lost.",
  detail: "The server ends the session and deletes its picture."
}

export const unreachable: Words = {
  title: "The server cannot be reached.",
  detail: "The server may be down, or this device may be offline."
}

export const cancelled = "Cancelled. The server has kept no part of the picture."

export const cancelledReplacement = "Cancelled. The session keeps its previous picture."

export const pictureDeleted = "The session has ended, and the server has deleted its picture."

export const pictureNotDeleted: Words = {
  title: "The picture is still on the server.",
  detail: "The session has ended, but the server has not deleted its picture."
}

export const nothingPasted: Words = {
  title: "The clipboard contains no picture.",
  detail: "Copy a picture or a picture file, and paste again."
}

export const nothingDropped: Words = {
  title: "The dropped item is not a file.",
  detail: "Drop a picture file here, for example from a folder."
}
