/**
 * The shapes of the images of other APIs. `InitImageDialect` documents each. Runs in browsers too.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { RemoteImage } from "../../InitImageError.js"
import * as InitImagePayload from "../../InitImagePayload.js"
import { essenceOf } from "../format/mediaType.js"
import { each, fieldOf, type Path } from "../places.js"
import { type Description, makeShape, none, type Shape } from "./shape.js"
import { refuseRemote, remote } from "./text.js"

const typeOf = (value: unknown): unknown => fieldOf(value, ["type"])

const has = (value: unknown, ...keys: ReadonlyArray<string>): boolean =>
  Predicate.isRecord(value) && keys.some((key) => Object.hasOwn(value, key))

const firstOf = (value: unknown, ...keys: ReadonlyArray<string>): unknown =>
  keys.map((key) => fieldOf(value, [key])).find((field) => field !== undefined && field !== null)

const image = (description: Description): Either.Either<Option.Option<Description>> =>
  Either.right(Option.some(description))

/** Whether a media type is one of something else than an image. */
const isOtherMedia = (mime: unknown): boolean => {
  const essence = typeof mime === "string" && !InitImagePayload.isUnspecific(mime) ? essenceOf(mime) : undefined
  return essence !== undefined && !essence.startsWith("image/")
}

/** Where the parts of a message stand in most APIs. */
const messageParts: Path = ["messages", each, "content", each]

const isRemoteId = (id: unknown): boolean => typeof id === "string" && id !== ""

export const payload: ReadonlyArray<Shape> = [{
  at: [],
  data: [{ at: ["data"], form: "base64" }],
  fields: [["mime"], ["name"]],
  isTotal: true,
  read: InitImagePayload.fromUnknown
}]

export const dreamverse: ReadonlyArray<Shape> = [makeShape({
  at: ["initial_image"],
  data: [{ at: ["data_url"], form: "dataUrl" }],
  fields: [["mime_type"], ["name"]],
  alphabet: { whiteSpace: true },
  decode: (value) =>
    fieldOf(value, ["data_url"]) === ""
      ? none
      : image({ mime: fieldOf(value, ["mime_type"]), name: fieldOf(value, ["name"]) })
})]

export const dataUrl: ReadonlyArray<Shape> = [
  makeShape({ at: [], data: [{ at: [], form: "dataUrl" }], decode: () => image({}) }, true)
]

export const openAiChat: ReadonlyArray<Shape> = [makeShape({
  at: messageParts,
  data: [{ at: ["image_url", "url"], form: "dataUrl" }],
  fields: [["type"]],
  decode: (value) => typeOf(value) === "image_url" ? image({}) : none
})]

/** `image_url` with a data URL, or `file_id`. */
const readImageUrl = (value: unknown): Either.Either<Option.Option<Description>, RemoteImage> =>
  firstOf(value, "image_url") === undefined && isRemoteId(firstOf(value, "file_id")) ? remote("id") : image({})

const openAiInput = (at: Path): Shape =>
  makeShape({
    at,
    data: [{ at: ["image_url"], form: "dataUrl" }],
    fields: [["type"], ["file_id"]],
    decode: (value) => typeOf(value) === "input_image" ? readImageUrl(value) : none
  })

export const openAiResponses: ReadonlyArray<Shape> = [
  openAiInput(["input", each, "content", each]),
  openAiInput(["item", "content", each])
]

export const openAiVideo: ReadonlyArray<Shape> = [makeShape({
  at: ["input_reference"],
  data: [{ at: ["image_url"], form: "dataUrl" }],
  fields: [["file_id"]],
  decode: readImageUrl
})]

export const anthropic: ReadonlyArray<Shape> = [makeShape({
  at: messageParts,
  data: [{ at: ["source", "data"], form: "base64" }],
  fields: [["type"], ["source", "type"], ["source", "media_type"], ["source", "url"], ["source", "file_id"]],
  decode: (value) => {
    if (typeOf(value) !== "image") return none
    const source = fieldOf(value, ["source"])
    if (source === undefined && has(value, "data", "image", "url", "base64", "source_type")) return none
    switch (typeOf(source)) {
      case "url":
        return refuseRemote(firstOf(source, "url"))
      case "file":
        return remote("id")
      default:
        return image({ mime: fieldOf(source, ["media_type"]) })
    }
  }
})]

