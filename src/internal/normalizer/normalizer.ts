/** Decodes pictures within limits: estimates, waits for admission, decodes, and reports the failure. */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Busy, DecodeTimeout, UndecodableImage } from "../../InitImageError.js"
import * as tempFile from "../persist/tempFile.js"
import * as admission from "./admission.js"
import type { Decoder } from "./decoder.js"
import { headBytes, type Header, read } from "./header.js"
import type { Input, Output } from "./job.js"
import * as memory from "./memory.js"

export interface Source {
  readonly path: string
  readonly format: Input
  /** In pixels, as stored. */
  readonly width: number
  readonly height: number
  /** Whether the upright picture is turned or mirrored. */
  readonly isTurned: boolean
}

export type DecodeError = UndecodableImage | DecodeTimeout | Busy | PlatformError

export interface Normalizer {
  /** Reads the header. Fails with `UndecodableImage` if the file does not begin with its format's signature. */
  readonly header: (
    fs: FileSystem.FileSystem,
    path: string,
    format: Input
  ) => Effect.Effect<Header, UndecodableImage | PlatformError>
  /** Decodes the picture and encodes it as `output`; without that, answers a pixel. */
  readonly decode: (
    fs: FileSystem.FileSystem,
    source: Source,
    output: Output | undefined,
    strict: boolean
  ) => Effect.Effect<Uint8Array, DecodeError>
}

export interface Limits extends admission.Limits {
  readonly timeout: Duration.DurationInput
}

const readHead = (fs: FileSystem.FileSystem, path: string) =>
  Effect.scoped(Effect.gen(function*() {
    const file = yield* fs.open(path)
    return Option.getOrElse(yield* file.readAlloc(headBytes), () => new Uint8Array())
  })).pipe(Effect.mapError(tempFile.withoutPath))

const header: Normalizer["header"] = (fs, path, format) =>
  Effect.flatMap(readHead(fs, path), (head) => {
    const header = read(format, head)
    return header === undefined ? new UndecodableImage({ format, reason: "Corrupt" }) : Effect.succeed(header)
  })

export const make = (limits: Limits, decoder: Decoder): Normalizer => {
  const permits = admission.make(limits)
  const timedOut = new DecodeTimeout({ limit: Duration.toSeconds(limits.timeout) })

  const decode = Effect.fnUntraced(function*(
    fs: FileSystem.FileSystem,
    source: Source,
    output: Output | undefined,
    strict: boolean
  ) {
    const { format, height, path, width } = source
    const bytes = memory.estimate(source, yield* header(fs, path, format), output)
    if (bytes > limits.maxMemory) return yield* new UndecodableImage({ format, reason: "TooMuchMemory" })
    const job = { path, pixels: width * height, failOn: strict ? "warning" : "error", output } as const
    const reply = yield* admission.withPermit(
      permits,
      bytes,
      (restore, onSettled) => decoder.run(job, restore, onSettled)
    ).pipe(
      Effect.catchAll((error): Effect.Effect<never, DecodeTimeout | Busy> => error === "TimedOut" ? timedOut : error)
    )
    switch (reply._tag) {
      case "Decoded":
        return reply.bytes
      case "Undecodable":
        // The owner may have removed the file meanwhile.
        yield* tempFile.checkExists(fs, path)
        return yield* new UndecodableImage({ format, reason: "Corrupt" })
      case "Defect":
        return yield* Effect.dieMessage(reply.message)
    }
  })

  return { header, decode }
}
