/** The service over any objects. */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import { pipe } from "effect/Function"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import type { InitImageError } from "../../InitImageError.js"
import type { ImageMeta, PersistOptions, SessionInitImage } from "../../SessionInitImage.js"
import { check, timeoutProblem } from "../options.js"
import * as sources from "../persist/sources.js"
import { randomNames } from "../process.js"
import * as digests from "./digest.js"
import { cutName, ImageChanged, ImageGone, ImageReference, keyPattern, StoreError } from "./models.js"
import type { Body, Head, Objects } from "./objects.js"
import { retries } from "./retries.js"
import * as uploads from "./uploads.js"

export interface Settings {
  /** In milliseconds. */
  readonly timeToLive: number
  readonly sweepEvery: Duration.DurationInput | undefined
  /** Whether the store refuses bytes whose SHA-256 is not that of the body; they are not checked here then. */
  readonly isDigestChecked: boolean
}

/** Writes an image of known size to a file of the scope: `SessionInitImage.persistSourceScoped`. */
export type Persist = <E, R>(
  meta: ImageMeta,
  source: sources.Source<Uint8Array, E, R>,
  bytes: number,
  options: PersistOptions | undefined
) => Effect.Effect<
  SessionInitImage,
  E | InitImageError | PlatformError,
  R | FileSystem.FileSystem | Path.Path | Scope.Scope
>

/** The longest wait for the end of an upload that was given up. */
const patience = "1 minute"

/** The last use of an object under a name is the later time of the object and of its marker. */
const markerOf = (key: string): string => `${key}.used`
const markerPattern = /^(named-[A-Za-z0-9_-]{43})\.used$/

const spanOf = ({ bytes, mime }: { readonly bytes: number; readonly mime: string }) => ({
  attributes: { bytes, mime },
  captureStackTrace: false
})

const markerBody: Body = {
  bytes: 0,
  sha256: digests.ofNothing,
  mime: "application/octet-stream",
  stream: Stream.empty
}

/** Uses are recorded once in this part of the time to live. */
const usesPerTimeToLive = 4

const presignProblem = (duration: Duration.DurationInput): string | undefined =>
  timeoutProblem("duration", duration, Duration.seconds(1)) ??
    (Duration.greaterThan(duration, Duration.days(7)) ? "duration must be at most 7 days" : undefined)

const namedPrefix = "named-"

const keyOfName = (name: string): string => `${namedPrefix}${createHash("sha256").update(name).digest("base64url")}`

/** What a reference has beside its key and its time: stored with the object. */
const Description = ImageReference.pipe(Schema.typeSchema, Schema.omit("key", "expiresAt"))
const DescriptionJson = Schema.parseJson(Description)

const encodeDescription = (description: typeof Description.Type): string =>
  Encoding.encodeBase64Url(JSON.stringify(description))

/** None for an object that is not this library's. */
const decodeDescription = (text: string): Option.Option<typeof Description.Type> =>
  pipe(
    Encoding.decodeBase64UrlString(text),
    Either.flatMap(Schema.decodeEither(DescriptionJson)),
    Either.getRight
  )

