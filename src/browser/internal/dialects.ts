/** The shapes of an image in the messages of other APIs; `InitImageDialect` reads them. */
import type { Payload } from "../../internal/protocol.js"

/** A picture as a data URL (RFC 2397). */
const url = ({ data, mime }: Payload): string => `data:${mime};base64,${data}`

const named = <Key extends string>(key: Key, { name }: Payload): { readonly [K in Key]?: string } => {
  const field: { [K in Key]?: string } = {}
  if (name !== undefined) field[key] = name
  return field
}

export const encoders = {
  payload: (payload: Payload): Payload => payload,
  dreamverse: (payload: Payload) => ({
    mime_type: payload.mime,
    data_url: url(payload),
    ...named("name", payload)
  }),
  dataUrl: url,
  openAiChat: (payload: Payload) => ({ type: "image_url" as const, image_url: { url: url(payload) } }),
  openAiResponses: (payload: Payload) => ({ type: "input_image" as const, image_url: url(payload) }),
  openAiVideo: (payload: Payload) => ({ image_url: url(payload) }),
  anthropic: ({ data, mime }: Payload) => ({
    type: "image" as const,
    source: { type: "base64" as const, media_type: mime, data }
  }),
  gemini: (payload: Payload) => ({
    inlineData: { mimeType: payload.mime, data: payload.data, ...named("displayName", payload) }
  }),
  mcp: ({ data, mime }: Payload) => ({ type: "image" as const, data, mimeType: mime }),
  aiSdk: (payload: Payload) => ({
    type: "file" as const,
    mediaType: payload.mime,
    data: payload.data,
    ...named("filename", payload)
  }),
  langChain: ({ data, mime }: Payload) => ({ type: "image" as const, data, mimeType: mime }),
  ollama: ({ data }: Payload) => data
}

/** The name of a dialect of `InitImageDialect`. */
export type Dialect = keyof typeof encoders

/** An image's value in a dialect. */
export type Encoded<D extends Dialect> = ReturnType<(typeof encoders)[D]>

/** Encodes a payload in the dialect, `payload` by default. */
export const encode = <D extends Dialect>(payload: Payload, dialect: D | undefined): Encoded<D> =>
  // The result is that of the function at the key, which TypeScript does not follow. Without one, `D` is `payload`.
  encoders[dialect ?? "payload"](payload) as Encoded<D>
