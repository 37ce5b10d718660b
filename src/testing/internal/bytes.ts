/** Builds byte arrays. */

export type Bytes = Uint8Array<ArrayBuffer>

export const concat = (...parts: ReadonlyArray<Uint8Array>): Bytes => {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

export const bytes = (...values: ReadonlyArray<number>): Bytes => Uint8Array.from(values)

export const ascii = (text: string): Bytes => Uint8Array.from(text, (character) => character.charCodeAt(0))

const integer = (length: number, littleEndian: boolean) => (value: number): Bytes => {
  const all = new Uint8Array(length)
  for (let i = 0; i < length; i++) {
    all[littleEndian ? i : length - 1 - i] = Math.floor(value / 2 ** (8 * i)) & 0xff
  }
  return all
}

export const u16be = integer(2, false)
export const u32be = integer(4, false)
export const u16le = integer(2, true)
export const u24le = integer(3, true)
export const u32le = integer(4, true)

/** Fast pseudo-random bytes, the same in every run. */
export const noise = (length: number): Bytes => {
  const all = new Uint8Array(length)
  let state = 0x2545f491
  const block = Math.min(length, 65_521)
  for (let i = 0; i < block; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    all[i] = state
  }
  for (let at = block; at < length; at += block) {
    all.copyWithin(at, 0, Math.min(block, length - at))
  }
  return all
}
