/**
 * The rows of sessions in memory.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Encoded, Options, Rows } from "./rows.js"

/** Rows that end with the process, measured by Effect's clock. */
export const make = (options: Options): Rows<never> => {
  const timeToLive = Duration.toMillis(options.timeToLive)
  const grace = Duration.toMillis(options.grace)
  const sessions = new Map<string, { readonly reference: Encoded; usedAt: number }>()
  const changes = new Map<string, {
    readonly sessionId: string
    readonly replaced: Encoded | undefined
    readonly changedAt: number
  }>()

  const change = (sessionId: string, changeId: string, replace: (now: number) => Encoded | undefined) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      if (!changes.has(changeId)) changes.set(changeId, { sessionId, replaced: replace(now), changedAt: now })
    })

  const isIdle = (usedAt: number, now: number): boolean => now - usedAt >= timeToLive

  return {
    set: (sessionId, reference, changeId) =>
      change(sessionId, changeId, (now) => {
        const replaced = sessions.get(sessionId)
        sessions.set(sessionId, { reference, usedAt: now })
        return replaced?.reference
      }),
    clear: (sessionId, changeId, only) =>
      change(sessionId, changeId, () => {
        const current = sessions.get(sessionId)?.reference
        if (Option.isSome(only) && only.value !== current) return undefined
        sessions.delete(sessionId)
        return current
      }),
    current: (sessionId) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const session = sessions.get(sessionId)
        if (session === undefined || isIdle(session.usedAt, now)) return Option.none()
        session.usedAt = now
        return Option.some(session.reference)
      }),
    takeRemovable: Effect.map(Clock.currentTimeMillis, (now) => {
      const removable: Array<Encoded> = []
      for (const [sessionId, { reference, usedAt }] of sessions) {
        if (isIdle(usedAt, now)) {
          sessions.delete(sessionId)
          removable.push(reference)
        }
      }
      for (const [changeId, { changedAt, replaced, sessionId }] of changes) {
        if (now - changedAt < grace) continue
        changes.delete(changeId)
        // A replaced reference may have been set again.
        if (replaced !== undefined && sessions.get(sessionId)?.reference !== replaced) removable.push(replaced)
      }
      return removable
    })
  }
}
