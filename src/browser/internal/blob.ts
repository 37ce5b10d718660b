/** A blob's type, size and first bytes, and its base64 text. */
import { detect, detectBytes } from "../../internal/format/signature.js"
import { type BlobFailure, defaultMaxBytes, type Mime, type Name, type Payload } from "./protocol.js"

const names: ReadonlyMap<string, Name> = new Map([
  ["image/png", "png"],
  ["image/jpeg", "jpeg"],
  ["image/jpg", "jpeg"],
  ["image/webp", "webp"]
])

const accepted: ReadonlyArray<Mime> = ["image/png", "image/jpeg", "image/webp"]

/** Read, and so held in memory, at a time; a multiple of 3, so that no padding stands between two pieces of base64. */
const pieceBytes = 3 * 256 * 1024

/** As many arguments as every engine takes in a call. */
const maxArguments = 8192

/** What a blob is sent as. */
export interface Head {
  readonly mime: Mime
  readonly name: string | undefined
}

export class Unreadable {
  readonly _tag = "UnreadableBlob"
  readonly cause: unknown
  constructor(cause: unknown) {
    this.cause = cause
  }
}

/** A file that was changed or removed since it was chosen rejects, or has become shorter. */
export const readBytes = async (blob: Blob, start: number, end: number): Promise<ArrayBuffer | Unreadable> => {
  try {
    const bytes = await blob.slice(start, end).arrayBuffer()
    return bytes.byteLength === end - start ? bytes : new Unreadable(undefined)
  } catch (cause) {
    return new Unreadable(cause)
  }
}

const nameOf = (blob: Blob): string | undefined =>
  "name" in blob && typeof blob.name === "string" ? blob.name : undefined

/** Looks at a blob in the order in which the server does, as far as that is possible without reading more than its head. */
export const check = async (blob: Blob, maxBytes: number = defaultMaxBytes): Promise<Head | BlobFailure> => {
  const declared = names.get(blob.type.toLowerCase())
  if (declared === undefined) return { _tag: "InvalidMime", accepted }
  if (blob.size === 0) return { _tag: "Empty" }
  if (blob.size > maxBytes) return { _tag: "TooLarge", bytes: blob.size, limit: maxBytes }
  const head = await readBytes(blob, 0, Math.min(blob.size, detectBytes))
  if (head instanceof Unreadable) return head
  const detected = detect(new Uint8Array(head))
  return detected === declared
    ? { mime: `image/${declared}`, name: nameOf(blob) }
    : { _tag: "ContentMismatch", declared, detected }
}

const toBase64 = (bytes: Uint8Array): string => {
  let binary = ""
  for (let at = 0; at < bytes.length; at += maxArguments) {
    binary += String.fromCharCode(...bytes.subarray(at, at + maxArguments))
  }
  return btoa(binary)
}

/** Rejects with the signal's reason once it is aborted, and otherwise not. */
export const toPayload = async (
  blob: Blob,
  options: { readonly maxBytes?: number | undefined; readonly signal?: AbortSignal | undefined }
): Promise<Payload | BlobFailure> => {
  options.signal?.throwIfAborted()
  const head = await check(blob, options.maxBytes)
  if ("_tag" in head) return head
  const pieces: Array<string> = []
  for (let at = 0; at < blob.size; at += pieceBytes) {
    options.signal?.throwIfAborted()
    const bytes = await readBytes(blob, at, Math.min(blob.size, at + pieceBytes))
    if (bytes instanceof Unreadable) return bytes
    pieces.push(toBase64(new Uint8Array(bytes)))
  }
  options.signal?.throwIfAborted()
  const data = pieces.join("")
  return head.name === undefined ? { mime: head.mime, data } : { mime: head.mime, name: head.name, data }
}
