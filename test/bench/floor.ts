/**
 * The floor: the least work with which a Node server can store an image sent as JSON. `node:http`, a strict base64 decoder
 * fed from `data` events, one `writeFile`. It imports nothing from the library and uses no Effect.
 *
 * It verifies the base64 and nothing else. The body is `{"mime":…,"name":…,"data":…}` without spaces around `"data"`, and
 * its length is declared, as the clients of this benchmark send it.
 */
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"

const quote = 0x22
const dataKey = Buffer.from("\"data\":\"")

/**
 * Decodes standard base64 that arrives in pieces (RFC 4648 section 4): refuses other alphabets, missing or misplaced
 * padding, and unused bits that are not zero.
 */
const makeDecoder = (target: Buffer) => {
  let length = 0
  let rest = ""
  let valid = true
  const decode = (text: string, padding: number) => {
    // Node skips characters that it does not know, and reads the URL-safe alphabet too.
    const written = target.write(text, length, "base64")
    if (written !== text.length / 4 * 3 - padding || text.includes("-") || text.includes("_")) valid = false
    length += written
  }
  return {
    push: (piece: string) => {
      const text = rest + piece
      // The last quantum may be padded, so it is kept for `end`.
      const whole = Math.max(0, text.length - 1 >> 2 << 2)
      rest = text.slice(whole)
      decode(text.slice(0, whole), 0)
    },
    /** Returns the decoded bytes, or `undefined` if the text was not valid. */
    end: (): Buffer | undefined => {
      const padding = rest.endsWith("==") ? 2 : rest.endsWith("=") ? 1 : 0
      const start = length
      decode(rest, padding)
      // Encoding the last quantum again shows unused bits that were set.
      return valid && target.toString("base64", start, length) === rest ? target.subarray(0, length) : undefined
    }
  }
}

interface Image {
  readonly mime: string
  readonly bytes: Buffer
}

/** Splits the body into the JSON around the data and the data, which is decoded as it arrives. */
const makeReader = (length: number) => {
  const decoder = makeDecoder(Buffer.allocUnsafeSlow(Math.ceil(length * 3 / 4)))
  const around: Array<Buffer> = []
  let position: "before" | "data" | "after" = "before"

  const pushData = (chunk: Buffer) => {
    const end = chunk.indexOf(quote)
    decoder.push(chunk.toString("latin1", 0, end === -1 ? chunk.length : end))
    if (end === -1) return
    position = "after"
    around.push(chunk.subarray(end))
  }

  const pushBefore = (chunk: Buffer) => {
    const head = Buffer.concat([...around.splice(0), chunk])
    const key = head.indexOf(dataKey)
    const start = key === -1 ? head.length : key + dataKey.length
    around.push(head.subarray(0, start))
    if (key === -1) return
    position = "data"
    pushData(head.subarray(start))
  }

  return {
    push: (chunk: Buffer) => {
      if (position === "data") pushData(chunk)
      else if (position === "before") pushBefore(chunk)
      else around.push(chunk)
    },
    end: (): Image | undefined => {
      const bytes = decoder.end()
      if (bytes === undefined) return undefined
      // The clients are this benchmark's.
      const { mime } = JSON.parse(Buffer.concat(around).toString()) as { readonly mime: string }
      return { mime, bytes }
    }
  }
}

const answer = (response: http.ServerResponse, status: number, body: unknown) => {
  response.statusCode = status
  response.setHeader("content-type", "application/json")
  response.end(JSON.stringify(body))
}

/** Writes a new file, removes it, then answers. */
const store = ({ bytes, mime }: Image, directory: string, response: http.ServerResponse) => {
  const file = path.join(directory, randomUUID())
  fs.writeFile(file, bytes, { flag: "wx", mode: 0o600 }, (writeError) => {
    fs.unlink(file, (unlinkError) => {
      const error = writeError ?? unlinkError
      if (error === null) answer(response, 200, { mime, bytes: bytes.length })
      else answer(response, 500, { error: error.message })
    })
  })
}

export const make = (directory: string, bodyLimit: number): http.Server =>
  http.createServer((request, response) => {
    if (request.method === "GET") return answer(response, 200, { status: "ok" })
    const length = Number(request.headers["content-length"])
    if (!(length <= bodyLimit)) return answer(response, 413, { error: "too large, or of unknown length" })
    const reader = makeReader(length)
    request.on("data", reader.push)
    request.once("end", () => {
      const image = reader.end()
      if (image === undefined) answer(response, 400, { error: "not an image in base64" })
      else store(image, directory, response)
    })
  })
