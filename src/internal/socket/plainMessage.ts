/** Short messages without an image, which need neither the message reader nor the slot. */

/** In characters. A shorter text cannot be nested too deeply. */
const maxLength = 128

/**
 * Parses a short text that cannot hold an image, which stands under one of these keys of the message: a flood of such
 * messages then costs a tenth. Answers `undefined` for any other text, and `NotJson` for one that is no JSON.
 */
export const parse = (
  text: string,
  keys: ReadonlyArray<string>
): { readonly message: unknown } | "NotJson" | undefined => {
  // An escape may spell the key, and `JSON.parse` refuses a byte order mark.
  if (keys.length === 0 || text.length > maxLength || /[\\\uFEFF]/.test(text)) return undefined
  if (keys.some((key) => text.includes(key))) return undefined
  try {
    return { message: JSON.parse(text) }
  } catch {
    return "NotJson"
  }
}
