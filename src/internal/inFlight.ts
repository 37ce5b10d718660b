import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

/**
 * Holds what has been reserved for as long as `use` runs; a scope that `use` needs is the caller's. When it does not
 * succeed, what is reserved is given back by the caller's scope, after what `use` has put into it is gone: until then
 * a file may still take its room on the disk.
 */
export const inFlight = <A, E, A2, E2, R2>(
  reserve: Effect.Effect<A, E, Scope.Scope>,
  use: (reserved: A) => Effect.Effect<A2, E2, R2>
): Effect.Effect<A2, E | E2, R2 | Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
      const value = yield* restore(Effect.flatMap(Scope.extend(reserve, scope), use))
      yield* Scope.close(scope, Exit.void)
      return value
    })
  )
