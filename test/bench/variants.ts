/** The variants: each stores an image from a received message in a file. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import { identity } from "effect/Function"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { InitImageFrame, type SessionInitImage as Image } from "../../src/index.js"
import * as SessionInitImage from "../../src/SessionInitImage.js"
import { at, mebibyte, parse, type Payload } from "./frame.js"

/** The input of a variant: the parsed payload, or the frame as a string, as bytes or as a stream of bytes. */
export type Source = "payload" | "text" | "bytes" | "stream"

export interface Variant {
  readonly name: string
  readonly from: Source
  /** Builds the input, and returns a function that stores it and resolves to the file's path. */
  readonly prepare: (frame: Buffer, directory: string) => () => Promise<string>
}

const runtime = ManagedRuntime.make(NodeContext.layer)

type FromPayload = (payload: Payload, directory: string) => Promise<string>

const fromPayload = (name: string, run: FromPayload): Variant => ({
  name,
  from: "payload",
  prepare: (frame, directory) => {
    const payload = parse(frame.toString())
    return () => run(payload, directory)
  }
})

/** Variants from the parsed payload, from a string that is parsed, and from bytes that are converted and parsed. */
const fromEach = (name: string, run: FromPayload): ReadonlyArray<Variant> => [
  fromPayload(name, run),
  {
    name,
    from: "text",
    prepare: (frame, directory) => {
      const text = frame.toString()
      return () => run(parse(text), directory)
    }
  },
  { name, from: "bytes", prepare: (frame, directory) => () => run(parse(frame.toString()), directory) }
]

const pathOf = Option.match({
  onNone: () => {
    throw new Error("the frame has no image")
  },
  onSome: (image: Image.SessionInitImage) => image.path
})

const persist: FromPayload = (payload, directory) =>
  runtime.runPromise(Effect.map(SessionInitImage.persist(payload, { directory }), pathOf))

const streamChunk = 64 * 1024

const chunksOf = (frame: Buffer): Stream.Stream<Uint8Array> =>
  Stream.unfold(0, (start) =>
    start < frame.length
      ? Option.some([frame.subarray(start, start + streamChunk), start + streamChunk])
      : Option.none())

const persistFrame = <A extends string | Uint8Array | Stream.Stream<Uint8Array>>(
  from: Source,
  receive: (frame: Buffer) => A
): Variant => ({
  name: "InitImageFrame.persist",
  from,
  prepare: (frame, directory) => {
    const received = receive(frame)
    return () =>
      runtime.runPromise(
        Effect.map(InitImageFrame.persist<never, never>(received, { at }, { directory }), ({ image }) => pathOf(image))
      )
  }
})

const newPath = (directory: string): string => path.join(directory, randomUUID())

const thenWriteFile = (decode: (data: string) => Uint8Array): FromPayload => async ({ data }, directory) => {
  const file = newPath(directory)
  await fs.promises.writeFile(file, decode(data))
  return file
}

/** `Buffer.from` and `writeFile` as an Effect, run by the same runtime as `persist`: both pay for `runPromise`. */
const bufferAsEffect: FromPayload = ({ data }, directory) =>
  runtime.runPromise(Effect.suspend(() => {
    const file = newPath(directory)
    return Effect.as(Effect.tryPromise(() => fs.promises.writeFile(file, Buffer.from(data, "base64"))), file)
  }))

const decodeSchema = Schema.decodeUnknownSync(Schema.Uint8ArrayFromBase64)

const loopCharacters = mebibyte

const synchronousLoop: FromPayload = async ({ data }, directory) => {
  const file = newPath(directory)
  const buffer = Buffer.allocUnsafeSlow(Math.min(loopCharacters, data.length) / 4 * 3)
  const descriptor = fs.openSync(file, "wx", 0o600)
  for (let start = 0; start < data.length; start += loopCharacters) {
    const length = buffer.write(data.slice(start, start + loopCharacters), "base64")
    fs.writeSync(descriptor, buffer, 0, length)
  }
  fs.closeSync(descriptor)
  return file
}

export const names = {
  persist: "persist",
  frame: "InitImageFrame.persist",
  loop: "synchronous chunk loop, unvalidated",
  buffer: "Buffer.from + writeFile, unvalidated",
  bufferAsEffect: "Buffer.from + writeFile as an Effect, unvalidated",
  encoding: "Encoding.decodeBase64 + writeFile",
  schema: "Schema.Uint8ArrayFromBase64 + writeFile",
  python: "Python, b64decode(validate=True)"
} as const

export const variants: ReadonlyArray<Variant> = [
  ...fromEach(names.persist, persist),
  persistFrame("text", (frame) => frame.toString()),
  persistFrame("bytes", identity),
  persistFrame("stream", chunksOf),
  ...fromEach(names.loop, synchronousLoop),
  ...fromEach(names.buffer, thenWriteFile((data) => Buffer.from(data, "base64"))),
  fromPayload(names.bufferAsEffect, bufferAsEffect),
  ...fromEach(names.encoding, thenWriteFile((data) => Either.getOrThrow(Encoding.decodeBase64(data)))),
  ...fromEach(names.schema, thenWriteFile((data) => decodeSchema(data)))
]

export const find = (name: string, from: Source): Variant => {
  const found = variants.find((variant) => variant.name === name && variant.from === from)
  if (found === undefined) throw new Error(`no variant ${name} from ${from}`)
  return found
}
