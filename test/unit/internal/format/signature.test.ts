import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { detectable, type Detected } from "../../../../src/internal/format/outcome.js"
import { detect, detectBytes } from "../../../../src/internal/format/signature.js"
import { ascii, bytes, concat, jpeg, noise, png, u16le, u32be, u32le, webp } from "../../../utils/images.js"

const ftyp = (major: string, ...compatible: ReadonlyArray<string>) =>
  concat(u32be(16 + 4 * compatible.length), ascii(`ftyp${major}\0\0\0\0${compatible.join("")}`), ascii("....avif"))

const bmp = (header: number) => concat(ascii("BM"), u32le(1000), u32le(0), u32le(54), u32le(header), noise(40))

const ico = (kind: number, count: number, reserved: number) =>
  concat(u16le(0), u16le(kind), u16le(count), bytes(16, 16, 0, reserved), noise(12))

/** A comment of so many bytes. */
const comment = (length: number) => `<!--${"-- ".padEnd(length - 7, "x")}-->`

/** The record type requires examples of every detectable type. */
const examples: Record<Detected, ReadonlyArray<Uint8Array>> = {
  png: [png()],
  jpeg: [jpeg(), bytes(0xff, 0xd8, 0xff)],
  webp: [webp()],
  gif: [ascii("GIF87a"), ascii("GIF89a\x01\0")],
  heic: ["heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "mif2", "msf1"].map((brand) => ftyp(brand, "miaf"))
    // A box with the length of no compatible brands
    .concat(
      concat(u32be(8), ascii("ftypmif1\0\0\0\0avif")),
      ["mif3", "avci", "avcs", "vvic", "evbi", "jpeg", "j2ki"].map((brand) => ftyp(brand)),
      // A major brand that is none of HEIF's
      ftyp("MiHB", "miaf", "mif1"),
      ftyp("isom", "avc1", "heic")
    ),
  avif: [
    ftyp("avif"),
    ftyp("avis"),
    ftyp("mif1", "miaf", "avif"),
    ftyp("msf1", "avis"),
    ftyp("M4V ", "avif")
  ],
  cr3: [ftyp("crx ", "crx ", "isom")],
  mp4: [
    ftyp("isom", "avc1"),
    ftyp("qt  "),
    // The version of the major brand is no brand.
    concat(u32be(20), ascii("ftypisommif1mp42"))
  ],
  bmp: [12, 40, 108, 124].map(bmp),
  tiff: [ascii("II*\0"), ascii("MM\0*"), ascii("II+\0"), ascii("MM\0+")],
  svg: [
    ascii("<svg>"),
    ascii("<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
    concat(bytes(0xef, 0xbb, 0xbf), ascii("\n\t <SVG\n")),
    ascii("<?xml version=\"1.0\"?>\n<!-- made by hand -->\n<svg width=\"1\">"),
    ascii("<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\"><svg>"),
    ascii("<!-- a comment --><svg:svg>"),
    ascii(`<?xml version="1.0"?>\n<?xml-stylesheet href="a.css"?>\n${comment(700)}\n${comment(700)}<svg>`),
    ascii(`${comment(detectBytes - 5)}<svg>`),
    ascii(`${comment(1024)}<!DOCTYPE svg [ <!ENTITY ns "http://www.w3.org/2000/svg"> ]>`)
  ],
  ico: [ico(1, 1, 0), ico(2, 255, 0)],
  jxl: [bytes(0xff, 0x0a), concat(u32be(12), ascii("JXL \r\n\x87\n"))],
  jp2: [bytes(0xff, 0x4f, 0xff, 0x51), concat(u32be(12), ascii("jP  \r\n\x87\n"))],
  psd: [ascii("8BPS\0\x01")],
  pdf: [ascii("%PDF-1.7")],
  webm: [bytes(0x1a, 0x45, 0xdf, 0xa3)],
  zip: [ascii("PK\x03\x04"), ascii("PK\x05\x06"), ascii("PK\x07\x08")],
  gzip: [bytes(0x1f, 0x8b, 0x08)],
  html: [
    ascii("<!DOCTYPE html>"),
    ascii(" \r\n<HTML lang=en>"),
    ascii("<script src=x>"),
    ascii("<!-- a comment --><p>"),
    ascii("<!-- a comment --><html><body><svg>"),
    ascii("<!-- <svg> --><p>"),
    ascii("<!-- unclosed <svg>"),
    ascii("<?xml version=\"1.0\"?><html xmlns=\"http://www.w3.org/1999/xhtml\">")
  ],
  xml: [ascii("<?xml version=\"1.0\"?><feed>"), ascii("<?xml version=\"1.0\"?><svgs>"), ascii("<?xml <svg>")],
  unknown: [
    bytes(),
    bytes(0),
    noise(2000),
    new Uint8Array(2000),
    ascii("hello"),
    ascii("BMW"),
    bmp(41),
    concat(ascii("BN"), bmp(40).subarray(2)),
    bmp(12 + 256),
    ico(0, 1, 0),
    ico(3, 1, 0),
    ico(1, 0, 0),
    ico(1, 256, 0),
    ico(1, 1, 7),
    ascii("....ftyp"),
    ascii("RIFF....WAVE"),
    ascii("RIFF....WEB"),
    ascii("<svgs>"),
    ascii("<article>"),
    ascii("text <svg>"),
    ascii("text <html>"),
    png().subarray(1),
    png().subarray(0, 7),
    bytes(0xff),
    bytes(0xff, 0xd8),
    bytes(0xff, 0xd8, 0xfe)
  ]
}

describe("detect", () => {
  it.each(detectable.map((detected) => [detected, examples[detected]] as const))("detects %s", (detected, all) => {
    for (const example of all) {
      assert.strictEqual(detect(example), detected, new TextDecoder("latin1").decode(example.subarray(0, 32)))
    }
  })

  it.prop("reads at most detectBytes bytes", [
    FastCheck.constantFrom(...Object.values(examples).flat()),
    FastCheck.constantFrom(ascii("<svg>"), ascii("<html>"), noise(100))
  ], ([example, behind]) => {
    const head = concat(example, new Uint8Array(detectBytes).fill(0x20)).subarray(0, detectBytes)
    assert.strictEqual(detect(concat(head, behind)), detect(head))
  })

  it("reads a view of a larger buffer from its offset", () => {
    const all = concat(noise(13), ftyp("mif1", "avif"), noise(13))
    assert.strictEqual(detect(all.subarray(13)), "avif")
  })

  it.prop("returns a detectable type for any input", [
    FastCheck.constantFrom(...Object.values(examples).flat()),
    FastCheck.uint8Array({ maxLength: 64 }),
    FastCheck.nat(40)
  ], ([example, junk, at]) => {
    assert.include(detectable, detect(concat(example.subarray(0, at), junk)))
  }, { fastCheck: { numRuns: 2000 } })
})
