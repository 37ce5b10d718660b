/** Generates JSON messages that may carry an image, as texts. */
import * as FastCheck from "effect/FastCheck"
import { Buffer } from "node:buffer"
import { jpeg, jpegOfSize, noise, png, pngOfSize, webp } from "./images.js"
import { payloadOf } from "./payloads.js"

export const images = [
  png({ width: 3, height: 2 }),
  jpeg({ width: 5, height: 4, orientation: 6 }),
  webp({ width: 7, height: 9 })
]

/** A JSON string as encoders write it: as it is, or with some of it escaped. */
const written = (text: string) =>
  FastCheck.oneof(
    { weight: 3, arbitrary: FastCheck.constant(JSON.stringify(text)) },
    FastCheck.constant(JSON.stringify(text).replaceAll("/", "\\/")),
    FastCheck.constant(JSON.stringify(text).replaceAll("+", "\\u002B").replaceAll("/", "\\u002f")),
    FastCheck.array(FastCheck.boolean(), { minLength: 1, maxLength: 7 }).map((escaped) =>
      `"${
        text.split("").map((unit, at) =>
          escaped[at % escaped.length] === true || unit < " " || unit === "\"" || unit === "\\"
            ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`
            : unit
        ).join("")
      }"`
    )
  )

const base64 = FastCheck.oneof(
  { weight: 4, arbitrary: FastCheck.constantFrom(...images).map((bytes) => payloadOf("", bytes).data) },
  FastCheck.tuple(FastCheck.constantFrom(...images), FastCheck.integer({ min: 1, max: 12 })).map(([bytes, cut]) =>
    payloadOf("", bytes.subarray(0, -cut)).data
  ),
  FastCheck.tuple(
    FastCheck.constantFrom(...images),
    FastCheck.nat(100),
    FastCheck.constantFrom("-", "=", "\n", "é", "\u0141", "😀", "\ud800", "\"", "\\", "A", "")
  ).map(([bytes, at, unit]) => {
    const { data } = payloadOf("", bytes)
    return data.slice(0, at) + unit + data.slice(at + 1)
  }),
  // Errors near the last byte that decides the detected format.
  FastCheck.tuple(
    FastCheck.constantFrom(pngOfSize(1100), jpegOfSize(1100), noise(1100), Buffer.from(`<!--${"x".repeat(1100)}`)),
    FastCheck.integer({ min: 1355, max: 1375 }),
    FastCheck.constantFrom("-", "=", "A", "")
  ).map(([bytes, at, unit]) => {
    const { data } = payloadOf("", bytes)
    return data.slice(0, at) + unit + data.slice(at + 1)
  }),
  // A wrong length, with and without a mistake where it is looked for.
  FastCheck.tuple(
    FastCheck.constantFrom(pngOfSize(80), pngOfSize(1100), pngOfSize(1101), noise(1102)),
    FastCheck.constantFrom("", "data:image/png;base64,"),
    FastCheck.constantFrom("", "\n", "\r\n", " ", "=", "==\n", "é", "=A", "😀"),
    FastCheck.constantFrom("", "-", "\n", "="),
    FastCheck.nat(1500)
  ).map(([bytes, prefix, suffix, unit, at]) => {
    const data = payloadOf("", bytes).data.replace(/=+$/, "")
    return prefix + data.slice(0, at) + unit + data.slice(at) + suffix
  }),
  FastCheck.constantFrom("", "A", "AAAA", "====", "/+/+", "a/b")
)

const literal = FastCheck.oneof(
  FastCheck.json({ maxDepth: 2 }),
  FastCheck.constantFrom("{}", "[]", "null", "[{\"data\":\"A\"}]")
)

const space = FastCheck.constantFrom("", "", " ", "\n\t")

const member = (key: string, value: FastCheck.Arbitrary<string>) =>
  FastCheck.tuple(space, written(key), space, value, space).map(([a, key, b, value, c]) =>
    `${a}${key}${b}:${value}${c}`
  )

const object = (members: FastCheck.Arbitrary<string>, maxLength: number) =>
  FastCheck.array(members, { maxLength }).map((members) => `{${members.join(",")}}`)

