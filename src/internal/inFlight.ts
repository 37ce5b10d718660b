import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"

/** Holds what has been reserved for as long as `use` runs; a scope that `use` needs is the caller's. */
export const inFlight = <A, E, A2, E2, R2>(
  reserve: Effect.Effect<A, E, Scope.Scope>,
  use: (reserved: A) => Effect.Effect<A2, E2, R2>
): Effect.Effect<A2, E | E2, R2> => Effect.scopedWith((scope) => Effect.flatMap(Scope.extend(reserve, scope), use))
