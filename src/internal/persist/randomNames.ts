import * as Encoding from "effect/Encoding"

/** 128 bits a name. */
const nameBytes = 16

/** Names drawn at once: a draw costs more than the rest of a name. */
const namesPerDraw = 64

/** File names of 32 hex digits from the platform's cryptographic source. */
export class RandomNames {
  readonly #pool = new Uint8Array(namesPerDraw * nameBytes)
  #used = this.#pool.length

  next(): string {
    if (this.#used === this.#pool.length) {
      globalThis.crypto.getRandomValues(this.#pool)
      this.#used = 0
    }
    const end = this.#used + nameBytes
    const name = Encoding.encodeHex(this.#pool.subarray(this.#used, end))
    // Zeroed so the pool never holds a live file name.
    this.#pool.fill(0, this.#used, end)
    this.#used = end
    return name
  }
}
