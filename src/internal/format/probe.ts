/** Probes: a signature check over the first bytes, then the parser of the format that matched. */
import { runParser } from "./byteReader.js"
import type { ImageHeader, Name, ProbeFailure, PushParser } from "./outcome.js"
import { detect, detectBytes, isSettled, startsWith } from "./signature.js"
import { readers } from "./table.js"

/** A probe for bytes of one declared format. */
export interface ImageProbe extends PushParser {
  /** Tells whether the bytes begin with the signature of the declared format; `false` until enough bytes have come. */
  readonly signatureMatched: () => boolean
}

/** A probe for bytes of a format that is not declared yet. */
export interface SniffingProbe {
  /** Reads the next bytes without keeping or changing them. Every call after a failure returns the same failure. */
  readonly push: (bytes: Uint8Array) => ProbeFailure | undefined
  /** Ends the bytes and returns the result. */
  readonly end: () => SniffingOutcome
  /** The format of the matching signature; `undefined` until the signature is complete. */
  readonly format: () => Name | undefined
}

/** The result of a sniffing probe at the end of the bytes: the image's format and header, or the failure. */
export type SniffingOutcome = ({ readonly _tag: "Image"; readonly format: Name } & ImageHeader) | ProbeFailure

export interface ProbeOptions {
  /** The most pixels, as width × height. */
  readonly maxPixels: number
}

const noBytes = new Uint8Array(0)

interface Match {
  readonly format: Name
  readonly parser: PushParser
}

/** Finds the format by its signature, then pushes all of the bytes into its parser. */
const sniff = (formats: ReadonlyArray<Name>, { maxPixels }: ProbeOptions) => {
  /** The first bytes, for as long as they begin with no signature. */
  let head: Uint8Array | undefined
  let headLength = 0
  let match: Match | undefined
  let mismatch: ProbeFailure | undefined

  const start = (received: Uint8Array): PushParser | undefined => {
    // A name forced past the types has no reader and matches nothing.
    const format = formats.find((name) => Object.hasOwn(readers, name) && startsWith(received, readers[name].signature))
    match = format && { format, parser: runParser(readers[format].parser, maxPixels) }
    return match?.parser
  }

  const pushHead = (bytes: Uint8Array): ProbeFailure | undefined => {
    const parser = headLength === 0 ? start(bytes) : undefined
    if (parser !== undefined) {
      return parser.push(bytes)
    }
    head ??= new Uint8Array(detectBytes)
    const taken = bytes.subarray(0, detectBytes - headLength)
    head.set(taken, headLength)
    headLength += taken.length
    const received = head.subarray(0, headLength)
    const late = start(received)
    if (late !== undefined) {
      return late.push(received) ?? late.push(bytes.subarray(taken.length))
    }
    // Fewer bytes do not settle the detected type: a root element may follow a long comment.
    if (isSettled(received)) {
      mismatch = { _tag: "ContentMismatch", detected: detect(received) }
    }
    return mismatch
  }

  return {
    match: () => match,
    push: (bytes: Uint8Array) => match === undefined ? mismatch ?? pushHead(bytes) : match.parser.push(bytes),
    /** Ends bytes that match no signature. */
    endUnmatched: () =>
      mismatch ??= { _tag: "ContentMismatch", detected: detect(head?.subarray(0, headLength) ?? noBytes) }
  }
}

/** Makes a probe that accepts one format. */
export const makeProbe = (format: Name, options: ProbeOptions): ImageProbe => {
  const { endUnmatched, match, push } = sniff([format], options)
  return {
    push,
    end: () => match()?.parser.end() ?? endUnmatched(),
    signatureMatched: () => match() !== undefined
  }
}

/**
 * Makes a probe that accepts any of `formats` and runs one parser, that of the matching signature. Its result, and the
 * byte at which it reports a failure, are equal to those of `makeProbe` for that format.
 *
 * Without a match it fails with `ContentMismatch` after `detectBytes` bytes, or at the end of fewer.
 */
export const makeSniffingProbe = (options: ProbeOptions & { readonly formats: ReadonlyArray<Name> }): SniffingProbe => {
  const { endUnmatched, match, push } = sniff(options.formats, options)
  return {
    push,
    end: () => {
      const matched = match()
      if (matched === undefined) {
        return endUnmatched()
      }
      const outcome = matched.parser.end()
      return outcome._tag === "Image" ? { ...outcome, format: matched.format } : outcome
    },
    format: () => match()?.format
  }
}
