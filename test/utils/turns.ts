import * as Effect from "effect/Effect"
import { turn } from "./gates.js"

/** Counts the turns of the event loop while the effect runs. */
export const countTurns = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    let turns = 0
    let waiting: NodeJS.Immediate
    const wait = () => {
      waiting = setImmediate(() => {
        turns++
        wait()
      })
    }
    wait()
    return effect.pipe(
      Effect.ensuring(Effect.sync(() => clearImmediate(waiting))),
      Effect.map(() => turns)
    )
  })

/** A clock that counts the turns of the event loop. */
export const makeClock = Effect.acquireRelease(
  Effect.zipRight(
    turn,
    Effect.sync(() => {
      const clock = { now: 0, stop: () => clearImmediate(next) }
      const tick = () => {
        clock.now += 1
        next = setImmediate(tick)
      }
      let next = setImmediate(tick)
      return clock
    })
  ),
  (clock) => Effect.sync(() => clock.stop())
)
