import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

/** Makes a reservation that lasts as long as what it is made for. */
export type Hold = <A, E>(reserve: Effect.Effect<A, E, Scope.Scope>) => Effect.Effect<A, E>

/**
 * Holds what `use` reserves for as long as that runs; a scope that it needs otherwise is the caller's. When it does not
 * succeed, what is reserved is given back by the caller's scope, after what `use` has put into it is gone: until then
 * a file may still take its room on the disk.
 */
export const inFlight = <A, E, R>(
  use: (hold: Hold) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
      const value = yield* restore(use((reserve) => Scope.extend(reserve, scope)))
      yield* Scope.close(scope, Exit.void)
      return value
    })
  )
