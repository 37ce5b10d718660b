/**
 * The rules by which an image's structure is refused beyond its header: a picture on either side of each, and what sharp
 * makes of both.
 */
import { assert, describe, it } from "@effect/vitest"
import { deflateSync } from "node:zlib"
import sharp from "sharp"
import * as ImageFormat from "../../../../src/ImageFormat.js"
import {
  anmf,
  ascii,
  bytes,
  concat,
  dht,
  dqt,
  dri,
  eoi,
  ihdr,
  jpegParts,
  pngChunk,
  pngSignature,
  riff,
  segment,
  sof,
  soi,
  sos,
  u16be,
  u24le,
  u32le,
  vp8l,
  vp8x,
  webpChunk
} from "../../../utils/images.js"
import type { SosOptions } from "../../../utils/images.js"
import { assertSameInPieces, cutAt, image, malformed, piecesOf, probe } from "../../../utils/probing.js"

interface Side {
  readonly all: Uint8Array
  /**
   * Why sharp's answer is not ours. Above all: sharp reads what one reader of Pillow, Chromium and libwebp refuses, or the
   * other way round.
   */
  readonly sharpDiffers?: string
}

type Reason = ImageFormat.MalformedReason | "ContentMismatch"

interface Rule {
  readonly rule: string
  readonly accepted: ReadonlyArray<Side | Uint8Array>
  readonly refused: ReadonlyArray<readonly [Reason, Side | Uint8Array]>
}

const differs = (sharpDiffers: string, all: Uint8Array): Side => ({ all, sharpDiffers })

const sideOf = (side: Side | Uint8Array): Side => side instanceof Uint8Array ? { all: side } : side

// PNG

const pngOf = (...chunks: ReadonlyArray<Uint8Array>) => concat(pngSignature, ...chunks)
const withBadChecksum = (chunk: Uint8Array) => chunk.map((byte, i) => i === chunk.length - 1 ? byte ^ 1 : byte)
const header = ihdr()
const indexed = ihdr({ colorType: 3 })
const palette = pngChunk("PLTE", bytes(1, 2, 3))
const data = deflateSync(bytes(0, 0))
const idat = pngChunk("IDAT", data)
const text = pngChunk("tEXt", ascii("a\0b"))
const iend = pngChunk("IEND")
const idatFrom = (...head: ReadonlyArray<number>) => pngChunk("IDAT", concat(bytes(...head), data.subarray(2)))
const fdat = pngChunk("fdAT", concat(new Uint8Array(4), data))

