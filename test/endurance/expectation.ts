/** Computes the documented result of a payload from all of its bytes, without the pipeline. */
import { Buffer } from "node:buffer"
import * as ImageFormat from "../../src/ImageFormat.js"

export interface Limits {
  readonly maxBytes: number
  readonly maxPixels: number
}

export interface ExpectedImage extends ImageFormat.ImageHeader {
  readonly _tag: "Image"
  readonly mime: string
  readonly all: Uint8Array
}

/** An image, no image, or an encoded error. */
export type Expected = ExpectedImage | { readonly _tag: "None" } | {
  readonly _tag: string
  readonly [key: string]: unknown
}

const none: Expected = { _tag: "None" }
export const invalidMime: Expected = { _tag: "InvalidMime", accepted: ["image/png", "image/jpeg", "image/webp"] }
export const notJson: Expected = { _tag: "InvalidPayload", reason: "NotJson" }

export const isImage = (expected: Expected): expected is ExpectedImage => expected._tag === "Image"

const formatOf = (mime: unknown): ImageFormat.ImageFormat | undefined => {
  const subtype = typeof mime === "string" ? /^image\/(png|jpe?g|webp)$/i.exec(mime)?.[1]?.toLowerCase() : undefined
  return ImageFormat.formats.find(({ name }) => name === (subtype === "jpg" ? "jpeg" : subtype))
}

/** Judges the bytes up to an error in their encoding, if there is one. */
const judge = (format: ImageFormat.ImageFormat, all: Uint8Array, { maxPixels }: Limits, wrong?: Expected): Expected => {
  const probe = ImageFormat.makeProbe(format, { maxPixels })
  const early = probe.push(all)
  if (early === undefined && wrong !== undefined) return wrong
  const outcome = early ?? probe.end()
  switch (outcome._tag) {
    case "Image":
      return { ...outcome, mime: format.mime, all }
    case "ContentMismatch":
      return { ...outcome, declared: format.name }
    case "MalformedImage":
      return { ...outcome, format: format.name }
    case "TooManyPixels":
      return { ...outcome, limit: maxPixels }
  }
}

interface Base64 {
  /** The bytes before the first invalid group. */
  readonly all: Buffer
  readonly wrong: { readonly _tag: "BadBase64"; readonly reason: string; readonly offset: number } | undefined
}

/** Decodes text whose length is a multiple of 4. */
export const readBase64 = (data: string): Base64 => {
  const body = data.slice(0, data.length - (/={0,2}$/.exec(data.slice(-2))?.[0].length ?? 0))
  const at = body.search(/[^A-Za-z0-9+/]/)
  const offset = at < 0 ? body.length - 1 : at
  const reason = at >= 0
    ? body[at] === "=" ? "Padding" : "Character"
    : Buffer.from(data, "base64").toString("base64") === data
    ? undefined
    : "UnusedBits"
  const valid = reason === undefined ? data : data.slice(0, offset - offset % 4)
  return {
    all: Buffer.from(valid, "base64"),
    wrong: reason === undefined ? undefined : { _tag: "BadBase64", reason, offset }
  }
}

/** The decoded size, from the length and the padding. */
const sizeOf = (data: string): number =>
  Math.floor(data.length * 3 / 4) - (data.length % 4 === 0 ? /={0,2}$/.exec(data.slice(-2))?.[0].length ?? 0 : 0)

export const ofPayload = (payload: unknown, limits: Limits): Expected => {
  if (payload === null || payload === undefined || payload === false || payload === 0 || payload === "") return none
  if (typeof payload === "object" && Object.keys(payload).length === 0) return none
  if (typeof payload !== "object" || Array.isArray(payload)) return { _tag: "InvalidPayload", reason: "NotAnObject" }
  const { data, mime } = payload as Record<string, unknown>
  const format = formatOf(mime)
  if (format === undefined) return invalidMime
  if (typeof data !== "string") return { _tag: "InvalidPayload", reason: "DataNotAString" }
  if (data === "") return { _tag: "Empty" }
  const bytes = sizeOf(data)
  if (bytes > limits.maxBytes) return { _tag: "TooLarge", bytes, limit: limits.maxBytes }
  if (data.length % 4 !== 0) return { _tag: "BadBase64", reason: "Length" }
  const { all, wrong } = readBase64(data)
  return judge(format, all, limits, wrong)
}

export const ofStream = (mime: string, all: Uint8Array, limits: Limits): Expected => {
  const format = formatOf(mime)
  if (format === undefined) return invalidMime
  if (all.length === 0) return { _tag: "Empty" }
  const tooLarge = { _tag: "TooLarge", bytes: Math.floor(limits.maxBytes) + 1, limit: limits.maxBytes }
  return judge(format, all.subarray(0, limits.maxBytes), limits, all.length > limits.maxBytes ? tooLarge : undefined)
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The expected result of a JSON message, and the message without the image data. */
export const ofJson = (
  all: Uint8Array,
  at: ReadonlyArray<string>,
  limits: Limits
): { readonly expected: Expected; readonly message: unknown } => {
  let message: unknown
  try {
    message = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(all))
  } catch {
    return { expected: notJson, message: undefined }
  }
  let payload = message
  for (const key of at) payload = isRecord(payload) && Object.hasOwn(payload, key) ? payload[key] : undefined
  const expected = ofPayload(payload, limits)
  if (isRecord(payload)) delete payload["data"]
  return { expected, message }
}

/** The nesting depth of a text, valid or not, outside of strings. */
export const depthOf = (all: Uint8Array): number => {
  let depth = 0
  let deepest = 0
  const text = Buffer.from(all).toString("latin1").replaceAll(/"[^"\\]*(?:\\[^][^"\\]*)*(?:"|\\?$)/g, "")
  for (const [bracket] of text.matchAll(/[[\]{}]/g)) {
    if (bracket === "[" || bracket === "{") deepest = Math.max(deepest, ++depth)
    else if (depth > 0) depth--
  }
  return deepest
}
