/** Whether the rooms of an effect take the SHA-256 of what is written to them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

export class TakesSha256 extends Context.Reference<TakesSha256>()("session-init-image/InitImageSpool/TakesSha256", {
  defaultValue: () => false
}) {}

export const withSha256 = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, TakesSha256, true)
