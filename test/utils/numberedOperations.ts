/** All operations that persist a numbered image, and their outcomes. */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type InitImageError, InitImageFrame, type InitImageSlot, SessionInitImage } from "../../src/index.js"
import { ascii } from "../../src/testing/internal/bytes.js"
import type { Gate } from "./gates.js"
import { numbered } from "./numberedImages.js"
import { payloadOf } from "./payloads.js"
import type { Image, Told } from "./spoolModel.js"

const bytesOf = ({ content, number, size }: Image): Uint8Array =>
  content === "broken" ? numbered(number, size + 5).subarray(0, -5) : numbered(number, size)

const mimeOf = ({ content }: Image): string => content === "refused" ? "image/gif" : "image/png"

const payload = (image: Image) => image.content === "none" ? {} : payloadOf(mimeOf(image), bytesOf(image))

const fail = Effect.fail("told" as const)

const obey = (told: Told): Effect.Effect<void, "told"> =>
  told === "fail" ? fail : told === "die" ? Effect.die("told") : Effect.void

/** A stream of two chunks, suspended at the gate between them. */
const inHalves = (bytes: Uint8Array, at: number, gate: Gate): Stream.Stream<Uint8Array, "told"> =>
  Stream.concat(
    Stream.make(bytes.subarray(0, at)),
    Stream.fromEffect(Effect.as(Effect.flatMap(gate.stop("source"), obey), bytes.subarray(at)))
  )

const at = ["initial_image"]

const dataKey = "\"data\":\""

const frameOf = (image: Image, gate: Gate) => {
  const text = JSON.stringify({ initial_image: payload(image) })
  const bytes = ascii(text)
  return image.content === "none" ? bytes : inHalves(bytes, text.indexOf(dataKey) + dataKey.length, gate)
}

const streamOf = (image: Image, gate: Gate) => {
  const bytes = bytesOf(image)
  return inHalves(bytes, bytes.length >> 1, gate)
}

type Persisted = Option.Option<SessionInitImage.SessionInitImage>
type Refused = "told" | InitImageError.InitImageError | PlatformError

const persistUnscoped = (
  image: Image,
  gate: Gate,
  options: SessionInitImage.PersistOptions
): Effect.Effect<Persisted, Refused, FileSystem.FileSystem | Path.Path> => {
  if (image.how === "frame") {
    return Effect.map(InitImageFrame.persist(frameOf(image, gate), { at }, options), ({ image }) => image)
  }
  return image.how === "payload" || image.content === "none"
    ? SessionInitImage.persist(payload(image), options)
    : Effect.asSome(SessionInitImage.persistStream({ mime: mimeOf(image) }, streamOf(image, gate), options))
}

const persistScoped = (
  image: Image,
  gate: Gate,
  options: SessionInitImage.PersistOptions
): Effect.Effect<Persisted, Refused, FileSystem.FileSystem | Path.Path | Scope.Scope> => {
  if (image.how === "frame") {
    return Effect.map(InitImageFrame.persistScoped(frameOf(image, gate), { at }, options), ({ image }) => image)
  }
  return image.how === "payload" || image.content === "none"
    ? SessionInitImage.persistScoped(payload(image), options)
    : Effect.asSome(SessionInitImage.persistStreamScoped({ mime: mimeOf(image) }, streamOf(image, gate), options))
}

/** Persists the image in the slot, or without a slot for the caller, which then owns the file. */
export const persist = (
  image: Image,
  slot: InitImageSlot.InitImageSlot | undefined,
  gate: Gate,
  options: SessionInitImage.PersistOptions
): Effect.Effect<Persisted, Refused, FileSystem.FileSystem | Path.Path> => {
  if (slot === undefined) return persistUnscoped(image, gate, options)
  if (image.how === "payload") return slot.set(payload(image), options)
  return slot.setWith(Effect.gen(function*() {
    const persisted = yield* persistScoped(image, gate, options)
    if (Option.isNone(persisted)) return persisted
    const told = yield* gate.stop("kept")
    yield* obey(told)
    return told === "none" ? Option.none() : persisted
  }))
}

/** The outcome of an operation, in the model's terms. */
export const outcomeOf = (exit: Exit.Exit<Persisted, unknown>): string => {
  if (Exit.isSuccess(exit)) return Option.isSome(exit.value) ? "image" : "none"
  if (Cause.isInterrupted(exit.cause)) return "Interrupted"
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (failure === undefined) return "Die"
  if (!Predicate.hasProperty(failure, "_tag")) return String(failure)
  const figure = Predicate.hasProperty(failure, "retryAfter")
    ? failure.retryAfter
    : failure._tag === "TooLarge" && Predicate.hasProperty(failure, "limit")
    ? failure.limit
    : undefined
  return figure === undefined ? String(failure._tag) : `${String(failure._tag)} ${String(figure)}`
}
