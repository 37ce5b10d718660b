/** Base64 as a stream of decoded chunks. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { BadBase64 } from "../../InitImageError.js"
import type { InitImagePayload } from "../../InitImagePayload.js"
import { charactersFor, checkLength, Decoder } from "./base64.js"
import { maxBufferBytes } from "./bufferPool.js"
import { minFreeBytes } from "./imageBuffer.js"

/** Decodes a payload's text to chunks of at most 1.4 MiB. */
export const decode = ({ alphabet, data }: InitImagePayload): Stream.Stream<Uint8Array, BadBase64> =>
  Stream.suspend(() => {
    const invalid = checkLength(data, alphabet)
    if (invalid !== undefined) return Stream.fail(new BadBase64(invalid))
    const decoder = new Decoder(alphabet)
    const size = Math.min(maxBufferBytes, Math.ceil(data.length / 4) * 3 + 2 * minFreeBytes)
    let at = 0
    let isFlushed = false
    return Stream.repeatEffectOption(Effect.suspend(() => {
      if (isFlushed && decoder.invalid === undefined) return Effect.fail(Option.none())
      const target = Buffer.allocUnsafeSlow(size)
      const end = Math.min(at + charactersFor(size), data.length)
      let written = decoder.push(data.slice(at, end), target, 0)
      at = end
      if (at === data.length && !isFlushed) {
        isFlushed = true
        written += decoder.end(target, written)
      }
      if (written > 0) return Effect.succeed(target.subarray(0, written))
      return Effect.fail(decoder.invalid === undefined ? Option.none() : Option.some(new BadBase64(decoder.invalid)))
    }))
  })