const pngRules: ReadonlyArray<Rule> = [
  {
    rule: "a critical chunk's checksum is that of its type and data",
    accepted: [pngOf(header, idat, iend), pngOf(header, withBadChecksum(text), idat, iend)],
    refused: [
      ["BadChecksum", pngOf(withBadChecksum(header), idat, iend)],
      ["BadChecksum", pngOf(indexed, withBadChecksum(palette), idat, iend)],
      ["BadChecksum", pngOf(header, withBadChecksum(idat), iend)],
      ["BadChecksum", differs("sharp reads no chunk after the last row", pngOf(header, idat, withBadChecksum(iend)))]
    ]
  },
  {
    rule: "an animation frame's checksum is that of its type and data",
    accepted: [pngOf(header, idat, fdat, iend)],
    refused: [[
      "BadChecksum",
      differs("sharp reads the first picture", pngOf(header, idat, withBadChecksum(fdat), iend))
    ]]
  },
  {
    rule: "the end's checksum may be cut off",
    accepted: [1, 2, 3, 4].map((cut) => pngOf(header, idat, iend.subarray(0, -cut))),
    refused: [[
      "Truncated",
      differs("sharp reads no chunk after the last row", pngOf(header, idat, iend.subarray(0, -5)))
    ]]
  },
  {
    rule: "an indexed image has a palette before its image data",
    accepted: [
      pngOf(indexed, palette, idat, iend),
      differs("Pillow reads a palette of any length", pngOf(indexed, pngChunk("PLTE", new Uint8Array(4)), idat, iend)),
      differs("Pillow reads a palette of any length", pngOf(indexed, pngChunk("PLTE", new Uint8Array(900)), idat, iend))
    ],
    refused: [
      ["MissingTable", pngOf(indexed, idat, iend)],
      ["MissingTable", pngOf(indexed, idat, palette, iend)]
    ]
  },
  {
    rule: "image data is side by side",
    accepted: [
      pngOf(header, text, pngChunk("IDAT", data.subarray(0, 3)), pngChunk("IDAT", data.subarray(3)), text, iend)
    ],
    refused: [
      [
        "UnexpectedSegment",
        pngOf(header, pngChunk("IDAT", data.subarray(0, 3)), text, pngChunk("IDAT", data.subarray(3)), iend)
      ]
    ]
  },
  {
    rule: "there is image data",
    accepted: [pngOf(header, pngChunk("IDAT"), idat, pngChunk("IDAT"), iend)],
    refused: [
      ["MissingImageData", pngOf(header, pngChunk("IDAT"), pngChunk("IDAT"), iend)],
      ["MissingImageData", pngOf(header, pngChunk("IDAT", data.subarray(0, 1)), iend)]
    ]
  },
  {
    rule: "image data begins with a zlib header",
    accepted: [
      pngOf(header, pngChunk("IDAT", data.subarray(0, 1)), pngChunk("IDAT", data.subarray(1)), iend),
      pngOf(header, idatFrom(0x08, 0x1d), iend)
    ],
    refused: [
      ["BadHeader", pngOf(header, idatFrom(0x78, 0x9d), iend)],
      ["BadHeader", pngOf(header, idatFrom(0x79, 0x17), iend)],
      ["BadHeader", pngOf(header, idatFrom(0x88, 0x1c), iend)],
      ["BadHeader", pngOf(header, idatFrom(0x78, 0x20), iend)]
    ]
  }
]

// JPEG

const [scanData = bytes()] = jpegParts().slice(-2)
const codes = concat(dht(0x00), dht(0x10))

interface Frame {
  readonly marker?: number
  readonly ids?: ReadonlyArray<number>
  /** Segments before the frame, by default a quantisation table. */
  readonly before?: ReadonlyArray<Uint8Array>
  readonly scans: ReadonlyArray<SosOptions>
}

const jpegOf = ({ before = [dqt()], scans, ...frame }: Frame) =>
  concat(
    soi,
    ...before,
    sof(frame),
    codes,
    ...scans.flatMap((scan) => [sos(scan), bytes(0b0000_0011)]),
    eoi
  )

const rgb = [1, 2, 3]
const scansOf = (...components: ReadonlyArray<ReadonlyArray<number>>) =>
  components.map((components) => ({ components }))
const grey = (...before: ReadonlyArray<Uint8Array>) => concat(soi, ...before, sof(), codes, sos(), scanData, eoi)
const dc = [0, 0, 0] as const
const progressive = (...selections: ReadonlyArray<readonly [number, number, number]>) =>
  jpegOf({ marker: 0xc2, scans: selections.map((selection) => ({ selection })) })
const tables = (...parts: ReadonlyArray<Uint8Array>) => grey(dqt(), ...parts)
const raw = (marker: number, length: number, ...body: ReadonlyArray<number>) =>
  concat(bytes(0xff, marker), u16be(length), bytes(...body))

/** Two restart intervals of one block each, and what stands at the end of the first. */
const restarts = (interval: ReadonlyArray<Uint8Array>, ...spot: ReadonlyArray<number>) =>
  concat(
    soi,
    dqt(),
    ...interval,
    sof({ width: 16, height: 8 }),
    codes,
    sos(),
    scanData,
    bytes(...spot, 0xff, 0xd0),
    scanData,
    eoi
  )

