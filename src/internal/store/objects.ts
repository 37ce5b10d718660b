/** Objects in a store: bytes under a key, with a description that is stored and replaced together with them. */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { StoreError } from "./models.js"

/** The bytes of an object that is to be stored, from a file that is read again for a retry. */
export interface Body {
  /** In bytes. */
  readonly bytes: number
  /** In lower-case hex. */
  readonly sha256: string
  readonly mime: string
  /** Reads the file from its start. */
  readonly stream: Stream.Stream<Uint8Array, StoreError>
}

/** Times are in milliseconds since 1970, by the store's clock. */
export interface Head {
  readonly modifiedAt: number
  readonly now: number
  /** In bytes. */
  readonly bytes: number
  /** ASCII; empty where there is none. */
  readonly description: string
}

export interface Found extends Head {
  /** The object's bytes, of the same version as the head. */
  readonly stream: Stream.Stream<Uint8Array, StoreError>
}

export interface Listed {
  readonly key: string
  readonly modifiedAt: number
  readonly now: number
}

/** `put` and `get` are one attempt; the others try again by themselves. */
export interface Objects {
  /** Creates or replaces an object as a whole; answers the time. A failure leaves the old one or the new one. */
  readonly put: (key: string, body: Body, description: string) => Effect.Effect<number, StoreError>
  /** Creates an empty object, or sets its time. */
  readonly touch: (key: string) => Effect.Effect<void, StoreError>
  readonly head: (key: string) => Effect.Effect<Option.Option<Head>, StoreError>
  readonly get: (key: string) => Effect.Effect<Option.Option<Found>, StoreError, Scope.Scope>
  /** Succeeds where there is no such object. */
  readonly remove: (key: string) => Effect.Effect<void, StoreError>
  readonly list: Stream.Stream<Listed, StoreError>
  /** Removes what killed processes left of objects that were never whole, once older than `age` in milliseconds. */
  readonly sweepParts: (age: number) => Effect.Effect<number, StoreError>
  /** A URL that gives the object to everyone who has it, for the given number of seconds. */
  readonly presign: (key: string, seconds: number) => Effect.Effect<Redacted.Redacted, StoreError>
}
