/** A proxy for OpenAI's chat completions: a model on this machine gets the images of a request as files, by their paths. */
import type { PlatformError } from "@effect/platform/Error"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { InitImageDialect, InitImageHttp, InitImageLimits, type SessionInitImage } from "session-init-image"

/** The request without the images' texts: an image's part has only its `detail` left. */
const ChatRequest = Schema.Struct({
  model: Schema.String,
  messages: Schema.Array(Schema.Struct({
    role: Schema.Literal("system", "user", "assistant"),
    content: Schema.Union(
      Schema.String,
      Schema.Array(Schema.Union(
        Schema.Struct({ type: Schema.Literal("text"), text: Schema.String }),
        Schema.Struct({ type: Schema.Literal("image_url"), image_url: Schema.Unknown })
      ))
    )
  }))
})
type ChatRequest = typeof ChatRequest.Type

/** A part of a prompt: a text, or an image's file. */
export type Part = string | SessionInitImage.SessionInitImage

/** A model that opens images by their paths. */
export class Model extends Context.Tag("example/Model")<Model, {
  readonly complete: (prompt: ReadonlyArray<Part>) => Effect.Effect<string, PlatformError>
}>() {}

/** The parts of all messages, with the images in their order. */
const toPrompt = (
  { messages }: ChatRequest,
  images: ReadonlyArray<SessionInitImage.SessionInitImage>
): ReadonlyArray<Part> => {
  const rest = images.values()
  return messages.flatMap(({ content }) =>
    (typeof content === "string" ? [content] : content).flatMap((part): ReadonlyArray<Part> => {
      if (typeof part === "string") return [part]
      if (part.type === "text") return [part.text]
      const image = rest.next().value
      return image === undefined ? [] : [image]
    })
  )
}

/** An error as OpenAI's clients expect it. */
const refuse = (message: string, code: string, status: number) =>
  HttpServerResponse.unsafeJson({ error: { message, type: "invalid_request_error", param: null, code } }, { status })

const complete = Effect.gen(function*() {
  const { images, message } = yield* InitImageHttp.imagesFromRequest({ dialect: InitImageDialect.openAiChat })
  const chat = yield* Schema.decodeUnknown(ChatRequest)(message)
  const model = yield* Model
  const content = yield* model.complete(toPrompt(chat, images))
  return HttpServerResponse.unsafeJson({
    object: "chat.completion",
    model: chat.model,
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }]
  })
}).pipe(
  InitImageLimits.withLimits({ maxImages: 8, maxBytes: 16 * 1024 * 1024 }),
  Effect.catchTags({
    ParseError: () => Effect.succeed(refuse("The request is not one of chat completions.", "invalid_request", 400)),
    // The URL of an image is not fetched.
    RemoteImage: ({ message }) => Effect.succeed(refuse(message, "remote_image", 400)),
    TooManyImages: ({ message }) => Effect.succeed(refuse(message, "too_many_images", 400)),
    BadBase64: ({ message }) => Effect.succeed(refuse(message, "bad_base64", 400)),
    ContentMismatch: ({ message }) => Effect.succeed(refuse(message, "content_mismatch", 415)),
    TooLarge: ({ message }) => Effect.succeed(refuse(message, "too_large", 413))
  }),
  // The other image errors answer for themselves. A disk error is for the log.
  Effect.tapErrorTag("SystemError", (error) => Effect.logError("An image could not be stored", error))
)

export const app = HttpRouter.empty.pipe(HttpRouter.post("/v1/chat/completions", complete))
