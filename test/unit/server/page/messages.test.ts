import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { curl, messageText, shortText } from "../../../../src/server/page/messages.js"

describe("the page's log", () => {
  it("shows a binary frame by its length and first bytes", () => {
    assert.strictEqual(messageText(new Uint8Array([0x89, 0x50, 0x4e]).buffer), "3 bytes: 89 50 4e")
    assert.strictEqual(messageText(new ArrayBuffer(262_144)), "262,144 bytes: 00 00 00 00 00 00 …")
  })

  it("has a text frame as it was sent, and shows its long strings shortened", () => {
    const text = JSON.stringify({ type: "session_init_v2", initial_image: { mime: "image/png", data: "iVBORw0KGgo=" } })
    assert.strictEqual(shortText(text), text)
    const long = JSON.stringify({ type: "session_init_v2", initial_image: { data: "iVBORw0K".repeat(1000) } })
    assert.strictEqual(messageText(long), long)
    assert.strictEqual(
      shortText(long),
      `{"type":"session_init_v2","initial_image":{"data":"iVBORw0KiVBORw0KiVBORw0K… (8,000 characters)"}}`
    )
    assert.strictEqual(shortText("no JSON"), "no JSON")
    assert.strictEqual(shortText("a".repeat(200)), `${"a".repeat(24)}… (200 characters)`)
  })

  it("names the file in the request, and quotes any name for the URL and the shell", () => {
    assert.strictEqual(
      curl("http://localhost:8787", "photo.jpg"),
      "curl 'http://localhost:8787/v1/init-image?name=photo.jpg' \\\n  -H 'content-type: application/octet-stream' \\\n  --data-binary '@photo.jpg'"
    )
    const name = "it's $HOME; \"a\" `b` \\ \n & é+%41 [1-3] #?.png"
    const command = curl("http://localhost:8787", name)
    const printed = execFileSync("sh", ["-c", `curl() { printf '%s\\0' "$@"; }; ${command}`], { encoding: "utf8" })
    const [url = "", , , , data] = printed.split("\0")
    assert.strictEqual(data, `@${name}`)
    assert.strictEqual(new URL(url).searchParams.get("name"), name)
    // curl expands brackets and braces in a URL.
    assert.notMatch(url, /[[\]{}]/)
  })
})
