/**
 * Reads the first file of a form (RFC 7578) as it arrives.
 *
 * The platform's parser, multipasta 0.2, takes a file whose name is not Latin-1 for a field, and refuses a form whose
 * last boundary arrives in two chunks.
 */
import * as Either from "effect/Either"
import type * as Option from "effect/Option"
import { Buffer } from "node:buffer"
import type { ImageFormat } from "../../ImageFormat.js"
import { type Empty, type InvalidMime, InvalidPayload, type TooLarge } from "../../InitImageError.js"
import type { Verified, VerifyError } from "../format/verifier.js"
import { ImageBuffer } from "../persist/imageBuffer.js"
import type { RawReader } from "../persist/rawReader.js"
import { Done, type Ended, type Step } from "../persist/reader.js"
import type { ImageReader } from "../persist/writer.js"

/** The most parts up to the file. */
const maxParts = 64

/** The longest headers of one part, in bytes. */
const maxHeaderBytes = 16 * 1024

/** A boundary by RFC 2046 section 5.1.1, and with the other ASCII characters that some clients use. */
const boundaryPattern = /^[\x20-\x7e]{0,69}[\x21-\x7e]$/

const lineEnd = "\r\n"
const cr = 0x0d
const lf = 0x0a
const dash = 0x2d
const isBlank = (byte: number): boolean => byte === 0x20 || byte === 0x09

const notMultipart = new InvalidPayload({ reason: "NotMultipart" })
const messageTooLarge = new InvalidPayload({ reason: "MessageTooLarge" })

/** The declared type and name of a file. */
export interface FileMeta {
  readonly mime: string
  readonly name: string | undefined
}

/** A quoted value may hold escaped quotes; browsers do not escape a backslash, even before the closing quote. */
const parameterPattern = /;\s*([^\s=;"]+)\s*=\s*(?:"((?:\\"|[^"])*)"|([^\s;"]*))\s*/y

/** The parameters of a header, up to the first malformed one. */
const parametersOf = (header: string): ReadonlyMap<string, string> => {
  const parameters = new Map<string, string>()
  const start = header.indexOf(";")
  if (start < 0) return parameters
  parameterPattern.lastIndex = start
  for (let match = parameterPattern.exec(header); match !== null; match = parameterPattern.exec(header)) {
    const [, name = "", quoted, token = ""] = match
    parameters.set(name.toLowerCase(), quoted?.replaceAll("\\\"", "\"") ?? token)
  }
  return parameters
}

/** The media type of a `Content-Type`, without parameters (RFC 9110 section 8.3.1). */
export const mediaTypeOf = (header: string): string => header.replace(/;.*/s, "").trim().toLowerCase()

