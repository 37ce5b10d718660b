/**
 * A JSON message whose payload's data goes to a file as it is read.
 *
 * The outcome is that of `JSON.parse` followed by `persist`, whatever the order of the keys, which may also stand
 * there twice. So nothing is decided before the end but what cannot go on: the bytes are checked against every
 * accepted format at once, of which one at the most is left after the first kilobyte, and every `data` on the path
 * takes the place of the one before it. For a short one nothing is made before the end: a message may hold a hundred
 * thousand of them.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import * as DisplayName from "../../DisplayName.js"
import * as ImageFormat from "../../ImageFormat.js"
import { BadBase64, Empty, type InitImageError, InvalidPayload, TooLarge } from "../../InitImageError.js"
import * as InitImageLimits from "../../InitImageLimits.js"
import * as InitImagePayload from "../../InitImagePayload.js"
import { InitImageSpool, type Spool } from "../../InitImageSpool.js"
import { makeImage, type PersistOptions, type SessionInitImage } from "../../SessionInitImage.js"
import { turn } from "../eventLoop.js"
import * as verifier from "../format/verifier.js"
import { type Hold, inFlight } from "../persist/inFlight.js"
import * as imageWriter from "../persist/writer.js"
import { begin, type Begun, DataReader, NotDecoded, resume } from "./data.js"
import * as jsonInput from "./input.js"
import type { JsonInput } from "./input.js"
import { Scanner } from "./scanner.js"

const notJson = new InvalidPayload({ reason: "NotJson" })
const tooDeep = new InvalidPayload({ reason: "TooDeep" })
const messageTooLarge = new InvalidPayload({ reason: "MessageTooLarge" })
const empty = new Empty()
const badLength = new BadBase64({ reason: "Length" })

/** The bytes against one format: what is wrong with them so far. */
interface Candidate {
  readonly format: ImageFormat.ImageFormat
  readonly verifier: verifier.Verifier<verifier.VerifyError>
  error: verifier.VerifyError | undefined
}

/** No format is left that the bytes may be of. */
class NoFormat {
  readonly _tag = "NoFormat"
}
const noFormat = new NoFormat()

/** Which of its errors it is depends on the format that is declared, which may come only further on. */
const optionIfRefused = <A, E, R>(
  effect: Effect.Effect<A, E | NoFormat | NotDecoded, R>
): Effect.Effect<Option.Option<A>, E, R> =>
  Effect.matchEffect(effect, {
    onFailure: (error) =>
      error instanceof NoFormat || error instanceof NotDecoded ? Effect.succeedNone : Effect.fail(error),
    onSuccess: Effect.succeedSome
  })

/**
 * How many bytes of a `data` are read before a file is made for it. One that is created and removed costs half a
 * millisecond; what is only read, 4 µs beside its bytes.
 */
export const headBytes = 48 * 1024

/** One `data` that has been read, and its file if it is one that any format would accept. */
interface Extraction {
  readonly reader: DataReader<unknown, unknown>
  readonly candidates: ReadonlyArray<Candidate>
  readonly file: Option.Option<{ readonly path: string; readonly value: verifier.Verified }>
  /** Closed when another one takes its place. */
  readonly scope: Scope.CloseableScope
}

/** How many windows are scanned before the event loop has its turn: about a millisecond's. */
const windowsPerTurn = 32

const extract = Effect.fnUntraced(function*<E, R>(
  input: JsonInput<E, R>,
  begun: Begun<E, R>,
  options: PersistOptions | undefined,
  spool: Spool
) {
  const { reader } = begun
  const candidates: ReadonlyArray<Candidate> = yield* Effect.forEach(
    yield* InitImageLimits.AcceptedFormats,
    (mime) => {
      const format = ImageFormat.byMime[mime]
      return Effect.map(verifier.make(format), (verifier): Candidate => ({ format, verifier, error: undefined }))
    }
  )
  const left = () => candidates.find(({ error }) => error === undefined)
  const check: imageWriter.Check<verifier.Verified, NoFormat> = {
    push: (bytes) => {
      for (const candidate of candidates) candidate.error ??= candidate.verifier.push(bytes)
      return left() === undefined ? noFormat : undefined
    },
    end: Effect.fnUntraced(function*() {
      let verified: verifier.Verified | undefined
      for (const candidate of candidates) {
        if (candidate.error !== undefined) continue
        const end = yield* Effect.either(candidate.verifier.end())
        if (Either.isRight(end)) verified = end.right
        else candidate.error = end.left
      }
      return verified ?? (yield* Effect.fail(noFormat))
    })
  }
  const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
  const file = yield* imageWriter.write({
    fill: resume(begun),
    check,
    maxBytes: reader.maxBytes,
    bytesAtHand: begun.isWhole
      ? begun.head.length
      : input.streaming
      ? 0
      : Math.min(reader.maxBytes, input.maxDataBytes),
    extension: () => left()?.format.extension ?? "",
    options,
    spool
  }).pipe(
    Scope.extend(scope),
    optionIfRefused,
    Effect.tap(Option.match({ onNone: () => Scope.close(scope, Exit.void), onSome: () => Effect.void }))
  )
  yield* reader.finish
  return { reader, candidates, file, scope } satisfies Extraction
})

