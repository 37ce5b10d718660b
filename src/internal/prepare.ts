/** Replaces a persisted image by a prepared one, before a session holds it. */
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { SessionInitImage } from "../SessionInitImage.js"

/**
 * Runs `persist` and then `prepare` in the caller's scope. The resources of `persist` are released as soon as `prepare` has
 * answered another image.
 */
export const prepared = <A, E, R, E2, R2>(
  persist: Effect.Effect<A, E, R>,
  imageOf: (value: A) => SessionInitImage | undefined,
  prepare: (image: SessionInitImage) => Effect.Effect<SessionInitImage, E2, R2>,
  replace: (value: A, image: SessionInitImage) => A
): Effect.Effect<A, E | E2, Exclude<R, Scope.Scope> | Exclude<R2, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const sourceScope = yield* Scope.fork(scope, ExecutionStrategy.sequential)
    const value = yield* Scope.extend(persist, sourceScope)
    const image = imageOf(value)
    if (image === undefined) return value
    const next = yield* Scope.extend(prepare(image), scope)
    if (next.path !== image.path) yield* Scope.close(sourceScope, Exit.void)
    return replace(value, next)
  })
