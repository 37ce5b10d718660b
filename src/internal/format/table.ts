/** The signature and the parser of each accepted format. `ImageFormat` has the public half of the table. */
import type { Parser } from "./byteReader.js"
import { jpegSignature, parseJpeg } from "./jpeg.js"
import type { Name } from "./outcome.js"
import { parsePng, pngSignature } from "./png.js"
import type { Signature } from "./signature.js"
import { parseWebp, webpSignature } from "./webp.js"

export interface FormatReader {
  /** No signature is a prefix of another one. */
  readonly signature: Signature
  readonly parser: Parser
}

export const readers: Readonly<Record<Name, FormatReader>> = {
  png: { signature: pngSignature, parser: parsePng },
  jpeg: { signature: jpegSignature, parser: parseJpeg },
  webp: { signature: webpSignature, parser: parseWebp }
}
