/** Checks a blob by its type, size and first bytes, and encodes it as base64. */
import { isGeneral, nameOf } from "../../internal/format/mediaType.js"
import { detect, detectBytes } from "../../internal/format/signature.js"
import { defaultMaxBytes, type Mime, type Payload } from "../../internal/protocol.js"
import type { BlobFailure, UnreadableBlob } from "./failure.js"

const accepted: ReadonlyArray<Mime> = ["image/png", "image/jpeg", "image/webp"]

/** Bytes read into memory at a time; a multiple of 3, so that only the last piece of base64 has padding. */
const pieceBytes = 3 * 256 * 1024

/** Every engine accepts this many arguments in a call. */
const maxArguments = 8192

/** The payload of a blob without its bytes. */
export interface Head {
  readonly mime: Mime
  readonly name: string | undefined
}

/** Throws where `maxBytes` is no limit: a comparison with `NaN` would accept anything. */
export const checkOptions = ({ maxBytes }: { readonly maxBytes?: number | undefined }): void => {
  if (maxBytes !== undefined && !(maxBytes >= 0)) {
    throw new RangeError("maxBytes must be a number that is not negative")
  }
}

const unreadable = (cause: unknown): UnreadableBlob => ({ _tag: "UnreadableBlob", cause })

/** Reads a range. A file that was changed or removed after it was chosen rejects or is shorter. */
export const readBytes = async (blob: Blob, start: number, end: number): Promise<ArrayBuffer | UnreadableBlob> => {
  try {
    const bytes = await blob.slice(start, end).arrayBuffer()
    return bytes.byteLength === end - start ? bytes : unreadable(undefined)
  } catch (cause) {
    return unreadable(cause)
  }
}

const fileNameOf = (blob: Blob): string | undefined =>
  "name" in blob && typeof blob.name === "string" ? blob.name : undefined

/** Checks a blob in the server's order. Reads no more than its first bytes. */
export const check = async (blob: Blob, maxBytes: number = defaultMaxBytes): Promise<Head | BlobFailure> => {
  const declared = nameOf(blob.type)
  if (declared === undefined && !isGeneral(blob.type)) return { _tag: "InvalidMime", reason: "NotAccepted", accepted }
  if (blob.size === 0) return { _tag: "Empty" }
  if (blob.size > maxBytes) return { _tag: "TooLarge", bytes: blob.size, limit: maxBytes }
  const head = await readBytes(blob, 0, Math.min(blob.size, detectBytes))
  if ("_tag" in head) return head
  const detected = detect(new Uint8Array(head))
  if (declared !== undefined && detected !== declared) return { _tag: "ContentMismatch", declared, detected }
  const mime = accepted.find((mime) => mime === `image/${detected}`)
  return mime === undefined ? { _tag: "ContentMismatch", detected } : { mime, name: fileNameOf(blob) }
}

const toBase64 = (bytes: Uint8Array): string => {
  let binary = ""
  for (let at = 0; at < bytes.length; at += maxArguments) {
    binary += String.fromCharCode(...bytes.subarray(at, at + maxArguments))
  }
  return btoa(binary)
}

/** Encodes a blob as a payload. Rejects only with the reason of an aborted signal, or where an option is out of range. */
export const toPayload = async (
  blob: Blob,
  options: { readonly maxBytes?: number | undefined; readonly signal?: AbortSignal | undefined }
): Promise<Payload | BlobFailure> => {
  checkOptions(options)
  options.signal?.throwIfAborted()
  const head = await check(blob, options.maxBytes)
  if ("_tag" in head) return head
  const pieces: Array<string> = []
  for (let at = 0; at < blob.size; at += pieceBytes) {
    options.signal?.throwIfAborted()
    const bytes = await readBytes(blob, at, Math.min(blob.size, at + pieceBytes))
    if ("_tag" in bytes) return bytes
    pieces.push(toBase64(new Uint8Array(bytes)))
  }
  options.signal?.throwIfAborted()
  const data = pieces.join("")
  return head.name === undefined ? { mime: head.mime, data } : { mime: head.mime, name: head.name, data }
}
