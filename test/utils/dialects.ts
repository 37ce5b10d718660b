/** The provided dialects, and an image in the shape of each. */
import { InitImageDialect } from "../../src/index.js"

export interface Image {
  readonly mime: string
  readonly data: string
}

const url = ({ data, mime }: Image): string => `data:${mime};base64,${data}`

/** The value of an image, and a message that has it and some other parts. */
const shapes = {
  payload: [({ data, mime }: Image): unknown => ({ mime, data }), (value: unknown): unknown => value],
  dreamverse: [(image: Image) => ({ data_url: url(image), name: "a.png" }), (value: unknown) => ({
    type: "session_init_v2",
    initial_image: value
  })],
  dataUrl: [url, (value: unknown) => value],
  openAiChat: [(image: Image) => ({ type: "image_url", image_url: { url: url(image), detail: "low" } }), parts],
  openAiResponses: [
    (image: Image) => ({ type: "input_image", image_url: url(image), detail: "auto" }),
    (value: unknown) => ({ input: [{ role: "user", content: [{ type: "input_text", text: "hello" }, value] }] })
  ],
  openAiVideo: [(image: Image) => ({ image_url: url(image) }), (value: unknown) => ({
    prompt: "rain",
    input_reference: value
  })],
  anthropic: [
    ({ data, mime }: Image) => ({ type: "image", source: { type: "base64", media_type: mime, data } }),
    parts
  ],
  gemini: [
    ({ data, mime }: Image) => ({ inlineData: { mimeType: mime, data } }),
    (value: unknown) => ({ contents: [{ role: "user", parts: [{ text: "hello" }, value] }] })
  ],
  mcp: [({ data, mime }: Image) => ({ type: "image", data, mimeType: mime }), (value: unknown) => ({
    content: [{ type: "text", text: "hello" }, value]
  })],
  aiSdk: [({ data, mime }: Image) => ({ type: "file", mediaType: mime, data }), parts],
  langChain: [({ data, mime }: Image) => ({ type: "image", data, mimeType: mime }), parts],
  ollama: [({ data }: Image) => data, (value: unknown) => ({
    model: "llava",
    messages: [{ role: "user", content: "hello", images: [value] }]
  })]
} as const

function parts(value: unknown): unknown {
  return {
    model: "m",
    messages: [
      { role: "system", content: "be kind" },
      { role: "user", content: [{ type: "text", text: "hello" }, value] }
    ]
  }
}

export interface Named {
  readonly name: keyof typeof shapes
  readonly dialect: InitImageDialect.InitImageDialect
  /** Whether an image's value is a string. */
  readonly isText: boolean
}

// `shapes` has no other keys.
export const names = Object.keys(shapes) as ReadonlyArray<Named["name"]>

const { aiSdk, anthropic, dataUrl, dreamverse, gemini, langChain, mcp, ollama, openAiChat, openAiResponses } =
  InitImageDialect
const { openAiVideo, payload } = InitImageDialect

const byName: Readonly<Record<Named["name"], InitImageDialect.InitImageDialect>> = {
  payload,
  dreamverse,
  dataUrl,
  openAiChat,
  openAiResponses,
  openAiVideo,
  anthropic,
  gemini,
  mcp,
  aiSdk,
  langChain,
  ollama
}

export const dialects: ReadonlyArray<Named> = names.map((name) => ({
  name,
  dialect: byName[name],
  isText: name === "dataUrl" || name === "ollama"
}))

/** An image's value in the shape of a dialect. */
export const imageOf = (name: Named["name"], image: Image): unknown => shapes[name][0](image)

/** A message with an image's value at its place. */
export const messageOf = (name: Named["name"], value: unknown): unknown => shapes[name][1](value)
