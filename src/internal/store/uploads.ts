/**
 * Uploads that outlive their caller's interruption, in fibers that a layer owns. A server may finish a PUT whose bytes
 * have all arrived even after a DELETE that comes later; so an upload that is given up is aborted only while bytes are
 * missing, and is otherwise awaited and then undone.
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { StoreError } from "./models.js"

/** Undoing waits this long where no answer tells that the server has finished. */
const unansweredPause = "1 second"

/** Sees the bytes of an upload pass, and holds back the last ones once it was given up. */
export class Gate {
  #isSent = false
  #isGivenUp = false

  /** Whether all bytes have passed in some attempt. */
  get isSent(): boolean {
    return this.#isSent
  }

  get isGivenUp(): boolean {
    return this.#isGivenUp
  }

  giveUp(): void {
    this.#isGivenUp = true
  }

  /** Passes the bytes of one attempt, `total` in all. */
  pass<E>(bytes: Stream.Stream<Uint8Array, E>, total: number): Stream.Stream<Uint8Array, E> {
    return Stream.suspend(() => {
      let passed = 0
      return Stream.mapEffect(bytes, (chunk) => {
        passed += chunk.length
        if (passed < total) return Effect.succeed(chunk)
        if (this.#isGivenUp && !this.#isSent) return Effect.never
        this.#isSent = true
        return Effect.succeed(chunk)
      })
    })
  }
}

/** Whether an answer tells that nothing was stored. */
const isRefused = (exit: Exit.Exit<unknown, StoreError>): boolean =>
  Exit.isFailure(exit) && Option.exists(Cause.failureOption(exit.cause), ({ reason }) => reason !== "Unavailable")

/** One upload. */
export interface Upload<out A, out R> {
  /** Sends the bytes through the gate, in each of its attempts. Begins none once the upload was given up. */
  readonly send: (gate: Gate) => Effect.Effect<A, StoreError>
  /** Removes what may have been stored by an upload that failed or was given up. */
  readonly undo: Effect.Effect<void, StoreError>
  /** Runs after a success; no interruption comes in between. */
  readonly onStored: Effect.Effect<void, never, R>
}

export interface Uploads {
  /** Runs an upload. An interruption of the caller returns at once. */
  readonly run: <A, R>(upload: Upload<A, R>) => Effect.Effect<A, StoreError, R>
}

/** Uploads of a layer: closing its scope gives up all that run, and waits for them. */
export const make = (patience: Duration.DurationInput): Effect.Effect<Uploads, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const fibers = yield* FiberSet.make<unknown, StoreError>()
    const running = new Set<Effect.Effect<void>>()
    const start = <A>(effect: Effect.Effect<A, StoreError>) => FiberSet.run(fibers, effect)
    yield* Scope.addFinalizer(
      scope,
      Effect.suspend(() =>
        Effect.zipRight(Effect.forEach([...running], start, { discard: true }), FiberSet.awaitEmpty(fibers))
      )
    )

    const run = <A, R>(upload: Upload<A, R>): Effect.Effect<A, StoreError, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function*() {
          const gate = new Gate()
          const sending = yield* start(Effect.interruptible(upload.send(gate)))
          const giveUp = yield* Effect.once(Effect.uninterruptible(Effect.gen(function*() {
            gate.giveUp()
            if (gate.isSent) yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(sending)), patience)
            const exit = yield* Fiber.interrupt(sending)
            if (!gate.isSent || isRefused(exit)) return
            if (Exit.isFailure(exit)) yield* Effect.sleep(unansweredPause)
            yield* Effect.catchAll(upload.undo, () =>
              Effect.logWarning("An image that was given up could not be removed from the store; a sweep will"))
          })))
          running.add(giveUp)
          const exit = yield* Effect.exit(restore(Fiber.join(sending)))
          if (Exit.isFailure(exit)) {
            yield* start(giveUp)
          } else yield* upload.onStored
          running.delete(giveUp)
          return yield* exit
        })
      )

    return { run }
  })
