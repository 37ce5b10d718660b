/** The escapes of a JSON string (RFC 8259 section 7), without exceptions. */

const simple: Readonly<Record<string, string>> = {
  "\"": "\"",
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t"
}

const hexPattern = /^[0-9A-Fa-f]{4}$/

/** The characters of an escaped text, or `undefined` where an escape is not JSON's or not complete. */
export const unescape = (text: string): string | undefined => {
  let result = ""
  let start = 0
  for (let at = text.indexOf("\\"); at >= 0; at = text.indexOf("\\", start)) {
    result += text.slice(start, at)
    const kind = text[at + 1] ?? ""
    const hex = text.slice(at + 2, at + 6)
    const character = kind === "u" && hexPattern.test(hex) ? String.fromCharCode(parseInt(hex, 16)) : simple[kind]
    if (character === undefined) return undefined
    result += character
    start = at + (kind === "u" ? 6 : 2)
  }
  return start === 0 ? text : result + text.slice(start)
}
