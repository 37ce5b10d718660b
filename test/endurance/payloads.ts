/** Valid and hostile payloads, and messages that hold them. */
import { Buffer } from "node:buffer"
import * as mutations from "./mutations.js"
import type { Random } from "./random.js"

const declared = ["image/png", "image/jpeg", "image/webp"] as const

/** The media type of the signature. */
export const mimeOf = (all: Uint8Array): string => declared[all[0] === 0xff ? 1 : all[0] === 0x52 ? 2 : 0]

const otherMimes = [
  ...declared,
  "IMAGE/JPG",
  "image/Jpeg",
  "image/gif",
  "image/png;q=1",
  " image/png",
  "image/PNG\0",
  "Image/X-PNG ; q=1",
  "application/octet-stream",
  "",
  "ımage/png"
]

export const mime = (random: Random, all: Uint8Array): string =>
  random.chance(0.85) ? mimeOf(all) : random.pick(otherMimes)

const values: ReadonlyArray<unknown> = [
  null,
  true,
  false,
  0,
  -1,
  1e308,
  "",
  "image/png",
  "\ud800",
  "x".repeat(5000),
  [],
  [[]],
  ["image/png"],
  {},
  { length: 4 },
  { toString: "image/png", valueOf: null },
  { mime: "image/png", data: { data: "AAAA" } },
  { __proto__: { mime: "image/png" } }
]

const names = [
  "ref",
  "../../etc/passwd",
  "..",
  "",
  "a\0b\u202e.png",
  "e\u0301".repeat(400),
  "\ud800",
  "C:\\x\\y.jpg",
  "😀".repeat(90)
]

const name = (random: Random): unknown =>
  random.chance(0.9)
    ? random.pick(names)
    : String.fromCharCode(...Array.from({ length: random.below(40) }, () => random.below(0x10000)))

/** A payload of these bytes, or of mutated text. */
export const of = (random: Random, all: Uint8Array): unknown => {
  if (random.chance(0.03)) return random.pick(values)
  const whole = mutations.base64(all)
  const payload: Record<string, unknown> = {
    mime: mime(random, all),
    name: name(random),
    data: random.chance(0.4) ? mutations.text(random, whole) : whole
  }
  if (random.chance(0.12)) payload[random.pick(["mime", "name", "name", "data", "more"])] = random.pick(values)
  if (random.chance(0.03)) delete payload[random.pick(["mime", "name", "data"])]
  return payload
}

/** Paths to the payload in a message. */
export const places: ReadonlyArray<ReadonlyArray<string>> = [
  [],
  ["image"],
  ["a", "b"],
  ["data"],
  ["data", "data"],
  ["__proto__"],
  ["é😀\"\\"]
]

const members = [
  "\"other\":[1,{}]",
  "\"data\":\"AAAA\"",
  "\"mime\":\"image/png\"",
  "\"data\":null",
  "\"é\":\"\\u0000\""
]

/** Nested close to the depth limit. */
const deep = (random: Random): string => {
  const depth = 124 + random.below(8)
  return `"deep":${"[".repeat(depth)}${"]".repeat(depth)}`
}

const some = (random: Random): ReadonlyArray<string> =>
  random.chance(0.4)
    ? Array.from({ length: random.below(3) }, () => random.chance(0.1) ? deep(random) : random.pick(members))
    : []

const written = (random: Random, value: unknown): string => {
  const text = JSON.stringify(value)
  switch (random.below(6)) {
    case 0:
      return text.replaceAll("/", "\\/")
    case 1:
      return text.replaceAll("+", "\\u002B").replaceAll("/", "\\u002f")
    default:
      return text
  }
}

/** The keys in any order, some of them twice. */
const writtenPayload = (random: Random, payload: unknown): string => {
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) return written(random, payload)
  const fields = Object.entries(payload).map(([key, value]) => `${written(random, key)}:${written(random, value)}`)
  if (random.chance(0.2)) fields.push(...fields.splice(0, 1 + random.below(2)))
  if (random.chance(0.1)) fields.push(random.pick(fields.length > 0 ? fields : members))
  return `{${[...some(random), ...fields, ...some(random)].join(random.pick([",", " ,\n"]))}}`
}

const writtenMessage = (random: Random, payload: unknown, at: ReadonlyArray<string>): Buffer =>
  Buffer.from(at.reduceRight(
    (text, key) => `{${[...some(random), `${written(random, key)}:${text}`, ...some(random)].join(",")}}`,
    writtenPayload(random, payload)
  ))

/** A message after mutations. */
export const message = (random: Random, at: ReadonlyArray<string>): Uint8Array => {
  const whole = () => writtenMessage(random, of(random, mutations.image(random)), at)
  return mutations.json(random, whole(), whole)
}
