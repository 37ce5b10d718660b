/** Names a type of file by its first bytes, after the WHATWG's "MIME Sniffing" standard and each format's own. */
import { jpegSignature } from "./jpeg.js"
import { pngSignature } from "./png.js"
import { webpSignature } from "./webp.js"

/** How many bytes are looked at: room for the comments and document types before a root element. */
export const detectBytes = 1024

/** The types that are told apart. Closed: it is encoded to clients. */
export const detectable = [
  "png",
  "jpeg",
  "webp",
  "gif",
  "heic",
  "avif",
  "bmp",
  "tiff",
  "svg",
  "ico",
  "jxl",
  "jp2",
  "psd",
  "pdf",
  "mp4",
  "webm",
  "zip",
  "gzip",
  "html",
  "xml",
  "unknown"
] as const

export type Detected = (typeof detectable)[number]

/** Bytes that a file begins with; -1 for any byte. */
export type Signature = ReadonlyArray<number>

export const startsWith = (bytes: Uint8Array, signature: Signature): boolean =>
  bytes.length >= signature.length && signature.every((byte, i) => byte === -1 || byte === bytes[i])

const ascii = (text: string): Signature => Array.from(text, (character) => character.charCodeAt(0))

const signatures: ReadonlyArray<readonly [Detected, Signature]> = [
  ["png", pngSignature],
  ["jpeg", jpegSignature],
  ["webp", webpSignature],
  ["gif", ascii("GIF87a")],
  ["gif", ascii("GIF89a")],
  ["tiff", ascii("II*\0")],
  ["tiff", ascii("MM\0*")],
  // BigTIFF
  ["tiff", ascii("II+\0")],
  ["tiff", ascii("MM\0+")],
  // A bare codestream, and a file of boxes
  ["jxl", [0xff, 0x0a]],
  ["jxl", ascii("\0\0\0\x0cJXL \r\n\x87\n")],
  ["jp2", [0xff, 0x4f, 0xff, 0x51]],
  ["jp2", ascii("\0\0\0\x0cjP  \r\n\x87\n")],
  ["psd", ascii("8BPS")],
  ["pdf", ascii("%PDF-")],
  ["webm", [0x1a, 0x45, 0xdf, 0xa3]],
  ["zip", ascii("PK\x03\x04")],
  // Empty, and spanned
  ["zip", ascii("PK\x05\x06")],
  ["zip", ascii("PK\x07\x08")],
  ["gzip", [0x1f, 0x8b, 0x08]]
]

/** Looks at no more than the first `detectBytes` bytes. Total, and linear in that bound. */
export const detect = (bytes: Uint8Array): Detected => {
  const head = bytes.subarray(0, detectBytes)
  return signatures.find(([, signature]) => startsWith(head, signature))?.[0] ??
    detectBitmap(head) ??
    detectIcon(head) ??
    detectBaseMedia(head) ??
    detectMarkup(head) ??
    "unknown"
}

/** The lengths of the BITMAPINFOHEADER family. "BM" alone begins too much text. */
const bitmapHeaderLengths = [12, 16, 40, 52, 56, 64, 108, 124]

const detectBitmap = (head: Uint8Array): Detected | undefined =>
  startsWith(head, ascii("BM")) && startsWith(head.subarray(15), [0, 0, 0]) &&
    bitmapHeaderLengths.some((length) => head[14] === length)
    ? "bmp"
    : undefined

/** Icons and cursors: a count that is not 0, and an entry whose reserved byte is. */
const detectIcon = (head: Uint8Array): Detected | undefined =>
  (startsWith(head, [0, 0, 1, 0]) || startsWith(head, [0, 0, 2, 0])) &&
    startsWith(head.subarray(5), [0, -1, -1, -1, 0]) && head[4] !== 0
    ? "ico"
    : undefined

/** ISO/IEC 14496-12, 4.3: the major brand, and the compatible ones where that says no more than "an image". */
const detectBaseMedia = (head: Uint8Array): Detected | undefined => {
  if (!startsWith(head, [-1, -1, -1, -1, ...ascii("ftyp"), -1, -1, -1, -1])) {
    return undefined
  }
  const length = new DataView(head.buffer, head.byteOffset).getUint32(0)
  const brands = latin1(head.subarray(8, Math.min(length, head.length))).match(/[^]{4}/g) ?? []
  const major = latin1(head.subarray(8, 12))
  if (isAvif(major) || isImage(major) && brands.some(isAvif)) {
    return "avif"
  }
  return isImage(major) ? "heic" : "mp4"
}

const isAvif = (brand: string): boolean => brand === "avif" || brand === "avis"

/** ISO/IEC 23008-12, annexes B and C. */
const isImage = (brand: string): boolean => /^(?:mif[12]|msf1|he(?:ic|ix|im|is|vc|vx|vm|vs))$/.test(brand)

const detectMarkup = (head: Uint8Array): Detected | undefined => {
  const text = latin1(startsWith(head, [0xef, 0xbb, 0xbf]) ? head.subarray(3) : head)
    .replace(/^[\t\n\f\r ]+/, "").toLowerCase()
  if (/^<(?:svg|\?xml|!doctype svg|!--)/.test(text) && /<svg[\s>:/]/.test(text)) {
    return "svg"
  }
  if (text.startsWith("<?xml")) {
    return /<html[\s>]/.test(text) ? "html" : "xml"
  }
  return html.test(text) ? "html" : undefined
}

/** "MIME Sniffing", 7.1, step 1 of the rules for an unknown type. */
const html =
  /^<(?:!--|(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[\t\n\f\r >])/

/** A character for each byte, so that offsets stay what they were. `bytes` are no more than `detectBytes`. */
const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes)
