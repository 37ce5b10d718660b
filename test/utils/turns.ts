import * as Effect from "effect/Effect"

/** How often the event loop turns while the effect runs. */
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
