/**
 * A session's current image. A new image replaces it only after it has been persisted, and a replaced file is removed
 * only after its last reader has released it.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { InitImageError } from "./InitImageError.js"
import { joinFiber } from "./internal/joinFiber.js"
import * as metrics from "./internal/metrics.js"
import { check, functionProblem } from "./internal/options.js"
import { prepared } from "./internal/prepare.js"
import * as SessionInitImage from "./SessionInitImage.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: unique symbol = Symbol.for("session-init-image/InitImageSlot")

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * The result of an effect that persists an image: the image, an `Option` of it, or a message that carries it.
 *
 * @since 0.1.0
 * @category models
 */
export type Persisted =
  | SessionInitImage.SessionInitImage
  | Option.Option<SessionInitImage.SessionInitImage>
  | { readonly image: Option.Option<SessionInitImage.SessionInitImage> }

/**
 * Holds at most one image.
 *
 * `set`, `setWith` and `clear` run concurrently and take effect in the order of their calls. A call that completes
 * after a later call has taken effect still succeeds, but does not change the slot, and its file is removed. A call
 * that fails, dies or is interrupted does not change the slot. `E` are the errors of the option `prepare` of `makeWith`.
 *
 * A file is removed when neither the slot nor a lease refers to it. The call that drops the last reference (`set`,
 * `setWith`, `clear`, or the closing of a lease's or the slot's scope) ends after the removal.
 *
 * @since 0.1.0
 * @category models
 */
export interface InitImageSlot<out E = never> {
  readonly [TypeId]: TypeId

  /**
   * Persists the payload as `SessionInitImage.persistScoped` does, with the file system of `make`, then replaces the
   * current image. A payload without an init image empties the slot. Interruptible until the replacement.
   *
   * Returns the description of the image. To read its file, take a lease: another `set` may already have replaced it.
   *
   * Fails with any `InitImageError`, and with `PlatformError` for disk errors. Interrupts the caller after the slot's
   * scope has closed.
   *
   * @since 0.1.0
   */
  readonly set: (
    payload: unknown,
    options?: SessionInitImage.PayloadOptions
  ) => Effect.Effect<Option.Option<SessionInitImage.SessionInitImage>, InitImageError | PlatformError | E>

  /**
   * `set` for any effect that persists an image in a scope, such as `SessionInitImage.persistStreamScoped`. All
   * resources that the effect acquires in its scope live as long as the image.
   *
   * Returns the effect's result and fails with its errors.
   *
   * @since 0.1.0
   */
  readonly setWith: <A extends Persisted, E2, R>(effect: Effect.Effect<A, E2, R>) => Effect.Effect<
    A,
    E | E2,
    Exclude<R, Scope.Scope>
  >

  /**
   * Returns the current image and keeps its file until the caller's scope closes, even when the image is replaced or
   * the slot ends. `None` when the slot is empty or has ended.
   *
   * @since 0.1.0
   */
  readonly lease: Effect.Effect<Option.Option<SessionInitImage.SessionInitImage>, never, Scope.Scope>

  /**
   * Empties the slot.
   *
   * @since 0.1.0
   */
  readonly clear: Effect.Effect<void>

  /**
   * Returns this slot for one of its users, such as one of the connections of a session. Images that are set through the
   * returned slot live no longer than the caller's scope. When it closes, the current image is removed if it is one of
   * them; an image of another user stays.
   *
   * @since 0.1.0
   */
  readonly own: Effect.Effect<InitImageSlot<E>, never, Scope.Scope>
}

/** A user of a slot whose images end with a scope. */
interface Owner {
  isClosed: boolean
}

/** An image with the resources that live as long as it. The scope closes with the last reference. */
interface SharedImage {
  readonly image: SessionInitImage.SessionInitImage
  readonly scope: Scope.CloseableScope
  readonly owner: Owner | undefined
  /** One for the slot while the image is current, and one for each lease. */
  references: number
}

/** Calls of `set`, `setWith` and `clear` are numbered in order. An open slot holds the number of the last call applied. */
type State = Data.TaggedEnum<{
  Empty: { readonly sequence: number }
  Current: { readonly sequence: number; readonly shared: SharedImage }
  Closed: {}
}>
const { Closed, Current, Empty } = Data.taggedEnum<State>()

const imageOf = (value: Persisted): Option.Option<SessionInitImage.SessionInitImage> => {
  if (Option.isOption(value)) return value
  return value instanceof SessionInitImage.SessionInitImage ? Option.some(value) : value.image
}

/** The effect of a message without an image. */
const nothing: unknown = Effect.succeedNone

