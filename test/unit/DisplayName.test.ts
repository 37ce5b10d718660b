import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as DisplayName from "../../src/DisplayName.js"
import * as ImageFormat from "../../src/ImageFormat.js"

const fromUnknown = (name: unknown) => DisplayName.fromUnknown(name, ImageFormat.png)

const names = FastCheck.array(
  FastCheck.oneof(
    FastCheck.string({ unit: "binary", maxLength: 8 }),
    FastCheck.constantFrom(
      "/",
      "\\",
      ".",
      "..",
      " ",
      "\u00a0",
      "\n",
      "\u001b[31m",
      "\u202e",
      "\u2028",
      "\ufeff",
      "\u0000"
    ),
    FastCheck.constantFrom("\ud83d", "\ude00", "\u{1f600}", "e\u0301", "\u1100\u1161\u11a8", "\u212b", "\u{1d15e}"),
    FastCheck.constantFrom(
      "a".repeat(300),
      "\u0301".repeat(600),
      "\u{1f600}".repeat(80),
      "\u1100\u1161\u11a8".repeat(200)
    )
  ),
  { maxLength: 12 }
).map((parts) => parts.join(""))

/** Applies the documented rules one by one. */
const reference = (name: string): string => {
  const segment = name.split(/[/\\]/).at(-1) ?? ""
  const visible = [...segment].filter((character) => !/^[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]$/u.test(character)).join("")
  const normal = visible.slice(0, 512).normalize("NFC").trim()
  let cut = ""
  for (const character of normal) {
    if (Buffer.byteLength(cut + character) > 255) break
    cut += character
  }
  const trimmed = cut.trim()
  return ["", ".", ".."].includes(trimmed) ? "init.png" : trimmed
}

describe("DisplayName", () => {
  it.prop("applies the documented rules in order to any name", [names], ([name]) => {
    assert.strictEqual(fromUnknown(name), reference(name))
  }, { fastCheck: { numRuns: 2000 } })

  it.prop("is never empty, a path, unprintable, unnormalized, untrimmed or too long", [names], ([name]) => {
    const display = fromUnknown(name)
    assert.notMatch(display, /[/\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|^\.{0,2}$/u)
    assert.strictEqual(display.normalize("NFC"), display)
    assert.strictEqual(display.trim(), display)
    assert.isAtMost(Buffer.byteLength(display), 255)
  }, { fastCheck: { numRuns: 2000 } })

  it.prop("is unchanged by a second pass", [names], ([name]) => {
    assert.strictEqual(fromUnknown(fromUnknown(name)), fromUnknown(name))
  })

  it.each([
    ["../../etc/passwd", "passwd"],
    ["C:\\pictures\\me.png", "me.png"],
    ["a\nb\u001b[2Jc.png", "ab[2Jc.png"],
    ["  spaced.png  ", "spaced.png"],
    ["gp\u202egnp.exe", "gpgnp.exe"],
    ["..", "init.png"],
    ["pictures/", "init.png"],
    ["\u200b", "init.png"],
    [`${" ".repeat(100)}\u0000${" ".repeat(500)}a`, "init.png"],
    [`${"a".repeat(254)} b`, "a".repeat(254)],
    ["", "init.png"]
  ])("turns %j into %j", (name, display) => {
    assert.strictEqual(fromUnknown(name), display)
  })

  it.prop("falls back to init and the format's extension for a value that is not a string", [
    FastCheck.anything().filter((value) => typeof value !== "string"),
    FastCheck.constantFrom(...ImageFormat.formats)
  ], ([value, format]) => {
    assert.strictEqual(DisplayName.fromUnknown(value, format), `init${format.extension}`)
  })

  it("bounds the work for a hostile name of millions of characters", () => {
    assert.strictEqual(Buffer.byteLength(fromUnknown("\u0301".repeat(5_000_000))), 254)
    assert.strictEqual(fromUnknown("\u0000".repeat(5_000_000)), "init.png")
    assert.strictEqual(fromUnknown("a".repeat(5_000_000)).length, 255)
  })
})
