/**
 * Waits for a fiber as if this one had run its effect itself: what it has set on itself comes along also when it fails,
 * which `Fiber.join` leaves behind.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

export const joinFiber = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<A, E> =>
  Effect.flatMap(Fiber.await(fiber), (exit) => Effect.zipRight(fiber.inheritAll, exit))
