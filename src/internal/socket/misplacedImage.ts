/**
 * An image under a key that its client took for the payload's. Without this the message would be one without an image.
 */
import * as Predicate from "effect/Predicate"
import { fieldOf } from "../places.js"

/** Keys that clients of other servers use for such an image. */
const likelyKeys = [
  "initial_image",
  "initialImage",
  "init_image",
  "initImage",
  "image",
  "input_image",
  "inputImage",
  "session_init_image"
]

const holdsImage = (value: unknown): boolean =>
  typeof value === "string" ? value !== "" : Predicate.isRecord(value) && Object.keys(value).length > 0

/** Finds the key beside the missing one that leads to the payload. */
export const find = (message: unknown, at: ReadonlyArray<string>): string | undefined => {
  const key = at.at(-1)
  if (key === undefined) return undefined
  const parent = fieldOf(message, at.slice(0, -1))
  if (!Predicate.isRecord(parent) || Object.hasOwn(parent, key)) return undefined
  return likelyKeys.find((likely) => likely !== key && Object.hasOwn(parent, likely) && holdsImage(parent[likely]))
}

/** In characters. Nothing long stands before the image but a prompt. */
const headLength = 64 * 1024

/**
 * {@link find} in the text of a message of the type that is too large to be parsed, as one is whose image is not where
 * the payload should be.
 */
export const findInText = (text: string, at: ReadonlyArray<string>, type: string): string | undefined => {
  const key = at.at(-1)
  const head = text.slice(0, headLength)
  if (key === undefined || !head.includes(JSON.stringify(type)) || text.includes(JSON.stringify(key))) return undefined
  return likelyKeys.find((likely) => likely !== key && new RegExp(`"${likely}"\\s*:\\s*["{]`).test(head))
}
