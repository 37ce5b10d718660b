/**
 * The first file of a form (RFC 7578), while it arrives.
 *
 * A parser of its own: multipasta 0.2, which the platform uses, takes a file whose name is outside of Latin-1 for a
 * field, and a form for broken whose last boundary comes in two pieces.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { InvalidPayload } from "../../InitImageError.js"
import * as InitImageLimits from "../../InitImageLimits.js"

/** How many parts there may be, up to the file. */
const maxParts = 64

/** How long the headers of one part may be, in bytes. */
const maxHeaderBytes = 16 * 1024

/** What RFC 2046 section 5.1.1 allows a boundary to be, and what else of ASCII is seen in some. */
const boundaryPattern = /^[\x20-\x7e]{0,69}[\x21-\x7e]$/

const lineEnd = "\r\n"
const cr = 0x0d
const lf = 0x0a
const dash = 0x2d
const isBlank = (byte: number): boolean => byte === 0x20 || byte === 0x09

const notMultipart = new InvalidPayload({ reason: "NotMultipart" })
const messageTooLarge = new InvalidPayload({ reason: "MessageTooLarge" })

/** What the form says of its file. */
export interface FileMeta {
  readonly mime: string
  readonly name: string | undefined
}

/** A quoted value may hold escaped quotes; browsers leave a backslash as it is, also in front of the last quote. */
const parameterPattern = /;\s*([^\s=;"]+)\s*=\s*(?:"((?:\\"|[^"])*)"|([^\s;"]*))\s*/y

/** A header's parameters, up to where they cannot be read. */
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

/** What a `Content-Type` names, without its parameters (RFC 9110 section 8.3.1). */
export const mediaTypeOf = (header: string): string => header.replace(/;.*/s, "").trim().toLowerCase()

/** An extended value (RFC 8187). Forms are not to have them (RFC 7578 section 4.2), but some do. */
const decodeExtended = (value: string | undefined): string | undefined => {
  const encoded = /^utf-8'[^']*'(.*)$/is.exec(value ?? "")?.[1]
  try {
    return encoded === undefined ? undefined : decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

/** A part's headers by their names; `undefined` where they are none. */
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

/** What a part is as a file, if it is one. */
const fileOf = (headers: ReadonlyMap<string, string>): FileMeta | undefined => {
  const parameters = parametersOf(headers.get("content-disposition") ?? "")
  const name = decodeExtended(parameters.get("filename*")) ?? parameters.get("filename")
  const mime = mediaTypeOf(headers.get("content-type") ?? (name === undefined ? "text/plain" : octetStream))
  if (mime.startsWith("image/")) return { mime, name }
  // What a browser sends where no file has been chosen.
  if (name === "" && mime === octetStream) return undefined
  return name === undefined && mime !== octetStream ? undefined : { mime, name }
}

/** Where in the form the next byte stands. */
type Place =
  /** In what belongs to nobody: before the first part, or in one that is not the file. */
  | "skipped"
  /** Behind a boundary. */
  | "boundary"
  /** Behind a boundary and one dash. */
  | "dash"
  /** Behind a boundary and the CR of its line. */
  | "lineEnd"
  | "headers"
  | "file"

/** Takes a form's bytes, in pieces of any size, up to the end of its first file. */
class FormParser {
  /** The bytes of the file that have not been taken yet. */
  readonly chunks: Array<Uint8Array> = []
  file: FileMeta | undefined
  fileEnded = false
  /** Whether the last boundary has come, or nothing more will. */
  formEnded = false
  error: InvalidPayload | undefined

  private place: Place = "skipped"
  private readonly delimiter: Buffer
  /** How much of the delimiter the bytes so far end with. */
  private matched = lineEnd.length
  /** How much of that is not the part's own: the line that is before it ends with it, and the form begins as if so. */
  private assumed = lineEnd.length
  private readonly headers = Buffer.allocUnsafe(maxHeaderBytes)
  private headerLength = 0
  private parts = 0
  /** How many bytes have come that are not the file's. */
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

  /** No more will come. */
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

  /** Reads up to behind the next delimiter, or to the end; answers where it has come to. */
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
      // No other place of the delimiter has a CR, so that it cannot begin within what has matched.
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

/**
 * Gives the form's first file to `use`, as it arrives; `None` where there is none. What stands before the file may take
 * as much room as `InitImageLimits.MaxMessageBytes` says. What comes after it is not read.
 */
export const formFile = <E, R, A, E2, R2>(
  headers: { readonly [name: string]: string | undefined },
  body: Stream.Stream<Uint8Array, E, R>,
  use: (file: FileMeta, bytes: Stream.Stream<Uint8Array, E | InvalidPayload>) => Effect.Effect<A, E2, R2>
): Effect.Effect<Option.Option<A>, E | E2 | InvalidPayload, R | R2> =>
  Effect.scopedWith((scope) =>
    Effect.gen(function*() {
      const context = yield* Effect.context<R>()
      const pull = Effect.provide(yield* Scope.extend(Stream.toPull(body), scope), context)
      const parser = new FormParser(headers["content-type"] ?? "", yield* InitImageLimits.MaxMessageBytes)

      const readOn = Effect.matchEffect(pull, {
        onFailure: Option.match({
          onNone: () => Effect.sync(() => parser.end()),
          onSome: Effect.fail
        }),
        onSuccess: (pieces) =>
          Effect.sync(() => {
            for (const piece of pieces) parser.write(piece)
          })
      })

      while (parser.file === undefined) {
        if (parser.error !== undefined) return yield* parser.error
        if (parser.formEnded) return Option.none<A>()
        yield* readOn
      }

      const next: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<E | InvalidPayload>> = Effect.suspend(() => {
        if (parser.chunks.length > 0) return Effect.succeed(Chunk.unsafeFromArray(parser.chunks.splice(0)))
        if (parser.fileEnded) return Effect.fail(Option.none())
        if (parser.error !== undefined) return Effect.fail(Option.some(parser.error))
        return Effect.zipRight(Effect.mapError(readOn, Option.some), next)
      })
      return Option.some(yield* use(parser.file, Stream.repeatEffectChunkOption(next)))
    })
  )
