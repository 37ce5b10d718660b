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
}

/**
 * Makes slots on first use of their id. A slot ends after `idleTimeToLive` without a reference, with the scope, or, if it
 * holds no image, with its last reference.
 */
export const make = <R>(
  makeSlot: Effect.Effect<InitImageSlot, never, R>,
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
        Effect.zipLeft(makeSlot, Effect.addFinalizer(() => Effect.sync(() => forget(session)))),
      idleTimeToLive
    })

    const end = (session: Session) =>
      Effect.suspend(() => {
        forget(session)
        return RcMap.invalidate(slots, session)
      })

    const release = (session: Session, slot: InitImageSlot) =>
      Effect.suspend(() => {
        session.references -= 1
        return Effect.flatMap(Effect.scoped(slot.lease), (image) =>
          // Read again: another reference may have been taken during the lease.
          Option.isNone(image) && session.references === 0 ? end(session) : Effect.void)
      })

    const acquire = (session: Session) =>
      Effect.suspend(() => {
        session.references += 1
        return Effect.flatMap(RcMap.get(slots, session), (slot) =>
          Effect.as(
            Effect.flatMap(Effect.scope, (scope) => Scope.addFinalizer(scope, release(session, slot))),
            slot
          ))
      })

    return {
      slot: (sessionId: string) =>
        Effect.uninterruptible(Effect.suspend(() => {
          const session = sessions.get(sessionId) ?? { id: sessionId, references: 0 }
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
