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
const accepted = ["image/png", "image/jpeg", "image/webp"]
export const invalidMime: Expected = { _tag: "InvalidMime", reason: "NotAccepted", accepted }
export const missingMime: Expected = { _tag: "InvalidMime", reason: "Missing", accepted }
export const notJson: Expected = { _tag: "InvalidPayload", reason: "NotJson" }

export const isImage = (expected: Expected): expected is ExpectedImage => expected._tag === "Image"

const essenceOf = (mime: string): string =>
  mime.replace(/;[^]*/, "").replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "").replace(/[A-Z]/g, (letter) => letter.toLowerCase())

/** The format of a type, `undefined` for no type or a general one, `null` for any other. */
const formatOf = (mime: unknown): ImageFormat.ImageFormat | undefined | null => {
  if (mime === undefined || mime === null) return undefined
  if (typeof mime !== "string") return null
  const essence = essenceOf(mime)
  if (/^(?:|(?:application|binary)\/octet-stream|image\/\*)$/.test(essence)) return undefined
  const subtype = /^image\/(png|x-png|jpe?g|pjpeg|webp)$/.exec(essence)?.[1]?.replace(/^x-|^p(?=j)/, "")
  return ImageFormat.formats.find(({ name }) => name === (subtype === "jpg" ? "jpeg" : subtype)) ?? null
}

/** Judges the bytes up to an error in their encoding, if there is one. */
const judge = (
  declared: ImageFormat.ImageFormat | undefined,
  all: Uint8Array,
  { maxPixels }: Limits,
  wrong?: Expected
): Expected => {
  const sniffed = ImageFormat.formats.find((format) => {
    const probe = ImageFormat.makeProbe(format, { maxPixels })
    probe.push(all)
    return probe.signatureMatched()
  })
  const format = declared ?? sniffed ?? ImageFormat.png
  const probe = ImageFormat.makeProbe(format, { maxPixels })
  const early = probe.push(all)
  if (early === undefined && wrong !== undefined) return wrong
  const outcome = early ?? probe.end()
  switch (outcome._tag) {
    case "Image":
      return { ...outcome, mime: format.mime, all }
    case "ContentMismatch":
      return declared === undefined ? { ...outcome } : { ...outcome, declared: declared.name }
    case "MalformedImage":
      return { ...outcome, format: format.name }
    case "TooManyPixels":
      return { ...outcome, limit: maxPixels }
  }
}

interface Base64 {
  /** The bytes before the first invalid group. */
  readonly all: Buffer
  readonly wrong: Wrong | undefined
}

interface Wrong {
  readonly _tag: "BadBase64"
  readonly reason: string
  readonly offset?: number
}

const reasonOf = (character: string): string =>
  character === "="
    ? "Padding"
    : /[\r\n]/.test(character)
    ? "LineBreaks"
    : /[\t\v\f ]/.test(character)
    ? "WhiteSpace"
    : /[-_]/.test(character)
    ? "UrlSafe"
    : "Character"

/** The mistake at `at`: white space at most one character behind the group instead of the padding before it. */
const mistakeAt = (data: string, at: number, groupEnd: number): Wrong & { readonly offset: number } => {
  const padding = /^=+(?=[\t\n\v\f\r ])/.exec(data.slice(at, groupEnd + 1))?.[0].length ?? 0
  const offset = at + padding
  return { _tag: "BadBase64", reason: reasonOf(data.charAt(offset)), offset }
}

/** The first mistake that does not depend on the length, and the first place that is not base64. */
const firstMistake = (data: string): { readonly wrong: Wrong; readonly at: number } | undefined => {
  const at = data.search(/[^A-Za-z0-9+/]/)
  if (at < 0) return undefined
  const isLast = data.length <= at - at % 4 + 4
  if (isLast && /^=+$/.test(data.slice(at)) && (data.length % 4 !== 0 || at >= data.length - 2)) return undefined
  if (at === 4 && /^data:/i.test(data)) return { wrong: { _tag: "BadBase64", reason: "DataUrl", offset: 4 }, at }
  return { wrong: mistakeAt(data, at, at - at % 4 + 4), at }
}

/** Judges text whose length is not a multiple of 4. */
export const wrongLength = (data: string): Wrong => {
  const first = firstMistake(data.slice(0, 1032))
  if (first?.wrong.offset !== undefined && first.wrong.offset < 1024) return first.wrong
  const tail = data.slice(-4)
  const padding = /={0,2}$/.exec(tail.slice(-Math.min(2, data.length % 4)))?.[0].length ?? 0
  const at = tail.slice(0, tail.length - padding).search(/[^A-Za-z0-9+/]/)
  if (at >= 0) {
    const { offset, reason } = mistakeAt(tail, at, tail.length - padding - 1)
    return { _tag: "BadBase64", reason, offset: data.length - tail.length + offset }
  }
  return data.length % 4 - padding >= 2
    ? { _tag: "BadBase64", reason: "Unpadded", offset: data.length }
    : { _tag: "BadBase64", reason: "Length" }
}

/** Decodes text whose length is a multiple of 4. */
export const readBase64 = (data: string): Base64 => {
  const mistake = firstMistake(data)
  if (mistake !== undefined) {
    return { all: Buffer.from(data.slice(0, mistake.at - mistake.at % 4), "base64"), wrong: mistake.wrong }
  }
  const all = Buffer.from(data, "base64")
  if (all.toString("base64") === data) return { all, wrong: undefined }
  const offset = data.replace(/=+$/, "").length - 1
  return {
    all: all.subarray(0, (offset - offset % 4) / 4 * 3),
    wrong: { _tag: "BadBase64", reason: "UnusedBits", offset }
  }
}

/** The decoded size, from the length and the padding. */
const sizeOf = (data: string): number =>
  Math.floor(data.length * 3 / 4) - (data.length % 4 === 0 ? /={0,2}$/.exec(data.slice(-2))?.[0].length ?? 0 : 0)

const isPlain = (value: object): boolean => Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype

export const ofPayload = (payload: unknown, limits: Limits): Expected => {
  if (payload === null || payload === undefined || payload === false || payload === 0 || payload === "") return none
  if (typeof payload === "object" && !isPlain(payload)) return { _tag: "InvalidPayload", reason: "NotJsonValue" }
  if (typeof payload === "object" && Object.keys(payload).length === 0) return none
  if (typeof payload !== "object" || Array.isArray(payload)) return { _tag: "InvalidPayload", reason: "NotAnObject" }
  const { data, mime } = payload as Record<string, unknown>
  const format = formatOf(mime)
  if (format === undefined) return missingMime
  if (format === null) return invalidMime
  if (typeof data !== "string") return { _tag: "InvalidPayload", reason: "DataNotAString" }
  if (data === "") return { _tag: "Empty" }
  const bytes = sizeOf(data)
  if (bytes > limits.maxBytes) return { _tag: "TooLarge", bytes, limit: limits.maxBytes }
  if (data.length % 4 !== 0) return { ...wrongLength(data) }
  const { all, wrong } = readBase64(data)
  return judge(format, all, limits, wrong && { ...wrong })
}

export const ofStream = (mime: string, all: Uint8Array, limits: Limits): Expected => {
  const format = formatOf(mime)
  if (format === null) return invalidMime
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
    message = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(all))
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