/** The same result with another image. */
const replaceImage = <A extends Persisted>(value: A, image: SessionInitImage.SessionInitImage): A => {
  const next: Persisted = value instanceof SessionInitImage.SessionInitImage
    ? image
    : Option.isOption(value)
    ? Option.some(image)
    : { ...value, image: Option.some(image) }
  // `A` is one of the three, and only its image differs.
  return next as A
}

/** Logs a defect of a finalizer: the call that drops the last reference did not cause it. */
const close = (scope: Scope.CloseableScope, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.catchAllCause(
    Scope.close(scope, exit),
    (cause) => Effect.logWarning("Cannot release the resources of an init image", cause)
  )

const release = (shared: SharedImage): Effect.Effect<void> =>
  Effect.suspend(() => {
    shared.references -= 1
    return shared.references === 0 ? close(shared.scope, Exit.void) : Effect.void
  })

const releaseState = (state: State): Effect.Effect<void> =>
  state._tag === "Current" ? release(state.shared) : Effect.void

/**
 * Creates an empty slot that ends with the scope: running calls of `set` and `setWith` are interrupted, and the current
 * image is removed unless it is leased.
 *
 * Settings such as `InitImageLimits.MaxBytes` come from the caller of `set`, and by default from the caller of `make`.
 *
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { InitImageSlot } from "session-init-image"
 *
 * declare const generate: (path: string) => Effect.Effect<void>
 *
 * const session = Effect.gen(function*() {
 *   const slot = yield* InitImageSlot.make
 *   yield* slot.set({ mime: "image/png", name: "ref.png", data: "iVBORw0KGgo..." })
 *
 *   // The file exists until the generation ends, even if another `set` replaces the image meanwhile.
 *   yield* Effect.scoped(Effect.gen(function*() {
 *     const image = yield* slot.lease
 *     if (Option.isSome(image)) yield* generate(image.value.path)
 *   }))
 * })
 * ```
 *
 * @example
 * Keyed sessions that expire after five idle minutes:
 *
 * ```ts
 * import { Effect, Option, RcMap } from "effect"
 * import { InitImageSlot } from "session-init-image"
 *
 * declare const generate: (path: string) => Effect.Effect<void>
 *
 * class Sessions extends Effect.Service<Sessions>()("app/Sessions", {
 *   scoped: Effect.gen(function*() {
 *     const slots = yield* RcMap.make({
 *       lookup: (_sessionId: string) => InitImageSlot.make,
 *       idleTimeToLive: "5 minutes"
 *     })
 *     const set = (sessionId: string, payload: unknown) =>
 *       Effect.scoped(Effect.flatMap(RcMap.get(slots, sessionId), (slot) => slot.set(payload)))
 *     const run = (sessionId: string) =>
 *       Effect.scoped(Effect.gen(function*() {
 *         const slot = yield* RcMap.get(slots, sessionId)
 *         const image = yield* slot.lease
 *         if (Option.isSome(image)) yield* generate(image.value.path)
 *       }))
 *     return { set, run }
 *   })
 * }) {}
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<InitImageSlot, never, FileSystem.FileSystem | Path.Path | Scope.Scope> = Effect
  .suspend(() => makeSlot<never, never>(undefined))

/**
 * The options of a slot.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<E = never, R = never> {
  /**
   * Replaces each image of `set` and `setWith` before the slot holds it, such as by a normalised one. If it fails, the
   * call fails with its error, and the slot keeps its image. The call's resources are released once another image is
   * answered; that one lives in the scope that this gets.
   */
  readonly prepare: (
    image: SessionInitImage.SessionInitImage
  ) => Effect.Effect<SessionInitImage.SessionInitImage, E, R | Scope.Scope>
}

