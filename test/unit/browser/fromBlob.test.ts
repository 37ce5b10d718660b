import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { Buffer } from "node:buffer"
import * as promiseFace from "../../../src/browser/promise.js"
import { InitImageError, InitImagePayload, SessionInitImage } from "../../../src/index.js"
import { dialects } from "../../utils/dialects.js"
import { ascii, concat, jpeg, jpegOfSize, png, pngOfSize, webp, webpOfSize } from "../../utils/images.js"
import { failingBlob } from "./blobs.js"
import { faces } from "./faces.js"

const mebibyte = 1024 * 1024

const samples = [
  { mime: "image/png", name: "a.png", smallest: png(), ofSize: pngOfSize },
  { mime: "image/jpeg", name: "a.jpg", smallest: jpeg(), ofSize: jpegOfSize },
  { mime: "image/webp", name: "a.webp", smallest: webp(), ofSize: webpOfSize }
] as const

const { ContentMismatch, Empty, InvalidMime, TooLarge } = InitImageError
const classes = { ContentMismatch, Empty, InvalidMime, TooLarge }

const refusals = [
  {
    title: "an unaccepted type",
    blob: new Blob([png()], { type: "image/gif" }),
    error: { _tag: "InvalidMime", reason: "NotAccepted", accepted: ["image/png", "image/jpeg", "image/webp"] }
  },
  {
    title: "a blob without a type and with bytes of another type",
    blob: new Blob([concat(ascii("GIF89a"), new Uint8Array(32))]),
    error: { _tag: "ContentMismatch", detected: "gif" }
  },
  { title: "an empty blob", blob: new Blob([], { type: "image/png" }), error: { _tag: "Empty" } },
  {
    title: "one byte too many",
    blob: new Blob([new Uint8Array(32 * mebibyte + 1)], { type: "image/png" }),
    error: { _tag: "TooLarge", bytes: 32 * mebibyte + 1, limit: 32 * mebibyte }
  },
  {
    title: "bytes of another type",
    blob: new Blob([concat(ascii("GIF89a"), new Uint8Array(32))], { type: "image/png" }),
    error: { _tag: "ContentMismatch", declared: "png", detected: "gif" }
  },
  {
    title: "bytes of an unknown type",
    blob: new Blob([new Uint8Array(3)], { type: "image/webp" }),
    error: { _tag: "ContentMismatch", declared: "webp", detected: "unknown" }
  },
  {
    title: "bytes of another accepted type",
    blob: new Blob([webp()], { type: "image/jpeg" }),
    error: { _tag: "ContentMismatch", declared: "jpeg", detected: "webp" }
  }
] as const

