/** Builds images from the parts of their formats, valid by default. */
import { crc32, deflateSync } from "node:zlib"

import { ascii, bytes, concat, u16be, u16le, u24le, u32be, u32le } from "./bytes.js"
import type { Bytes } from "./bytes.js"

export interface ExifOptions {
  readonly orientation: number
  readonly littleEndian?: boolean
  /** A type of TIFF: 3, a SHORT, by default. */
  readonly type?: number
  /** Equal values, 1 by default. They follow the directory where they do not fit into the entry. */
  readonly count?: number
  /** The offset of the directory from the start of the TIFF header, after zeros. */
  readonly directory?: number
  /** The number of entries before the orientation. */
  readonly others?: number
}

/** Builds a TIFF block with an orientation in its only directory. */
export const exif = (options: ExifOptions): Bytes => {
  const u16 = options.littleEndian === true ? u16le : u16be
  const u32 = options.littleEndian === true ? u32le : u32be
  const directory = options.directory ?? 8
  const others = options.others ?? 0
  const type = options.type ?? 3
  const count = options.count ?? 1
  const value = options.orientation
  const values = concat(
    ...Array.from(
      { length: count },
      () => type === 1 || type === 6 ? bytes(value) : type === 4 || type === 9 ? u32(value) : u16(value)
    )
  )
  const isInline = values.length <= 4
  const end = directory + 2 + (others + 1) * 12 + 4
  const other = concat(u16(0x010f), u16(3), u32(1), u16(7), u16(0))
  return concat(
    ascii(options.littleEndian === true ? "II" : "MM"),
    u16(42),
    u32(directory),
    new Uint8Array(Math.max(0, directory - 8)),
    u16(others + 1),
    ...Array.from({ length: others }, () => other),
    concat(u16(0x0112), u16(type), u32(count), isInline ? concat(values, new Uint8Array(4 - values.length)) : u32(end)),
    u32(0),
    isInline ? bytes() : values
  )
}

export const exifPrefix = ascii("Exif\0\0")

export const pngSignature = bytes(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)

export const pngChunk = (type: string, data: Uint8Array = bytes()): Bytes => {
  const body = concat(ascii(type), data)
  return concat(u32be(data.length), body, u32be(crc32(body)))
}

export interface PngHeader {
  readonly width?: number
  readonly height?: number
  readonly bitDepth?: number
  readonly colorType?: number
  readonly compression?: number
  readonly filter?: number
  readonly interlace?: number
}

export const ihdr = (options: PngHeader = {}): Bytes =>
  pngChunk(
    "IHDR",
    concat(
      u32be(options.width ?? 1),
      u32be(options.height ?? 1),
      bytes(
        options.bitDepth ?? 8,
        options.colorType ?? 0,
        options.compression ?? 0,
        options.filter ?? 0,
        options.interlace ?? 0
      )
    )
  )

export interface PngOptions extends PngHeader {
  readonly orientation?: number
  /** Chunks between the header and the image data. */
  readonly chunks?: ReadonlyArray<Uint8Array>
  /** The image data before its compression: zeros for 8-bit greyscale by default, and above 4 megapixels a part of them. */
  readonly data?: Uint8Array
}

/** Builds a black image, by default of 8-bit greyscale. */
export const png = (options: PngOptions = {}): Bytes => {
  const { height = 1, width = 1 } = options
  const data = options.data ?? new Uint8Array(width * height > 4_000_000 ? 1 : (width + 1) * height)
  return concat(
    pngSignature,
    ihdr(options),
    ...(options.orientation === undefined ? [] : [pngChunk("eXIf", exif({ orientation: options.orientation }))]),
    ...(options.chunks ?? []),
    pngChunk("IDAT", deflateSync(data)),
    pngChunk("IEND")
  )
}

export const segment = (marker: number, payload: Uint8Array = bytes()): Bytes =>
  concat(bytes(0xff, marker), u16be(payload.length + 2), payload)

export const soi = bytes(0xff, 0xd8)
export const eoi = bytes(0xff, 0xd9)

export interface SofOptions {
  readonly marker?: number
  readonly width?: number
  readonly height?: number
  readonly precision?: number
  readonly components?: number
  readonly sampling?: number
  /** The components' identifiers, by default 1 and up. */
  readonly ids?: ReadonlyArray<number>
  /** The destination of the quantisation table that all components use. */
  readonly table?: number
}

