/**
 * A session over a WebSocket. The client opens it with an image, can replace the image, and sends prompts. The server
 * answers each prompt with a clip that begins with the current image.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Mailbox from "effect/Mailbox"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { InitImageSocket } from "session-init-image"
import { Generator } from "./generator.js"

const Message = Schema.Union(
  Schema.Struct({ type: Schema.Literal("prompt"), prompt: Schema.String }),
  Schema.Struct({ type: Schema.Literal("end") })
)

const invalidMessage: InitImageSocket.ErrorMessage = {
  type: "error",
  code: "invalid_message",
  message: "A message must be a prompt, an image or the end.",
  retryable: false
}

const serve = Effect.gen(function*() {
  const generator = yield* Generator
  // Backpressure: while one prompt is queued, the next blocks `onMessage` and the socket is not read further.
  const prompts = yield* Mailbox.make<string>(1)

  const onMessage = (message: unknown, { send }: InitImageSocket.Session) =>
    Option.match(Schema.decodeUnknownOption(Message)(message), {
      onNone: () => send(invalidMessage),
      onSome: (message) => message.type === "end" ? prompts.end : prompts.offer(message.prompt)
    })

  /** Ends, and with it the session, when `prompts` ends. */
  const handler = ({ send, slot }: InitImageSocket.Session) =>
    Stream.runForEach(Mailbox.toStream(prompts), (prompt) =>
      Effect.gen(function*() {
        const image = yield* slot.lease
        const clip = Option.isSome(image) ? yield* generator.generate(image.value, prompt) : null
        yield* send({ type: "clip", clip })
      }).pipe(Effect.scoped))

  yield* InitImageSocket.run(yield* InitImageSocket.upgrade, handler, { onMessage, openingTimeout: "5 seconds" })
  return HttpServerResponse.empty()
})

/** Run it when the server starts: it fails if the frame limit is too low for an image of the allowed size. */
export const checkLimits = InitImageSocket.checkFrameLimit()

export const app = HttpRouter.empty.pipe(HttpRouter.get("/stream", serve))
