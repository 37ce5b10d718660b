/**
 * A session's current image: replaced only by one that is whole, and kept on disk while anybody still reads it.
 *
 * @since 0.1.0
 * @module
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { InitImageError } from "./InitImageError.js"
import { joinFiber } from "./internal/joinFiber.js"
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
 * What the effects that persist an image answer: the image, an image or none, or one of these among other things.
 *
 * @since 0.1.0
 * @category models
 */
export type Persisted =
  | SessionInitImage.SessionInitImage
  | Option.Option<SessionInitImage.SessionInitImage>
  | { readonly image: Option.Option<SessionInitImage.SessionInitImage> }

/**
 * Holds one image, or none.
 *
 * `set`, `setWith` and `clear` take effect in the order in which they are called, whenever they are ready: one that is
 * ready after a later one has taken effect is overtaken. It succeeds as if the later one had come just after it, and
 * its file is gone. One that fails, is interrupted or dies changes nothing. None waits for another.
 *
 * A file is removed when neither the slot nor a lease needs it any longer, before whatever gave it up ends: `set`,
 * `clear`, or the closing of a lease's or the slot's scope.
 *
 * @since 0.1.0
 * @category models
 */
export interface InitImageSlot {
  readonly [TypeId]: TypeId

  /**
   * Persists the payload as `SessionInitImage.persistScoped` does, with the file system of `make`, and puts it in the
   * place of the current image; where there is no init image in it, the slot is empty then. It can be interrupted
   * until then.
   *
   * Answers a description of the image. To read its file, take a lease: another `set` may have replaced it by now.
   *
   * Fails with any `InitImageError`, and with `PlatformError` where the disk does. Ends as interrupted once the slot's
   * scope is closed.
   *
   * @since 0.1.0
   */
  readonly set: (
    payload: unknown,
    options?: SessionInitImage.PersistOptions
  ) => Effect.Effect<Option.Option<SessionInitImage.SessionInitImage>, InitImageError | PlatformError>

  /**
   * `set` for any effect that persists an image in a scope, such as `SessionInitImage.persistStreamScoped`: all that
   * it acquires lives as long as its image is needed.
   *
   * Answers what the effect answers, and fails with what it fails with.
   *
   * @since 0.1.0
   */
  readonly setWith: <A extends Persisted, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<
    A,
    E,
    Exclude<R, Scope.Scope>
  >

  /**
   * The current image, with a file that stays at least as long as the caller's scope: when it is replaced or cleared,
   * and when the slot ends. `None` where the slot is empty or has ended.
   *
   * @since 0.1.0
   */
  readonly lease: Effect.Effect<Option.Option<SessionInitImage.SessionInitImage>, never, Scope.Scope>

  /**
   * Leaves the slot empty.
   *
   * @since 0.1.0
   */
  readonly clear: Effect.Effect<void>
}

/** An image and all that it holds. */
interface Held {
  readonly image: SessionInitImage.SessionInitImage
  readonly scope: Scope.CloseableScope
  /** The slot, while it is the current image, and the leases. */
  references: number
}

const imageOf = (value: Persisted): Option.Option<SessionInitImage.SessionInitImage> =>
  Option.isOption(value) ? value : "image" in value ? value.image : Option.some(value)

/** A defect in somebody's finalizer says nothing about the call that it happened in. */
const close = (scope: Scope.CloseableScope, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.catchAllCause(
    Scope.close(scope, exit),
    (cause) => Effect.logWarning("What an init image held could not be released", cause)
  )

const release = (held: Held | undefined): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (held === undefined) return Effect.void
    held.references -= 1
    return held.references === 0 ? close(held.scope, Exit.void) : Effect.void
  })

/** The turn of the slot's end, which no call comes after. */
const lastTurn = Infinity

/**
 * An empty slot that ends with the scope: calls of `set` that are not ready by then are interrupted, and the current
 * image goes unless it is leased.
 *
 * Settings such as `InitImageLimits.MaxBytes` are those of whoever calls `set`, and where it has none, those of `make`.
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
 *   // The file stays until the generation ends, though a further `set` may replace the image meanwhile.
 *   yield* Effect.scoped(Effect.gen(function*() {
 *     const image = yield* slot.lease
 *     if (Option.isSome(image)) yield* generate(image.value.path)
 *   }))
 * })
 * ```
 *
 * @example
 * Sessions by key, which end when they have been idle for five minutes:
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
export const make: Effect.Effect<InitImageSlot, never, FileSystem.FileSystem | Path.Path | Scope.Scope> = Effect.gen(
  function*() {
    const context = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
    const files = Context.pick(FileSystem.FileSystem, Path.Path)(context)

    // Only ever touched between two suspensions, which makes each change of all of them one step.
    let current: Held | undefined
    let currentTurn = 0
    let turns = 0

    /** Takes over the reference to `next`. */
    const swap = (turn: number, next: Held | undefined): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (turn < currentTurn) return release(next)
        const previous = current
        current = next
        currentTurn = turn
        return release(previous)
      })

    /** Holds the fibers of all sets, so that the slot's end stops them and waits for what they leave to be removed. */
    const fibers = yield* Effect.acquireRelease(
      Scope.make(),
      (fibers, exit) => Effect.zipRight(Scope.close(fibers, exit), swap(lastTurn, undefined))
    )

    const persist = Effect.fnUntraced(function*<A extends Persisted, E, R>(
      turn: number,
      effect: Effect.Effect<A, E, R>
    ) {
      const scope = yield* Scope.make()
      const exit = yield* Effect.exit(Scope.extend(effect, scope))
      const image = Exit.isSuccess(exit) ? imageOf(exit.value) : Option.none()
      if (Option.isNone(image)) yield* close(scope, exit)
      const value = yield* exit
      yield* swap(turn, Option.isSome(image) ? { image: image.value, scope, references: 1 } : undefined)
      return currentTurn === lastTurn ? yield* Effect.interrupt : value
    })

    const setWith = <A extends Persisted, E, R>(
      effect: Effect.Effect<A, E, R>
    ): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
      Effect.uninterruptibleMask((restore) => {
        if (currentTurn === lastTurn) return Effect.interrupt
        turns += 1
        return Effect.flatMap(
          Effect.forkIn(persist(turns, restore(effect)), fibers),
          (fiber) => Effect.onInterrupt(restore(joinFiber(fiber)), () => Fiber.interrupt(fiber))
        )
      })

    return {
      [TypeId]: TypeId,
      set: Effect.fn("InitImageSlot.set")((payload: unknown, options?: SessionInitImage.PersistOptions) =>
        setWith(
          Effect.mapInputContext(
            SessionInitImage.persistScoped(payload, options),
            (caller: Context.Context<Scope.Scope>) => Context.mergeAll(context, caller, files)
          )
        )
      ),
      setWith: (effect) => Effect.withSpan(setWith(effect), "InitImageSlot.setWith"),
      lease: Effect.acquireRelease(
        Effect.sync(() => {
          if (current !== undefined) current.references += 1
          return current
        }),
        release
      ).pipe(
        Effect.map((held) => Option.map(Option.fromNullable(held), ({ image }) => image)),
        Effect.withSpan("InitImageSlot.lease")
      ),
      clear: Effect.suspend(() => {
        turns += 1
        return swap(turns, undefined)
      }).pipe(Effect.uninterruptible, Effect.withSpan("InitImageSlot.clear"))
    }
  }
)