/** Decodes an extended value (RFC 8187), which some clients send although RFC 7578 section 4.2 forbids it in forms. */
const decodeExtended = (value: string | undefined): string | undefined => {
  const encoded = /^utf-8'[^']*'(.*)$/is.exec(value ?? "")?.[1]
  try {
    return encoded === undefined ? undefined : decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

/** The headers of a part by name; `undefined` where they are malformed. */
const parseHeaders = (bytes: Uint8Array): ReadonlyMap<string, string> | undefined => {
  const headers = new Map<string, string>()
  const lines = new TextDecoder().decode(bytes).replace(/\r\n(?=[ \t])/g, "").split("\r\n")
  for (const line of lines.filter((line) => line !== "")) {
    const colon = line.indexOf(":")
    if (colon < 1) return undefined
    const name = line.slice(0, colon).toLowerCase()
    if (!headers.has(name)) headers.set(name, line.slice(colon + 1))
  }
  return headers
}

const octetStream = "application/octet-stream"

/** The file that a part is, if it is one. */
const fileOf = (headers: ReadonlyMap<string, string>): FileMeta | undefined => {
  const parameters = parametersOf(headers.get("content-disposition") ?? "")
  const name = decodeExtended(parameters.get("filename*")) ?? parameters.get("filename")
  const mime = mediaTypeOf(headers.get("content-type") ?? (name === undefined ? "text/plain" : octetStream))
  if (mime.startsWith("image/")) return { mime, name }
  // A browser sends such a part for a file field without a file.
  if (name === "" && mime === octetStream) return undefined
  return name === undefined && mime !== octetStream ? undefined : { mime, name }
}

/** The place of the next byte in the form. */
type Place =
  /** Before the first part, or in a part that is not the file. */
  | "skipped"
  /** Behind a boundary. */
  | "boundary"
  /** Behind a boundary and one dash. */
  | "dash"
  /** Behind a boundary and the CR of its line. */
  | "lineEnd"
  | "headers"
  | "file"

/** Parses a form in chunks of any size, up to the end of its first file. */
class FormParser {
  /** The bytes of the file that the reader has not taken yet. */
  readonly chunks: Array<Uint8Array> = []
  file: FileMeta | undefined
  fileEnded = false
  /** Whether the last boundary has been read, or the input has ended. */
  formEnded = false
  error: InvalidPayload | undefined

  private place: Place = "skipped"
  private readonly delimiter: Buffer
  /** The length of the delimiter's prefix that the bytes so far end with. */
  private matched = lineEnd.length
  /** The length of that prefix that belongs to the line before the part, and not to the part's content. */
  private assumed = lineEnd.length
  private readonly headers = Buffer.allocUnsafe(maxHeaderBytes)
  private headerLength = 0
  private parts = 0
  /** Bytes so far that are not the file's. */
  private beside = 0
  private readonly maxMessageBytes: number

  constructor(contentType: string, maxMessageBytes: number) {
    const boundary = parametersOf(contentType).get("boundary") ?? ""
    this.maxMessageBytes = maxMessageBytes
    this.delimiter = Buffer.from(`\r\n--${boundary}`)
    if (!boundaryPattern.test(boundary)) this.error = notMultipart
  }

  write(piece: Uint8Array): void {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    let at = 0
    while (at < bytes.length && this.isOpen) {
      if (this.place === "file") at = this.readBody(bytes, at)
      else if (this.place === "skipped") at = this.skipBody(bytes, at)
      else this.readByte(bytes[at++])
    }
  }

  /** Ends the input. */
  end(): void {
    if (this.isOpen) this.error = notMultipart
    this.formEnded = true
  }

  private get isOpen(): boolean {
    return this.error === undefined && !this.fileEnded && !this.formEnded
  }

  private count(bytes: number): void {
    this.beside += bytes
    if (this.beside > this.maxMessageBytes) this.error ??= messageTooLarge
  }

  private skipBody(bytes: Buffer, from: number): number {
    const at = this.readBody(bytes, from)
    this.count(at - from)
    return at
  }

  /** Reads to the end of the next delimiter, or of the bytes; answers that place. */
  private readBody(bytes: Buffer, from: number): number {
    const { delimiter } = this
    let at = from
    if (this.matched > 0) {
      while (this.matched < delimiter.length && at < bytes.length && bytes[at] === delimiter[this.matched]) {
        this.matched += 1
        at += 1
      }
      if (this.matched === delimiter.length) return this.endBody(at)
      if (at === bytes.length) return at
      // The delimiter has its only CR at its start, so it cannot begin within the matched prefix.
      this.emit(delimiter.subarray(this.assumed, this.matched))
      this.matched = 0
      this.assumed = 0
    }
    const found = bytes.indexOf(delimiter, at)
    if (found >= 0) {
      this.emit(bytes.subarray(at, found))
      return this.endBody(found + delimiter.length)
    }
    const last = bytes.lastIndexOf(cr)
    const tail = bytes.length - last
    const isBegun = last >= at && bytes.subarray(last).equals(delimiter.subarray(0, tail))
    this.matched = isBegun ? tail : 0
    this.emit(bytes.subarray(at, bytes.length - this.matched))
    return bytes.length
  }

  private emit(bytes: Uint8Array): void {
    if (this.place === "file" && bytes.length > 0) this.chunks.push(bytes)
  }

  private endBody(at: number): number {
    this.fileEnded = this.place === "file"
    this.place = "boundary"
    this.matched = 0
    return at
  }

  private readByte(byte: number | undefined): void {
    this.count(1)
    if (byte === undefined || this.error !== undefined) return
    switch (this.place) {
      case "boundary": {
        if (byte === dash) this.place = "dash"
        else if (byte === cr) this.place = "lineEnd"
        else if (!isBlank(byte)) this.error = notMultipart
        break
      }
      case "dash": {
        if (byte === dash) this.formEnded = true
        else this.error = notMultipart
        break
      }
      case "lineEnd": {
        if (byte === lf) this.beginPart()
        else this.error = notMultipart
        break
      }
      case "headers": {
        this.readHeader(byte)
        break
      }
    }
  }

  private beginPart(): void {
    this.parts += 1
    this.headerLength = 0
    this.place = "headers"
    if (this.parts > maxParts) this.error = messageTooLarge
  }

  private readHeader(byte: number): void {
    if (this.headerLength === maxHeaderBytes) {
      this.error = messageTooLarge
      return
    }
    this.headers[this.headerLength++] = byte
    if (byte !== lf) return
    const end = this.headers.subarray(Math.max(0, this.headerLength - 4), this.headerLength).toString("latin1")
    if (end === "\r\n\r\n" || end === "\r\n") this.endHeaders()
  }

  private endHeaders(): void {
    const headers = parseHeaders(this.headers.subarray(0, this.headerLength))
    if (headers === undefined) {
      this.error = notMultipart
      return
    }
    this.file = fileOf(headers)
    this.place = this.file === undefined ? "skipped" : "file"
    this.matched = lineEnd.length
    this.assumed = lineEnd.length
  }
}

/** The verified image of a form, and its client's name for it. */
export interface FormImage extends Verified {
  readonly name: string | undefined
}

/** The result of a form: `undefined` where it has no file. */
export interface Form {
  readonly image: FormImage | undefined
}

export interface FormOptions {
  /** The form's `Content-Type`. */
  readonly contentType: string
  /** The largest form without the file, in bytes. */
  readonly maxMessageBytes: number
  /** Decodes a file's declared type: `None` where the bytes decide. */
  readonly formatOf: (mime: string) => Either.Either<Option.Option<ImageFormat>, InvalidMime>
  /** Reads the file. */
  readonly makeReader: (declared: Option.Option<ImageFormat>) => RawReader
}

type FormError = InvalidPayload | InvalidMime | VerifyError | TooLarge | Empty

/** The file of a form that is being read. */
interface File {
  readonly reader: RawReader
  readonly name: string | undefined
}

/** Reads the first file of a form, and nothing after it. */
export class FormReader implements ImageReader<Uint8Array, Form, FormError> {
  readonly #parser: FormParser
  readonly #options: FormOptions
  readonly #unused = new ImageBuffer<never>({ push: () => undefined }, 0)
  #file: File | undefined
  #isRoomAsked = false

  constructor(options: FormOptions) {
    this.#options = options
    this.#parser = new FormParser(options.contentType, options.maxMessageBytes)
  }

  get buffer(): ImageBuffer<unknown> {
    return this.#file?.reader.buffer ?? this.#unused
  }

  readonly extension = (): string => this.#file?.reader.extension() ?? ""

  push(chunk: Uint8Array): Step<FormError> {
    this.#parser.write(chunk)
    return this.#advance("more")
  }

  resume(): Step<FormError> {
    return this.#advance(this.#file?.reader.resume() ?? "more")
  }

  /** Reads the file's bytes at hand, until one of them gives another answer than `"more"`. */
  #advance(last: Step<FormError>): Step<FormError> {
    let step = last
    if (step === "more" && this.#parser.file !== undefined) step = this.#begin(this.#parser.file)
    while (step === "more") {
      const bytes = this.#parser.chunks.shift()
      if (bytes === undefined) {
        if (this.#parser.error !== undefined) return this.#parser.error
        return this.#parser.fileEnded || this.#parser.formEnded ? "done" : "more"
      }
      step = this.#file?.reader.push(bytes) ?? "more"
    }
    return step
  }

  /** Asks for room once the file's headers are known, and makes its reader. */
  #begin({ mime, name }: FileMeta): Step<FormError> {
    if (this.#file !== undefined) return "more"
    const format = this.#options.formatOf(mime)
    if (Either.isLeft(format)) return format.left
    if (!this.#isRoomAsked) {
      this.#isRoomAsked = true
      return "image"
    }
    this.#file = { reader: this.#options.makeReader(format.right), name }
    return "more"
  }

  end(): Ended<Form, FormError> {
    this.#parser.end()
    if (this.#parser.error !== undefined) return this.#parser.error
    if (this.#file === undefined) return new Done({ image: undefined })
    const end = this.#file.reader.end()
    return end instanceof Done ? new Done({ image: { ...end.value, name: this.#file.name } }) : end
  }
}
