/** Forms as the libraries of other languages write them, byte for byte but for the picture. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Buffer } from "node:buffer"
import { InitImageHttp } from "../../src/index.js"
import { list, makeDirectory } from "../utils/directory.js"
import { jpegOfSize, pngOfSize, webpOfSize } from "../utils/images.js"

interface Form {
  readonly boundary: string
  /** The headers of the field `prompt`. */
  readonly field: ReadonlyArray<string>
  /** The headers of the file. */
  readonly file: ReadonlyArray<string>
  readonly name: string | undefined
  /** Whether the header has the boundary in quotes. */
  readonly quoted?: boolean
}

const field = ["Content-Disposition: form-data; name=\"prompt\""]

const forms: Record<string, Form> = {
  "curl -F image=@x.webp": {
    boundary: "------------------------aeadd0e18e45b097",
    field,
    file: [
      "Content-Disposition: form-data; name=\"image\"; filename=\"x.webp\"",
      "Content-Type: application/octet-stream"
    ],
    name: "x.webp"
  },
  "requests.post(files=…)": {
    boundary: "b923be5abbf8e94522add337df7de654",
    field,
    file: ["Content-Disposition: form-data; name=\"image\"; filename=\"x.webp\""],
    name: "x.webp"
  },
  "httpx.post(files=…) with bytes": {
    boundary: "b079563af4208b619da926db3a9ed9fc",
    field,
    file: [
      "Content-Disposition: form-data; name=\"image\"; filename=\"upload\"",
      "Content-Type: application/octet-stream"
    ],
    name: "upload"
  },
  "CreateFormFile of Go": {
    boundary: "5be19a4a2e3a1b8ecfeb2cfe8ee9b0d7e1cf2a40ae9ebcb4c9f4f3d8ab1c",
    field,
    file: [
      "Content-Disposition: form-data; name=\"image\"; filename=\"x.webp\"",
      "Content-Type: application/octet-stream"
    ],
    name: "x.webp"
  },
  "MultipartFile.fromBytes of Dart": {
    boundary: "dart-http-boundary-Y_cJjVZ0+Xk.3nBc-y9LZ_Wb0eQmTn4ZqjwqHkz2pXU7d.w1LR5",
    field: ["content-disposition: form-data; name=\"prompt\""],
    file: ["content-type: application/octet-stream", "content-disposition: form-data; name=\"image\""],
    name: undefined
  },
  "Retrofit with image/*": {
    boundary: "7a1c7e5e-3b5a-4d6a-9c8b-6f4b7bb5f7a0",
    field: [
      "Content-Disposition: form-data; name=\"prompt\"",
      "Content-Transfer-Encoding: binary",
      "Content-Type: text/plain; charset=utf-8",
      "Content-Length: 4"
    ],
    file: [
      "Content-Disposition: form-data; name=\"image\"; filename=\"x.webp\"",
      "Content-Type: image/*",
      "Content-Length: 1000"
    ],
    name: "x.webp"
  },
  "axios with a buffer": {
    boundary: "--------------------------123456789012345678901234",
    field,
    file: ["Content-Disposition: form-data; name=\"image\"", "Content-Type: application/octet-stream"],
    name: undefined
  },
  "FormData with an untyped Blob": {
    boundary: "----WebKitFormBoundaryp7MA4YWxkTrZu0gW",
    field,
    file: [
      "Content-Disposition: form-data; name=\"image\"; filename=\"blob\"",
      "Content-Type: application/octet-stream"
    ],
    name: "blob"
  },
  "MultipartFormDataContent of .NET": {
    boundary: "dd9a8f1c-7cfb-4b44-bb1c-2d5cf4a4f1b7",
    quoted: true,
    field: ["Content-Type: text/plain; charset=utf-8", "Content-Disposition: form-data; name=prompt"],
    file: ["Content-Disposition: form-data; name=image; filename=x.webp; filename*=utf-8''x.webp"],
    name: "x.webp"
  },
  "a client with binary/octet-stream": {
    boundary: "b",
    field,
    file: [
      "Content-Disposition: form-data; name=\"image\"; filename=\"x.webp\"",
      "Content-Type: binary/octet-stream"
    ],
    name: "x.webp"
  }
}

const bodyOf = ({ boundary, field, file }: Form, bytes: Uint8Array, fileFirst: boolean): Buffer => {
  const part = (headers: ReadonlyArray<string>, body: Uint8Array) =>
    Buffer.concat([Buffer.from([`--${boundary}`, ...headers, "", ""].join("\r\n")), body, Buffer.from("\r\n")])
  const parts = [part(field, Buffer.from("rain")), part(file, bytes)]
  return Buffer.concat([...fileFirst ? parts.toReversed() : parts, Buffer.from(`--${boundary}--\r\n`)])
}

const pictures = { "image/png": pngOfSize(1000), "image/jpeg": jpegOfSize(1000), "image/webp": webpOfSize(1000) }
const extensions = { "image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp" }

describe("a form without a specific type", () => {
  for (const [client, form] of Object.entries(forms)) {
    it.scopedLive(`has the type of its bytes, and its field is read: ${client}`, () =>
      Effect.gen(function*() {
        const directory = yield* makeDirectory
        const type = `multipart/form-data; boundary=${form.quoted === true ? `"${form.boundary}"` : form.boundary}`
        for (const [mime, bytes] of Object.entries(pictures)) {
          for (const fileFirst of [false, true]) {
            const request = HttpServerRequest.fromWeb(
              new Request("http://localhost/", {
                method: "POST",
                body: bodyOf(form, bytes, fileFirst),
                headers: { "content-type": type }
              })
            )
            const { image, message } = yield* InitImageHttp.messageFromRequest({ at: [], field: "image", directory })
              .pipe(Effect.provideService(HttpServerRequest.HttpServerRequest, request))
            assert.deepStrictEqual(message, { prompt: "rain" })
            const { bytes: size, displayName, mime: found, path } = Option.getOrThrow(image)
            assert.deepStrictEqual<unknown>([found, size], [mime, bytes.length])
            const extension = extensions[found]
            assert.isTrue(path.endsWith(extension))
            assert.strictEqual(displayName, form.name ?? `init${extension}`)
          }
        }
        assert.lengthOf(list(directory), 6)
      }).pipe(Effect.provide(NodeContext.layer)))
  }
})