const mimes = FastCheck.constantFrom(
  "image/png",
  "image/png",
  "image/jpeg",
  "image/webp",
  "IMAGE/JPG",
  "image/gif",
  "image/png; a=b",
  "image/*",
  ""
)

/** Mostly whole payloads, their keys in any order, some of them with duplicate keys. */
const payload = FastCheck.oneof(
  {
    weight: 5,
    arbitrary: FastCheck.tuple(
      FastCheck.oneof(
        { weight: 4, arbitrary: FastCheck.shuffledSubarray(["mime", "data", "name"], { minLength: 2 }) },
        FastCheck.shuffledSubarray(["mime", "data", "name", "data", "mime"], { minLength: 2 })
      ),
      mimes,
      base64
    ).chain(([keys, mime, data]) =>
      FastCheck.tuple(...keys.map((key, at) =>
        key === "name"
          ? member(key, FastCheck.string().chain(written))
          : key === "mime"
          ? member(key, at % 2 === 0 ? written(mime) : mimes.chain(written))
          : member(key, at % 3 === 0 ? written(data) : base64.chain(written))
      )).map((members) => `{${members.join(",")}}`)
    )
  },
  object(
    FastCheck.oneof(
      member("mime", FastCheck.oneof(mimes.chain(written), literal)),
      member("data", FastCheck.oneof(base64.chain(written), literal)),
      member("more", literal)
    ),
    4
  ),
  literal
)

const paths = FastCheck.constantFrom<ReadonlyArray<string>>(
  [],
  ["initial_image"],
  ["a", "b"],
  ["data"],
  ["data", "data"],
  ["__proto__"],
  ["é😀\"\\"]
)

const document = (at: ReadonlyArray<string>): FastCheck.Arbitrary<string> => {
  const [key, ...rest] = at
  if (key === undefined) return payload
  const inner = document(rest)
  return FastCheck.oneof(
    {
      weight: 5,
      arbitrary: FastCheck.tuple(
        FastCheck.array(member("other", literal), { maxLength: 2 }),
        FastCheck.oneof(
          { weight: 4, arbitrary: FastCheck.tuple(member(key, inner)) },
          FastCheck.tuple(member(key, inner), member(key, inner))
        ),
        FastCheck.array(FastCheck.oneof(member("data", literal), member("mime", literal)), { maxLength: 2 })
      ).map((members) => `{${members.flat().join(",")}}`)
    },
    inner,
    literal,
    inner.map((text) => `[${text}]`)
  )
}

/** A message, and the path to its payload. */
export const frames = paths.chain((at) =>
  FastCheck.tuple(document(at), space, space).map(([text, a, b]) => ({ at, json: a + text + b }))
)

/** Damages the bytes of a text: cuts it, and replaces one of its bytes. */
export const damages = FastCheck.record({
  cut: FastCheck.option(FastCheck.nat(300)),
  at: FastCheck.double({ min: 0, max: 1, noNaN: true }),
  bytes: FastCheck.option(
    FastCheck.oneof(
      FastCheck.uint8Array({ maxLength: 3 }),
      FastCheck.constantFrom(..."\"\\{}[],:\u0000\n\u007f").map((text) => Buffer.from(text)),
      FastCheck.constantFrom([0xc3], [0xff], [0xed, 0xa0, 0x80], [0xf0, 0x9f], [0xef, 0xbb, 0xbf]).map((bytes) =>
        Uint8Array.from(bytes)
      )
    )
  )
}).map(({ at, bytes, cut }) => (text: string): Buffer => {
  const whole = Buffer.from(text)
  const kept = cut === null ? whole : whole.subarray(0, cut)
  const place = Math.floor(at * kept.length)
  return Buffer.concat([
    kept.subarray(0, place),
    bytes ?? new Uint8Array(),
    kept.subarray(bytes === null ? place : place + 1)
  ])
})

/** Whether a text has no half of a surrogate pair, so that UTF-8 can encode it. */
export const isWellFormed = (text: string): boolean => !/\p{Cs}/u.test(text)