const warns = "libjpeg only warns of it, where sharp asks for errors"

const jpegRules: ReadonlyArray<Rule> = [
  {
    rule: "the third byte is that of a marker",
    accepted: [grey(dqt()), concat(soi, bytes(0xff), grey(dqt()).subarray(2))],
    refused: [["ContentMismatch", differs(warns, concat(soi, bytes(0), grey(dqt()).subarray(2)))]]
  },
  {
    rule: "a scan's components are the frame's, by libjpeg's slots",
    accepted: [
      jpegOf({ ids: rgb, scans: scansOf([1, 2, 3]) }),
      jpegOf({ ids: rgb, scans: scansOf([1], [2, 3]) }),
      jpegOf({ ids: rgb, scans: scansOf([1], [3, 2]) }),
      jpegOf({ ids: [1, 1, 1], scans: scansOf([1, 1, 1]) }),
      jpegOf({ ids: [0, 255, 7], scans: scansOf([0, 255, 7]) })
    ],
    refused: [
      ["BadHeader", jpegOf({ ids: rgb, scans: scansOf([1, 2, 4]) })],
      ["BadHeader", jpegOf({ ids: rgb, scans: scansOf([2, 1, 3]) })],
      ["BadHeader", jpegOf({ ids: rgb, scans: scansOf([1, 1, 2]) })],
      ["BadHeader", jpegOf({ ids: rgb, scans: scansOf([2, 2, 3]) })],
      ["BadHeader", jpegOf({ ids: [1], scans: scansOf([1, 1]) })],
      ["BadHeader", jpegOf({ ids: [1], scans: scansOf([2]) })]
    ]
  },
  {
    rule: "a progressive scan's coefficients and approximation are within the bounds of G.1.1.1",
    accepted: [
      progressive(dc),
      progressive(dc, [1, 63, 0]),
      progressive(dc, [63, 63, 0]),
      progressive([0, 0, 0x01], [0, 0, 0x10]),
      progressive([0, 0, 0x0d]),
      jpegOf({ marker: 0xc2, ids: rgb, scans: [{ components: rgb, selection: dc }] })
    ],
    refused: [
      ["BadHeader", progressive([0, 63, 0])],
      ["BadHeader", progressive([0, 1, 0])],
      ["BadHeader", progressive(dc, [2, 1, 0])],
      ["BadHeader", progressive(dc, [1, 64, 0])],
      ["BadHeader", progressive([0, 0, 0x0e])],
      ["BadHeader", progressive([0, 0, 0x20])],
      ["BadHeader", progressive([0, 0, 0x11])],
      ["BadHeader", jpegOf({ marker: 0xc2, ids: rgb, scans: [{ components: [1, 2], selection: [1, 63, 0] }] })]
    ]
  },
  {
    rule: "a sequential scan has all coefficients",
    accepted: [grey(dqt())],
    refused: ([[0, 0, 0], [1, 63, 0], [0, 62, 0], [0, 63, 1], [0, 63, 0x10]] as const).map((selection) =>
      ["BadHeader", differs(warns, jpegOf({ scans: [{ selection }] }))] as const
    )
  },
  {
    rule: "a quantisation table that a scan uses is defined",
    accepted: [
      grey(dqt()),
      grey(dqt(3), dqt()),
      concat(soi, sof(), dqt(), codes, sos(), scanData, eoi),
      concat(soi, dqt(3), sof({ table: 3 }), codes, sos(), scanData, eoi)
    ],
    refused: [
      ["MissingTable", grey()],
      ["MissingTable", grey(dqt(1))],
      ["MissingTable", concat(soi, dqt(), sof({ table: 4 }), codes, sos(), scanData, eoi)],
      ["MissingTable", concat(soi, dqt(), sof({ table: 32 }), codes, sos(), scanData, eoi)],
      ["MissingTable", concat(soi, sof(), codes, sos(), scanData, dqt(), eoi)]
    ]
  },
  {
    rule: "a quantisation table has 64 elements and one of four destinations",
    accepted: [
      grey(dqt(0, 1)),
      grey(dqt(0, 15)),
      tables(segment(0xdb)),
      grey(segment(0xdb, concat(dqt(1).subarray(4), dqt(0, 1).subarray(4))))
    ],
    refused: [
      ["BadHeader", tables(dqt(4))],
      ["BadHeader", tables(dqt(15, 1))],
      ["BadLength", tables(segment(0xdb, bytes(0)))],
      ["BadLength", tables(segment(0xdb, dqt(1).subarray(4, -1)))],
      ["BadLength", tables(segment(0xdb, dqt(1, 1).subarray(4, -1)))],
      ["BadLength", tables(segment(0xdb, concat(dqt(1).subarray(4), bytes(0))))]
    ]
  },
  {
    rule: "a Huffman table has one of two classes, one of four destinations, and its codes",
    accepted: [
      tables(dht(0x13)),
      tables(segment(0xc4)),
      tables(segment(0xc4, new Uint8Array(17))),
      tables(segment(0xc4, concat(dht(1).subarray(4), dht(2).subarray(4)))),
      tables(segment(0xc4, concat(bytes(0x03, 128, 128), new Uint8Array(14), new Uint8Array(256))))
    ],
    refused: [
      ["BadHeader", tables(dht(0x04))],
      ["BadHeader", tables(dht(0x14))],
      ["BadHeader", tables(dht(0x20))],
      ["BadHeader", tables(segment(0xc4, concat(bytes(0x03, 129, 128), new Uint8Array(14), new Uint8Array(257))))],
      ["BadLength", tables(segment(0xc4, new Uint8Array(16)))],
      ["BadLength", tables(segment(0xc4, dht(1).subarray(4, -1)))],
      ["BadLength", tables(segment(0xc4, concat(dht(1).subarray(4), bytes(0))))]
    ]
  },
  {
    rule: "a restart interval has two bytes",
    accepted: [tables(dri(0)), tables(dri(9))],
    refused: [
      ["BadLength", tables(segment(0xdd, bytes(0)))],
      ["BadLength", tables(segment(0xdd, bytes(0, 0, 0)))]
    ]
  },
  {
    rule: "samples have 8 bits",
    accepted: [grey(dqt())],
    refused: [
      ["UnsupportedProcess", concat(soi, dqt(), sof({ marker: 0xc1, precision: 12 }), codes, sos(), scanData, eoi)],
      ["UnsupportedProcess", concat(soi, dqt(), sof({ precision: 12 }), codes, sos(), scanData, eoi)]
    ]
  },
  {
    rule: "a comment or application segment of length 0 or 1 is empty",
    accepted: [0xe0, 0xe1, 0xef, 0xfe].flatMap((marker) => [0, 1].map((length) => tables(raw(marker, length)))),
    refused: [["BadLength", tables(raw(0xc4, 1))], ["BadLength", tables(raw(0xdb, 0))]]
  },
  {
    rule: "a foreign marker in a scan with a restart interval is passed over",
    accepted: [restarts([dri(1)]), ...[0x02, 0x80, 0xbf].map((marker) => restarts([dri(1)], 0xff, marker, 3))],
    refused: [
      ["UnexpectedSegment", differs(warns, restarts([], 0xff, 0x02))],
      ["UnexpectedSegment", differs(warns, restarts([dri(1), dri(0)], 0xff, 0xbf))],
      ["UnexpectedSegment", restarts([dri(1), bytes(0xff, 0x02)])],
      ["UnexpectedSegment", differs(warns, restarts([dri(1)], 0xff, 0xf0))]
    ]
  }
]

