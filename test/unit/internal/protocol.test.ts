import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import {
  type ImageFormat,
  InitImageError,
  type InitImageHttp,
  InitImageLimits,
  SessionInitImage
} from "../../../src/index.js"
import * as protocol from "../../../src/internal/protocol.js"

describe("the session protocol", () => {
  it("has these names on the wire", () => {
    assert.deepStrictEqual(
      [protocol.openingType, protocol.updateType, protocol.cancelType, protocol.payloadKey],
      ["session_init_v2", "init_image_updated", "init_image_cancelled", "initial_image"]
    )
    assert.deepStrictEqual(protocol.imageMessage(null), { type: "session_init_image", image: null })
    assert.deepStrictEqual(protocol.progressMessage(1, 2), { type: "init_image_progress", received: 1, bytes: 2 })
    assert.deepStrictEqual(protocol.invalidMessage("text"), {
      type: "error",
      code: "invalid_message",
      message: "text",
      retryable: false
    })
    assert.deepInclude(protocol.internalErrorMessage, { type: "error", code: "internal_error", retryable: true })
  })

  it("has these codes and sizes", () => {
    assert.deepStrictEqual(protocol.CloseCode, {
      normal: 1000,
      goingAway: 1001,
      unsupportedData: 1003,
      policyViolation: 1008,
      messageTooBig: 1009,
      internalError: 1011,
      tryAgainLater: 1013
    })
    assert.strictEqual(protocol.maxFrameBytes, 1024 * 1024)
    assert.strictEqual(protocol.progressBytes, 256 * 1024)
  })

  it.effect("has the default limit of the server", () =>
    Effect.map(InitImageLimits.MaxBytes, (limit) => assert.strictEqual(protocol.defaultMaxBytes, limit)))

  it("encodes an image's error with its tag in snake case, and only Busy as retryable", () => {
    const { Busy, TooManyPixels } = InitImageError
    const busy = new Busy({ retryAfter: 1 })
    const tooMany = new TooManyPixels({ width: 1, height: 1, limit: 0 })
    const encode = Schema.encodeSync(InitImageError.InitImageError)
    const answers = [protocol.imageErrorMessage(encode(busy)), protocol.imageErrorMessage(encode(tooMany))]
    assert.deepStrictEqual<ReadonlyArray<unknown>>(answers, [
      { type: "error", code: "busy", _tag: "Busy", retryAfter: 1, message: busy.message, retryable: true },
      {
        type: "error",
        code: "too_many_pixels",
        _tag: "TooManyPixels",
        width: 1,
        height: 1,
        limit: 0,
        message: tooMany.message,
        retryable: false
      }
    ])
    // A client reads the frame with the schema of the errors.
    const decoded = Schema.decodeUnknownSync(InitImageError.InitImageError)(answers[1])
    assert.instanceOf(decoded, TooManyPixels)
    assert.deepStrictEqual({ ...decoded }, { ...tooMany })
  })

  it("describes an image without its path, as it is stored and as it is seen upright", () => {
    for (const orientation of [1, 2, 3, 4, 5, 6, 7, 8] as const) {
      const image = new SessionInitImage.SessionInitImage({
        path: "/secret",
        displayName: "a.jpg",
        mime: "image/jpeg",
        bytes: 9,
        width: 4,
        height: 3,
        orientation
      })
      const [upright_width, upright_height] = orientation < 5 ? [4, 3] : [3, 4]
      assert.deepStrictEqual([image.uprightWidth, image.uprightHeight], [upright_width, upright_height])
      assert.deepStrictEqual(protocol.describe(image), {
        mime: "image/jpeg",
        display_name: "a.jpg",
        bytes: 9,
        width: 4,
        height: 3,
        orientation,
        upright_width,
        upright_height
      })
    }
  })

  it("has the types of the public modules", () => {
    const descriptions: readonly [
      (image: InitImageHttp.ImageDescription) => protocol.ImageDescription,
      (image: protocol.ImageDescription) => InitImageHttp.ImageDescription
    ] = [(image) => image, (image) => image]
    const formats: readonly [(mime: ImageFormat.Mime) => protocol.Mime, (name: ImageFormat.Name) => protocol.Name] = [
      (mime) => mime,
      (name) => name
    ]
    assert.lengthOf([...descriptions, ...formats], 4)
  })
})
