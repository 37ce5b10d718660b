/**
 * Sessions that keep their current images elsewhere, such as in a store that several hosts use. A host keeps a copy of each
 * image that it has received or read, for as long as the session is used here.
 */
import { type PlatformError, SystemError, type SystemErrorReason } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { InitImageSlot, Persisted } from "../../InitImageSlot.js"
import type { ImageReference, Store } from "../../InitImageStore.js"
import type { PersistOptions, SessionInitImage } from "../../SessionInitImage.js"
import { withSha256 } from "../spool/sha256.js"
import * as sessions from "./sessions.js"

/** The current images of the sessions of all hosts. */
export interface Images {
  readonly put: (sessionId: string, image: SessionInitImage) => Effect.Effect<ImageReference, PlatformError>
  /** Counts as a use of the session. */
  readonly current: (sessionId: string) => Effect.Effect<Option.Option<ImageReference>, PlatformError>
  /** With `only`, clears nothing if the current image is another one. */
  readonly clear: (sessionId: string, only?: ImageReference) => Effect.Effect<void, PlatformError>
  readonly fetchScoped: Store["fetchScoped"]
}

/** `InitImageSlot.makeWith` */
export type MakeSlot = (options: {
  readonly prepare: (image: SessionInitImage) => Effect.Effect<SessionInitImage, PlatformError>
}) => Effect.Effect<InitImageSlot<PlatformError>, never, FileSystem.FileSystem | Path.Path | Scope.Scope>

/** `InitImageApi.SessionsStoreOptions` */
export interface Options extends PersistOptions {
  readonly idleTimeToLive?: Duration.DurationInput | undefined
}

/** A failure of the store or the cluster. It is the operator's, and is never encoded to a client. */
export const trouble = (
  method: string,
  cause: { readonly message: string },
  reason: SystemErrorReason = "Unknown"
): PlatformError => new SystemError({ module: "FileSystem", method, reason, description: cause.message, cause })

/** Whether both are the same image. Each use of an image gives its reference a later end. */
export const isSame = (a: ImageReference, b: ImageReference): boolean =>
  a.key === b.key && a.sha256 === b.sha256 && a.displayName === b.displayName

/** An image that was replaced after its reference had been read. */
class Replaced extends Data.TaggedError("Replaced")<{ readonly isGone: boolean }> {
  override get message(): string {
    return "The image changes too often to be read, or is damaged."
  }
}

/** An open socket uses its session this often; below any time to live that makes sense. */
const useInterval: Duration.DurationInput = "30 seconds"

/** About a second in all. */
const readAgain = Schedule.intersect(
  Schedule.recurs(12),
  Schedule.union(Schedule.exponential("2 millis"), Schedule.spaced("100 millis"))
)

const imageOf = (value: Persisted): Option.Option<SessionInitImage> => {
  if (Option.isOption(value)) return value
  return "image" in value ? value.image : Option.some(value)
}

/** A session on this host. Its `lease` gives this host's copy, current or not. */
interface Session {
  readonly lease: InitImageSlot["lease"]
  readonly slot: InitImageSlot<PlatformError>
}

/**
 * Makes the sessions. A copy is removed when this host reads that the session has no image or another one, and
 * after `idleTimeToLive` without use.
 */