// WebP

const lossless = webpChunk("VP8L", vp8l())
const unknown = webpChunk("abcd", bytes(1, 2, 3, 4))
const overrun = concat(ascii("abcd"), u32le(50), bytes(1, 2, 3, 4))
const anim = webpChunk("ANIM", new Uint8Array(6))
const framed = (inside: ReadonlyArray<Uint8Array>, width = 1, height = 1) =>
  webpChunk(
    "ANMF",
    concat(u24le(0), u24le(0), u24le(width - 1), u24le(height - 1), u24le(100), bytes(0), ...inside)
  )
const animation = (...frames: ReadonlyArray<Uint8Array>) => riff(vp8x(1, 1, 2), anim, ...frames)

/** Written by sharp: 16×16, with the VP8 and the ALPH chunk. */
const written = await sharp(new Uint8Array(16 * 16 * 4).map((_, i) => i * 7), {
  raw: { width: 16, height: 16, channels: 4 }
})
  .webp({ alphaQuality: 50 }).toBuffer()
const chunkOf = (type: string) => {
  const at = written.indexOf(type, 12, "latin1")
  assert.isAbove(at, 0)
  const length = written.readUInt32LE(at + 4)
  return new Uint8Array(written.subarray(at, at + 8 + length + (length & 1)))
}
const lossy = chunkOf("VP8 ")
const alpha = chunkOf("ALPH")
const rawAlpha = (length: number) => webpChunk("ALPH", new Uint8Array(length))
const canvas = vp8x(16, 16, 0x10)
const animated = (...inside: ReadonlyArray<Uint8Array>) => riff(vp8x(16, 16, 0x12), anim, framed(inside, 16, 16))

