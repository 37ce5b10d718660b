import { Buffer } from "node:buffer"

/** The payload that a client sends for these bytes. */
export const payloadOf = (mime: string, bytes: Uint8Array, name = "ref") => ({
  mime,
  name,
  data: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")
})
