/** Numbers that look random and are the same again for the same seed. */

/** mulberry32: 32 bits of state, and more than enough for tests. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** From 0 up to 2 ** 32. */
  next(): number {
    this.#state = this.#state + 0x6d2b79f5 | 0
    let mixed = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return (mixed ^ mixed >>> 14) >>> 0
  }

  /** A whole number from 0 up to `limit`; 0 where that is 0. */
  below(limit: number): number {
    return Math.floor(this.next() / 2 ** 32 * limit)
  }

  chance(probability: number): boolean {
    return this.next() < probability * 2 ** 32
  }

  pick<A>(values: readonly [A, ...Array<A>] | ReadonlyArray<A>): A {
    // Nothing here picks from an empty array.
    return values[this.below(values.length)] as A
  }

  /** Cuts it into pieces, now and then of nothing. */
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

/** The generator of one case, so that it can be had without those before it. */
export const forCase = (seed: number, section: string, index: number): Random => {
  let hash = seed ^ 0x811c9dc5
  for (const character of `${section} ${index}`) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193)
  const random = new Random(hash)
  random.next()
  return random
}