/** The object of a Gemini part that holds bytes, in its two spellings. */
const geminiBlobs = ["inlineData", "inline_data"] as const
const geminiFiles = ["fileData", "file_data"] as const

const geminiAlphabet: InitImagePayload.Alphabet = { urlSafe: true, unpadded: true }

export const gemini: ReadonlyArray<Shape> = [
  makeShape({
    at: ["contents", each, "parts", each],
    data: geminiBlobs.map((blob) => ({ at: [blob, "data"], form: "base64" })),
    fields: [...geminiBlobs, ...geminiFiles].flatMap((key) =>
      ["mimeType", "mime_type", "displayName", "display_name", "fileUri", "file_uri"].map((field) => [key, field])
    ),
    alphabet: geminiAlphabet,
    decode: (value) => {
      const blob = firstOf(value, ...geminiBlobs)
      const file = firstOf(value, ...geminiFiles)
      const mime = firstOf(blob ?? file, "mimeType", "mime_type")
      if ((blob === undefined && file === undefined) || isOtherMedia(mime)) return none
      if (blob === undefined) return refuseRemote(firstOf(file, "fileUri", "file_uri"))
      return image({ mime, name: firstOf(blob, "displayName", "display_name") })
    }
  }),
  makeShape({
    at: ["image"],
    data: [{ at: ["imageBytes"], form: "base64" }],
    fields: [["mimeType"], ["gcsUri"]],
    alphabet: geminiAlphabet,
    decode: (value) => {
      if (firstOf(value, "imageBytes") !== undefined) return image({ mime: firstOf(value, "mimeType") })
      return has(value, "gcsUri") ? refuseRemote(firstOf(value, "gcsUri")) : none
    }
  })
]

const mcpContent = (at: Path): Shape =>
  makeShape({
    at,
    data: [{ at: ["data"], form: "base64" }],
    fields: [["type"], ["mimeType"]],
    decode: (value) =>
      typeOf(value) !== "image" || has(value, "source", "source_type", "image", "base64", "url")
        ? none
        : image({ mime: fieldOf(value, ["mimeType"]) })
  })

export const mcp: ReadonlyArray<Shape> = [
  mcpContent(["content", each]),
  mcpContent(["result", "content", each]),
  mcpContent(["params", "messages", each, "content", each])
]

const aiSdkPart = (at: Path): Shape =>
  makeShape({
    at,
    data: [{ at: ["data"], form: "either" }, { at: ["image"], form: "either" }, { at: ["url"], form: "dataUrl" }],
    fields: [["type"], ["mediaType"], ["filename"], ["fileName"]],
    decode: (value) => {
      const type = typeOf(value)
      const mime = fieldOf(value, ["mediaType"])
      if (type === "image" ? !has(value, "image") : type !== "file" || isOtherMedia(mime)) return none
      return image({ mime, name: firstOf(value, "filename", "fileName"), needsMime: type === "file" })
    }
  })

export const aiSdk: ReadonlyArray<Shape> = [
  aiSdkPart(messageParts),
  aiSdkPart(["messages", each, "parts", each])
]

export const langChain: ReadonlyArray<Shape> = [makeShape({
  at: messageParts,
  data: [{ at: ["data"], form: "base64" }, { at: ["base64"], form: "base64" }, { at: ["url"], form: "dataUrl" }],
  fields: [
    ["type"],
    ["source_type"],
    ["mimeType"],
    ["mime_type"],
    ["fileId"],
    ["file_id"],
    ["id"],
    ["metadata", "filename"],
    ["metadata", "name"]
  ],
  decode: (value) => {
    if (typeOf(value) !== "image" || has(value, "source", "image")) return none
    const isInline = firstOf(value, "data", "base64", "url") !== undefined
    if (!isInline && (firstOf(value, "fileId", "file_id") !== undefined || firstOf(value, "source_type") === "id")) {
      return remote("id")
    }
    const metadata = fieldOf(value, ["metadata"])
    return image({ mime: firstOf(value, "mimeType", "mime_type"), name: firstOf(metadata, "filename", "name") })
  }
})]

const ollamaImages = (at: Path): Shape =>
  makeShape({ at, data: [{ at: [], form: "base64" }], decode: () => image({ needsMime: false }) }, true)

export const ollama: ReadonlyArray<Shape> = [
  ollamaImages(["messages", each, "images", each]),
  ollamaImages(["images", each])
]
