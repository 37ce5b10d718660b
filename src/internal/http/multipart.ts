/**
 * Reads the file of a form (RFC 7578) as it arrives, and its text fields if they are wanted.
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
import { type FileMeta, other, type Part, readPart } from "./formHeaders.js"

/** The most parts that are read. */
const maxParts = 64

/** The longest headers of one part, in bytes. */
const maxHeaderBytes = 16 * 1024

const lineEnd = "\r\n"
const cr = 0x0d
const lf = 0x0a
const dash = 0x2d
const isBlank = (byte: number): boolean => byte === 0x20 || byte === 0x09

const notMultipart = new InvalidPayload({ reason: "NotMultipart" })
const messageTooLarge = new InvalidPayload({ reason: "MessageTooLarge" })

/** Usual names of the file's field. Closed, because clients receive it. */
const fileFields: ReadonlySet<string> = new Set([
  "image",
  "file",
  "init_image",
  "initial_image",
  "initImage",
  "initialImage",
  "photo",
  "picture"
])

/** Bytes of unknown number in one array, which doubles when it is full. */
class Bytes {
  #bytes = Buffer.allocUnsafe(256)
  #length = 0

  push(bytes: Uint8Array): void {
    const length = this.#length + bytes.length
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, this.#length)
      this.#bytes = larger
    }
    this.#bytes.set(bytes, this.#length)
    this.#length = length
  }

  /** Removes the bytes: as text, in which U+FFFD replaces what is not UTF-8. */
  take(): string {
    const text = this.#bytes.toString("utf8", 0, this.#length)
    this.#length = 0
    return text
  }
}

/** The place of the next byte in the form. */
type Place =
  /** Before the first part, or in a part. */
  | "body"
  /** Behind a boundary. */
  | "boundary"
  /** Behind a boundary and one dash. */
  | "dash"
  /** Behind a boundary and the CR of its line. */
  | "lineEnd"
  | "headers"

/** Selects what is read of a form. */
export interface FormSelection {
  /** The form's boundary; see `boundaryOf`. */
  readonly boundary: string
  /** The name of the file's field: the first file under this name is taken. By default it is the first file. */
  readonly field: string | undefined
  /** Whether text fields are kept and the form is read to its end, or to the end of the file. */
  readonly keepsFields: boolean
  /** The largest form without its files, in bytes. */
  readonly maxMessageBytes: number
  /** The largest size of all files that are skipped, in bytes. */
  readonly maxSkippedBytes: number
}

/** Parses a form in chunks of any size. */
class FormParser {
  /** The bytes of the file that the reader has not taken yet. */
  readonly chunks: Array<Uint8Array> = []
  /** The first value of each text field. */
  readonly fields = new Map<string, string>()
  file: FileMeta | undefined
  fileEnded = false
  /** Whether the last boundary has been read, or the input has ended. */
  formEnded = false
  error: InvalidPayload | undefined
  /** The known name of a text field that should have been the file. */
  textInPlaceOfFile: string | undefined

  private place: Place = "body"
  private part: Part = other
  private readonly delimiter: Buffer
  /** The length of the delimiter's prefix that the bytes so far end with. */
  private matched = lineEnd.length
  /** The length of that prefix that belongs to the line before the part, and not to the part's content. */
  private assumed = lineEnd.length
  private readonly headers = Buffer.allocUnsafe(maxHeaderBytes)
  private headerLength = 0
  private parts = 0
  /** Bytes so far that are not a file's. */
  private messageBytes = 0
  private skippedBytes = 0
  private readonly text = new Bytes()
  private readonly selection: FormSelection

  constructor(selection: FormSelection) {
    this.selection = selection
    this.delimiter = Buffer.from(`\r\n--${selection.boundary}`)
  }

  write(piece: Uint8Array): void {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    let at = 0
    while (at < bytes.length && this.isOpen) {
      if (this.place === "body") at = this.readPartBody(bytes, at)
      else this.readByte(bytes[at++])
    }
  }

  /** Ends the input. */
  end(): void {
    if (this.isOpen) this.error = notMultipart
    this.formEnded = true
  }

  private get isOpen(): boolean {
    return this.error === undefined && !this.formEnded && (this.selection.keepsFields || !this.fileEnded)
  }

  /** Whether the part at hand is the file that is taken. */
  private get isTaken(): boolean {
    return this.part._tag === "File" && this.part.file === this.file
  }

  private readPartBody(bytes: Buffer, from: number): number {
    const { isTaken, part } = this
    const at = this.readBody(bytes, from)
    if (isTaken) return at
    if (part._tag === "File") this.countSkipped(at - from)
    else this.count(at - from)
    return at
  }

  private count(bytes: number): void {
    this.messageBytes += bytes
    if (this.messageBytes > this.selection.maxMessageBytes) this.error ??= this.tooLarge()
  }

