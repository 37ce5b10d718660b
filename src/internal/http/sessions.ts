/**
 * The slots of sessions, by session id.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RcMap from "effect/RcMap"
import * as Scope from "effect/Scope"
import type { InitImageSlot } from "../../InitImageSlot.js"

/** In characters; the platform's routers accept no longer path parameter by default. */
export const maxSessionIdLength = 100

/** One lifetime of a session. An id that is used again after its session has ended gets a new one. */
interface Session {
  readonly id: string
  /** The open scopes that use the session. */
  references: number
  /**
   * Makes one slot of calls that come in one turn: `RcMap.get` calls `lookup` for each that comes before the first has
   * stored its entry (effect 3.22).
   */
  readonly making: Effect.Semaphore
}

/**
 * Makes slots on first use of their id. A slot ends after `idleTimeToLive` without a reference, with the scope, or, if it
 * holds no image, with its last reference.
 */
export const make = <Slot extends Pick<InitImageSlot, "lease">, R>(
  makeSlot: (sessionId: string) => Effect.Effect<Slot, never, R>,
  idleTimeToLive: Duration.DurationInput
) =>
  Effect.gen(function*() {
    const sessions = new Map<string, Session>()
    const forget = (session: Session) => {
      if (sessions.get(session.id) === session) sessions.delete(session.id)
    }
    // The key is the session, not its id: when `RcMap` releases an entry that was invalidated while in use, it also
    // removes a later entry of the same key (effect 3.22).
    const slots = yield* RcMap.make({
      lookup: (session: Session) =>
        Effect.zipLeft(makeSlot(session.id), Effect.addFinalizer(() => Effect.sync(() => forget(session)))),
      idleTimeToLive
    })

    const end = (session: Session) =>
      Effect.suspend(() => {
        forget(session)
        // In use, `RcMap` would keep the fiber of an earlier idle time until that is over (effect 3.22): the last release
        // ends the slot.
        return session.references === 0 ? RcMap.invalidate(slots, session) : Effect.void
      })

    const isEnded = (session: Session) => sessions.get(session.id) !== session

    const isEmpty = (slot: Slot | undefined) =>
      slot === undefined ? Effect.succeed(true) : Effect.map(Effect.scoped(slot.lease), Option.isNone)

    /** Ends a session that nothing uses any longer, and that is to end or holds no image. */
    const release = (session: Session, slot: Slot | undefined) =>
      Effect.suspend(() => {
        session.references -= 1
        if (session.references > 0) return Effect.void
        if (isEnded(session)) return end(session)
        return Effect.flatMap(isEmpty(slot), (empty) =>
          // Read again: another reference may have been taken during the lease.
          empty && session.references === 0 ? end(session) : Effect.void)
      })

    const acquire = Effect.fnUntraced(function*(session: Session) {
      session.references += 1
      let slot: Slot | undefined
      // Registered first, so that it runs after `RcMap` has released its reference.
      yield* Effect.flatMap(
        Effect.scope,
        (scope) => Scope.addFinalizer(scope, Effect.suspend(() => release(session, slot)))
      )
      slot = yield* session.making.withPermits(1)(RcMap.get(slots, session))
      return slot
    })

    return {
      slot: (sessionId: string) =>
        Effect.uninterruptible(Effect.suspend(() => {
          const session = sessions.get(sessionId) ?? {
            id: sessionId,
            references: 0,
            making: Effect.unsafeMakeSemaphore(1)
          }
          sessions.set(sessionId, session)
          return acquire(session)
        })),
      find: (sessionId: string) =>
        Effect.uninterruptible(Effect.suspend(() => {
          const session = sessions.get(sessionId)
          return session === undefined ? Effect.succeedNone : Effect.asSome(acquire(session))
        })),
      end: (sessionId: string) =>
        Effect.suspend(() => {
          const session = sessions.get(sessionId)
          return session === undefined ? Effect.void : end(session)
        })
    }
  })
