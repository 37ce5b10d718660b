/**
 * Stores init images where other machines reach them: in an S3-compatible object store, or in a directory of a shared
 * volume. A small {@link ImageReference} goes through queues and databases in place of the bytes.
 *
 * A gateway puts the image of a session, and a worker on another host fetches it into a file of its own:
 *
 * ```ts
 * import { Effect } from "effect"
 * import type { SessionInitImage } from "session-init-image"
 * import { type ImageReference, InitImageStore } from "session-init-image/InitImageStore"
 *
 * declare const generate: (path: string) => Effect.Effect<void>
 *
 * export const hand = (image: SessionInitImage.SessionInitImage) =>
 *   Effect.flatMap(InitImageStore, (store) => store.put(image))
 *
 * export const work = (reference: ImageReference) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const store = yield* InitImageStore
 *     const image = yield* store.fetchScoped(reference)
 *     yield* generate(image.path)
 *   }))
 * ```
 *
 * An entry point of its own, `session-init-image/InitImageStore`.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { InitImageError } from "./InitImageError.js"
import { check, textProblem, timeoutProblem } from "./internal/options.js"
import * as files from "./internal/store/files.js"
import type { ImageChanged, ImageGone, ImageReference, StoreError } from "./internal/store/models.js"
import * as store from "./internal/store/store.js"
import * as SessionInitImage from "./SessionInitImage.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  ImageChanged,
  /**
   * @since 0.1.0
   * @category errors
   */
  ImageGone,
  /**
   * @since 0.1.0
   * @category models
   */
  ImageReference,
  /**
   * @since 0.1.0
   * @category errors
   */
  StoreError
} from "./internal/store/models.js"

/**
 * Images under names of the caller's, such as session ids: at most one of a name. A name is hashed (SHA-256) into the
 * object's key and is not stored. An image and its description are one object, replaced in one request, so that a reader
 * on another host never has the one without the other.
 *
 * An image that is not used for the layer's `timeToLive` expires. {@link put} and {@link get} are uses; `get` writes a
 * small object beside it, at most once in a quarter of the `timeToLive`.
 *
 * @since 0.1.0
 * @category models
 */
export interface NamedImages {
  /**
   * Stores the image under the name; the last write wins. A failed `put` keeps the old image, or has stored the new one
   * where the answer was lost. An interrupted one is aborted while bytes are missing, and takes effect after that.
   */
  readonly put: (name: string, image: SessionInitImage.SessionInitImage) => Effect.Effect<ImageReference, StoreError>
  /** The current image of the name. Replaced later, it is `ImageChanged` or `ImageGone` for this reference. */
  readonly get: (name: string) => Effect.Effect<Option.Option<ImageReference>, StoreError>
  /** Removes the image of the name, if there is one. */
  readonly remove: (name: string) => Effect.Effect<void, StoreError>
}

/**
 * A store of images.
 *
 * @since 0.1.0
 * @category models
 */
export interface Store {
  /**
   * Stores a copy of the image's file under an unguessable key. It is there until it is removed or expires.
   *
   * An interruption returns at once; the layer aborts the upload, or awaits and removes what was stored. Closing the
   * layer waits for that.
   */
  readonly put: (image: SessionInitImage.SessionInitImage) => Effect.Effect<ImageReference, StoreError>
  /** {@link put}, with an object that lives as long as the scope. */
  readonly putScoped: (
    image: SessionInitImage.SessionInitImage
  ) => Effect.Effect<ImageReference, StoreError, Scope.Scope>
  /**
   * Writes a stored image to a new file, which lives as long as the scope. It is verified as any other image is, in the
   * spool and the limits of the effect's context, and nothing is published unless length and SHA-256 are those of the
   * reference.
   */
  readonly fetchScoped: (
    reference: ImageReference,
    options?: SessionInitImage.PersistOptions
  ) => Effect.Effect<
    SessionInitImage.SessionInitImage,
    ImageGone | ImageChanged | StoreError | InitImageError | PlatformError,
    FileSystem.FileSystem | Path.Path | Scope.Scope
  >
  /** Removes a stored image; succeeds if it is gone already. */
  readonly remove: (reference: ImageReference) => Effect.Effect<void, StoreError>
  /**
   * Removes the expired images of all hosts, by the store's clock, and answers their number. May run on several hosts at
   * a time, which must have the same `timeToLive`.
   */
  readonly sweep: Effect.Effect<number, StoreError>
  /**
   * A URL that gives the image to everyone who has it, for at most 7 days: a credential. Fails with `Unsupported` in a
   * store of files.
   */
  readonly presign: (
    reference: ImageReference,
    duration: Duration.DurationInput
  ) => Effect.Effect<Redacted.Redacted, StoreError>
  readonly named: NamedImages
}

/**
 * The store of an effect's images; see {@link layerFileSystem} and {@link layerS3}. A layer of another store is
 * `Layer.succeed(InitImageStore, …)`.
 *
 * @since 0.1.0
 * @category tags
 */
export class InitImageStore extends Context.Tag("session-init-image/InitImageStore")<InitImageStore, Store>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long an image is kept, or is kept unused under a name; 1 hour by default. */
  readonly timeToLive?: Duration.DurationInput | undefined
  /** Sweeps this often while the layer is there; never by default. Every host may do so. */
  readonly sweepEvery?: Duration.DurationInput | undefined
}

const checkOptions = (layer: string, options: Options, ...problems: ReadonlyArray<string | undefined>): void =>
  check(
    `InitImageStore.${layer}`,
    timeoutProblem("timeToLive", options.timeToLive),
    timeoutProblem("sweepEvery", options.sweepEvery),
    ...problems
  )

const toSettings = ({ sweepEvery, timeToLive = "1 hour" }: Options): store.Settings => ({
  timeToLive: Duration.toMillis(timeToLive),
  sweepEvery
})

const persist: store.Persist = (meta, source, bytes, options) =>
  SessionInitImage.persistSourceScoped(meta, source, bytes, options)

/**
 * A store in a directory, for one machine or a volume that hosts share. Creates the directory with mode 0700 if there is
 * none. The hosts' clocks must agree to within a fraction of the `timeToLive`.
 *
 * Fails with `PlatformError` if the directory cannot be made.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFileSystem = (
  options: Options & { readonly directory: string }
): Layer.Layer<InitImageStore, PlatformError, FileSystem.FileSystem | Path.Path> => {
  checkOptions("layerFileSystem", options, textProblem("directory", options.directory))
  return Layer.scoped(
    InitImageStore,
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      yield* fs.makeDirectory(options.directory, { recursive: true, mode: 0o700 })
      return yield* store.make(fs, files.make(fs, path, options.directory), persist, toSettings(options))
    })
  )
}
