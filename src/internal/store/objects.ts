/** The objects of a store: bytes under a key, with a description that is stored and replaced together with them. */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { StoreError } from "./models.js"

/**
 * The bytes of an object that is to be stored.
 *
 * @since 0.1.0
 * @category models
 */
export interface Body {
  /** The number of bytes; 0 for the record of a name's use. */
  readonly bytes: number
  /** The SHA-256 of the bytes, in lower-case hex. */
  readonly sha256: string
  /** The content type: `image/png`, `image/jpeg`, `image/webp`, or `application/octet-stream` for no bytes. */
  readonly mime: string
  /**
   * Reads the bytes from the start, each time that it runs. Fails with `FileUnreadable`, at the latest in place of the
   * last chunk, if the image's file cannot be read or its bytes are not those of `sha256`. The last chunk of an upload
   * that was interrupted never comes.
   */
  readonly stream: Stream.Stream<Uint8Array, StoreError>
}

/**
 * What a store tells of an object beside its bytes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Head {
  /** When the object was last put, in milliseconds since 1970. */
  readonly modifiedAt: number
  /** The present time of the clock of `modifiedAt`, in milliseconds since 1970. */
  readonly now: number
  /** The number of bytes. */
  readonly bytes: number
  /** The description that was put with the bytes; `""` where there is none. */
  readonly description: string
}

/**
 * An object that was found, and its bytes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Found extends Head {
  /** The bytes of the version that the head describes, though another one may be put in the meantime. Runs once. */
  readonly stream: Stream.Stream<Uint8Array, StoreError>
}

/**
 * An object of a listing; its times are those of {@link Head}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Listed {
  readonly key: string
  /** In milliseconds since 1970. */
  readonly modifiedAt: number
  /** In milliseconds since 1970. */
  readonly now: number
}

/**
 * The objects that a store keeps its images in, as `layerObjects` takes them.
 *
 * A key has at most 64 characters of `A-Z a-z 0-9 . _ -`. A description has at most 600 of `A-Z a-z 0-9 - _`. A reader
 * on another host sees an object as soon as it has been put, as a whole or not at all.
 *
 * Each operation is one attempt, and ends by itself if the store does not answer. It fails with `Unavailable` if another
 * attempt may succeed: `put`, `head`, `get` and `remove` are then tried again, four times within some seconds. A failure
 * of `list` or `sweepParts` ends the sweep.
 *
 * @since 0.1.0
 * @category models
 */
export interface Objects {
  /**
   * Creates or replaces an object, its bytes and its description at once, and answers the time, as in {@link Head}.
   *
   * Stores nothing before it has read the body's stream to its end. An interruption or a failure before that leaves the
   * old object, and no part of the new one, as one request of known length does; a multipart upload leaves its parts.
   * `Unavailable` says that the new object may be there, any other reason that it is not.
   */
  readonly put: (key: string, body: Body, description: string) => Effect.Effect<number, StoreError>
  /** Describes an object; `None` if there is none. */
  readonly head: (key: string) => Effect.Effect<Option.Option<Head>, StoreError>
  /** Opens an object; `None` if there is none. The scope's end closes it, read or not. */
  readonly get: (key: string) => Effect.Effect<Option.Option<Found>, StoreError, Scope.Scope>
  /** Removes an object; succeeds if there is none. */
  readonly remove: (key: string) => Effect.Effect<void, StoreError>
  /** Lists all objects in any order, each time that it runs. A sweep passes over keys that are not the library's. */
  readonly list: Stream.Stream<Listed, StoreError>
  /**
   * Removes what killed processes have left of objects that were never whole, once it is older than `age` in
   * milliseconds, and answers the number. Only for stores in which this can happen.
   */
  readonly sweepParts?: ((age: number) => Effect.Effect<number, StoreError>) | undefined
  /**
   * Answers a URL that gives the object to everyone who has it, for the given number of seconds: a credential. Without
   * it, `presign` of the store fails with `Unsupported`.
   */
  readonly presign?: ((key: string, seconds: number) => Effect.Effect<Redacted.Redacted, StoreError>) | undefined
}
