import { BadBase64 } from "../../InitImageError.js"
import type { Alphabet } from "../../InitImagePayload.js"
import { isVerified, type Verified, type Verifier, type VerifyError } from "../format/verifier.js"
import { charactersFor, Decoder } from "./base64.js"
import { ImageBuffer } from "./imageBuffer.js"
import { Done, type Ended, type Step } from "./reader.js"
import type { ImageReader } from "./writer.js"

/** Reads an image that comes as base64 text, of a length that base64 may have. */
export class TextReader implements ImageReader<string, Verified, VerifyError | BadBase64> {
  readonly buffer: ImageBuffer<VerifyError>
  readonly #verifier: Verifier<VerifyError>
  readonly #decoder: Decoder
  #text = ""
  #at = 0

  constructor(verifier: Verifier<VerifyError>, expectedBytes: number, alphabet?: Alphabet | undefined) {
    this.#decoder = new Decoder(alphabet)
    this.#verifier = verifier
    this.buffer = new ImageBuffer(verifier, expectedBytes)
  }

  readonly extension = (): string => this.#verifier.format()?.extension ?? ""

  push(text: string): Step<VerifyError | BadBase64> {
    this.#text = text
    this.#at = 0
    return this.resume()
  }

  resume(): Step<VerifyError | BadBase64> {
    while (this.#at < this.#text.length) {
      if (!this.buffer.hasRoom()) return "full"
      const end = this.#at + charactersFor(this.buffer.free)
      const error = this.#commit(
        this.#decoder.push(this.#text.slice(this.#at, end), this.buffer.target(), this.buffer.length)
      )
      if (error !== undefined) return error
      this.#at = Math.min(end, this.#text.length)
    }
    return "more"
  }

  end(): Ended<Verified, VerifyError | BadBase64> {
    const error = this.#commit(this.#decoder.end(this.buffer.target(), this.buffer.length))
    if (error !== undefined) return error
    const end = this.#verifier.end()
    return isVerified(end) ? new Done(end) : end
  }

  /** The first error in the order of the bytes. */
  #commit(decoded: number): VerifyError | BadBase64 | undefined {
    const error = this.buffer.commit(decoded)
    if (error !== undefined) return error
    return this.#decoder.invalid === undefined ? undefined : new BadBase64(this.#decoder.invalid)
  }
}
