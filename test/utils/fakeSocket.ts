/** A server's socket; the test is the client. */
import * as Socket from "@effect/platform/Socket"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Mailbox from "effect/Mailbox"

export const makeFakeSocket = Effect.gen(function*() {
  const sent: Array<string | Uint8Array | Socket.CloseEvent> = []
  const answers = yield* Mailbox.make<unknown>()
  const closed = yield* Deferred.make<void>()
  const ws = {
    paused: false,
    bufferedAmount: 0,
    pause() {
      ws.paused = true
    },
    resume() {
      ws.paused = false
    },
    pings: 0,
    ping() {
      ws.pings += 1
    }
  }
  const handlerReady = yield* Deferred.make<(frame: string | Uint8Array) => void>()
  const socket: Socket.Socket = {
    [Socket.TypeId]: Socket.TypeId,
    run: () => Effect.never,
    runRaw: (handler) =>
      Effect.zipRight(
        Deferred.succeed(handlerReady, (frame) => {
          const result = handler(frame)
          // The platform provides it to a handler's effect, beyond the declared type.
          if (Effect.isEffect(result)) {
            Effect.runSync(Effect.provideService(result as Effect.Effect<unknown>, Socket.WebSocket, ws as never))
          }
        }),
        Deferred.await(closed)
      ),
    writer: Effect.succeed((chunk) =>
      Effect.sync(() => {
        sent.push(chunk)
        answers.unsafeOffer(Socket.isCloseEvent(chunk) ? chunk.code : JSON.parse(String(chunk)))
      })
    )
  }
  return {
    socket,
    ws,
    sent,
    /** Takes the server's next message, parsed, or its close code. */
    next: Effect.orDie(answers.take),
    deliver: (...frames: ReadonlyArray<string | Uint8Array>) =>
      Effect.map(Deferred.await(handlerReady), (deliver) => frames.forEach((frame) => deliver(frame))),
    /** Disconnects the client. */
    close: Deferred.succeed(closed, void 0)
  }
})
