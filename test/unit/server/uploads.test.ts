import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { makeMiddleware } from "../../../src/server/uploads.js"
import { turn } from "../../utils/gates.js"

const request = (method: string) =>
  Effect.provideService(
    HttpServerRequest.HttpServerRequest,
    HttpServerRequest.fromWeb(new Request("http://localhost/", { method }))
  )

/** Runs an app under the middleware as the platform does: in an uninterruptible fiber. */
const make = Effect.gen(function*() {
  const scope = yield* Scope.make()
  const handleUploads = yield* Scope.extend(makeMiddleware, scope)
  return {
    run: <E>(method: string, app: Effect.Effect<HttpServerResponse.HttpServerResponse, E>) =>
      Effect.uninterruptible(request(method)(handleUploads(app))),
    shutDown: Scope.close(scope, Exit.void)
  }
})

const response = HttpServerResponse.empty()

describe("uploads", () => {
  for (const method of ["POST", "PUT", "DELETE"]) {
    it.live(`are interrupted at shutdown, which waits for their finalizers: ${method}`, () =>
      Effect.gen(function*() {
        const { run, shutDown } = yield* make
        const started = yield* Deferred.make<void>()
        let isRemoved = false
        const app = Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Effect.zipRight(Effect.sleep(20), Effect.sync(() => isRemoved = true)))
        )
        const fiber = yield* Effect.fork(run(method, app))
        yield* Deferred.await(started)
        yield* shutDown
        assert.isTrue(isRemoved)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
      }))
  }

  it.live("are interrupted at shutdown before their turn", () =>
    Effect.gen(function*() {
      const { run, shutDown } = yield* make
      let isStarted = false
      const app = Effect.sync(() => {
        isStarted = true
        return response
      })
      const fiber = yield* Effect.fork(run("POST", app))
      yield* Effect.yieldNow()
      yield* shutDown
      yield* Effect.repeatN(turn, 3)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
      assert.isFalse(isStarted)
    }))

  it.live("do not delay the shutdown with their responses", () =>
    Effect.gen(function*() {
      const { run, shutDown } = yield* make
      const sending = yield* Deferred.make<void>()
      const send = Effect.zipRight(Deferred.succeed(sending, undefined), Effect.never)
      yield* Effect.forkDaemon(Effect.uninterruptible(Effect.zipRight(run("POST", Effect.succeed(response)), send)))
      yield* Deferred.await(sending)
      yield* shutDown
    }))

  it.live("succeed and fail as without the middleware", () =>
    Effect.gen(function*() {
      const { run, shutDown } = yield* make
      assert.strictEqual(yield* run("POST", Effect.succeed(response)), response)
      assert.strictEqual(yield* Effect.flip(run("POST", Effect.fail("refused"))), "refused")
      yield* shutDown
    }))
})

describe("other requests", () => {
  for (const method of ["GET", "HEAD"]) {
    it.live(`are neither delayed nor interrupted: ${method}`, () =>
      Effect.gen(function*() {
        const { run, shutDown } = yield* make
        const gate = yield* Deferred.make<HttpServerResponse.HttpServerResponse>()
        let isStarted = false
        const app = Effect.zipRight(Effect.sync(() => isStarted = true), Deferred.await(gate))
        const fiber = yield* Effect.fork(run(method, app))
        yield* Effect.yieldNow()
        assert.isTrue(isStarted)
        yield* shutDown
        yield* Deferred.succeed(gate, response)
        assert.strictEqual(yield* Fiber.join(fiber), response)
      }))
  }
})