const webpRules: ReadonlyArray<Rule> = [
  {
    rule: "a whole chunk follows the image of a simple file, if anything does",
    accepted: [
      riff(lossless),
      riff(lossless, unknown),
      riff(lossless, webpChunk("abcd")),
      // libwebp looks at the next chunk only.
      riff(lossless, unknown, bytes(1, 2, 3)),
      concat(riff(lossless), bytes(1, 2, 3))
    ],
    refused: [
      ["BadLength", riff(lossless, bytes(1, 2, 3))],
      ["BadLength", riff(lossless, overrun)],
      ["BadLength", riff(lossless, webpChunk("abcd", bytes(1)).subarray(0, -1))]
    ]
  },
  {
    rule: "a frame has one image, and only whole chunks behind it",
    accepted: [
      animation(anmf()),
      animation(framed([lossless, unknown]), anmf()),
      animated(lossy),
      animated(alpha, lossy)
    ],
    refused: [
      ["MissingImageData", animation(framed([unknown]))],
      ["MissingImageData", animation(framed([unknown, lossless]))],
      ["MissingImageData", differs("libwebp drops the frame", animation(anmf(), framed([unknown])))],
      ["MissingImageData", animated(alpha)],
      ["UnexpectedSegment", animation(framed([lossless, lossless]))],
      ["UnexpectedSegment", animated(lossy, lossy)],
      ["UnexpectedSegment", animated(lossy, canvas)],
      ["UnexpectedSegment", animated(lossy, alpha)],
      ["UnexpectedSegment", animated(alpha, unknown, lossy)],
      ["BadLength", animation(framed([lossless.subarray(0, -4)]), anmf())],
      ["BadLength", animation(framed([lossless, bytes(1, 2)]), anmf())],
      ["BadLength", animation(framed([lossless, overrun]), unknown, unknown, unknown, anmf())]
    ]
  },
  {
    rule: "a frame's image is within the canvas",
    accepted: [animation(framed([lossless], 5, 5)), riff(vp8x(2, 2, 2), anim, framed([webpChunk("VP8L", vp8l(2, 2))]))],
    refused: [["BadHeader", animation(framed([webpChunk("VP8L", vp8l(2, 1))]))]]
  },
  {
    rule: "frames are announced",
    accepted: [
      animation(anmf()),
      riff(vp8x(), lossless, anim),
      differs("RFC 9649, 2.7.1.1: such a chunk is ignored", riff(vp8x(), anim, lossless))
    ],
    refused: [
      ["UnexpectedSegment", riff(vp8x(), anmf(), lossless)],
      ["UnexpectedSegment", riff(vp8x(), lossless, anmf())],
      ["UnexpectedSegment", riff(vp8x(), anim, anmf())]
    ]
  },
  {
    rule: "one ALPH chunk stands directly before its VP8 chunk, and is long enough",
    accepted: [riff(canvas, lossy), riff(canvas, unknown, alpha, lossy, unknown), riff(canvas, rawAlpha(257), lossy)],
    refused: [
      ["UnexpectedSegment", riff(canvas, alpha, alpha, lossy)],
      ["UnexpectedSegment", riff(canvas, lossy, alpha)],
      ["UnexpectedSegment", riff(canvas, lossy, unknown, alpha)],
      ["UnexpectedSegment", riff(canvas, alpha, unknown, lossy)],
      ["UnexpectedSegment", riff(vp8x(1, 1, 0x10), alpha, lossless)],
      ["UnexpectedSegment", riff(vp8x(16, 16, 0x12), anim, alpha, framed([lossy], 16, 16))],
      ["MissingImageData", riff(canvas, alpha)],
      ["BadLength", riff(canvas, rawAlpha(0), lossy)],
      ["BadLength", riff(canvas, webpChunk("ALPH", bytes(1)), lossy)],
      ["BadLength", riff(canvas, rawAlpha(256), lossy)]
    ]
  },
  {
    rule: "an extended header has 10 bytes",
    accepted: [riff(vp8x(), lossless)],
    refused: [
      [
        "BadLength",
        differs(
          "its parser of animations reads any",
          riff(webpChunk("VP8X", concat(vp8x().subarray(8), bytes(0))), lossless)
        )
      ],
      ["BadLength", riff(webpChunk("VP8X", vp8x().subarray(8, -1)), lossless)]
    ]
  }
]