  private countSkipped(bytes: number): void {
    this.skippedBytes += bytes
    if (this.skippedBytes > this.selection.maxSkippedBytes) this.error ??= messageTooLarge
  }

  /** An image as text is more likely the reason than many fields. */
  private tooLarge(): InvalidPayload {
    const isText = this.part._tag === "Text" && this.part.field === this.textInPlaceOfFile
    return this.file === undefined && isText ? this.noFile() : messageTooLarge
  }

  /** The reason why the form has no file. */
  noFile(): InvalidPayload {
    if (this.textInPlaceOfFile !== undefined) {
      return new InvalidPayload({ reason: "NotAFile", field: this.textInPlaceOfFile })
    }
    const { field } = this.selection
    return new InvalidPayload({ reason: "NoFile", ...field === undefined ? {} : { field } })
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
    if (bytes.length === 0) return
    if (this.isTaken) this.chunks.push(bytes)
    else if (this.keepsText) this.text.push(bytes)
  }

  /** Whether the part at hand is the first text field of its name, and is kept. */
  private get keepsText(): boolean {
    return this.selection.keepsFields && this.part._tag === "Text" && !this.fields.has(this.part.field)
  }

  private endBody(at: number): number {
    if (this.isTaken) this.fileEnded = true
    if (this.keepsText && this.part._tag === "Text") this.fields.set(this.part.field, this.text.take())
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
    const part = readPart(this.headers.subarray(0, this.headerLength))
    if (part === undefined) {
      this.error = notMultipart
      return
    }
    this.part = part
    this.place = "body"
    this.matched = lineEnd.length
    this.assumed = lineEnd.length
    const { field } = this.selection
    if (part._tag === "File" && (field === undefined || field === part.field)) this.file ??= part.file
    if (part._tag === "Text") {
      const isFileField = field === undefined ? fileFields.has(part.field) : field === part.field
      if (isFileField) this.textInPlaceOfFile ??= part.field
    }
  }
}

/** The verified image of a form, and its client's name for it. */
export interface FormImage extends Verified {
  readonly name: string | undefined
}

/** The result of a form. */
export interface Form {
  /** `undefined` where fields are kept and none of them should have been the file. */
  readonly image: FormImage | undefined
  /** The first value of each text field; empty if they are not kept. */
  readonly fields: ReadonlyMap<string, string>
}

export interface FormOptions extends FormSelection {
  /** Decodes a file's declared type; `None` where the bytes decide. */
  readonly formatOf: (mime: string) => Either.Either<Option.Option<ImageFormat>, InvalidMime>
  /** Reads the file. */
  readonly makeReader: (declared: Option.Option<ImageFormat>) => RawReader
}

type FormError = InvalidPayload | InvalidMime | VerifyError | TooLarge | Empty

/** The file of a form that is being read. */
interface File {
  readonly reader: RawReader
  readonly name: string | undefined
  /** The result, once the file has been read to its end. */
  ended: Ended<Verified, VerifyError | TooLarge | Empty> | undefined
}

/** Reads the file of a form, and the text fields if they are kept. */
export class FormReader implements ImageReader<Uint8Array, Form, FormError> {
  readonly #parser: FormParser
  readonly #options: FormOptions
  readonly #unused = new ImageBuffer<never>({ push: () => undefined }, 0)
  #file: File | undefined
  #isRoomAsked = false

  constructor(options: FormOptions) {
    this.#options = options
    this.#parser = new FormParser(options)
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
    const parser = this.#parser
    let step = last
    if (step === "more" && parser.file !== undefined) step = this.#begin(parser.file)
    while (step === "more") {
      const bytes = parser.chunks.shift()
      if (bytes === undefined) return this.#behindBytes()
      step = this.#file?.reader.push(bytes) ?? "more"
    }
    return step
  }

  /** The answer when the reader has taken all of the file's bytes so far. */
  #behindBytes(): Step<FormError> {
    const { error, fileEnded, formEnded } = this.#parser
    if (fileEnded && this.#file !== undefined) {
      this.#file.ended ??= this.#file.reader.end()
      if (!(this.#file.ended instanceof Done)) return this.#file.ended
    }
    if (error !== undefined) return error
    return formEnded || (fileEnded && !this.#options.keepsFields) ? "done" : "more"
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
    this.#file = { reader: this.#options.makeReader(format.right), name, ended: undefined }
    return "more"
  }

  end(): Ended<Form, FormError> {
    const parser = this.#parser
    parser.end()
    if (parser.error !== undefined) return parser.error
    const { fields } = parser
    if (this.#file === undefined) {
      const isMessage = this.#options.keepsFields && parser.textInPlaceOfFile === undefined
      return isMessage ? new Done({ image: undefined, fields }) : parser.noFile()
    }
    const end = this.#file.ended ?? this.#file.reader.end()
    return end instanceof Done ? new Done({ image: { ...end.value, name: this.#file.name }, fields }) : end
  }
}
