/** The session's messages: what they carry, and their texts in the log for developers. */

const maxStringLength = 120
const shownStringLength = 24
const shownBytes = 6

const count = (n: number): string => n.toLocaleString("en")

const shorten = (text: string): string =>
  text.length <= maxStringLength ? text : `${text.slice(0, shownStringLength)}… (${count(text.length)} characters)`

/** A WebSocket message as text: a text frame as it is, or the length and the first bytes of a binary frame. */
export const messageText = (data: unknown): string => {
  if (!(data instanceof ArrayBuffer)) return String(data)
  const head = Array.from(new Uint8Array(data, 0, Math.min(shownBytes, data.byteLength)))
  const hex = head.map((byte) => byte.toString(16).padStart(2, "0")).join(" ")
  return `${count(data.byteLength)} bytes: ${hex}${data.byteLength > shownBytes ? " …" : ""}`
}

/** The text with the long strings of its JSON shortened. */
export const shortText = (text: string): string => {
  try {
    return JSON.stringify(JSON.parse(text), (_, value: unknown) => typeof value === "string" ? shorten(value) : value)
  } catch {
    return shorten(text)
  }
}

const shellQuote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/**
 * The command that sends a file over HTTP, with its name as the page sends it. With a general type, its bytes decide, as
 * they do on the page.
 */
export const curl = (origin: string, fileName: string): string => {
  const url = new URL("/v1/init-image", origin)
  url.searchParams.set("name", fileName)
  return [
    `curl ${shellQuote(url.href)}`,
    "-H 'content-type: application/octet-stream'",
    `--data-binary ${shellQuote(`@${fileName}`)}`
  ].join(" \\\n  ")
}
