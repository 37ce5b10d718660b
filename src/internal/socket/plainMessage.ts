/** Short messages without an image, which need neither the message reader nor the slot. */

/** In characters. A shorter text cannot be nested too deeply. */
const maxLength = 128

/**
 * Parses a short text that cannot hold an image: a flood of such messages then costs a tenth. Answers `undefined` for any
 * other text, and a `NotJson` for one that is no JSON.
 */
export const parse = (
  text: string,
  at: ReadonlyArray<string>
): { readonly message: unknown } | "NotJson" | undefined => {
  const [key] = at
  // An escape may spell the key, and `JSON.parse` refuses a byte order mark.
  if (key === undefined || text.length > maxLength || text.includes(key) || /[\\\uFEFF]/.test(text)) return undefined
  try {
    return { message: JSON.parse(text) }
  } catch {
    return "NotJson"
  }
}
