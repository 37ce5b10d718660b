/**
 * Who comes in a crowd waits until all of it is there, and then begins one after the other, each in a turn of the event
 * loop of its own.
 *
 * Node takes one new connection in a turn. Were each request begun as it comes, at a millisecond or two, who connects
 * behind a hundred others would wait for all their work, be it for a health check: 0.6 s, and 0.03 s this way.
 */
import * as Effect from "effect/Effect"

/** For how many turns newcomers come first, until nobody waits any more: not all requests come in crowds. */
export const patience = 200

/** In order. */
const queue = new Set<() => void>()
let hasNewcomers = false
let left = patience
let immediate: NodeJS.Immediate | undefined

const nextTurn = (): void => {
  immediate = undefined
  const isCrowd = hasNewcomers && left > 0
  hasNewcomers = false
  if (isCrowd) left -= 1
  else {
    for (const begin of queue) {
      queue.delete(begin)
      begin()
      break
    }
  }
  if (queue.size > 0) immediate = setImmediate(nextTurn)
  else left = patience
}

/** Waits for the turn in which to begin. */
export const turnToBegin: Effect.Effect<void> = Effect.async<void>((resume) => {
  const begin = () => resume(Effect.void)
  queue.add(begin)
  hasNewcomers = true
  immediate ??= setImmediate(nextTurn)
  return Effect.sync(() => queue.delete(begin))
})