/** What stands there, if all that lead to it are objects. */
const valueAt = (message: unknown, at: ReadonlyArray<string>): unknown => {
  let value = message
  for (const key of at) {
    if (!Predicate.isRecord(value) || !Object.hasOwn(value, key)) return undefined
    value = value[key]
  }
  return value
}

const parse = (text: () => string): Effect.Effect<unknown, InvalidPayload> =>
  Effect.try({ try: (): unknown => JSON.parse(text()), catch: () => notJson })

/** A stream brings more than is allowed: unless the type was wrong already, that is what is wrong. */
const tooLargeInStream = Effect.fnUntraced(function*(
  input: JsonInput<unknown, unknown>,
  depth: number,
  at: ReadonlyArray<string>,
  limit: number
) {
  // Behind the data's opening quote, all that is open are objects.
  const payload = valueAt(yield* parse(() => `${input.kept()}"${"}".repeat(depth)}`), at)
  if (Predicate.isRecord(payload) && Object.hasOwn(payload, "mime")) {
    yield* InitImagePayload.decodeMime(payload["mime"])
  }
  return yield* new TooLarge({ bytes: Math.floor(limit) + 1, limit })
})

/** The image that the payload declares the data to be, or what is wrong with it, in the order of `persist`. */
const judge = Effect.fnUntraced(function*(
  payload: InitImagePayload.InitImagePayload,
  { candidates, file, reader }: Extraction
) {
  if (reader.length === 0) return yield* empty
  if (reader.isTooLarge) return yield* new TooLarge({ bytes: reader.decodedBytes, limit: reader.maxBytes })
  if (reader.length % 4 !== 0) return yield* badLength
  const format = ImageFormat.byMime[payload.mime]
  const error = candidates.find((candidate) => candidate.format === format)?.error
  if (error !== undefined) return yield* error
  if (reader.invalid !== undefined) return yield* new BadBase64(reader.invalid)
  const { path, value } = yield* Effect.orDie(file)
  return makeImage(path, DisplayName.fromUnknown(payload.name, format), format, value)
})

/** What a message answers that says of its image only how many bytes of it follow. */
export interface Announced {
  readonly message: unknown
  readonly announced: Readonly<Record<string, unknown>>
}

/** What a message answers that was to have the image in it. */
export interface Persisted {
  readonly message: unknown
  readonly image: Option.Option<SessionInitImage>
}

const isAnnounced = (payload: unknown): payload is Readonly<Record<string, unknown>> =>
  Predicate.isRecord(payload) && Object.hasOwn(payload, "bytes") && !Object.hasOwn(payload, "data")