export const make = (images: Images, makeSlot: MakeSlot, options: Options | undefined) =>
  Effect.gen(function*() {
    const context = yield* Effect.context<FileSystem.FileSystem | Path.Path>()

    const fetch = (reference: ImageReference) =>
      images.fetchScoped(reference, options).pipe(
        Effect.mapInputContext((caller: Context.Context<Scope.Scope>) => Context.merge(context, caller)),
        Effect.mapError((error) => {
          switch (error._tag) {
            case "ImageGone":
            case "ImageChanged":
              return new Replaced({ isGone: error._tag === "ImageGone" })
            case "SystemError":
            case "BadArgument":
              return error
            default:
              return trouble("fetch", error, error._tag === "Busy" ? "Busy" : "Unknown")
          }
        })
      )

    const makeSession = Effect.fnUntraced(function*(sessionId: string) {
      /** The references of this host's copies. */
      const references = new WeakMap<SessionInitImage, ImageReference>()
      /** Copies that the slot does not hold yet. */
      const fetched = new WeakSet<SessionInitImage>()

      const copy = yield* makeSlot({
        prepare: (image) =>
          fetched.delete(image) ? Effect.succeed(image) : Effect.map(images.put(sessionId, image), (reference) => {
            references.set(image, reference)
            return image
          })
      })
      const fetching = yield* Effect.makeSemaphore(1)

      /** A lease of the copy, if it is a copy of this image. */
      const leaseOf = (reference: ImageReference) =>
        Effect.uninterruptible(Effect.gen(function*() {
          const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
          const image = yield* Scope.extend(copy.lease, scope)
          const known = Option.flatMapNullable(image, (image) => references.get(image))
          if (Option.isSome(known) && isSame(known.value, reference)) return image
          yield* Scope.close(scope, Exit.void)
          return Option.none()
        }))

      const fetchAndLease = (reference: ImageReference) =>
        Effect.gen(function*() {
          const present = yield* leaseOf(reference)
          if (Option.isSome(present)) return present
          yield* copy.setWith(Effect.map(fetch(reference), (image) => {
            references.set(image, reference)
            fetched.add(image)
            return image
          }))
          const image = yield* leaseOf(reference)
          return Option.isSome(image) ? image : yield* new Replaced({ isGone: false })
        })

      const read = Effect.gen(function*() {
        const current = yield* images.current(sessionId)
        if (Option.isNone(current)) return yield* Effect.as(copy.clear, Option.none())
        const image = yield* leaseOf(current.value)
        return Option.isSome(image) ? image : yield* fetching.withPermits(1)(fetchAndLease(current.value))
      })

      const lease = read.pipe(
        Effect.retry({ while: (error) => error._tag === "Replaced", schedule: readAgain }),
        Effect.catchTag(
          "Replaced",
          (error) => error.isGone ? Effect.succeedNone : Effect.fail(trouble("fetch", error, "InvalidData"))
        ),
        Effect.orDie
      )

      /** Clears the session after a call that left it without an image. */
      const clearAfter = <A extends Persisted>(value: A) =>
        Option.isNone(imageOf(value)) ? images.clear(sessionId) : Effect.void

      const view = (copy: InitImageSlot<PlatformError>): InitImageSlot<PlatformError> => ({
        ...copy,
        set: (payload, options) => Effect.tap(withSha256(copy.set(payload, options)), clearAfter),
        setWith: (effect) => Effect.tap(withSha256(copy.setWith(effect)), clearAfter),
        lease,
        clear: Effect.zipRight(Effect.orDie(images.clear(sessionId)), copy.clear),
        own
      })

      const own: InitImageSlot<PlatformError>["own"] = Effect.gen(function*() {
        const owned = yield* copy.own
        yield* Effect.ignore(images.current(sessionId)).pipe(
          Effect.delay(useInterval),
          Effect.forever,
          Effect.interruptible,
          Effect.forkScoped
        )
        const owner: { last: ImageReference | undefined; isClosed: boolean } = { last: undefined, isClosed: false }
        const clear = Effect.suspend(() => owner.last === undefined ? Effect.void : images.clear(sessionId, owner.last))
        yield* Effect.addFinalizer(() => {
          owner.isClosed = true
          return Effect.catchAll(
            clear,
            (error) => Effect.logWarning("A session's image could not be removed; it expires", error)
          )
        })
        const record = (value: Persisted) => {
          owner.last = Option.getOrUndefined(Option.flatMapNullable(imageOf(value), (image) => references.get(image)))
          return owner.isClosed ? clear : Effect.void
        }
        const shared = view(owned)
        return {
          ...shared,
          set: (payload, options) => Effect.tap(shared.set(payload, options), record),
          setWith: (effect) => Effect.tap(shared.setWith(effect), record)
        }
      })

      const session: Session = { lease: copy.lease, slot: view(copy) }
      return session
    })

    const service = yield* sessions.make(makeSession, options?.idleTimeToLive ?? "5 minutes")
    const slot = (sessionId: string) => Effect.map(service.slot(sessionId), (session) => session.slot)
    return {
      slot,
      // This host cannot tell without a request whether the session exists; one without an image ends at once.
      find: (sessionId: string) => Effect.asSome(slot(sessionId)),
      end: (sessionId: string) => Effect.zipRight(Effect.orDie(images.clear(sessionId)), service.end(sessionId))
    }
  })
