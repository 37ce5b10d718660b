/**
 * Uploads that outlive their caller's interruption, in fibers that a layer owns. A server may finish a PUT whose bytes
 * have all arrived even after a DELETE that comes later; so an upload that is given up is aborted only while bytes are
 * missing, and is otherwise awaited and then undone.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { StoreError } from "./models.js"

/** Undoing waits this long where no answer tells that the server has finished. */
const unansweredPause = "1 second"

/** Tells whether all bytes have left in any attempt, and holds the last ones of an upload that was given up for ever. */
class Gate {
  #state: "Sending" | "Sent" | "GivenUp" = "Sending"

  get isSent(): boolean {
    return this.#state === "Sent"
  }

  giveUp(): void {
    if (this.#state === "Sending") this.#state = "GivenUp"
  }

  pass<E>(bytes: Stream.Stream<Uint8Array, E>, total: number): Stream.Stream<Uint8Array, E> {
    return Stream.suspend(() => {
      let passed = 0
      return Stream.mapEffect(bytes, (chunk) => {
        passed += chunk.length
        if (passed < total) return Effect.succeed(chunk)
        if (this.#state === "GivenUp") return Effect.never
        this.#state = "Sent"
        return Effect.succeed(chunk)
      })
    })
  }
}

/** One upload. */
export interface Upload<out A, out R> {
  /** Sends the bytes, through `pass` in every attempt. */
  readonly send: (
    pass: (bytes: Stream.Stream<Uint8Array, StoreError>) => Stream.Stream<Uint8Array, StoreError>
  ) => Effect.Effect<A, StoreError>
  /** The number of bytes. */
  readonly bytes: number
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
          const sending = yield* start(
            Effect.interruptible(upload.send((bytes) => gate.pass(bytes, upload.bytes)))
          )
          const giveUp = yield* Effect.once(Effect.uninterruptible(Effect.gen(function*() {
            gate.giveUp()
            if (gate.isSent) yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(sending)), patience)
            const exit = yield* Fiber.interrupt(sending)
            if (!gate.isSent) return
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