/** Room for one image is held from the first `data` on, however many there are. */
const readWith = Effect.fnUntraced(function*<A, E, R>(
  hold: Hold,
  input: JsonInput<E, R>,
  at: ReadonlyArray<string>,
  options: PersistOptions | undefined,
  onAnnounced: ((announced: Announced) => A) | undefined
): Effect.fn.Return<
  Persisted | A,
  InitImageError | PlatformError | E,
  FileSystem.FileSystem | Path.Path | Scope.Scope | R
> {
  const maxBytes = yield* InitImageLimits.MaxBytes
  const maxMessageBytes = yield* InitImageLimits.MaxMessageBytes
  const spool = yield* InitImageSpool
  const scanner = new Scanner([...at, "data"], input.textOf)
  /** How many bytes an image may have. */
  let limit: number | undefined
  /** Of all `data` in turn. */
  let target: Buffer | undefined
  /** The last `data` so far. */
  let begun: Begun<E, R> | undefined
  /** What was made for that, if it is not held back. */
  let extraction: Extraction | undefined
  let keptBytes = 0
  let windows = 0

  const dropExtraction = Effect.suspend(() =>
    extraction === undefined ? Effect.void : Scope.close(extraction.scope, Exit.void)
  )
  const reserve = Effect.map(
    hold(spool.reserveUpTo(Math.min(maxBytes, input.maxDataBytes))),
    (reserved) => reserved < input.maxDataBytes ? reserved : maxBytes
  )

  while (true) {
    const window = input.window()
    if (window.length === 0) {
      if (yield* input.refill) continue
      break
    }
    keptBytes += input.keep(scanner.scan(window))
    if (!(keptBytes <= maxMessageBytes)) return yield* messageTooLarge
    if (scanner.stop === "TooDeep") return yield* tooDeep
    if (scanner.stop === "Value") {
      yield* dropExtraction
      extraction = undefined
      limit ??= yield* reserve
      const reader = new DataReader(input, limit)
      target ??= Buffer.allocUnsafeSlow(Math.min(headBytes, input.maxDataBytes + imageWriter.minRoom))
      begun = yield* begin(reader, target)
      if (begun.isWhole) yield* reader.finish
      else extraction = yield* extract(input, begun, options, spool)
      if (reader.malformed) return yield* notJson
      if (input.streaming && !reader.ended && reader.isTooLarge) {
        return yield* tooLargeInStream(input, scanner.depth, at, reader.maxBytes)
      }
      if (reader.ended) {
        input.keepText("\"")
        keptBytes += 1
      }
    }
    if (++windows % windowsPerTurn === 0) yield* turn
  }

  const message = yield* parse(input.kept)
  const payload = valueAt(message, at)
  if (onAnnounced !== undefined && isAnnounced(payload)) {
    yield* dropExtraction
    return onAnnounced({ message, announced: payload })
  }
  const decoded = yield* InitImagePayload.decodeUntraced(payload)
  if (Predicate.isRecord(payload)) delete payload["data"]
  if (Option.isSome(decoded) && begun !== undefined) {
    extraction ??= yield* extract(input, begun, options, spool)
    return { message, image: Option.some(yield* judge(decoded.value, extraction)) }
  }
  // An image that something behind it took the place of.
  yield* dropExtraction
  return { message, image: Option.none() }
})

/** With `onAnnounced`, a payload that has `bytes` in the place of `data` is left to that. */
const read = <A, E, R>(
  input: JsonInput<E, R>,
  at: ReadonlyArray<string>,
  options: PersistOptions | undefined,
  onAnnounced?: (announced: Announced) => A
) => inFlight((hold) => readWith(hold, input, at, options, onAnnounced))

const once = (bytes: Uint8Array): Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<never>> => {
  let pulled = false
  return Effect.suspend(() => {
    if (pulled) return Effect.fail(Option.none())
    pulled = true
    return Effect.succeed(Chunk.of(bytes))
  })
}

/** The message, and the image in it, whose file is removed when the scope closes. */
export const persist = <E, R>(
  json: string | Uint8Array | Stream.Stream<Uint8Array, E, R>,
  at: ReadonlyArray<string>,
  options: PersistOptions | undefined
): Effect.Effect<
  Persisted,
  InitImageError | PlatformError | E,
  FileSystem.FileSystem | Path.Path | Scope.Scope | R
> => {
  if (typeof json === "string") return Effect.suspend(() => read(jsonInput.fromString(json), at, options))
  if (Predicate.isUint8Array(json)) {
    return Effect.suspend(() => read(jsonInput.fromChunks(once(json), json.length), at, options))
  }
  return Effect.scopedWith((scope) =>
    Effect.flatMap(
      Scope.extend(Stream.toPull(json), scope),
      (pull) => read(jsonInput.fromChunks(pull, undefined), at, options)
    )
  )
}

/** The same for a message that may also say that the image's bytes follow. */
export const persistOrAnnounced = (
  json: string,
  at: ReadonlyArray<string>
): Effect.Effect<
  Persisted | Announced,
  InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> => Effect.suspend(() => read(jsonInput.fromString(json), at, undefined, identity<Announced>))
