/** Interrupts an effect at each of its steps in turn. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"

/** The exit of an effect, and whether it was interrupted at the requested step. */
export interface Interrupted<A, E> {
  readonly exit: Exit.Exit<A, E>
  readonly isReached: boolean
}

/**
 * Runs the effect in a fiber that is interrupted before its step `at`. A step is one operation of the runtime, so every
 * moment at which the fiber could observe an interruption is the step of some number.
 */
export const interruptAt = <A, E, R>(
  at: number,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Interrupted<A, E>, never, R> =>
  Effect.gen(function*() {
    let observed: Fiber.RuntimeFiber<A, E> | undefined
    let steps = 0
    const scheduler: Scheduler.Scheduler = {
      shouldYield: (fiber) => {
        if (fiber === observed && steps++ === at) fiber.unsafeInterruptAsFork(fiber.id())
        return Scheduler.defaultScheduler.shouldYield(fiber)
      },
      scheduleTask: (task, priority, fiber) => Scheduler.defaultScheduler.scheduleTask(task, priority, fiber)
    }
    const fiber = yield* Effect.fork(Effect.zipRight(Effect.yieldNow(), Effect.withScheduler(effect, scheduler)))
    observed = fiber
    const exit = yield* Fiber.await(fiber)
    return { exit, isReached: steps > at }
  })

/** Calls `run` with 0, 1, 2 and so on, for as long as it answers that the step was reached. Answers the number of steps. */
export const atEachStep = <E, R>(run: (at: number) => Effect.Effect<boolean, E, R>): Effect.Effect<number, E, R> =>
  Effect.iterate(
    { at: 0, isReached: true },
    {
      while: ({ isReached }) => isReached,
      body: ({ at }) => Effect.map(run(at), (isReached) => ({ at: at + 1, isReached }))
    }
  ).pipe(Effect.map(({ at }) => at - 1))
