/** The page's texts. */
import type { ImageDescription } from "../../browser/promise.js"

export interface Words {
  readonly title: string
  readonly text: string
}

const formats = { "image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WebP" }

const maxNameLength = 28
const keptAtEnd = 11

/** A file name without characters that garble a sentence, shortened in the middle. */
export const shortName = (name: string): string => {
  const characters = Array.from(name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ""))
  return characters.length <= maxNameLength
    ? characters.join("")
    : [...characters.slice(0, maxNameLength - keptAtEnd - 1), "…", ...characters.slice(-keptAtEnd)].join("")
}

export const quoted = (file: { readonly name: string }): string => `“${shortName(file.name)}”`

const units = [
  { name: "kB", bytes: 1000 },
  { name: "MB", bytes: 1_000_000 }
] as const

const [kilobyte, megabyte] = units

const unitOf = (bytes: number) => bytes < megabyte.bytes ? kilobyte : megabyte

const oneDecimal = { minimumFractionDigits: 1, maximumFractionDigits: 1 }

const inUnit = (bytes: number, unit: typeof units[number]): string => {
  const digits = unit === megabyte ? oneDecimal : { maximumFractionDigits: 0 }
  return (bytes / unit.bytes).toLocaleString("en", digits)
}

/** `4.1 MB`; decimal units, as phones and file managers show them. */
export const size = (bytes: number): string => {
  if (bytes < kilobyte.bytes) return bytes === 1 ? "1 byte" : `${bytes} bytes`
  const unit = unitOf(bytes)
  return `${inUnit(bytes, unit)} ${unit.name}`
}

/** A limit, rounded down: a file of the size that it tells is not refused. */
export const limit = (bytes: number): string => {
  const step = bytes < megabyte.bytes ? kilobyte.bytes : megabyte.bytes / 10
  return size(bytes < kilobyte.bytes ? bytes : Math.floor(bytes / step) * step)
}

/** `1.3 of 4.1 MB` */
export const amount = (received: number, bytes: number): string => {
  const unit = unitOf(bytes)
  return `${inUnit(received, unit)} of ${inUnit(bytes, unit)} ${unit.name}`
}

