/** Detects a file type from its first bytes, as in the WHATWG's "MIME Sniffing" standard and each format's own. */
import { jpegSignature } from "./jpeg.js"
import type { Detected } from "./outcome.js"
import { pngSignature } from "./png.js"
import { webpSignature } from "./webp.js"

/**
 * The most bytes that are read: a root element may follow comments and a document type declaration. Editors put a licence
 * and their own notes before the root of an SVG, more than 1 KiB of them.
 */
export const detectBytes = 8192

/** The bytes that tell every type but markup. */
export const binaryDetectBytes = 1024

const whiteSpace: ReadonlySet<number> = new Set([0x09, 0x0a, 0x0c, 0x0d, 0x20])

/** Whether the bytes begin like markup, or with nothing but white space so far. */
const mayBeMarkup = (bytes: Uint8Array): boolean => {
  const at = startsWith(bytes, [0xef, 0xbb, 0xbf]) ? 3 : 0
  const first = bytes.subarray(at, detectBytes).find((byte) => !whiteSpace.has(byte))
  return first === undefined || first === 0x3c
}

/** Whether further bytes cannot change the detected type. */
export const isSettled = (bytes: Uint8Array): boolean =>
  bytes.length >= (mayBeMarkup(bytes) ? detectBytes : binaryDetectBytes)

/** The first bytes of a file; -1 matches any byte. */
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
  // A bare codestream, then a container file (ISO/IEC 18181-2)
  ["jxl", [0xff, 0x0a]],
  ["jxl", ascii("\0\0\0\x0cJXL \r\n\x87\n")],
  ["jp2", [0xff, 0x4f, 0xff, 0x51]],
  ["jp2", ascii("\0\0\0\x0cjP  \r\n\x87\n")],
  ["psd", ascii("8BPS")],
  ["pdf", ascii("%PDF-")],
  ["webm", [0x1a, 0x45, 0xdf, 0xa3]],
  ["zip", ascii("PK\x03\x04")],
  // An empty archive, then a spanned one (APPNOTE.TXT, 4.3.16 and 8.5)
  ["zip", ascii("PK\x05\x06")],
  ["zip", ascii("PK\x07\x08")],
  ["gzip", [0x1f, 0x8b, 0x08]]
]

/** Detects the file type from at most the first `detectBytes` bytes. Total; the time is linear in that bound. */
export const detect = (bytes: Uint8Array): Detected => {
  const head = bytes.subarray(0, mayBeMarkup(bytes) ? detectBytes : binaryDetectBytes)
  return signatures.find(([, signature]) => startsWith(head, signature))?.[0] ??
    detectBitmap(head) ??
    detectIcon(head) ??
    detectBaseMedia(head) ??
    detectMarkup(head) ??
    "unknown"
}

/** The lengths of the BITMAPINFOHEADER family. They are checked because plain text may begin with "BM". */
const bitmapHeaderLengths = [12, 16, 40, 52, 56, 64, 108, 124]

const detectBitmap = (head: Uint8Array): Detected | undefined =>
  startsWith(head, ascii("BM")) && startsWith(head.subarray(15), [0, 0, 0]) &&
    bitmapHeaderLengths.some((length) => head[14] === length)
    ? "bmp"
    : undefined

/** Icons and cursors: at least one entry, and the first entry's reserved byte is 0. */
const detectIcon = (head: Uint8Array): Detected | undefined =>
  (startsWith(head, [0, 0, 1, 0]) || startsWith(head, [0, 0, 2, 0])) &&
    startsWith(head.subarray(5), [0, -1, -1, -1, 0]) && head[4] !== 0
    ? "ico"
    : undefined

/** ISO/IEC 14496-12, 4.3: a HEIF image has one of its brands as the major or as a compatible one. */
const detectBaseMedia = (head: Uint8Array): Detected | undefined => {
  if (!startsWith(head, [-1, -1, -1, -1, ...ascii("ftyp"), -1, -1, -1, -1])) {
    return undefined
  }
  const length = new DataView(head.buffer, head.byteOffset).getUint32(0)
  const major = latin1(head.subarray(8, 12))
  // The version of the major brand stands between them.
  const compatible = latin1(head.subarray(16, Math.max(16, Math.min(length, head.length)))).match(/[^]{4}/g) ?? []
  const brands = [major, ...compatible]
  return major === "crx " ? "cr3" : brands.some(isAvif) ? "avif" : brands.some(isHeifImage) ? "heic" : "mp4"
}

const isAvif = (brand: string): boolean => brand === "avif" || brand === "avis"

/** The brands of ISO/IEC 23008-12: any codec, HEVC, AVC, VVC, EVC, JPEG and JPEG 2000. */
const isHeifImage = (brand: string): boolean =>
  /^(?:mif[123]|msf1|he(?:ic|ix|im|is|vc|vx|vm|vs)|avc[is]|vvi[cs]|evb[is]|jpeg|jpgs|j2ki|j2is)$/.test(brand)

const detectMarkup = (head: Uint8Array): Detected | undefined => {
  const text = latin1(startsWith(head, [0xef, 0xbb, 0xbf]) ? head.subarray(3) : head)
    .replace(/^[\t\n\f\r ]+/, "").toLowerCase()
  const root = text.slice(prologLength(text))
  const isDocument = text.startsWith("<?xml")
  if (/^<(?:!doctype )?(?:[a-z][\w.-]*:)?svg[\s>/]/.test(root)) {
    return "svg"
  }
  if (isDocument) {
    return /^<(?:!doctype )?html[\s>]/.test(root) ? "html" : "xml"
  }
  return html.test(text) ? "html" : undefined
}

/** The length of the white space, comments and processing instructions before a document type or root element. */
const prologLength = (text: string): number => {
  const part = /[\t\n\f\r ]+|<!--[^]*?-->|<\?[^]*?\?>/y
  let length = 0
  while (part.test(text)) {
    length = part.lastIndex
  }
  return length
}

/** "MIME Sniffing", 7.1, step 1: the tags that identify HTML. */
const html =
  /^<(?:!--|(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[\t\n\f\r >])/

/** One character per byte, so that offsets are kept. `detectBytes` bounds the number of arguments. */
const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes)