export const make = Effect.fnUntraced(function*(
  fs: FileSystem.FileSystem,
  objects: Objects,
  persist: Persist,
  { isDigestChecked, sweepEvery, timeToLive }: Settings
) {
  const { run } = yield* uploads.make(patience)
  const head = (key: string) => Effect.retry(objects.head(key), retries)
  const remove = (key: string) => Effect.retry(objects.remove(key), retries)

  const toReference = (key: string, description: typeof Description.Type, usedAt: number): ImageReference =>
    new ImageReference({ ...description, key, expiresAt: DateTime.unsafeMake(usedAt + timeToLive) })

  const store = <R>(
    key: string,
    image: SessionInitImage,
    undo: Effect.Effect<void, StoreError>,
    onStored: Effect.Effect<void, never, R>
  ) =>
    Effect.gen(function*() {
      const unreadable = () => new StoreError({ operation: "put", reason: "FileUnreadable" })
      const { size } = yield* Effect.mapError(fs.stat(image.path), unreadable)
      if (Number(size) !== image.bytes) return yield* unreadable()
      const sha256 = image.sha256 ?? (yield* Effect.mapError(digests.ofFile(fs, image.path), unreadable))
      const read = Stream.mapError(digests.readFile(fs, image.path), unreadable)
      const stream = isDigestChecked ? read : digests.check(read, { bytes: image.bytes, sha256 }, unreadable)
      const { bytes, displayName, height, mime, orientation, width } = image
      const description = { sha256, bytes, mime, width, height, orientation, displayName: cutName(displayName) }
      const storedAt = yield* run({
        send: (gate) =>
          Effect.retry(
            objects.put(
              key,
              { bytes, sha256, mime, stream: gate.pass(stream, bytes) },
              encodeDescription(description)
            ),
            { ...retries, while: (error) => !gate.isGivenUp && retries.while(error) }
          ),
        undo,
        onStored
      })
      return toReference(key, description, storedAt)
    })

  const put = <R>(image: SessionInitImage, onStored: (key: string) => Effect.Effect<void, never, R>) =>
    Effect.suspend(() => {
      const key = randomNames.next()
      return store(key, image, remove(key), onStored(key))
    })

  /** Never fails: a scope's end hides no earlier error, and a sweep removes what is left. */
  const removeLater = (key: string) =>
    Effect.catchAll(
      remove(key),
      () => Effect.logWarning("A stored image could not be removed at the end of its scope; a sweep will")
    )

  const fetchOnce = (reference: ImageReference, options: PersistOptions | undefined) =>
    Effect.scopedWith((request) =>
      Effect.gen(function*() {
        const found = yield* Scope.extend(objects.get(reference.key), request)
        if (Option.isNone(found) || found.value.now >= DateTime.toEpochMillis(reference.expiresAt)) {
          return yield* new ImageGone()
        }
        if (found.value.bytes !== reference.bytes) return yield* new ImageChanged({ reason: "Length" })
        const checked = digests.check(found.value.stream, reference, (reason) => new ImageChanged({ reason }))
        const source = yield* Scope.extend(sources.fromStream(checked), request)
        return yield* persist(
          { mime: reference.mime, name: reference.displayName },
          source,
          reference.bytes,
          options
        )
      })
    )

  /** The object's last use, if it has not expired; records a use where the last one is long ago. */
  const use = (key: string, { modifiedAt, now }: Head) =>
    Effect.gen(function*() {
      if (now - modifiedAt < timeToLive / usesPerTimeToLive) return Option.some(modifiedAt)
      const marker = yield* head(markerOf(key))
      const usedAt = Option.match(marker, {
        onNone: () => modifiedAt,
        onSome: (marker) => Math.max(modifiedAt, marker.modifiedAt)
      })
      if (now - usedAt >= timeToLive) return Option.none()
      if (now - usedAt < timeToLive / usesPerTimeToLive) return Option.some(usedAt)
      yield* Effect.retry(objects.put(markerOf(key), markerBody, ""), retries)
      return Option.some(now)
    })

  const removeNamed = (key: string) => Effect.zipRight(remove(key), remove(markerOf(key)))

  const named = {
    put: (name: string, image: SessionInitImage) => {
      const key = keyOfName(name)
      return store(key, image, Effect.void, Effect.void).pipe(
        Effect.withSpan("InitImageStore.named.put", spanOf(image))
      )
    },
    get: (name: string) =>
      Effect.gen(function*() {
        const key = keyOfName(name)
        const found = yield* head(key)
        if (Option.isNone(found)) return Option.none()
        const description = decodeDescription(found.value.description)
        if (Option.isNone(description)) return Option.none()
        return Option.map(yield* use(key, found.value), (usedAt) => toReference(key, description.value, usedAt))
      }).pipe(Effect.withSpan("InitImageStore.named.get")),
    remove: (name: string) => Effect.withSpan(removeNamed(keyOfName(name)), "InitImageStore.named.remove")
  }

  const isExpired = ({ modifiedAt, now }: { readonly modifiedAt: number; readonly now: number }) =>
    now - modifiedAt >= timeToLive

  /** Asks again before it removes: an image may have been put under the name since the listing. */
  const sweepNamed = (key: string) =>
    Effect.gen(function*() {
      const heads = yield* Effect.all([head(key), head(markerOf(key))])
      if (!heads.every((head) => Option.isNone(head) || isExpired(head.value))) return 0
      yield* removeNamed(key)
      return Option.isSome(heads[0]) ? 1 : 0
    })

  const sweep = Effect.gen(function*() {
    const idle = new Set<string>()
    const used = new Set<string>()
    let removed = objects.sweepParts === undefined ? 0 : yield* objects.sweepParts(timeToLive)
    yield* Stream.runForEach(objects.list, (listed) => {
      const key = markerPattern.exec(listed.key)?.[1] ?? listed.key
      if (!keyPattern.test(key)) return Effect.void
      if (key.startsWith(namedPrefix)) return Effect.sync(() => (isExpired(listed) ? idle : used).add(key))
      if (!isExpired(listed)) return Effect.void
      return Effect.map(remove(key), () => {
        removed += 1
      })
    })
    for (const key of idle) if (!used.has(key)) removed += yield* sweepNamed(key)
    return removed
  })

  if (sweepEvery !== undefined) {
    yield* sweep.pipe(
      Effect.catchAll((error) => Effect.logWarning("The image store could not be swept", error)),
      Effect.repeat(Schedule.jittered(Schedule.spaced(sweepEvery))),
      Effect.interruptible,
      Effect.forkScoped
    )
  }

  return {
    put: (image: SessionInitImage) =>
      Effect.withSpan(put(image, () => Effect.void), "InitImageStore.put", spanOf(image)),
    putScoped: (image: SessionInitImage) =>
      Effect.flatMap(Effect.scope, (scope) => put(image, (key) => Scope.addFinalizer(scope, removeLater(key)))).pipe(
        Effect.withSpan("InitImageStore.putScoped", spanOf(image))
      ),
    fetchScoped: (reference: ImageReference, options?: PersistOptions) =>
      Effect.retry(fetchOnce(reference, options), retries).pipe(
        Effect.withSpan("InitImageStore.fetchScoped", spanOf(reference))
      ),
    remove: ({ key }: ImageReference) =>
      Effect.withSpan(key.startsWith(namedPrefix) ? removeNamed(key) : remove(key), "InitImageStore.remove"),
    sweep: Effect.withSpan(sweep, "InitImageStore.sweep"),
    presign: ({ key }: ImageReference, duration: Duration.DurationInput) =>
      Effect.suspend(() => {
        check("InitImageStore.presign", presignProblem(duration))
        return objects.presign === undefined
          ? new StoreError({ operation: "presign", reason: "Unsupported" })
          : objects.presign(key, Math.floor(Duration.toSeconds(duration)))
      }),
    named
  }
})
