import type { Empty, TooLarge } from "../../InitImageError.js"
import { isVerified, type Verified, type Verifier, type VerifyError } from "../format/verifier.js"
import { ImageBuffer } from "./imageBuffer.js"
import { Done, type Ended, type Step } from "./reader.js"
import type { ImageReader } from "./writer.js"

/** Reads an image that comes as its bytes. */
export class RawReader implements ImageReader<Uint8Array, Verified, VerifyError | TooLarge | Empty> {
  readonly buffer: ImageBuffer<VerifyError | TooLarge | Empty>
  readonly #verifier: Verifier<VerifyError | TooLarge | Empty>
  #chunk: Uint8Array = new Uint8Array()
  #at = 0

  constructor(verifier: Verifier<VerifyError | TooLarge | Empty>, expectedBytes: number) {
    this.#verifier = verifier
    this.buffer = new ImageBuffer(verifier, expectedBytes)
  }

  readonly extension = (): string => this.#verifier.format()?.extension ?? ""

  push(chunk: Uint8Array): Step<VerifyError | TooLarge | Empty> {
    this.#chunk = chunk
    this.#at = 0
    return this.resume()
  }

  resume(): Step<VerifyError | TooLarge | Empty> {
    while (this.#at < this.#chunk.length) {
      if (!this.buffer.hasRoom()) return "full"
      const count = this.buffer.write(this.#chunk.subarray(this.#at))
      this.#at += count
      const error = this.buffer.commit(count)
      if (error !== undefined) return error
    }
    return "more"
  }

  end(): Ended<Verified, VerifyError | TooLarge | Empty> {
    const end = this.#verifier.end()
    return isVerified(end) ? new Done(end) : end
  }
}