export const sof = (options: SofOptions = {}): Bytes => {
  const ids = options.ids ?? Array.from({ length: options.components ?? 1 }, (_, i) => i + 1)
  return segment(
    options.marker ?? 0xc0,
    concat(
      bytes(options.precision ?? 8),
      u16be(options.height ?? 1),
      u16be(options.width ?? 1),
      bytes(ids.length),
      ...ids.map((id) => bytes(id, options.sampling ?? 0x11, options.table ?? 0))
    )
  )
}

/** A quantisation table of ones, of two bytes each if the precision is not 0. */
export const dqt = (destination = 0, precision = 0): Bytes =>
  segment(
    0xdb,
    concat(
      bytes(precision << 4 | destination),
      ...Array.from({ length: 64 }, () => precision === 0 ? bytes(1) : u16be(1))
    )
  )

/** A Huffman table whose only code is one bit, for 0. */
export const dht = (index: number): Bytes => segment(0xc4, concat(bytes(index, 1), new Uint8Array(15), bytes(0)))

export interface SosOptions {
  /** The components' identifiers, or the number of them. */
  readonly components?: number | ReadonlyArray<number>
  /** The first and last coefficient, and the point transforms. */
  readonly selection?: readonly [start: number, end: number, approximation: number]
}

export const sos = (options: SosOptions = {}): Bytes => {
  const { components = 1, selection = [0, 63, 0] } = options
  const ids = typeof components === "number" ? Array.from({ length: components }, (_, i) => i + 1) : components
  return segment(0xda, concat(bytes(ids.length), ...ids.map((id) => bytes(id, 0)), bytes(...selection)))
}

export interface JpegOptions extends SofOptions {
  readonly orientation?: number
  /** Segments between SOI and the tables. */
  readonly segments?: ReadonlyArray<Uint8Array>
}

/**
 * Builds the segments of a grey image from SOI to EOI, with the scan's data apart. A block takes two bits: the only code
 * of each table, for no difference and for the end of the block.
 */
export const jpegParts = (options: JpegOptions = {}): ReadonlyArray<Bytes> => {
  const blocks = Math.ceil((options.width ?? 1) / 8) * Math.ceil((options.height ?? 1) / 8)
  const scan = new Uint8Array(Math.ceil(blocks / 4))
  scan[scan.length - 1] = 0xff >> ((blocks - 1) % 4 + 1) * 2
  const isProgressive = options.marker === 0xc2 || options.marker === 0xca
  return [
    soi,
    ...(options.orientation === undefined
      ? []
      : [segment(0xe1, concat(exifPrefix, exif({ orientation: options.orientation })))]),
    ...(options.segments ?? []).map((part) => concat(part)),
    dqt(),
    sof(options),
    dht(0x00),
    dht(0x10),
    sos(isProgressive ? { selection: [0, 0, 0] } : {}),
    scan,
    eoi
  ]
}

export const jpeg = (options: JpegOptions = {}): Bytes => concat(...jpegParts(options))

export const webpChunk = (type: string, data: Uint8Array = bytes()): Bytes =>
  concat(ascii(type), u32le(data.length), data, new Uint8Array(data.length & 1))

export const riff = (...chunks: ReadonlyArray<Uint8Array>): Bytes => {
  const body = concat(...chunks)
  return concat(ascii("RIFF"), u32le(body.length + 4), ascii("WEBP"), body)
}

/** Builds a lossless image of one colour: each of the five prefix codes has one symbol, so that a pixel takes no bits. */
export const vp8l = (width = 1, height = 1, version = 0): Bytes => {
  const codes = 0b0001_0001_0001_0001_0001n << 3n
  const bits = 0x2fn | BigInt(width - 1) << 8n | BigInt(height - 1) << 22n | BigInt(version) << 37n | codes << 40n
  return Uint8Array.from({ length: 8 }, (_, i) => Number(bits >> BigInt(8 * i) & 0xffn))
}

export const vp8x = (width = 1, height = 1, flags = 0): Bytes =>
  webpChunk("VP8X", concat(bytes(flags, 0, 0, 0), u24le(width - 1), u24le(height - 1)))

export interface WebpOptions {
  readonly width?: number
  readonly height?: number
  readonly orientation?: number
  /** Chunks after the image. They make the file an extended one. */
  readonly chunks?: ReadonlyArray<Uint8Array>
}

export const webp = (options: WebpOptions = {}): Bytes => {
  const { chunks = [], height, orientation, width } = options
  const image = webpChunk("VP8L", vp8l(width, height))
  return orientation === undefined && chunks.length === 0
    ? riff(image)
    : riff(
      vp8x(width, height, orientation === undefined ? 0 : 8),
      image,
      ...(orientation === undefined ? [] : [webpChunk("EXIF", exif({ orientation }))]),
      ...chunks
    )
}