/** Decodes all frames. A warning is no error: libjpeg warns of much that every decoder reads. */
const sharpDecodes = async (all: Uint8Array, format: ImageFormat.Name): Promise<boolean> => {
  try {
    const input = sharp(all, { failOn: "error", animated: format === "webp" })
    await input.raw().toBuffer()
    return true
  } catch {
    return false
  }
}

describe.each([
  ["PNG", ImageFormat.png, pngRules],
  ["JPEG", ImageFormat.jpeg, jpegRules],
  ["WebP", ImageFormat.webp, webpRules]
])("rules of %s", (_, format, rules) => {
  const assertSide = async (side: Side | Uint8Array, expected: ImageFormat.ProbeOutcome, label: string) => {
    const { all, sharpDiffers } = sideOf(side)
    assert.deepStrictEqual(probe(format, all), expected, label)
    const halves = Array.from({ length: all.length }, (_, at) => cutAt(all, [at]))
    assertSameInPieces(format, all, [all], piecesOf(all, 3), ...halves)
    const decodes = await sharpDecodes(all, format.name)
    assert.strictEqual(decodes, (expected._tag === "Image") === (sharpDiffers === undefined), `sharp: ${label}`)
  }

  it.each(rules)("$rule", async ({ accepted, refused }) => {
    for (const [i, side] of accepted.entries()) {
      const outcome = probe(format, sideOf(side).all)
      const { height, width } = outcome._tag === "Image" ? outcome : { width: 0, height: 0 }
      await assertSide(side, image(width, height), `accepted ${i}`)
    }
    for (const [i, [reason, side]] of refused.entries()) {
      const expected = reason === "ContentMismatch" ? { _tag: reason, detected: "unknown" } as const : malformed(reason)
      await assertSide(side, expected, `refused ${i}`)
    }
  })
})
