import { assert, describe, it } from "@effect/vitest"
import { amount, facts, limit, pace, refusal, shortName, size } from "../../../../src/server/page/words.js"

const fileOf = (name: string, bytes = 3) => new File([new Uint8Array(bytes)], name)

const wordsOf = (error: Record<string, unknown>, file = fileOf("a.png")) => {
  const { text, title } = refusal(error, file)
  return [title, text]
}

describe("the page's words", () => {
  it("give the size of a picture as it is seen upright", () => {
    const image = {
      mime: "image/jpeg",
      display_name: "IMG_0001.jpg",
      bytes: 2048,
      width: 4000,
      height: 3000,
      orientation: 6,
      upright_width: 3000,
      upright_height: 4000
    } as const
    assert.deepStrictEqual(facts(image, 5), ["IMG_0001.jpg", "JPEG", "3000 × 4000 pixels", "2 kB", "5 ms"])
    assert.strictEqual(facts(image, 1234)[4], "1.2 s")
  })

  it("give sizes, amounts, rates and the time left", () => {
    assert.deepStrictEqual([1, 999, 1000, 262_144, 4_210_733].map(size), [
      "1 byte",
      "999 bytes",
      "1 kB",
      "262 kB",
      "4.2 MB"
    ])
    assert.strictEqual(amount(1_310_720, 4_210_733), "1.3 of 4.2 MB")
    assert.strictEqual(amount(200_000, 300_000), "200 of 300 kB")
    assert.strictEqual(pace(2_900_000, 2_000_000), "2.0 MB/s · 2 s left")
    assert.strictEqual(pace(9_000_000, 100_000), "100 kB/s · 2 min left")
    assert.strictEqual(pace(1, undefined), "")
    assert.strictEqual(pace(1, 0), "")
  })

  it("round a limit down", () => {
    assert.deepStrictEqual([32 * 1024 * 1024, 4_000_000, 999_999, 500].map(limit), [
      "33.5 MB",
      "4.0 MB",
      "999 kB",
      "500 bytes"
    ])
  })

  it("shorten a long name in the middle, and take out what garbles a sentence", () => {
    assert.strictEqual(shortName("IMG_0001.jpg"), "IMG_0001.jpg")
    assert.strictEqual(shortName(`${"long".repeat(30)}-2024.jpg`), "longlonglonglong…ng-2024.jpg")
    assert.strictEqual(shortName("a\u202egpj.png\n"), "agpj.png")
    assert.strictEqual(Array.from(shortName("🏔".repeat(40))).length, 28)
  })

  it("name the file and say what to do for each error", () => {
    const cases: ReadonlyArray<readonly [Record<string, unknown>, string, string]> = [
      [
        { _tag: "ContentMismatch", detected: "gif" },
        "“a.png” is a GIF",
        "Save it as a JPEG, PNG or WebP, and choose the new file."
      ],
      [{ _tag: "ContentMismatch", detected: "pdf" }, "“a.png” is a PDF", "Choose a JPEG, PNG or WebP picture instead."],
      [
        { _tag: "ContentMismatch", detected: "unknown" },
        "“a.png” cannot be read as a picture",
        "Choose a JPEG, PNG or WebP picture instead."
      ],
      [{ _tag: "Empty" }, "“a.png” is empty", "Copy or download it again, or choose another picture."],
      [
        { _tag: "MalformedImage", reason: "Truncated" },
        "“a.png” is not complete",
        "Its end is missing. Copy or download it again, or choose another picture."
      ],
      [
        { _tag: "MalformedImage", reason: "UnsupportedProcess" },
        "“a.png” is a rare kind of JPEG",
        "Save it as an ordinary JPEG or a PNG, and choose the new file."
      ],
      [
        { _tag: "MalformedImage", reason: "BadChecksum" },
        "“a.png” is damaged",
        "Open it in a picture editor, save it again, and choose the new file."
      ],
      [
        { _tag: "TooManyPixels", width: 64250, height: 64250, limit: 89_478_485 },
        "“a.png” has too many pixels",
        "It has 4,128 megapixels, and the limit is 89 megapixels. Scale it down, and choose it again."
      ],
      [
        { _tag: "UnreadableBlob" },
        "“a.png” could not be opened",
        "It was moved or changed meanwhile. Choose it again."
      ],
      [{ _tag: "InvalidPayload" }, "“a.png” did not arrive intact", "Send it again."],
      [{ _tag: "ServerError", code: "other" }, "The server did not accept “a.png”", "Choose another picture."],
      [
        { code: "internal_error", retryable: true },
        "The server could not store the picture",
        "“a.png” was not stored. Try again later."
      ]
    ]
    for (const [error, ...words] of cases) assert.deepStrictEqual(wordsOf(error), words)
    assert.deepStrictEqual(wordsOf({ _tag: "TooLarge", limit: 1_000_000 }, fileOf("big.jpg", 1_340_000)), [
      "“big.jpg” is too large",
      "It takes 1.3 MB, and the limit is 1.0 MB. Make it smaller, and choose it again."
    ])
    assert.deepStrictEqual(
      wordsOf({ _tag: "TooLarge", limit: 1_000_000 }, fileOf("big.jpg", 1_000_001))[1],
      "It is just over the limit of 1.0 MB. Make it smaller, and choose it again."
    )
  })

  it("offer to send the same file again where that can succeed", () => {
    const isRetryable = (error: Record<string, unknown>) => refusal(error, fileOf("a.png")).isRetryable
    assert.isTrue(isRetryable({ _tag: "Busy", retryable: true }))
    assert.isTrue(isRetryable({ _tag: "InvalidPayload", retryable: false }))
    assert.isFalse(isRetryable({ _tag: "MalformedImage", retryable: false }))
    assert.isFalse(isRetryable({ _tag: "ContentMismatch" }))
  })
})