/** `2.0 MB/s · 12 s left`; empty while the rate is unknown. */
export const pace = (bytesLeft: number, bytesPerSecond: number | undefined): string => {
  if (bytesPerSecond === undefined || bytesPerSecond <= 0) return ""
  const seconds = Math.ceil(bytesLeft / bytesPerSecond)
  const left = seconds < 60 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`
  return `${size(Math.round(bytesPerSecond))}/s · ${left} left`
}

const duration = (milliseconds: number): string =>
  milliseconds < 1000
    ? `${Math.max(1, Math.round(milliseconds))} ms`
    : `${(milliseconds / 1000).toLocaleString("en", { maximumFractionDigits: 1 })} s`

/** Name, type, dimensions, size and time. */
export const facts = (image: ImageDescription, milliseconds: number): ReadonlyArray<string> => [
  image.display_name,
  formats[image.mime],
  `${image.upright_width} × ${image.upright_height} pixels`,
  size(image.bytes),
  duration(milliseconds)
]

/** An error as the page and the server encode it. */
export type ErrorJson = Readonly<Record<string, unknown>>

/** Why a picture was not accepted, with the error that said so. */
export interface Refusal extends Words {
  readonly error: ErrorJson
  /** Whether the same file may be accepted later. */
  readonly isRetryable: boolean
}

const otherPictures: Readonly<Record<string, string>> = {
  gif: "a GIF",
  heic: "a HEIC photo",
  avif: "an AVIF picture",
  bmp: "a bitmap",
  tiff: "a TIFF picture",
  svg: "an SVG drawing",
  ico: "an icon",
  jxl: "a JPEG XL picture",
  jp2: "a JPEG 2000 picture",
  psd: "a Photoshop file"
}

const otherFiles: Readonly<Record<string, string>> = {
  pdf: "a PDF",
  mp4: "a video",
  webm: "a video",
  zip: "an archive",
  gzip: "an archive",
  html: "a web page",
  xml: "an XML file"
}

const wrongType = (name: string, detected: unknown): Words => {
  const picture = otherPictures[String(detected)]
  if (picture !== undefined) {
    return { title: `${name} is ${picture}`, text: "Save it as a JPEG, PNG or WebP, and choose the new file." }
  }
  const other = otherFiles[String(detected)]
  return {
    title: other === undefined ? `${name} cannot be read as a picture` : `${name} is ${other}`,
    text: "Choose a JPEG, PNG or WebP picture instead."
  }
}

const tooLarge = (name: string, bytes: number, most: number): Words => ({
  title: `${name} is too large`,
  text: `${
    size(bytes) === limit(most)
      ? `It is just over the limit of ${limit(most)}.`
      : `It takes ${size(bytes)}, and the limit is ${limit(most)}.`
  } Make it smaller, and choose it again.`
})

const megapixels = (pixels: number): string =>
  `${(pixels / 1_000_000).toLocaleString("en", { maximumFractionDigits: pixels < 10_000_000 ? 1 : 0 })} megapixels`

const tooManyPixels = (name: string, { height, limit, width }: ErrorJson): Words => ({
  title: `${name} has too many pixels`,
  text: typeof width === "number" && typeof height === "number" && typeof limit === "number"
    ? `It has ${megapixels(width * height)}, and the limit is ${megapixels(limit)}. Scale it down, and choose it again.`
    : "Scale it down, and choose it again."
})

const malformed = (name: string, reason: unknown): Words =>
  reason === "Truncated"
    ? {
      title: `${name} is not complete`,
      text: "Its end is missing. Copy or download it again, or choose another picture."
    }
    : reason === "UnsupportedProcess"
    ? {
      title: `${name} is a rare kind of JPEG`,
      text: "Save it as an ordinary JPEG or a PNG, and choose the new file."
    }
    : {
      title: `${name} is damaged`,
      text: "Open it in a picture editor, save it again, and choose the new file."
    }

const wordsOf = (error: ErrorJson, file: File): Words => {
  const name = quoted(file)
  switch (error["_tag"] ?? error["code"]) {
    case "InvalidMime":
    case "ContentMismatch":
      return wrongType(name, error["detected"])
    case "Empty":
      return { title: `${name} is empty`, text: "Copy or download it again, or choose another picture." }
    case "TooLarge":
      return tooLarge(name, file.size, Number(error["limit"]))
    case "TooManyPixels":
      return tooManyPixels(name, error)
    case "MalformedImage":
      return malformed(name, error["reason"])
    case "UnreadableBlob":
      return { title: `${name} could not be opened`, text: "It was moved or changed meanwhile. Choose it again." }
    case "Busy":
      return { title: "The server is full at the moment", text: `${name} was not stored. Try again in a minute.` }
    case "internal_error":
      return { title: "The server could not store the picture", text: `${name} was not stored. Try again later.` }
    case "InvalidPayload":
      return { title: `${name} did not arrive intact`, text: "Send it again." }
    default:
      return { title: `The server did not accept ${name}`, text: "Choose another picture." }
  }
}

/** Says in plain words why a picture was not accepted, and what to do about it. */
export const refusal = (error: ErrorJson, file: File): Refusal => ({
  ...wordsOf(error, file),
  error,
  isRetryable: error["retryable"] === true || error["_tag"] === "InvalidPayload"
})

export const nothingPasted = "The clipboard holds no picture. Copy one, and paste again."

export const nothingDropped = "That is not a file. Drag a picture from a folder."

export const folderDropped = "That is a folder. Drag one picture from it."

export const tooManyFiles = (count: number) =>
  `A session takes one picture, and these were ${count} files. None was sent: choose one of them.`