for (const { fromBlob, title } of faces) {
  describe(`fromBlob, with ${title}`, () => {
    it.effect("encodes a picture in the shape of every dialect, which the dialect reads", () =>
      Effect.gen(function*() {
        const bytes = png()
        for (const { dialect, name } of dialects) {
          const value = yield* fromBlob(new File([bytes], "a.png", { type: "image/png" }), { dialect: name })
          const payload = Option.getOrThrow(yield* dialect.decode(JSON.parse(JSON.stringify(value))))
          assert.strictEqual(payload.data, Buffer.from(bytes).toString("base64"))
          assert.strictEqual(payload.mime, name === "ollama" ? undefined : "image/png")
          if (["payload", "dreamverse", "gemini", "aiSdk"].includes(name)) assert.strictEqual(payload.name, "a.png")
        }
      }))

    for (const { mime, name, ofSize, smallest } of samples) {
      it.live(`encodes a file of ${mime} and of any size`, () =>
        Effect.gen(function*() {
          // Around the size of a piece, and every remainder of 3.
          const sizes = [0, 1, 2].map((n) => smallest.length + n)
            .concat([-1, 0, 1, 2].map((n) => 768 * 1024 + n), [-1, 0, 1].map((n) => 3 * 768 * 1024 + n))
          for (const size of sizes) {
            const bytes = ofSize(size)
            const payload = yield* fromBlob(new File([bytes], name, { type: mime }))
            assert.deepStrictEqual(Object.keys(payload), ["mime", "name", "data"])
            assert.strictEqual(payload.mime, mime)
            assert.strictEqual(payload.name, name)
            assert.isTrue(payload.data === Buffer.from(bytes).toString("base64"), `${size} bytes`)
          }
        }))
    }

    it.live("encodes a payload that the server accepts", () =>
      Effect.gen(function*() {
        const payload = yield* fromBlob(new File([png()], "a.png", { type: "image/png" }))
        const decoded = yield* Effect.flatten(InitImagePayload.decode(payload))
        assert.strictEqual(decoded.name, "a.png")
        assert.strictEqual(yield* SessionInitImage.checkSize(decoded), png().length)
      }))

    it.live("omits the name of a blob that is not a file, and normalizes image/jpg", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* fromBlob(new Blob([jpeg()], { type: "image/JPG" })), {
          mime: "image/jpeg",
          data: Buffer.from(jpeg()).toString("base64")
        })
      }))

    it.live("takes the type of a blob's bytes where it has no specific one, and ignores parameters and aliases", () =>
      Effect.gen(function*() {
        for (const { mime, smallest } of samples) {
          for (const type of ["", "application/octet-stream", "image/*", `${mime}; charset=utf-8`]) {
            assert.strictEqual((yield* fromBlob(new Blob([smallest], { type }))).mime, mime)
          }
        }
        for (const [type, bytes] of [["image/x-png", png()], ["image/pjpeg", jpeg()]] as const) {
          assert.match((yield* fromBlob(new Blob([bytes], { type }))).mime, /^image\/(?:png|jpeg)$/)
        }
      }))

    it.live("refuses a limit that is no size", () =>
      Effect.gen(function*() {
        const blob = new Blob([png()], { type: "image/png" })
        for (const maxBytes of [Number.NaN, -1]) {
          const exit = yield* Effect.exit(fromBlob(blob, { maxBytes }))
          assert.include(
            String(Exit.isFailure(exit) && Cause.squash(exit.cause)),
            "RangeError: maxBytes must be a number that is not negative"
          )
        }
      }))

    for (const { blob, error, title } of refusals) {
      it.live(`refuses ${title}: ${error._tag}, with the server's message`, () =>
        Effect.gen(function*() {
          const refused = yield* Effect.flip(fromBlob(blob))
          // Each class types the fields of its tag only.
          const own = new classes[error._tag](error as never)
          assert.instanceOf(refused, Error)
          assert.deepInclude({ ...refused }, error)
          assert.strictEqual(refused.message, own.message)
        }))
    }

    it.live("accepts as many bytes as maxBytes, and not one more", () =>
      Effect.gen(function*() {
        const blob = new Blob([png()], { type: "image/png" })
        yield* fromBlob(blob, { maxBytes: png().length })
        const refused = yield* Effect.flip(fromBlob(blob, { maxBytes: png().length - 1 }))
        assert.deepInclude({ ...refused }, { _tag: "TooLarge", bytes: png().length, limit: png().length - 1 })
      }))

    it.live("fails with UnreadableBlob if the file has changed, at its first bytes and later", () =>
      Effect.gen(function*() {
        for (const how of ["rejects", "is shorter"] as const) {
          for (const reads of [0, 1, 2]) {
            const refused = yield* Effect.flip(fromBlob(failingBlob(pngOfSize(2 * mebibyte), reads, how)))
            assert.strictEqual(refused._tag, "UnreadableBlob", `${how} after ${reads}`)
            assert.strictEqual(refused.message, "The file could not be read.")
            assert.strictEqual(refused.cause instanceof TypeError, how === "rejects")
          }
        }
      }))

    it.live("stops reading a file once it is interrupted", () =>
      Effect.gen(function*() {
        let reads = 0
        const blob = new Blob([pngOfSize(3 * mebibyte)], { type: "image/png" })
        const slice = blob.slice.bind(blob)
        let resume = () => {}
        blob.slice = (start, end) => {
          reads += 1
          const part = slice(start, end)
          if (reads === 2) {
            const read = part.arrayBuffer.bind(part)
            part.arrayBuffer = () => new Promise<void>((resolve) => resume = resolve).then(read)
          }
          return part
        }
        yield* Effect.timeoutOption(fromBlob(blob), "50 millis")
        resume()
        yield* Effect.sleep("20 millis")
        assert.strictEqual(reads, 2)
      }))
  })
}

describe("fromBlob with promises", () => {
  it("rejects with the reason of a signal that is already aborted", async () => {
    const blob = new Blob([png()], { type: "image/png" })
    const reason = new Error("enough")
    const outcome = await promiseFace.fromBlob(blob, { signal: AbortSignal.abort(reason) }).catch((error) => error)
    assert.strictEqual(outcome, reason)
  })

  it("rejects with errors that print their tag and message", async () => {
    const gif = new Blob([], { type: "image/gif" })
    const error = await promiseFace.fromBlob(gif).catch((error: unknown) => error)
    assert.instanceOf(error, promiseFace.InvalidMime)
    assert.strictEqual(String(error), `InvalidMime: ${(error as Error).message}`)
  })
})
