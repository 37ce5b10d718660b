/**
 * Requests that may carry an image: their pace, and their interruption at shutdown.
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as pacing from "./pacing.js"

/** WebSockets start as `GET`. */
const mayCarryImage = ({ method }: HttpServerRequest.HttpServerRequest): boolean =>
  method !== "GET" && method !== "HEAD"

const isUpgrade = ({ headers }: HttpServerRequest.HttpServerRequest): boolean => headers["upgrade"] !== undefined

/**
 * Makes a middleware that paces the starts of uploads and of WebSockets. When the scope closes, it interrupts the
 * running uploads and waits until each has removed its files; it does not wait for their responses.
 *
 * The request's own fiber is interrupted. A `FiberSet` would also wait for the response, which a client can hold up, or
 * cost a second fiber per request.
 */
export const makeMiddleware = Effect.gen(function*() {
  const turn = pacing.makeTurn()
  const running = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  const drained = yield* Effect.makeLatch(true)

  const add = (fiber: Fiber.RuntimeFiber<unknown, unknown>): void => {
    running.add(fiber)
    drained.unsafeClose()
  }
  const remove = (fiber: Fiber.RuntimeFiber<unknown, unknown>): void => {
    running.delete(fiber)
    if (running.size === 0) drained.unsafeOpen()
  }
  yield* Effect.addFinalizer(() =>
    Effect.fiberIdWith((fiberId) => {
      for (const fiber of running) fiber.unsafeInterruptAsFork(fiberId)
      return drained.await
    })
  )

  const runUpload = <A, E, R>(app: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiberRuntime((fiber) => {
      add(fiber)
      return Effect.ensuring(Effect.interruptible(app), Effect.sync(() => remove(fiber)))
    })

  return <E, R>(app: HttpApp.Default<E, R>) => {
    const paced = Effect.zipRight(turn, app)
    const upload = runUpload(paced)
    return Effect.flatMap(
      HttpServerRequest.HttpServerRequest,
      (request) => mayCarryImage(request) ? upload : isUpgrade(request) ? paced : app
    )
  }
})
