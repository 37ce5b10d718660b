/** Reads bytes as text. */

export const startsWith = (bytes: Uint8Array, prefix: ReadonlyArray<number>): boolean =>
  bytes.length >= prefix.length && prefix.every((byte, i) => byte === bytes[i])

/** One character per byte, so that offsets are kept. */
export const latin1 = (bytes: Uint8Array, start: number, end: number): string =>
  new TextDecoder("latin1").decode(bytes.subarray(start, end))
