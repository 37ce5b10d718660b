/** Pseudo-random numbers from a seed. */

/** mulberry32, with 32 bits of state. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** An integer from 0 to 2 ** 32 - 1. */
  next(): number {
    this.#state = this.#state + 0x6d2b79f5 | 0
    let mixed = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return (mixed ^ mixed >>> 14) >>> 0
  }

  /** An integer from 0 to `limit` - 1; 0 if `limit` is 0. */
  below(limit: number): number {
    return Math.floor(this.next() / 2 ** 32 * limit)
  }

  chance(probability: number): boolean {
    return this.next() < probability * 2 ** 32
  }

  pick<A>(values: readonly [A, ...Array<A>] | ReadonlyArray<A>): A {
    // No caller passes an empty array.
    return values[this.below(values.length)] as A
  }

  /** Cuts the bytes into pieces, some of them empty. */
  pieces(all: Uint8Array): Array<Uint8Array> {
    const max = this.pick([1, 7, 64, 1000, 100_000])
    const least = Math.ceil(all.length / 40)
    const pieces: Array<Uint8Array> = []
    for (let at = 0; at < all.length;) {
      const size = this.chance(0.05) ? 0 : least + this.below(max)
      pieces.push(all.subarray(at, at + size))
      at += size
    }
    return pieces
  }
}

/** The generator of one case, independent of the cases before it. */
export const forCase = (seed: number, section: string, index: number): Random => {
  let hash = seed ^ 0x811c9dc5
  for (const character of `${section} ${index}`) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193)
  const random = new Random(hash)
  random.next()
  return random
}
