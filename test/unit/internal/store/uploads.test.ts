import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { StoreError } from "../../../../src/internal/store/models.js"
import * as uploads from "../../../../src/internal/store/uploads.js"

const chunks = [new Uint8Array(10), new Uint8Array(10)]

/** Lets all fibers run until they wait. */
const settle = Effect.repeatN(Effect.yieldNow(), 50)

/** An upload of two chunks whose server takes a chunk for each `take`, and answers at `answer`. */
const makeUpload = Effect.gen(function*() {
  const scope = yield* Scope.make()
  const { run } = yield* Scope.extend(uploads.make("1 minute"), scope)
  const events: Array<string> = []
  const take = [yield* Deferred.make<void>(), yield* Deferred.make<void>()] as const
  const answer = yield* Deferred.make<string, StoreError>()
  const fiber = yield* Effect.fork(run({
    send: (gate) =>
      Effect.gen(function*() {
        const bytes = Stream.mapEffect(
          Stream.zipWithIndex(Stream.fromIterable(chunks)),
          ([chunk, i]) => Effect.as(Deferred.await(take[i === 0 ? 0 : 1]), chunk)
        )
        // As in an HTTP client, the body is read by another fiber, which an abort reaches later.
        const body = yield* Effect.forkDaemon(
          Stream.runForEach(gate.pass(bytes, 20), () => Effect.sync(() => events.push("chunk")))
        )
        yield* Effect.onInterrupt(
          Fiber.join(body),
          () => Effect.zipRight(Effect.repeatN(Effect.yieldNow(), 30), Fiber.interrupt(body))
        )
        const result = yield* Deferred.await(answer)
        events.push("answer")
        return result
      }).pipe(Effect.onInterrupt(() => Effect.sync(() => events.push("aborted")))),
    undo: Effect.sync(() => events.push("undone")),
    onStored: Effect.sync(() => events.push("stored"))
  }))
  yield* settle
  return {
    events,
    fiber,
    takeFirst: Effect.zipRight(Deferred.succeed(take[0], void 0), settle),
    takeLast: Effect.zipRight(Deferred.succeed(take[1], void 0), settle),
    answer: (exit: Exit.Exit<string, StoreError>) => Effect.zipRight(Deferred.done(answer, exit), settle),
    close: Scope.close(scope, Exit.void)
  }
})

const refused = Exit.fail(new StoreError({ operation: "put", reason: "Denied" }))
const unanswered = Exit.fail(new StoreError({ operation: "put", reason: "Unavailable" }))

describe("an upload", () => {
  it.effect("gives the answer of the server", () =>
    Effect.gen(function*() {
      const upload = yield* makeUpload
      yield* upload.takeFirst
      yield* upload.takeLast
      yield* upload.answer(Exit.succeed("done"))
      assert.strictEqual(yield* Fiber.join(upload.fiber), "done")
      yield* upload.close
      assert.deepStrictEqual(upload.events, ["chunk", "chunk", "answer", "stored"])
    }))

  it.effect("is aborted by an interruption while bytes are missing, and sends no more of them", () =>
    Effect.gen(function*() {
      const upload = yield* makeUpload
      yield* upload.takeFirst
      yield* Fiber.interrupt(upload.fiber)
      yield* upload.takeLast
      yield* upload.close
      assert.deepStrictEqual(upload.events, ["chunk", "aborted"])
    }))

  it.effect("is awaited and then undone when it is interrupted once all bytes were sent; the caller goes on", () =>
    Effect.gen(function*() {
      const upload = yield* makeUpload
      yield* upload.takeFirst
      yield* upload.takeLast
      yield* Fiber.interrupt(upload.fiber)
      yield* settle
      assert.deepStrictEqual(upload.events, ["chunk", "chunk"])
      yield* upload.answer(Exit.succeed("done"))
      assert.deepStrictEqual(upload.events, ["chunk", "chunk", "answer", "undone"])
      yield* upload.close
    }))

  it.effect("is never aborted once the last bytes were sent, however close the interruption comes", () =>
    Effect.gen(function*() {
      const counts = { aborted: 0, undone: 0 }
      for (let pause = 0; pause < 40; pause++) {
        const upload = yield* makeUpload
        yield* upload.takeFirst
        const interrupting = yield* Effect.fork(Fiber.interrupt(upload.fiber))
        yield* Effect.repeatN(Effect.yieldNow(), pause)
        yield* upload.takeLast
        yield* Fiber.join(interrupting)
        yield* upload.answer(Exit.succeed("done"))
        yield* upload.close
        const isAborted = upload.events.includes("aborted")
        counts[isAborted ? "aborted" : "undone"] += 1
        assert.deepStrictEqual(
          upload.events,
          isAborted ? ["chunk", "aborted"] : ["chunk", "chunk", "answer", "undone"],
          `after ${pause}`
        )
      }
      assert.isAbove(counts.aborted, 0)
    }))

  it.effect("that is never answered is aborted after a minute, and undone a second later", () =>
    Effect.gen(function*() {
      const upload = yield* makeUpload
      yield* upload.takeFirst
      yield* upload.takeLast
      yield* Fiber.interrupt(upload.fiber)
      yield* settle
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(upload.events, ["chunk", "chunk", "aborted"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(upload.events, ["chunk", "chunk", "aborted", "undone"])
    }))

  it.effect("that fails is undone unless the server refused it", () =>
    Effect.gen(function*() {
      for (const [exit, events] of [[refused, []], [unanswered, ["undone"]]] as const) {
        const upload = yield* makeUpload
        yield* upload.takeFirst
        yield* upload.takeLast
        yield* upload.answer(exit)
        assert.deepStrictEqual(yield* Fiber.await(upload.fiber), exit)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(upload.events.slice(2), [...events])
      }
    }))

  it.effect("is given up and awaited when its layer is closed", () =>
    Effect.gen(function*() {
      const upload = yield* makeUpload
      yield* upload.takeFirst
      yield* upload.takeLast
      const closing = yield* Effect.fork(upload.close)
      yield* settle
      assert.isNull(closing.unsafePoll())
      yield* upload.answer(Exit.succeed("done"))
      yield* Fiber.join(closing)
      assert.include(upload.events, "undone")
    }))
})
