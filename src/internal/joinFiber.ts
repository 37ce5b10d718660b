/** Joins a fiber as if its effect had run in the current one: inherits its references also if it fails. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** `Fiber.join` inherits them on success only. */
export const joinFiber = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<A, E> =>
  Effect.flatMap(Fiber.await(fiber), (exit) => Effect.zipRight(fiber.inheritAll, exit))