/**
 * {@link make} with options. `prepare` runs with the services of this effect's context.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeWith = <E, R>(
  options: Options<E, R>
): Effect.Effect<InitImageSlot<E>, never, R | FileSystem.FileSystem | Path.Path | Scope.Scope> =>
  Effect.suspend(() => {
    check("InitImageSlot.makeWith", functionProblem("prepare", options.prepare))
    return makeSlot(options)
  })

const makeSlot = <EP, RP>(options: Options<EP, RP> | undefined) =>
  Effect.gen(function*() {
    const context = yield* Effect.context<FileSystem.FileSystem | Path.Path | RP>()
    const files = Context.pick(FileSystem.FileSystem, Path.Path)(context)

    // Both are read and written within one synchronous step, so that no other fiber sees a transition halfway. A `Ref`
    // cannot do this for `lease`, which also changes the reference count.
    let state: State = Empty({ sequence: 0 })
    let lastSequence = 0

    const isOrphaned = (next: State): boolean => next._tag === "Current" && next.shared.owner?.isClosed === true

    /** Releases `next` instead when a later call has been applied, or the slot or the image's owner is closed. */
    const transition = (next: Exclude<State, { _tag: "Closed" }>): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (state._tag === "Closed" || next.sequence < state.sequence || isOrphaned(next)) return releaseState(next)
        const previous = state
        state = next
        return releaseState(previous)
      })

    const end = Effect.suspend(() => {
      const previous = state
      state = Closed()
      return releaseState(previous)
    })

    /** The scope of the fibers of `setWith`. Closing it interrupts them and waits for their cleanup. */
    const fibers = yield* Effect.acquireRelease(
      Scope.make(),
      (fibers, exit) => Effect.zipRight(Scope.close(fibers, exit), end)
    )

    const persist = Effect.fnUntraced(function*<A extends Persisted, E, R>(
      sequence: number,
      owner: Owner | undefined,
      effect: Effect.Effect<A, E, R>,
      restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    ) {
      const scope = yield* Scope.make()
      const persisted: Effect.Effect<A, E | EP, R | Scope.Scope> = options === undefined
        ? effect
        : prepared(
          effect,
          (value) => Option.getOrUndefined(imageOf(value)),
          (image) =>
            Effect.mapInputContext(options.prepare(image), (caller: Context.Context<Scope.Scope>) =>
              Context.merge(context, caller)),
          replaceImage
        )
      const exit = yield* Effect.exit(restore(Scope.extend(persisted, scope)))
      const image = Exit.isSuccess(exit) ? imageOf(exit.value) : Option.none()
      if (Option.isNone(image)) {
        yield* close(scope, exit)
      }
      const value = yield* exit
      yield* transition(
        Option.isSome(image)
          ? Current({ sequence, shared: { image: image.value, scope, owner, references: 1 } })
          : Empty({ sequence })
      )
      return state._tag === "Closed" ? yield* Effect.interrupt : value
    })

    const setWith = <A extends Persisted, E, R>(
      owner: Owner | undefined,
      effect: Effect.Effect<A, E, R>
    ): Effect.Effect<A, E | EP, Exclude<R, Scope.Scope>> =>
      Effect.uninterruptibleMask((restore) => {
        if (state._tag === "Closed") {
          return Effect.interrupt
        }
        lastSequence += 1
        // No work to interrupt: needs no fiber.
        if (effect === nothing) {
          return Effect.zipLeft(Effect.scoped(effect), transition(Empty({ sequence: lastSequence })))
        }
        return Effect.flatMap(
          Effect.forkIn(persist(lastSequence, owner, effect, restore), fibers),
          (fiber) =>
            Effect.onInterrupt(restore(joinFiber(fiber)), () => Fiber.interrupt(fiber))
        )
      })

    const disown = (owner: Owner): Effect.Effect<void> =>
      Effect.suspend(() => {
        owner.isClosed = true
        return state._tag === "Current" && state.shared.owner === owner
          ? transition(Empty({ sequence: state.sequence }))
          : Effect.void
      })

    const makeView = (owner: Owner | undefined): InitImageSlot<EP> => ({
      [TypeId]: TypeId,
      set: Effect.fn("InitImageSlot.set")((payload: unknown, options?: SessionInitImage.PayloadOptions) =>
        setWith(
          owner,
          Effect.mapInputContext(
            SessionInitImage.persistScoped(payload, options),
            (caller: Context.Context<Scope.Scope>) => Context.mergeAll(context, caller, files)
          )
        )
      ),
      setWith: (effect) => metrics.withSpan("InitImageSlot.setWith")(setWith(owner, effect)),
      lease: Effect.acquireRelease(
        Effect.sync(() => {
          if (state._tag === "Current") state.shared.references += 1
          return state
        }),
        releaseState
      ).pipe(
        Effect.map((leased) => leased._tag === "Current" ? Option.some(leased.shared.image) : Option.none()),
        metrics.withSpan("InitImageSlot.lease")
      ),
      clear: Effect.suspend(() => {
        lastSequence += 1
        return transition(Empty({ sequence: lastSequence }))
      }).pipe(Effect.uninterruptible, metrics.withSpan("InitImageSlot.clear")),
      own: Effect.map(
        Effect.acquireRelease(Effect.sync((): Owner => ({ isClosed: false })), disown),
        makeView
      )
    })
    return makeView(undefined)
  })
